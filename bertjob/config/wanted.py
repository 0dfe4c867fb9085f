"""What a key wants, in the words of an error line, from the type and limits of its field."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from msgspec import Meta

from bertjob.config.job import LARGEST


def wanted(kind: Any, value: Any) -> str:
    """What would be right, like ``a whole number of at least 1``.

    Args:
        kind: type of the field, maybe annotated with limits.
        value: what was said in its place.
    """
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return " or ".join(_words(option, value) for option in options if option is not NoneType)


def _words(kind: Any, value: Any) -> str:
    bare, limits = get_args(kind)[:2] if get_origin(kind) is Annotated else (kind, Meta())
    if get_origin(bare) is Literal:
        return ", ".join(map(str, get_args(bare)))
    if bare is bool:
        return "true or false"
    if bare is str:
        return _text(limits, value)
    return _number("a whole number" if bare is int else "a number", limits, value)


def _text(limits: Meta, value: Any) -> str:
    if limits.max_length is not None and isinstance(value, str) and len(value) > limits.max_length:
        return f"text of at most {limits.max_length} characters"
    return str((limits.extra or {}).get("wanted", "text"))


def _number(what: str, limits: Meta, value: Any) -> str:
    low, high = limits.ge, limits.le
    if high == LARGEST and not (isinstance(value, int) and value > LARGEST):
        high = None  # worth a word only to those who said more
    if low is not None and high is not None:
        return f"{what} from {low} to {high}"
    bounds = (("greater than", limits.gt), ("of at least", low), ("less than", limits.lt), ("of at most", high))
    return " ".join([what, " and ".join(f"{words} {bound}" for words, bound in bounds if bound is not None)]).rstrip()
