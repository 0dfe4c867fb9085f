"""As many ranks as there are may connect to rank 0, where the limits of the machine allow it."""

import subprocess
import sys

import pytest

from bertjob.train.distributed.interfaces import plain


def allowed(soft: int, hard: int, ranks: int) -> str:
    """What becomes of the limits, in a process of its own."""
    program = f"""
import resource
from bertjob.errors import WorldError
from bertjob.train.distributed.interfaces import allow_connections

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
try:
    allow_connections({ranks})
except WorldError as error:
    print(error)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("ranks", "soft"), [(8, 1024), (192, 1024), (193, 1028), (900, 3856), (1024, 4096)])
def test_the_soft_limit_follows_the_ranks(ranks: int, soft: int) -> None:
    assert allowed(1024, 4096, ranks) == f"{soft} 4096\n"


def test_a_hard_limit_that_is_too_low_is_one_line() -> None:
    assert allowed(1024, 4096, 1500) == (
        "1500 ranks need 4564 open files a process, and the hard limit here is 4096 (ulimit -Hn): the site must raise"
        " it\n1024 4096\n"
    )


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("::ffff:10.84.0.13", "10.84.0.13"),
        ("10.84.0.13", "10.84.0.13"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::1", "::1"),
    ],
)
def test_an_address_of_ipv4_that_ipv6_has_mapped_is_one_of_ipv4(address: str, own: str) -> None:
    assert plain(address) == own
