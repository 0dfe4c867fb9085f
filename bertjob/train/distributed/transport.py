"""Which network the ranks really use. NCCL falls back to TCP without a word, and training is then several times slower.

NCCL tells its choice only in its own log, so that is asked for beforehand and read after the first collective. On one
node there is nothing to tell: GPUs reach each other without the network.
"""

import os
import re
import socket
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.rundir.world import FAST_FABRIC, World
from bertjob.train.distributed import interfaces
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.report import Report

_VERSION = re.compile(r"\b([NR]CCL) version (\d+(?:\.\d+)+)")
_CHOSEN = re.compile(r"NCCL INFO Using network (.+?)\s*$", re.MULTILINE)
_FOUND = re.compile(r"NCCL INFO NET/(IB|Socket) ?: Using (.*)")
_DEVICE = re.compile(r"\[\d+\]([^\s:]+):")
_PROVIDER = re.compile(r"NCCL INFO NET/OFI Selected [Pp]rovider is ([\w;]+)")
_OFI = {"AWS Libfabric", "Libfabric", "OFI"}
"""What versions of the plugin aws-ofi-nccl call themselves."""
_TCP_PROVIDERS = {"tcp", "sockets", "udp", "net"}


@dataclass(frozen=True, slots=True)
class Transport:
    """What the ranks talk over.

    Attributes:
        library: e.g. ``NCCL 2.27.5``, or ``gloo``.
        network: e.g. ``NET/IB``, ``NET/OFI``, ``NET/Socket``, or the interface of gloo.
        devices: network cards, interfaces, libfabric's provider or addresses, as far as they are told.
    """

    library: str
    network: str
    devices: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.library} over {self.network}" + f" ({', '.join(self.devices)})" * bool(self.devices)

    @property
    def tcp(self) -> bool:
        """Whether NCCL sends through the kernel's TCP, by itself or by libfabric."""
        by_libfabric = self.network == "NET/OFI" and any(_TCP_PROVIDERS & set(name.split(";")) for name in self.devices)
        return self.network == "NET/Socket" or by_libfabric


def listen(device: torch.device, env: MutableMapping[str, str], path: Path) -> Path | None:
    """Have NCCL say what it chooses, unless a person has set its NCCL_DEBUG; before its first use.

    Args:
        device: this rank's; NCCL is for GPUs.
        env: the environment.
        path: where it shall say so.

    Returns:
        Where it will say so; None if it will not say it in a file.

    Raises:
        WorldError: NCCL_SOCKET_IFNAME matches no interface of this host.
    """
    if device.type != "cuda":
        return None
    check_interface(env)
    if "NCCL_DEBUG" in env:
        chosen = env.get("NCCL_DEBUG_FILE", "")
        parts = {"%h": socket.gethostname(), "%p": str(os.getpid()), "%%": "%"}
        return Path(re.sub("%[hp%]", lambda match: parts[match[0]], chosen)) if chosen else None
    settings = {"NCCL_DEBUG_SUBSYS": "INIT,NET", "NCCL_DEBUG_FILE": str(path).replace("%", "%%")}
    env.update({"NCCL_DEBUG": "INFO", **settings})
    return path


def parse(text: str) -> Transport | None:
    """What NCCL's log says of its network; None when it says nothing of it.

    The version stands in one rank's log only.
    """
    version = _VERSION.search(text)
    library = f"{version[1]} {version[2]}" if version else "NCCL"
    devices = {name: tuple(_DEVICE.findall(cards)) for name, cards in _FOUND.findall(text)}
    provider = _PROVIDER.search(text)
    chosen = _CHOSEN.findall(text)
    if chosen:
        name = "OFI" if chosen[-1] in _OFI else chosen[-1]
    else:  # NCCL before 2.5 tells what it finds, and takes the first of these
        name = next((name for name in ("IB", "Socket") if name in devices), "")
    if not name:
        return None
    cards = devices.get("IB" if name.startswith("IB") else name, ())
    return Transport(library, f"NET/{name}", (provider[1],) if name == "OFI" and provider else cards)


def check_interface(env: Mapping[str, str]) -> None:
    """Stop before NCCL does, which names neither its variable nor the interfaces that there are.

    Raises:
        WorldError: NCCL_SOCKET_IFNAME matches no interface of this host.
    """
    wanted = env.get("NCCL_SOCKET_IFNAME", "")
    known = interfaces.interfaces()
    if wanted and not any(_matches(wanted, name) for name in known):
        there = ", ".join(f"{name} ({address})" for name, address in known.items())
        raise WorldError(f"NCCL_SOCKET_IFNAME={wanted}: no interface with an address here is meant; there are {there}")


def tell(ranks: Ranks, device: torch.device, log: Path | None, env: Mapping[str, str], report: Report) -> str:
    """Say what ranks of several nodes talk over, and warn where that is TCP on a fast fabric; called by all ranks.

    Args:
        ranks: all ranks.
        device: this rank's.
        log: where NCCL says what it chooses.
        env: the environment after the ranks have met.
        report: this rank's.

    Returns:
        What they talk over; empty where nothing tells it.
    """
    if not ranks.any(_spans_nodes(ranks.world))[0]:
        return ""
    if device.type == "cuda":
        dist.all_reduce(torch.zeros(1, device=device))  # NCCL chooses at the first collective
        torch.cuda.synchronize(device)
    told = ranks.gather(_of_gloo(env) if device.type == "cpu" else _read(log), Transport | None)
    known = [transport for transport in told if transport is not None]
    if not known:
        return ""
    found = str(next((transport for transport in known if transport.tcp), known[0]))
    report.network(found, fault(told, env.get(FAST_FABRIC, ""), log))
    return found


def fault(told: list[Transport | None], fabric: str, log: Path | None) -> str:
    """What is wrong with the transports of the ranks, in one line; empty when nothing is.

    Args:
        told: each rank's.
        fabric: name of the fabric if it is a fast one, else empty.
        log: where this rank's NCCL tells more.
    """
    slow = Counter(str(transport) for transport in told if transport is not None and transport.tcp)
    if not fabric or not slow:
        return ""
    where = "" if slow.total() == len(told) else f" on {slow.total()} of {len(told)} ranks"
    return (
        f"{next(iter(slow))}{where} is TCP, though {fabric} is fast: the image lacks what NCCL needs for it, or the "
        f"container hides its devices; {log or 'NCCL_DEBUG=INFO'} says more"
    )


def _spans_nodes(world: World) -> bool:
    return world.size > world.local_size


def _read(log: Path | None) -> Transport | None:
    try:
        return None if log is None else parse(log.read_text(errors="replace"))
    except OSError:
        return None


def _of_gloo(env: Mapping[str, str]) -> Transport | None:
    """The interface that was checked when the ranks met, and that gloo was told to use."""
    name = env.get("GLOO_SOCKET_IFNAME", "")
    address = interfaces.interfaces().get(name)
    return Transport("gloo", name, (address,)) if address else None


def _matches(wanted: str, name: str) -> bool:
    """NCCL's rules: prefixes with commas between them; ``=`` before them: whole names; ``^``: all but these."""
    sign = wanted[:1]
    others, exact = sign == "^", wanted.removeprefix("^").startswith("=")
    said = wanted.removeprefix("^").removeprefix("=").split(",")
    return others != any(name == part if exact else name.startswith(part) for part in said)
