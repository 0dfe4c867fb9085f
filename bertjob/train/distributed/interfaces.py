"""Which addresses this host has, and how an operating system's refusal reads to a person."""

import ipaddress
import os
import socket

import psutil

from bertjob.errors import WorldError


def interface_address(name: str) -> str:
    """The address of a network interface, IPv4 before IPv6.

    Raises:
        WorldError: there is no such interface, or it has no address; names those that have one.
    """
    found = interfaces()
    if name not in found:
        known = ", ".join(f"{interface} ({address})" for interface, address in found.items())
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
    own = {address for addresses in _addresses().values() for address in addresses}
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return not own.isdisjoint(found) or any(is_loopback(address) for address in found)


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
