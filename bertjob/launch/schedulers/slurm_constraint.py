"""Node features of Slurm, two expressions of which a node must fulfil both.

Measured on 22.05.8: operators are read from left to right, so that ``a|b&c`` is ``(a|b)&c``; parentheses must not be
nested, but may hold brackets; and beside a count (``a*2``) the other features are not required of every node.
"""

import re
from collections.abc import Iterator


def both(site: str, job: str) -> str | None:
    """The constraint of nodes that fulfil both; None where Slurm has no way to write it.

    Args:
        site: what the site asks of every node.
        job: what the job asks for; where it asks for the site's features as well, it stays as it is.
    """
    if site == job or _requires(job, site):
        return job
    if "*" in site + job:
        return job if _features(site) <= _features(job) else None
    if "(" not in site + job:
        return f"({site})&({job})"
    if "(" not in site:
        return f"{job}&({site})"  # from left to right: the last one is required of all before it
    if "(" not in job:
        return f"{site}&({job})"
    if not any(operator == "|" for operator, _ in _terms(job)):
        return f"{site}&{job}"
    return f"{job}&{site}" if not any(operator == "|" for operator, _ in _terms(site)) else None


def _requires(job: str, site: str) -> bool:
    """Whether the job's constraint requires the site's as it stands: among the terms behind its last ``|``."""
    terms = list(_terms(job))
    last = max((place for place, (operator, _) in enumerate(terms) if operator == "|"), default=0)
    behind = {_bare(term) for _, term in (terms[last + 1 :] if last else terms)}
    own = list(_terms(site))
    whole = {site} if any(operator == "|" for operator, _ in own) else {_bare(term) for _, term in own}
    return whole <= behind


def _bare(term: str) -> str:
    return term[1:-1] if term.startswith("(") and term.endswith(")") else term


def _features(constraint: str) -> set[str]:
    return set(re.findall(r"[^\s&|,*()\[\]!]+", re.sub(r"\*\d+", "", constraint)))


def _terms(constraint: str) -> Iterator[tuple[str, str]]:
    """The terms outside of parentheses and brackets, each with the operator before it: ``&`` for the first."""
    depth, operator, term = 0, "&", ""
    for letter in constraint:
        depth += letter in "([" and 1
        depth -= letter in ")]" and 1
        if depth == 0 and letter in "&|,":
            yield operator, term
            operator, term = "&" if letter == "," else letter, ""
        else:
            term += letter
    yield operator, term
