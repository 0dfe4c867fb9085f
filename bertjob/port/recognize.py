"""From the command line of an engine to its container, and whether the job has GPUs."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from bertjob.errors import PreflightError
from bertjob.launch.engines import ENGINES, Container
from bertjob.launch.engines.command_line import CommandLine, Role
from bertjob.lint.bash.commands import Layer, Option, names_image
from bertjob.lint.bash.sbatch_script import Expansion, Script, Word
from bertjob.lint.steps import Start, settings

_COUNTED = frozenset(
    {
        *("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "cpus-per-gpu", "mem-per-gpu"),
        *("ntasks-per-gpu", "gpu-bind", "gpu-freq"),
    }
)
_NAMED = frozenset({"gres", "tres-per-task", "constraint", "partition"})
"""Options of Slurm whose value may name GPUs."""
_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "nvidia",
    "GPU_DEVICE_ORDINAL": "amd",
    "HIP_VISIBLE_DEVICES": "amd",
    "ROCR_VISIBLE_DEVICES": "amd",
}
_NO_DEVICES = frozenset({"", "-1", "NoDevFiles"})
_NO_COUNTERPART = "it has no counterpart that is sure"
_TERMINAL = "a batch job has no terminal"


def gpu_vendor(script: Script, start: Start) -> Literal["", "nvidia", "amd"]:
    """The maker of the GPUs that a command has by its script: by #SBATCH, its srun, or a variable; empty for none.

    NVIDIA is taken for the maker where nothing names AMD.
    """
    srun = start.srun
    gpu_options = [(directive.long or "", directive.value or "") for directive in script.directives]
    gpu_options += [(one.name[2:], one.value.value if one.value else "") for one in (srun.options if srun else ())]
    makers = {
        _VARIABLES[name] for name, value, _ in settings(script) if name in _VARIABLES and value not in _NO_DEVICES
    }
    if "amd" in makers:
        return "amd"
    return "nvidia" if makers or any(_asks(name, value) for name, value in gpu_options) else ""


def gpu_options(engine: str) -> str:
    """What makes an engine show GPUs; empty where it shows them untold."""
    row = ENGINES[engine]
    if row.gpu_environment:
        return "export " + " ".join(f"{name}={value}" for name, value in row.gpu_environment.items())
    without, told = (row.command(Container("", (), "", "", gpus=count)) for count in (0, 1))
    added = [str(word) for word in told if word not in without]
    return f"add {' '.join(added)} to {engine}" if added else ""


def _asks(name: str, value: str) -> bool:
    return (name in _COUNTED and value != "0") or (name in _NAMED and "gpu" in value.lower())


class Mounted(msgspec.Struct, frozen=True):
    """A folder of the host inside the container, in the words of the script."""

    source: Word
    target: Word
    readonly: bool


class Told(msgspec.Struct, frozen=True):
    """What an engine is told by a command of a script.

    Attributes:
        image: without the scheme of its engine.
        binds: in their order.
        workdir: None: the image's, or the folder that the command is called in.
        environment: names and values; None takes the caller's value.
        entrypoint: the program that is put in the place of the image's entry point.
        entrypoint_runs: whether the image's own entry point runs.
        gpus: the maker of the GPUs that are asked for; empty for none.
        stdin: the program reads standard input.
        annotations: keys and values.
        left: options that another engine cannot be told, each with the reason.
    """

    image: Word
    binds: tuple[Mounted, ...] = ()
    workdir: Word | None = None
    environment: tuple[tuple[str, Word | None], ...] = ()
    entrypoint: Word | None = None
    entrypoint_runs: bool = True
    gpus: Literal["", "nvidia", "amd"] = ""
    stdin: bool = False
    annotations: tuple[tuple[str, str], ...] = ()
    left: tuple[tuple[str, str], ...] = ()


def read(layer: Layer, program: Sequence[Word], script: Script) -> Told:
    """What an engine is told.

    Args:
        layer: the engine with its options.
        program: the words after it.
        script: where it stands.

    Raises:
        PreflightError: it cannot be told apart what belongs to what.
    """
    line = layer.words[0].line
    if layer.opaque:
        raise PreflightError(f"line {line}: a variable among the options of {layer.name} hides some: write them out")
    if layer.operands and _may_be_options(layer.operands[0], program, script):
        shown = layer.operands[0].value
        raise PreflightError(
            f'line {line}: {shown} may hold options or the image: write the options out, or say the image as "$IMAGE"'
        )
    told = Told(image=layer.operands[0] if layer.operands else layer.words[0])
    cli = ENGINES[layer.engine].cli
    assert cli is not None
    told = _with(told, entrypoint_runs=cli.verbs.get(layer.verb, False))
    for option in layer.options:
        told = _told(told, option, cli, line)
    if told.image is layer.words[0]:
        raise PreflightError(f"line {line}: {layer.name} is told no image")
    for scheme in cli.schemes:
        if told.image.value.startswith(scheme):
            return _with(told, image=told.image.after(len(scheme)))
    return told


def _may_be_options(image: Word, program: Sequence[Word], script: Script) -> bool:
    """Whether what stands in the place of the image may become several words, and nothing tells that it does not."""
    if image.listed or not image.splits:
        return image.listed
    first = image.parts[0]
    name = first.name if isinstance(first, Expansion) else None
    texts = [one.value.value.strip() for one in script.assignments if one.name == name and one.value is not None]
    if texts and name is not None:
        return all(not text or re.search(r"(?:^|\s)-", text) for text in texts)
    return not names_image(image) and any(word.splits and not word.listed for word in program[:1])


def _told(told: Told, option: Option, cli: CommandLine, line: int) -> Told:
    role = cli.roles.get(option.name)
    value, text = option.value, option.value.value if option.value else ""
    if text in cli.own or (value is None and role == "environment" and option.name not in cli.valued):
        return told  # the image's own variables, which other engines read unasked
    if value is None and role in {
        "mount",
        "volume",
        "volumes",
        "workdir",
        "environment",
        "environments",
        "image",
        "bind",
    }:
        raise PreflightError(f"line {line}: {option.name} has no value")
    match role:
        case "implied":
            return told
        case "host" if text == "host":
            return told
        case "tty":
            return _left(told, option.name, _TERMINAL)
        case "stdin":
            return _with(told, stdin=True)
        case "gpus" | "gpus-amd":
            return _with(told, gpus="nvidia" if role == "gpus" else "amd")
        case "module" if "gpu" in text:
            return _with(told, gpus="nvidia")
        case "device" if text.startswith(("nvidia.com/gpu", "/dev/nvidia")):
            return _with(told, gpus="nvidia")
        case "device" if text in {"/dev/kfd", "/dev/dri"}:
            return _with(told, gpus="amd")
        case "annotation" if value is not None and value.literal and "=" in text:
            key, _, said = text.partition("=")
            return _with(told, annotations=(*told.annotations, (key, said)))
        case "entrypoint":
            return _with(told, entrypoint=value if text else None, entrypoint_runs=False)
    if value is None or role in {None, "host", "module", "device", "annotation", "user"}:
        shown = " ".join(f"{option.name}={text}".split()) if text else option.name
        return _left(told, shown, cli.dropped.get(option.name, _NO_COUNTERPART))
    return _with_value(told, value, role, line)


def _with_value(told: Told, value: Word, role: Role | None, line: int) -> Told:
    match role:
        case "image":
            return _with(told, image=value)
        case "workdir":
            return _with(told, workdir=value)
        case "mount":
            return _with(told, binds=(*told.binds, _mount(value, line)))
        case "volume" if len(_pieces(value, ":")) == 1:
            raise PreflightError(f"line {line}: source and target cannot be told apart in {value.value!r}")
        case "volume" | "bind":
            return _with(told, binds=(*told.binds, _volume(value, line)))
        case "volumes":
            volumes = [part for piece in _pieces(value, ",") for part in _pieces(piece, ";")]
            return _with(told, binds=(*told.binds, *(_volume(part, line) for part in volumes)))
        case _:
            settings = _pieces(value, ",") if role == "environments" else [value]
            return _with(told, environment=(*told.environment, *(_setting(part, line) for part in settings)))


def _mount(value: Word, line: int) -> Mounted:
    fields = {name.value: rest for name, rest in (_cut(field, "=") for field in _pieces(value, ","))}
    source = fields.get("source") or fields.get("src")
    target = fields.get("destination") or fields.get("dst") or fields.get("target")
    kind = fields.get("type")
    if source is None or target is None or (kind is not None and kind.value != "bind"):
        raise PreflightError(f"line {line}: {value.value!r} is no bind mount with source and destination")
    return Mounted(source, target, "readonly" in fields or "ro" in fields)


def _volume(value: Word, line: int) -> Mounted:
    parts = _pieces(value, ":")
    if not parts[0].value.startswith(("/", "$")):
        raise PreflightError(f"line {line}: {parts[0].value!r} is no absolute path")
    options = parts[2].value.split(",") if len(parts) > 2 else []
    return Mounted(parts[0], parts[1] if len(parts) > 1 else parts[0], "ro" in options)


def _setting(value: Word, line: int) -> tuple[str, Word | None]:
    name, said = _cut(value, "=")
    if not name.literal or not re.fullmatch(r"[A-Za-z_]\w*", name.value):
        raise PreflightError(f"line {line}: {value.value!r} sets no variable whose name can be seen")
    return name.value, said


def _pieces(word: Word, separator: str) -> list[Word]:
    """The word cut at a character of its literal parts."""
    pieces: list[Word] = []
    rest: Word | None = word
    while rest is not None:
        piece, rest = _cut(rest, separator)
        pieces.append(piece)
    return pieces


def _cut(word: Word, separator: str) -> tuple[Word, Word | None]:
    """What stands before and after a character of the literal parts; None after it where it is not there."""
    for number, part in enumerate(word.parts):
        if isinstance(part, str) and separator in part:
            before, _, after = part.partition(separator)
            first = (*word.parts[:number], *((before,) if before else ()))
            second = (*((after,) if after else ()), *word.parts[number + 1 :])
            return _with_parts(word, first), _with_parts(word, second)
    return word, None


def _with_parts(word: Word, parts: tuple[str | Expansion, ...]) -> Word:
    return msgspec.structs.replace(word, parts=parts)


def _with(told: Told, **changes: Any) -> Told:
    return msgspec.structs.replace(told, **changes)


def _left(told: Told, option: str, why: str) -> Told:
    return _with(told, left=(*told.left, (option, why)))
