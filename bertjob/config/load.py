"""Jobs and sites from files and options, every value with the place it came from."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import yaml

from bertjob.config import bounded, walltime
from bertjob.config.fabric import lay_under, preset_of
from bertjob.config.job import Job, OneBit, Resources
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.config.registry.tasks import unread_sections
from bertjob.config.search import find
from bertjob.config.site import Site
from bertjob.config.validate import build, origins
from bertjob.config.yaml import Branch, Leaf, Origin, Tree, merge, nest, read_tree, scalar
from bertjob.errors import SpecError
from bertjob.text import reason

Value = TypeVar("Value", Job, Site)
_COMPLAINT = re.compile(r"([a-z_]+(?:\.[\w-]+)*):? '?([\w-]*)")


class Sourced(msgspec.Struct, Generic[Value], frozen=True):
    """A job or site and where each of its keys was said; keys that are not there have their default."""

    value: Value
    origins: Mapping[str, Origin]


class JobFile(msgspec.Struct, frozen=True):
    """A job as its file and the files it builds on describe it, before settings and options are laid over it.

    Attributes:
        given: the name or path that it was asked for by.
        tree: its keys.
    """

    given: str
    tree: Tree

    @property
    def names(self) -> tuple[str, ...]:
        """What a setting may call the job: the word that it was asked for by, and the name in its file."""
        name = self.tree.children.get("name") if isinstance(self.tree, Branch) else None
        return (self.given, name.text) if isinstance(name, Leaf) else (self.given,)

    @property
    def keys(self) -> tuple[str, ...]:
        """The dotted keys that the files set."""
        return tuple(key for key, _ in origins(self.tree))


def read_job_file(name: str) -> JobFile:
    """Read a job's file and the files it builds on.

    Args:
        name: ``squad``, or the path of a YAML file.

    Raises:
        SpecError: no such job, or not YAML; one line with file and line.
    """
    return JobFile(name, _with_bases(find("job", name), ()))


def build_job(
    file: JobFile, settings: Iterable[str] = (), options: Mapping[str, Any] | None = None, own: Mapping[str, str] = {}
) -> Sourced[Job]:
    """A job with ``key.path=value`` settings, then options, then its own settings laid over it.

    Args:
        file: the job.
        settings: as after ``--set``, e.g. ``train.epochs=1``; values are YAML.
        options: values of dotted keys, each with the name of the option that said it, e.g.
            ``{"resources.nodes": ("--nodes", 4)}``.
        own: settings for this job alone, where the others are said to several, by how they were given.

    Raises:
        SpecError: an unknown key or a wrong value; one line with file, line and key.
    """
    tree = file.tree
    for setting in settings:
        tree = merge(tree, _setting(setting))
    for key, (option, value) in (options or {}).items():
        tree = merge(tree, nest(key, _option(value, Origin(option)), Origin(option)))
    for given, setting in own.items():
        tree = merge(tree, _setting(setting, given))
    return _load(tree, Job)


def load_job(name: str, settings: Iterable[str] = ()) -> Sourced[Job]:
    """A job by name or path, with ``key.path=value`` settings laid over it.

    Raises:
        SpecError: as for `read_job_file` and `build_job`.
    """
    return build_job(read_job_file(name), settings)


def load_site(name: str) -> Sourced[Site]:
    """A site by name or path.

    What its `fabric.preset` says is laid under it.

    Raises:
        SpecError: as for jobs.
    """
    path = find("site", name)
    return _load(_with_preset(_read(path), path.parent), Site)


def read_job(path: Path) -> Job:
    """The resolved job of a run directory."""
    return _load(_read(path), Job).value


def read_site(path: Path) -> Site:
    """The resolved site of a run directory."""
    return _load(_read(path), Site).value


def dump(value: msgspec.Struct) -> str:
    """YAML of a job or site, sections without sub-sections on one line, keys that say nothing left out.

    So are sections of a job that its task or its optimizer does not read, unless they say something.
    """
    said = _said(value)
    if isinstance(value, Job):
        for name in _unread(value):
            said.pop(name, None)
        if OPTIMIZERS[value.optimizer.name].one_bit is None and value.optimizer.onebit == OneBit():
            said.get("optimizer", {}).pop("onebit", None)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(said, Dumper=dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def _unread(job: Job) -> Iterator[str]:
    default = Job(name=job.name)
    for name in unread_sections(job):
        if getattr(job, name) == getattr(default, name):
            yield name


def _said(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {field.name: (getattr(value, field.name), field.default) for field in msgspec.structs.fields(value)}
        said = {name: _said(item) for name, (item, default) in fields.items() if item is not None or default}
        return {name: item for name, item in said.items() if item not in ({}, [])}
    if isinstance(value, Mapping):
        return {key: _said(item) for key, item in value.items()}
    return [_said(item) for item in value] if isinstance(value, tuple | list) else value


def _load(tree: Tree, kind: type[Value]) -> Sourced[Value]:
    value = build(tree, kind)
    said = dict(origins(tree))
    if isinstance(value, Job):
        if section := value.deepspeed:
            from bertjob.config.checks.deepspeed_config import check_deepspeed  # few jobs have one

            precision, one_bit = value.precision, OPTIMIZERS[value.optimizer.name].one_bit is not None
            _at("deepspeed", said, lambda: check_deepspeed(section, precision, one_bit=one_bit))
        _check_resources(value.resources, "resources", said)
    else:
        _check_resources(value.defaults, "defaults", said)
        if value.limits.time:
            limit = value.limits.time
            _at("limits.time", said, lambda: walltime.parse(limit))
    return Sourced(value, said)


def _check_resources(resources: Resources, section: str, said: Mapping[str, Origin]) -> None:
    time = resources.time
    if time is not None:
        _at(f"{section}.time", said, lambda: walltime.parse(time))


def _at(key: str, said: Mapping[str, Origin], check: Callable[[], object]) -> None:
    """Run a check of one key and put the key's place before its message."""
    try:
        check()
    except SpecError as error:
        raise SpecError(located(f"{key}: {error}", said)) from None


