"""What a script starts: its steps and trainings, and the resources it asks for."""

import posixpath
import re
from collections.abc import Iterator

import msgspec

from bertjob.config.registry.launcher_programs import SRUN
from bertjob.config.registry.launchers import agents
from bertjob.lint.bash.commands import Layer, mpiruns, split
from bertjob.lint.bash.sbatch_script import Command, Expansion, Script, Word

_HARMLESS = ("activate", "bashrc", "profile", "modules.sh", "conda.sh", "setvars.sh", ".bashrc", ".profile", "bash")
"""Ends of files that read no variables of the script which sources them, and set no traps."""
_SMALL = frozenset(
    {
        *("hostname", "date", "echo", "true", "mkdir", "cp", "rsync", "tar", "ls", "cat", "rm", "mv", "sleep", "env"),
        *("grep", "sed", "kill", "break"),
        *(
            "nvidia-smi",
            "rocm-smi",
            "printenv",
            "scontrol",
            "squeue",
            "test",
            "touch",
            "ln",
            "chmod",
            "ip",
            "df",
            "which",
        ),
        *(
            "cd",
            "command",
            "exit",
            "export",
            "set",
            "source",
            ".",
            ":",
            "module",
            "ulimit",
            "unset",
            "umask",
            "tr",
            "sed",
        ),
        *("pip", "pip3", "mpicc", "uname", "id", "pwd", "killall", "pkill", "sbcast", "unzip", "gunzip", "printf"),
    }
)
"""Programs that need neither many CPUs nor their peers."""
_TRAINER = re.compile(r"python[\d.]*|accelerate")
"""Programs that train, beside the agents of launchers."""
_NO_TRAINING = frozenset({"-c", "-V", "--version"})
_TOOLS = frozenset({"venv", "pip", "http.server", "json.tool", "ensurepip"})
_HOLE = "\0"
_SETTING = re.compile(r"(?:^|[\s,])-{0,2}([A-Za-z][A-Za-z_-]*)=([^\s,]*)")
_OPTION = re.compile(r"(?:^|\s)(--[A-Za-z][\w-]*)[=\s]+([^\s=-]\S*)")


def runs_unseen(script: Script) -> bool:
    """Whether its own shell reads files that may do anything, or text that it makes: ``source FILE``, ``eval``."""
    sourced = [command.arguments[0] for command in script.named("source", ".") if command.arguments]
    hidden = [path for path in sourced if not posixpath.basename(path).endswith(_HARMLESS)]
    return bool(hidden) or any(script.named("eval"))


class Start(msgspec.Struct, frozen=True):
    """A command that starts something through launchers or engines, or trains by itself.

    Attributes:
        command: it.
        layers: from outside to inside.
        program: the words after them.
    """

    command: Command
    layers: tuple[Layer, ...]
    program: tuple[Word, ...]

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.command.line

    def layer(self, *names: str) -> Layer | None:
        """The first layer of these names."""
        return next((layer for layer in self.layers if layer.name in names), None)

    @property
    def launcher(self) -> Layer | None:
        """The srun, mpirun or the like."""
        return next((layer for layer in self.layers if layer.kind == "launcher"), None)

    @property
    def engines(self) -> tuple[Layer, ...]:
        """The commands of container engines."""
        return tuple(layer for layer in self.layers if layer.engine)

    @property
    def srun(self) -> Layer | None:
        """Slurm's launcher of steps."""
        return self.layer(*SRUN.names)

    @property
    def mpirun(self) -> Layer | None:
        """The mpirun, or one of its kin."""
        return self.layer(*mpiruns())

    @property
    def replaces_the_shell(self) -> bool:
        """``exec srun …``: signals to the shell are srun's."""
        return self.command.name == "exec"

    @property
    def small(self) -> bool:
        """A program that needs neither many CPUs nor its peers, or none."""
        inside = [split(command.words)[1] for script in self.command.inside for command in script.commands]
        return all(map(_small, inside)) if inside else _small(self.program)

    @property
    def trains(self) -> bool:
        """Whether a program of PyTorch can be seen in it, as far as a name tells."""
        inside = (command for script in self.command.inside for command in script.commands)
        return _trains(self.program) or any(_trains(split(command.words)[1]) for command in inside)


def starts(script: Script) -> Iterator[Start]:
    """What a script starts through launchers; not what only answers a question, as ``$(srun hostname)``."""
    return (start for start in each(script) if start.launcher and not start.command.place.substituted)


