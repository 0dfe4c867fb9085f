"""Values that look like secrets, and texts in which stars stand in their place.

What a person reads years later, or sends to a colleague, shall not hold a token: the command line in provenance.json,
hparams.json, `bertjob jobs`. Files that a run needs to go on keep the values, and only their owner may read them.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_LONG = r"secrets?|passwo?r?ds?|passphrase|api[_-]?keys?|credentials?"
_SHORT = r"tokens?|pwd|auth|pat|(?:access|private|secret|account|auth)[_-]?keys?"
_NAME = re.compile(
    rf"(?:.*(?:{_LONG})|(?:.*[_\W])?(?:{_SHORT}))(?:[_\W]?(?:id|value|file))?",
    re.IGNORECASE,
)
"""How such names end, the short words standing by themselves: HF_TOKEN, but not TOKENIZERS_PARALLELISM or COMPAT."""
_OWN_KEYS = frozenset({"mask_token", "random_token"})
"""Of jobs, and no secrets: shares of tokens."""
_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-[\w-]{20,}"
    r"|AKIA[A-Z0-9]{16}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})"
)
"""Tokens that say themselves whose they are: Hugging Face, GitHub, GitLab, OpenAI, AWS, Slack, JSON Web Tokens."""
_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")
_NAME_AND_SIGN = re.compile(r"([A-Za-z_][\w.-]*)(?:\s*=\s*|['\"]?:\s+)")
"""What a value follows: ``env.HF_TOKEN=``, ``{HF_TOKEN: ``."""
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|[^,}\s'\"]+")


def is_secret(name: str) -> bool:
    """Whether the name of a variable or key says that its value is a secret; of a dotted key the last part counts."""
    last = name.rpartition(".")[2]
    return last not in _OWN_KEYS and _NAME.fullmatch(last) is not None


def masked_text(text: str) -> str:
    """A text, such as a word of a command line, with stars in place of secrets."""
    name, equals, _ = text.partition("=")
    if equals and re.fullmatch(r"[\w.:/-]+", name) and is_secret(name.rpartition(":")[2]):
        return f"{name}={MASK}"  # all of it, whatever characters it has
    return _IN_URL.sub(rf"\1{MASK}", _KNOWN.sub(MASK, _without_values(text)))


def _without_values(text: str) -> str:
    kept, end = "", 0
    for found in _NAME_AND_SIGN.finditer(text):
        value = _VALUE.match(text, found.end())
        if value and found.start() >= end and is_secret(found[1]):
            kept, end = kept + text[end : value.start()] + MASK, value.end()
    return kept + text[end:]


def masked(value: Any, name: str = "") -> Any:
    """Plain values with stars in place of secrets.

    Args:
        value: mappings, lists, text, numbers.
        name: the key that it has.
    """
    if isinstance(value, Mapping):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked(item, name) for item in value)
    if isinstance(value, str):
        return MASK if value and is_secret(name) else masked_text(value)
    return value
