"""Presets of a fabric: variables of NCCL, libfabric, UCX and MPI for one kind of network, each with its source.

A preset is laid under the site that names it, so that a plan sees one set of variables, and each still knows the file
and line that it came from.
"""

from collections.abc import Mapping

from bertjob.config.job import Family, Section
from bertjob.config.validate import build
from bertjob.config.yaml import Branch, Leaf, Tree, merge, nest
from bertjob.errors import SpecError
from bertjob.text import did_you_mean


class Variable(Section, frozen=True):
    """One environment variable of a preset."""

    value: str
    """Its value; may name variables."""
    source: str
    """Who says so: one of the preset's `sources`."""
    why: str = ""
    """What it is good for."""
    mpi: Family | None = None
    """The one MPI family that reads it (default: all, or none)."""


class Preset(Section, frozen=True):
    """A kind of network."""

    name: str
    """Its name, e.g. `slingshot`."""
    description: str
    """One line for people."""
    fast: bool
    """Whether NCCL has more than TCP here, so that TCP is a fault."""
    sources: dict[str, str]
    """Documents with their dates, by the short names that the variables use."""
    variables: dict[str, Variable]
    """The environment variables."""


def preset_of(site: Tree) -> Leaf | None:
    """The name of the preset that a site names, if it does."""
    named = _below(site, "fabric").get("preset")
    return named if isinstance(named, Leaf) and isinstance(named.value, str) else None


def lay_under(site: Tree, tree: Tree) -> Tree:
    """The site with what a preset says and the site itself does not, neither in `env` nor in `fabric.env`.

    Args:
        site: the site.
        tree: the preset.

    Raises:
        SpecError: the preset is not well formed; says file, line and key.
    """
    preset = build(tree, Preset)
    lower: Tree = nest("fabric.fast", _below(tree)["fast"], tree.origin)
    own = {*_below(site, "env"), *_below(site, "fabric", "env")}
    for name, said in _below(tree, "variables").items():
        variable = preset.variables[name]
        if variable.source not in preset.sources:
            meant = did_you_mean(variable.source, preset.sources)
            raise SpecError(f"{said.origin}: variables.{name}.source: there is no source {variable.source!r}: {meant}")
        if name not in own:
            section = "fabric.env" if variable.mpi is None else f"fabric.mpi_env.{variable.mpi}"
            leaf = Leaf(variable.value, variable.value, said.origin)
            lower = merge(lower, nest(section, Branch({name: leaf}, said.origin), said.origin))
    return merge(lower, site)


def _below(tree: Tree | None, *path: str) -> Mapping[str, Tree]:
    """What is in the section at `path`; nothing where there is none."""
    for key in path:
        tree = tree.children.get(key) if isinstance(tree, Branch) else None
    return tree.children if isinstance(tree, Branch) else {}
