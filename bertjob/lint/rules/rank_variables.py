"""Rules about how ranks learn their place, and where they meet."""

import math
import re
from collections.abc import Iterator

from bertjob.config.registry.launchers import SLURM, TORCH, rank_variables
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.rules.finding import Found
from bertjob.lint.rules.port_range import Span, span, spans
from bertjob.lint.steps import inside, nodes, settings, starts

_EPHEMERAL = Span(32768, 60999)
"""net.ipv4.ip_local_port_range as Linux has it."""
_PORTS = re.compile(r"MASTER_PORT|MAIN_PROCESS_PORT|RDZV_ENDPOINT|RDZV_PORT|DIST_URL|(?:DIST_)?INIT_METHOD")
_ADDRESSES = re.compile(r"MASTER_ADDR|MAIN_PROCESS_IP|RDZV_ENDPOINT")
_OWN_NAME = re.compile(r"\bhostname\b|\$\{?HOSTNAME\b|\$\{?SLURMD_NODENAME\b|\buname -n\b")


def rank_in_batch_shell(script: Script) -> Iterator[Found]:
    """A rank's number replaced before there are ranks."""
    found = list(starts(script))
    itself = any("$0" in word.value or "BASH_SOURCE" in word.value for start in found for word in start.program)
    if itself or not (found or script.directives):
        return
    handed_on = "export -f" in script.code
    own = {name for one in rank_variables() if one != TORCH for name in one.per_rank}  # scripts set torch's themselves
    seen: set[tuple[int, str]] = set()
    for read in script.reads:
        allowed = read.place.comparing or (read.place.function and handed_on)
        if read.name in own and not allowed and (read.line, read.name) not in seen:
            seen.add((read.line, read.name))
            value = "0" if read.name in SLURM.per_rank else "nothing"
            yield Found(
                read.line, f"the batch shell replaces ${read.name} by its own value, {value}, for all ranks alike"
            )


def slurm_rank_under_mpirun(script: Script) -> Iterator[Found]:
    """Under mpirun Slurm's variables are those of mpirun's daemons."""
    for start in starts(script):
        if start.mpirun and not start.srun:
            for part in inside(start):
                for read in part.reads:
                    if read.name in SLURM.in_scripts and not read.guarded:
                        yield Found(read.line, f"under mpirun {read.name} is that of mpirun's daemon, not of the rank")


def master_address(script: Script) -> Iterator[Found]:
    """An address that is another one on each node."""
    count = nodes(script)
    for part in script.everything():
        for name, value, line in settings(part):
            if _ADDRESSES.fullmatch(name) and re.match(r"localhost|127\.", value) and count and count > 1:
                yield Found(line, f"{value} is another machine on each of the {count} nodes: the ranks never meet")
    for start in starts(script):
        for part in inside(start):
            for name, value, line in settings(part):
                if _ADDRESSES.fullmatch(name) and _OWN_NAME.search(value) and count != 1:
                    yield Found(line, "each rank takes its own host for the master: the ranks never meet")


def ephemeral_port(script: Script) -> Iterator[Found]:
    """A port that an outgoing connection may hold."""
    for line, port in _ports(script):
        if _ephemeral(port):
            shown = f"{port.least:.0f}-{port.most:.0f}" if port.least < port.most < math.inf else f"{port.least:.0f}"
            lies = f"ports {shown} reach into" if "-" in shown else f"port {shown} lies in"
            yield Found(line, f"{lies} the range 32768-60999 that outgoing connections take theirs from")


def fixed_port(script: Script) -> Iterator[Found]:
    """A port that a second job on the node would want as well."""
    if script.option("exclusive"):
        return
    for line, port in _ports(script):
        if 1000 <= port.least == port.most < 65536 and not _ephemeral(port):
            yield Found(line, f"two jobs that share a node would both want port {port.least:.0f}")


def _ephemeral(port: Span) -> bool:
    most = port.least if port.most == math.inf else port.most  # $((20000 + N)) is said to be 20000, for all we know
    return most >= _EPHEMERAL.least and port.least <= _EPHEMERAL.most


def _ports(script: Script) -> Iterator[tuple[int, Span]]:
    """Line and numbers of each port that is set; a variable's are named once, where the variable gets them."""
    assignments = [one for part in script.everything() for one in part.assignments]
    known = spans((one.name, one.value.value if one.value else "") for one in assignments if one.name)
    lines = {one.name: one.line for one in assignments if one.name}
    seen: set[tuple[int, Span]] = set()
    for part in script.everything():
        for name, value, line in settings(part):
            found = span(value, known) if _PORTS.fullmatch(name) else None
            variable = re.fullmatch(r"(?:.*:)?\$\{?(\w+)\}?", value, re.DOTALL)
            at = lines.get(variable[1], line) if variable else line
            if found and (at, found) not in seen:
                seen.add((at, found))
                yield at, found