def works(script: Script) -> Iterator[Start]:
    """The starts that the job is there for: through launchers, or trainings without one."""
    found = (start for start in each(script) if not start.command.place.substituted)
    return (start for start in found if not start.small and (start.launcher or start.trains))


def layered(script: Script) -> Iterator[Start]:
    """Commands with an engine or a launcher, wherever they stand, those inside other commands as well."""
    return (start for part in script.everything() for start in each(part) if start.layers)


def inside(start: Start) -> Iterator[Script]:
    """The scripts that run in what is started."""
    for script in start.command.inside:
        yield from script.everything()


def nodes(script: Script) -> int | None:
    """Nodes that the job asks for at most; None where it does not say."""
    asked = script.option("nodes")
    numbers = re.findall(r"\d+", asked.value or "") if asked else []
    return max(map(int, numbers)) if numbers else None


def tasks(script: Script) -> int | None:
    """Ranks that the job asks for; None where it does not say."""
    asked, each = script.option("ntasks"), script.option("ntasks-per-node")
    if asked and asked.value and asked.value.isdecimal():
        return int(asked.value)
    count = nodes(script)
    if count is None and each is None:
        return None
    per_node = int(each.value) if each and each.value and each.value.isdecimal() else 1
    return (count or 1) * per_node


def modules(script: Script) -> str:
    """The names of all modules that are loaded, in small letters."""
    loads = (command for command in script.commands if command.name in {"module", "ml"})
    return " ".join(word for command in loads for word in command.arguments if word not in {"load", "add"}).lower()


def settings(script: Script) -> Iterator[tuple[str, str, int]]:
    """Name, value and line of what the script sets, in whatever way: a variable, ``-x A=b``, ``--a=b``, ``--a b``.

    Names are in capitals with ``_`` for ``-``: ``--master-port 1`` is MASTER_PORT.
    """
    for assignment in script.assignments:
        if assignment.value is not None:
            text = assignment.value.value
            yield assignment.name, text, assignment.line
            for name, value in _OPTION.findall(text):  # as in LAUNCHER="torchrun --master_port 29500"
                yield _normal(name), value, assignment.line
    for command in script.commands:
        for setting in command.settings:
            if setting.value is not None:
                yield setting.name, setting.value.value, setting.line
        if command.inside or command.name in {"echo", "printf", "export"}:
            continue
        for word, following in zip(command.words, (*command.words[1:], None), strict=True):
            yield from ((_normal(name), value, word.line) for name, value in _set_in(word))
            if word.value.startswith("--") and "=" not in word.value and following is not None:
                yield _normal(word.value), following.value, word.line


def each(script: Script) -> Iterator[Start]:
    """All commands of a script itself, with their layers."""
    for command in script.commands:
        yield Start(command, *split(command.words))


def _small(program: tuple[Word, ...]) -> bool:
    if not program or program[0].value.rpartition("/")[2] in _SMALL:
        return True
    return _is_python(program) and _prepares(program)


def _trains(program: tuple[Word, ...]) -> bool:
    return len(program) > 1 and _is_python(program) and not _prepares(program)


def _is_python(program: tuple[Word, ...]) -> bool:
    if not program:
        return False
    name = program[0].value.rpartition("/")[2]
    return _TRAINER.fullmatch(name) is not None or any(name in agent.names for agent in agents())


def _prepares(program: tuple[Word, ...]) -> bool:
    """Whether Python is asked for a line of code, its version, or one of its own tools."""
    first, second = ([word.value for word in program[1:3]] + ["", ""])[:2]
    return first in _NO_TRAINING or (first == "-m" and second in _TOOLS)


def _set_in(word: Word) -> Iterator[tuple[str, str]]:
    """Names and values in a word; what the shell replaces is one piece, whatever blanks and commas are in it."""
    sources = [part.source for part in word.parts if isinstance(part, Expansion)]
    text = "".join(_HOLE if isinstance(part, Expansion) else part.replace(_HOLE, "") for part in word.parts)
    for match in _SETTING.finditer(text):
        first, holes = text[: match.start(2)].count(_HOLE), match[2].count(_HOLE)
        pieces = [*sources[first : first + holes], ""]
        yield match[1], "".join(map("".join, zip(match[2].split(_HOLE), pieces, strict=True)))


def _normal(name: str) -> str:
    return name.lstrip("-").replace("-", "_").upper()
