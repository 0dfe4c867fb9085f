"""Addresses of this host, its limit of connections, and the operating system's refusals in plain words."""

import ipaddress
import os
import resource
import socket
from collections.abc import Iterable, Mapping

import psutil

from bertjob.errors import WorldError


def allow_connections(ranks: int) -> None:
    """Let this process have as many open files as `ranks` ranks that talk to each other need.

    Rank 0 has three for each: two of tables of the store, one of gloo's group; with GPUs there is a second group. The
    usual limit of 1,024, which Slurm takes on from the shell that submits, ends at some 300 ranks.

    Raises:
        WorldError: the hard limit is too low for them, which only the site can raise.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed, wanted = 3 * ranks + 64, 4 * ranks + 256  # with what libraries, shards and logs have open
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else hard
    if most < needed:
        raise WorldError(
            f"{ranks} ranks need {needed} open files a process, and the hard limit here is {hard} (ulimit -Hn):"
            " the site must raise it"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), hard))


def interface_addresses(name: str) -> list[str]:
    """The addresses of a network interface, IPv4 before IPv6; at least one.

    Raises:
        WorldError: there is no such interface, or it has no address; names those that have one.
    """
    found = _addresses()
    if name not in found:
        known = ", ".join(f"{interface} ({address})" for interface, address in interfaces().items())
        raise WorldError(f"GLOO_SOCKET_IFNAME={name}: no such interface with an address here; there are {known}")
    return found[name]


def interfaces() -> dict[str, str]:
    """The interfaces that have an address, each with its first one, IPv4 before IPv6."""
    return {name: own[0] for name, own in _addresses().items()}


def interface_of(address: str) -> str | None:
    """Name of the interface that has `address`, or None."""
    return next((name for name, own in _addresses().items() if address in own), None)


def is_here(host: str) -> bool:
    """Whether a name or address leads to this host; one that does not resolve does not."""
    return bool(addresses_here(host))


def addresses_here(host: str) -> set[str]:
    """The addresses of this host, loopback among them, that a name or address leads to."""
    own = {address for addresses in _addresses().values() for address in addresses}
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
    return {address for address in found if address in own or is_loopback(address)}


def network_addresses() -> set[str]:
    """The addresses at which other hosts may reach this one: neither loopback nor link-local."""
    own = {address.partition("%")[0] for addresses in _addresses().values() for address in addresses}
    return {address for address in own if not is_loopback(address) and not ipaddress.ip_address(address).is_link_local}


def shared_addresses(places: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Interfaces that have the same address on several hosts, as bridges of container engines do; empty without any.

    Args:
        places: each rank's host and the addresses of its interfaces by their names.
    """
    hosts: dict[str, set[str]] = {}
    for host, own in places:
        for name, address in own.items():
            if not is_loopback(address):
                hosts.setdefault(f"{name} ({address})", set()).add(host)
    return ", ".join(sorted(where for where, those in hosts.items() if len(those) > 1))


def may_hang(shared: str) -> str:
    """The warning about interfaces of `shared_addresses`: an MPI that finds such a one on both sides tries that way."""
    return f"MPI may hang: {shared} on several nodes; fabric.interface of the site names the right one"


def plain(address: str) -> str:
    """An address as interfaces have it: a name may lead to one of IPv4 that IPv6 has mapped, where none can listen."""
    mapped = ipaddress.ip_address(address.partition("%")[0])
    v4 = mapped.ipv4_mapped if isinstance(mapped, ipaddress.IPv6Address) else None
    return address if v4 is None else str(v4)


def is_loopback(address: str) -> bool:
    """Whether only this host itself can reach `address`."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def reason(error: OSError) -> str:
    """Why the operating system refused, in words."""
    if isinstance(error, socket.gaierror):
        return f"the name does not resolve ({error.strerror})"
    if isinstance(error, TimeoutError):
        return "timed out"
    return os.strerror(error.errno) if error.errno else str(error)


def _addresses() -> dict[str, list[str]]:
    """IP addresses of each interface that has one, IPv4 first."""
    found = {
        name: [own.address for family in (socket.AF_INET, socket.AF_INET6) for own in all_own if own.family == family]
        for name, all_own in psutil.net_if_addrs().items()
    }
    return {name: own for name, own in found.items() if own}
