"""The ways between ranks: all alike, or full precision inside a node and one bit between nodes."""

import hashlib
import socket
from dataclasses import dataclass

import torch

from bertjob.errors import WorldError
from bertjob.train.optim.onebit.alone import Alone
from bertjob.train.optim.onebit.init_transport import Transport


@dataclass(frozen=True, slots=True)
class Routes:
    """The ways from one rank to the others.

    Attributes:
        world: all ranks.
        inside: those on its node, which add up in full precision.
        between: one of each node, this rank among them, which exchange single bits.
    """

    world: Transport
    inside: Transport
    between: Transport


def direct(world: Transport) -> Routes:
    """Each rank exchanges single bits with all others."""
    return Routes(world, Alone(), world)


def by_node(world: Transport, device: torch.device, host: str = "") -> Routes:
    """Ranks of a node add up what they have, each a part of it, and exchange that part with the other nodes.

    Called by all ranks.

    Args:
        world: all ranks.
        device: where their tensors are.
        host: what this rank calls its node; by default the host's name.

    Raises:
        WorldError: the nodes have different numbers of ranks.
    """
    name = hashlib.sha256((host or socket.gethostname()).encode()).digest()[:8]
    own = torch.frombuffer(bytearray(name), dtype=torch.int64).to(device)
    hosts = torch.empty(world.size, 1, dtype=torch.int64, device=device)
    world.all_gather(own, hosts).wait()
    nodes: dict[int, list[int]] = {}
    for rank, found in enumerate(hosts.flatten().tolist()):
        nodes.setdefault(found, []).append(rank)
    if len({len(ranks) for ranks in nodes.values()}) > 1:
        counts = ", ".join(str(len(ranks)) for ranks in nodes.values())
        raise WorldError(f"hierarchical 1-bit exchange needs as many ranks on each node, here are {counts}")
    inside = list(nodes.values())
    between = [list(ranks) for ranks in zip(*inside, strict=True)]
    return Routes(world, world.among(inside), world.among(between))
