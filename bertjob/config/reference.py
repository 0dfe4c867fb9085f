"""The keys of jobs and sites as documentation: the JSON Schema for editors and the reference page.

The text of each key is the docstring under its field in config/job.py and config/site.py; it is read from their source,
so that it costs nothing when jobs are only loaded.
"""

import ast
import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from bertjob.config.job import LARGEST, Job
from bertjob.config.search import Kind
from bertjob.config.site import Site

KINDS: dict[Kind, type[msgspec.Struct]] = {"job": Job, "site": Site}
_BASE = "Name or path of the job that this one builds on; its own keys are laid over it."


class Key(msgspec.Struct, frozen=True):
    """One key: dotted path, type in words, default as it is written in YAML (None where there is none), and text."""

    path: str
    kind: str
    default: str | None
    text: str


def schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (2020-12) of job or site files."""
    root = KINDS[kind]
    (made,), definitions = msgspec.json.schema_components([root], ref_template="#/$defs/{name}")
    for struct in _structs(root):
        definition = definitions[struct.__name__]
        definition["description"] = inspect.getdoc(struct)
        for name, text in _docstrings(struct).items():
            definition["properties"][name]["description"] = text
    if kind == "job":
        definitions["Job"]["properties"]["base"] = {"type": "string", "description": _BASE}
        definitions["Job"]["required"] = []  # a file with `base` takes the name from there
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "$defs": definitions}


def keys(kind: Kind) -> list[Key]:
    """All keys of job or site files, in the order of the models."""
    own = [Key("base", "text", None, _BASE)] if kind == "job" else []
    return own + list(_keys(KINDS[kind], ""))


def reference(kind: Kind) -> str:
    """jobs/KEYS.md or slurm/sites/KEYS.md: every key, as Markdown."""
    lines = [f"# Keys of {kind} files", "", "Made from `bertjob/config/` by `make regen`; do not edit.", ""]
    lines += [f"A whole number is at most {LARGEST} where no other limit is given.", ""]
    lines += ["| key | type | default | |", "|---|---|---|---|"]
    lines += [
        f"| `{key.path}` | {key.kind} | {'' if key.default is None else f'`{key.default}`'} | {key.text} |"
        for key in keys(kind)
    ]
    return "\n".join([*lines, ""])


def _keys(struct: type[msgspec.Struct], path: str) -> Iterator[Key]:
    texts = _docstrings(struct)
    for field in msgspec.structs.fields(struct):
        name = f"{path}.{field.name}" if path else field.name
        if inner := _struct_in(field.type):
            listed = get_origin(field.type) is tuple
            yield from _keys(inner, f"{name}[]" if listed else name)
        else:
            yield Key(name, _words(msgspec.inspect.type_info(field.type)), _default(field), texts[field.name])


def _structs(root: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield root
    for field in msgspec.structs.fields(root):
        if inner := _struct_in(field.type):
            yield from _structs(inner)


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if get_origin(kind) is tuple:
        return _struct_in(get_args(kind)[0])
    return None


def _docstrings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field name to the text that stands under it in the source."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found


def _words(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.Metadata(type=inner):
            return _words(inner)
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_words(option) for option in types if not isinstance(option, msgspec.inspect.NoneType))
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            whole = "whole number" if isinstance(info, msgspec.inspect.IntType) else "number"
            bounds = (("≥", info.ge), (">", info.gt), ("≤", info.le), ("<", info.lt))
            limits = [f"{sign} {limit}" for sign, limit in bounds if limit not in (None, LARGEST)]
            return " ".join([whole, ", ".join(limits)]).strip()
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"list of {_words(item)}"
        case msgspec.inspect.TupleType(item_types=items):
            return f"list of {len(items)} numbers"
        case msgspec.inspect.DictType(value_type=item):
            return "keys with text" if isinstance(item, msgspec.inspect.StrType) else "keys with values"
    return "anything"


def _default(field: msgspec.structs.FieldInfo) -> str | None:
    """The default as YAML; None where there is none, or it says nothing."""
    match field.default:
        case msgspec.NODEFAULT | None | "" | () | {}:
            return None
        case bool(value):
            return str(value).lower()
        case tuple(items):
            return f"[{', '.join(map(str, items))}]"
        case value:
            return str(value)