def located(line: str, said: Mapping[str, Origin]) -> str:
    """A complaint such as ``env: RANDOM belongs to bash``, behind the place where its key was said; else as it is.

    Args:
        line: begins with a key, after which the name of one below it may come.
        said: where keys were said.
    """
    if (match := _COMPLAINT.match(line)) is None:
        return line
    key, below = match[1], f"{match[1]}."
    place = said.get(f"{below}{match[2]}") or said.get(key)
    place = place or next((at for name, at in said.items() if name.startswith(below)), None)
    return f"{place}: {line}" if place else line


def _with_bases(path: Path, above: tuple[Path, ...]) -> Tree:
    if path.resolve() in above:
        raise SpecError(f"{path}: base: the files build on each other in a circle")
    tree = _read(path)
    if not isinstance(tree, Branch) or "base" not in tree.children:
        return tree
    base = tree.children["base"]
    if not isinstance(base, Leaf) or not isinstance(base.value, str):
        raise SpecError(f"{tree.key_origins['base']}: base: the name or path of a job is wanted")
    try:
        lower = find("job", base.value, beside=path.parent)
    except SpecError as error:
        raise SpecError(f"{base.origin}: base: {error}") from None
    own = Branch({key: child for key, child in tree.children.items() if key != "base"}, tree.origin, tree.key_origins)
    return merge(_with_bases(lower, (*above, path.resolve())), own)


def _with_preset(site: Tree, folder: Path) -> Tree:
    named = preset_of(site)
    if named is None:
        return site
    try:
        path = find("fabric", named.text, beside=folder)
    except SpecError as error:
        raise SpecError(f"{named.origin}: fabric.preset: {error}") from None
    return lay_under(site, _read(path))


def _read(path: Path) -> Tree:
    try:
        text = bounded.read_text(path, bounded.SMALL)
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SpecError(f"{path}: cannot be read: {why}") from None
    return read_tree(text, str(path))


def _setting(setting: str, given: str | None = None) -> Tree:
    key, equals, text = setting.partition("=")
    origin = Origin(f"--set {given or setting}")
    if not equals:
        raise SpecError(f"{origin}: write it as --set key.path=value, e.g. --set train.epochs=1")
    # Only what opens like a YAML collection or quotation is one: file names may hold any other character.
    is_yaml = text[:1] in {"{", "[", '"', "'"}
    tree = read_tree(text, str(origin), lines=False) if is_yaml else Leaf(scalar(text), text, origin)
    return nest(key.strip(), tree, origin)


def _option(value: Any, origin: Origin) -> Tree:
    return Leaf(value, str(value), origin)
