"""Running text to sentences, by rules: abbreviations, initials, acronyms and decimals end none.

A mark of the end is a ``.``, ``!``, ``?`` or ``…``, with closing quotes and brackets, before white space and what may
begin a sentence. Marks of Chinese and Japanese need no white space.
"""

import re
from typing import Final

# ruff: noqa: RUF001  the quotes and dashes that look like others are those that are meant

_CANDIDATE: Final = re.compile(
    r"""[.!?…]+ ["'”’»)\]]*      # the mark, and what it closes
        (?P<gap>\s+)
        (?= ["'“‘«(\[—–-]* (?P<next>[^\W_a-zß-öø-ÿ]\w*) )  # a word with a capital, or a number
      | [。！？]+[」』”’）]* (?P<none>)""",
    re.VERBOSE,
)
_BEFORE: Final = re.compile(r"""[^\s"'“”‘’«»()\[\]—–]*$""")
_INITIAL: Final = re.compile(r"[^\W\d_]")
_ACRONYM: Final = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NEVER: Final = _words(
    "adm al assoc brig capt cf cmdr col cpl dr e.g eds esp ex fig figs ft fr gen gov hon i.e jan feb lt maj messrs mgr"
    " mlle mme mmes mr mrs ms msgr mt no nos nr op pp pres prof pvt rep reps rev sen sens sgt sra srta st ste vol"
    " vols vs viz"
)
"""A name or a number follows these: they never end a sentence."""
_SOMETIMES: Final = _words(
    "a.m p.m aug apr ave bldg blvd bros co corp dec dept dist est etc inc jr ltd mar nov oct ph.d rd sep sept sr"
)
"""These may end a sentence: they do where a word follows that mostly begins one."""
_STARTERS: Final = _words(
    "A After All Although An And As At But By During For From He Her His However I If In It Its My No On Once One Our"
    " She Since So Some That The Their Then There These They This Those Though To Under Until We What When Where While"
    " Who Why With You Your"
)


def split(text: str) -> list[str]:
    """The sentences of a paragraph, with white space made single spaces; empty where there is no text."""
    text = " ".join(text.split())
    sentences, begin = [], 0
    for match in _CANDIDATE.finditer(text):
        if _ends(text[begin : match.end()], match):
            sentences.append(text[begin : match.end()].rstrip())
            begin = match.end()
    if begin < len(text):
        sentences.append(text[begin:])
    return sentences


def _ends(sentence: str, match: re.Match[str]) -> bool:
    mark = match.group()
    if match["gap"] is None or not mark.startswith(".") or mark.startswith(".."):
        return True
    found = _BEFORE.search(sentence[: len(sentence) - len(mark)])
    before = found.group() if found else ""
    word = before.lower()
    if word in _NEVER or (_INITIAL.fullmatch(before) and before.isupper() and before != "I"):
        return False
    if word in _SOMETIMES or _ACRONYM.fullmatch(before):
        return match["next"] in _STARTERS
    return True
