"""Names of images: in a registry, as paths, and in the words of each engine."""

import re
from collections.abc import Collection
from typing import NamedTuple

from bertjob.launch.argv import Word

_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]+)?"
_END = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"


class Form(NamedTuple):
    """A form that names of images have; compiled when one is compared, for most commands read a single name or none."""

    pattern: str

    def fullmatch(self, name: str) -> re.Match[str] | None:
        """Whether the whole name has the form."""
        return re.fullmatch(self.pattern, name)

    def match(self, name: str) -> re.Match[str] | None:
        """Whether the name begins so."""
        return re.match(self.pattern, name)


REFERENCE = Form(rf"(?:{_HOST}/)?{_NAME}(?:/{_NAME})*{_END}")
"""``[HOST[:PORT]/]NAME[:TAG][@sha256:…]`` by the grammar of the OCI distribution; names are in lower case."""
PATH = Form(r"(?sa)/.*|\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\}).*")
"""An absolute path, which a variable may begin: ``$NAME`` or ``${NAME}``, and nothing else that a shell would take."""
ENROOT = Form(rf"(?:[^@/#\s]+@)?(?:{_HOST}#)?{_NAME}(?:/{_NAME})*{_END}")
"""``[USER@][HOST#]NAME[:TAG]``: how enroot, and with it pyxis and EDF, writes a reference."""
URI = Form(r"[a-z][a-z-]*://\S+")
"""``docker://…``, ``oras://…`` and what else Apptainer takes."""
TYPED = Form(r"(?:docker|id):\S+")
"""How shifter writes a reference."""

_EXAMPLE = "nvcr.io/nvidia/pytorch:24.12-py3"
_FILE = Form(r".*\.(?:sif|sqsh|squashfs|sqfs|tar)")
_REGISTRY = Form(rf"({_HOST})/(.+)")


def problem(image: str, engine: str, forms: Collection[Form]) -> str:
    """Why an engine that takes images of these forms cannot take this one; empty when it can."""
    if _FILE.fullmatch(image) and not PATH.match(image):
        wanted = "the absolute path" if PATH in forms else f"a reference like {_EXAMPLE}"
        return f"is the name of a file: {wanted} is wanted"
    if any(form.fullmatch(image) for form in forms):
        return ""
    if PATH.match(image):
        return f"is a path, and engine {engine} wants a reference like {_EXAMPLE}"
    if REFERENCE.fullmatch(image.lower()):
        return f"is not in lower case, as names of images are: {image.lower()}"
    return f"is no reference like {_EXAMPLE}" + " and no absolute path" * (PATH in forms)


def with_scheme(image: Word, scheme: str, own: Form) -> Word:
    """A reference with its scheme before it; paths, and what has the engine's own form, stay as they are."""
    if PATH.match(str(image)) or own.fullmatch(str(image)):
        return image
    return scheme + image


def enroot(image: Word) -> Word:
    """A reference as enroot writes it: ``nvcr.io#nvidia/pytorch:24.12`` for ``nvcr.io/nvidia/pytorch:24.12``."""
    match = _REGISTRY.fullmatch(image) if isinstance(image, str) else None
    if match is None or not ("." in match[1] or ":" in match[1] or match[1] == "localhost"):
        return image
    return f"{match[1]}#{match[2]}"
