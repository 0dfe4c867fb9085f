"""How the command line of an engine is read, for lint and port."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Role = Literal[
    "image",
    "mount",
    "volume",
    "volumes",
    "bind",
    "workdir",
    "environment",
    "environments",
    "entrypoint",
    "stdin",
    "tty",
    "gpus",
    "gpus-amd",
    "device",
    "module",
    "annotation",
    "host",
    "user",
    "implied",
]
"""What an option of an engine sets.

`mount` takes ``type=bind,source=…,destination=…``; `volume` ``SOURCE:TARGET``, `volumes` several of them, `bind` also
``SOURCE`` alone; `environment` ``NAME=VALUE`` or ``NAME``, `environments` several. `host` shares a namespace of the
host if its value is ``host``. `implied` is what engines on clusters do anyway.
"""


class CommandLine(msgspec.Struct, frozen=True, kw_only=True):
    """How lint and port read the command line of an engine.

    Attributes:
        valued: options whose value is the next word, unless it is joined to them.
        roles: what options set; port leaves all others out and names them.
        verbs: words one of which must follow the program, e.g. ``run``, and whether the image's entry point runs then.
        operands: words between the options and the program: the image, or none where an option names it.
        aliases: other programs with the same command line.
        schemes: what may stand before the name of an image in a registry.
        dropped: options that no other engine can be given, each with the reason.
        tty_in_batch: what an option for a terminal does in a batch job, for lint.
        own: values of options that stand for the engine's default: other engines have theirs.
        mount_fields: fields that `mount` takes, where any other ends the program; empty: not checked.
    """

    valued: frozenset[str]
    roles: Mapping[str, Role]
    verbs: Mapping[str, bool] = {}
    operands: int = 1
    aliases: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    dropped: Mapping[str, str] = {}
    own: frozenset[str] = frozenset()
    tty_in_batch: str = "asks for one"
    mount_fields: frozenset[str] = frozenset()

    @property
    def sets_variables(self) -> bool:
        """Whether ``--env`` takes ``NAME=VALUE`` with any value."""
        return self.roles.get("--env") == "environment"


def options(text: str) -> frozenset[str]:
    """A set of options, written with blanks between them."""
    return frozenset(text.split())
