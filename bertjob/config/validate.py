"""From a tree to frozen values: types and limits checked, every error with its file, line and key."""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from bertjob.config.job import LARGEST
from bertjob.config.yaml import Branch, Items, Leaf, Origin, Tree, plain
from bertjob.errors import SpecError
from bertjob.text import did_you_mean


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


Value = TypeVar("Value", bound=msgspec.Struct)


def build(tree: Tree, kind: type[Value]) -> Value:
    """The tree as a value of `kind`.

    Raises:
        SpecError: an unknown key (names the nearest known one), a missing one, or a value out of its type or limits.
    """
    try:
        return cast("Value", _struct(tree, kind, ""))
    except _UnknownKeyError as unknown:
        raise SpecError(f"{unknown.at}: unknown key {unknown.key!r}: {_meant(unknown, kind)}") from None


def origins(tree: Tree, path: str = "") -> Iterator[tuple[str, Origin]]:
    """Every key that was said, dotted, with where it was said."""
    if isinstance(tree, Branch) and tree.children:
        for key, child in tree.children.items():
            yield from origins(child, f"{path}.{key}" if path else key)
    elif path:
        yield path, tree.origin


class _UnknownKeyError(Exception):
    """A key that its section does not have; the line for people needs all sections, which only the root knows."""

    def __init__(self, at: Origin, key: str, beside: list[str]) -> None:
        super().__init__(key)
        self.at = at
        self.key = key
        self.beside = beside


def _meant(unknown: _UnknownKeyError, root: type[msgspec.Struct]) -> str:
    """The end of the error line: the same name in other sections, else the nearest in this one."""
    last = unknown.key.rpartition(".")[2]
    if elsewhere := [repr(key) for key in _keys(root, "") if key.rpartition(".")[2] == last]:
        return f"did you mean {' or '.join(elsewhere)}?"
    return did_you_mean(unknown.key, unknown.beside)


def _keys(kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    """All keys, dotted; sections and what is in them."""
    for field in msgspec.structs.fields(kind):
        key = _join(path, field.name)
        yield key
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _keys(field.type, key)


def _struct(tree: Tree, kind: type[msgspec.Struct], path: str) -> msgspec.Struct:
    if not isinstance(tree, Branch):
        what = path or "the file"
        raise SpecError(f"{tree.origin}: {what}: keys with values are wanted, got {_show(tree)}")
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in tree.children:
        if key not in fields:
            at = tree.key_origins.get(key, tree.origin)
            raise _UnknownKeyError(at, _join(path, key), [_join(path, name) for name in fields])
    missing = [name for name, field in fields.items() if field.required and name not in tree.children]
    if missing:
        raise SpecError(f"{tree.origin}: the key {_join(path, missing[0])!r} is missing")
    return kind(**{key: _value(child, fields[key].type, _join(path, key)) for key, child in tree.children.items()})


def _value(tree: Tree, kind: Any, path: str) -> Any:
    bare = _bare(kind)
    if get_origin(bare) in (Union, UnionType):
        options = [option for option in get_args(bare) if option is not NoneType]
        if isinstance(tree, Leaf) and tree.value is None and NoneType in get_args(bare):
            return None
        return _value(tree, options[0], path) if len(options) == 1 else _leaf(tree, kind, path)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return _struct(tree, bare, path)
    if get_origin(bare) is tuple:
        return _tuple(tree, get_args(bare), path)
    if get_origin(bare) is dict:
        return _dict(tree, get_args(bare)[1], path)
    if bare is Any:
        return plain(tree)
    return _leaf(tree, kind, path)


def _tuple(tree: Tree, kinds: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    if not isinstance(tree, Items):
        raise SpecError(f"{tree.origin}: {path}: a list is wanted, got {_show(tree)}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(tree.items)
    if len(kinds) != len(tree.items):
        raise SpecError(f"{tree.origin}: {path}: a list of {len(kinds)} values is wanted, got {len(tree.items)}")
    return tuple(
        _value(item, kind, f"{path}[{i}]") for i, (item, kind) in enumerate(zip(tree.items, kinds, strict=True))
    )


def _dict(tree: Tree, kind: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(tree, Branch):
        raise SpecError(f"{tree.origin}: {path}: keys with values are wanted, got {_show(tree)}")
    return {key: _value(child, kind, _join(path, key)) for key, child in tree.children.items()}


def _leaf(tree: Tree, kind: Any, path: str) -> Any:
    bare = _bare(kind)
    if not isinstance(tree, Leaf):
        raise SpecError(f"{tree.origin}: {path}: one value is wanted, got {_show(tree)}")
    value = tree.value
    if bare is str and value is not None:  # `time: 00:20:00`, `partition: 7`: what was written is meant
        value = tree.text
    if get_origin(bare) is Literal and value not in get_args(bare):
        options = [str(option) for option in get_args(bare)]
        raise SpecError(f"{tree.origin}: {path}: {tree.text!r} is none of {', '.join(options)}")
    try:
        value = msgspec.convert(value, type=kind)
    except msgspec.ValidationError:
        raise SpecError(f"{tree.origin}: {path}: {wanted(kind, value)} is wanted, got {_show(tree)}") from None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise SpecError(f"{tree.origin}: {path}: {tree.text!r} is too large")
    if isinstance(value, str) and ("\0" in value or "\n" in value):
        raise SpecError(f"{tree.origin}: {path}: text of one line is wanted, without line breaks or NUL")
    return value


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _show(tree: Tree) -> str:
    match tree:
        case Leaf(value=None):
            return "nothing"
        case Leaf(text=text):
            return repr(text)
        case Items():
            return "a list"
        case Branch():
            return "keys with values"
