"""The ports that shell text may stand for: ``$((20000 + SLURM_JOB_ID % 10000))`` is one of 20000 to 29999."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class Span(NamedTuple):
    """All numbers between two; infinite where nothing tells an end."""

    least: float
    most: float


_LONGEST = 500
"""Characters of a text that is looked at."""
_ANY = Span(0.0, math.inf)
_OF_BASH = {"RANDOM": Span(0.0, 32767.0)}
_ARITHMETIC = re.compile(r"\$\(\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)\)|\$\[([^\[\]]*)\]")
_COMMAND = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")
_DEFAULT = re.compile(r"\$\{\w+:?[-=]([^{}]*)\}")
_LAST = re.compile(r"\$\{\w+:\s+-(\d{1,2})\}|\$\{\w+:\(-(\d{1,2})\)\}")
_SHUF = re.compile(r"\bshuf\b.*?(?:-\w*i\s*|--input-range[= ])(\d{1,9})-(\d{1,9})")
_SEQ = re.compile(r"\bseq\s+(\d{1,9})\s+(\d{1,9})\s*\|.*\b(?:shuf|sort -R)")
_TAIL = re.compile(r"\btail\s+(?:-c\s*|--bytes=)-?(\d{1,2})\s*$")
_CALCULATED = re.compile(r"\s*(?:expr\s+(?P<expr>.*)|echo\s+(?:-n\s+)?(?P<echo>[^|]*?)(?:\|\s*bc\s*)?)", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:10#)?(?:<(?P<span>[\d.einf+-]+),(?P<end>[\d.einf+-]+)>|(?P<number>\d{1,9})|"
    r"\$?\{?(?P<name>[A-Za-z_]\w*|\$\$|\$\d)\}?|(?P<sign>[-+*/%()]))\s*"
)
_RANKS = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "%": 2}


def span(text: str, known: Mapping[str, Span]) -> Span | None:
    """The numbers that a value may be, or the port behind the last colon of it; None for what is no number.

    Args:
        text: as the script has it: a number, ``HOST:PORT``, ``$((…))``, ``$(shuf -i 1-9)``, ``${NAME:-…}`` …
        known: variables of the script.
    """
    if len(text) > _LONGEST:
        return None
    while True:  # from the inside to the outside
        before = text
        text = _ARITHMETIC.sub(lambda match: _text(_calculated(match[1] or match[2] or "", known)), text)
        text = _COMMAND.sub(lambda match: _text(_answer(match[1] or match[2] or "", known)), text)
        text = _LAST.sub(lambda match: _text(_digits(int(match[1] or match[2]))), text)
        text = _DEFAULT.sub(lambda match: match[1], text)
        if text == before or len(text) > 2 * _LONGEST:
            return _calculated(text.rpartition(":")[2], known)


def spans(values: Iterable[tuple[str, str]]) -> dict[str, Span]:
    """What is known of variables.

    Args:
        values: names and values in the order of the script; of a name that is there twice nothing is known.
    """
    known: dict[str, Span] = dict(_OF_BASH)
    seen: set[str] = set()
    for name, value in values:
        found = None if name in seen else span(value, known)
        seen.add(name)
        known[name] = found or _ANY
    return known


def _answer(command: str, known: Mapping[str, Span]) -> Span:
    """What a command may print."""
    drawn = _SHUF.search(command) or _SEQ.search(command)
    last, calculated = _TAIL.search(command), _CALCULATED.fullmatch(command)
    if drawn:
        return Span(float(drawn[1]), float(drawn[2]))
    if last:
        return _digits(int(last[1]))
    if calculated:
        return _calculated(re.sub(r"[\\\"']", "", calculated["expr"] or calculated["echo"] or ""), known) or _ANY
    return _ANY


def _digits(count: int) -> Span:
    return Span(0.0, 10.0**count - 1)


def _text(found: Span | None) -> str:
    return "<{},{}>".format(*(found or _ANY))


def _calculated(text: str, known: Mapping[str, Span]) -> Span | None:
    """What an arithmetic expression may be; None for what is none, or has other operators than ``+ - * / %``."""
    values: list[Span] = []
    signs: list[str] = []
    at, wanted = 0, True  # a value, or an operator
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or wanted == (token["sign"] not in {None, "("}):
            return None
        at = token.end()
        sign = token["sign"]
        if sign is None:
            values.append(_value(token, known))
            wanted = False
        elif sign == "(":
            signs.append(sign)
        else:
            rank = _RANKS.get(sign, 1)
            while signs and signs[-1] != "(" and (sign == ")" or _RANKS[signs[-1]] >= rank):
                _apply(signs, values)
            if sign != ")":
                signs.append(sign)
                wanted = True
            elif not signs:
                return None
            else:
                signs.pop()
    if wanted or "(" in signs:
        return None
    while signs:
        _apply(signs, values)
    return values[0]


def _value(token: re.Match[str], known: Mapping[str, Span]) -> Span:
    if token["number"]:
        return Span(float(token["number"]), float(token["number"]))
    if token["span"]:
        return Span(float(token["span"]), float(token["end"]))
    return known.get(token["name"], _ANY)


def _apply(signs: list[str], values: list[Span]) -> None:
    right, left = values.pop(), values.pop()
    values.append(_OPERATORS[signs.pop()](left, right))


def _times(left: Span, right: Span) -> Span:
    products = [0 if 0 in {one, other} else one * other for one in left for other in right]
    return Span(min(products), max(products))


def _divided(left: Span, right: Span) -> Span:
    return Span(0, left.most / right.least if right.least > 0 else left.most)


def _rest(left: Span, right: Span) -> Span:
    return Span(0, min(left.most, max(right.most - 1, 0)))


_OPERATORS: Mapping[str, Callable[[Span, Span], Span]] = {
    "+": lambda left, right: Span(left.least + right.least, left.most + right.most),
    "-": lambda left, right: Span(left.least - right.most, left.most - right.least),
    "*": _times,
    "/": _divided,
    "%": _rest,
}
