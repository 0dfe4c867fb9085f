"""The store believes only ranks that know the secret; a stranger knows all else, the protocol and the prefix too."""

from datetime import timedelta

import pytest
import torch.distributed as dist

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.rundir.world import World
from bertjob.train.distributed.departure import Departure, Notices
from bertjob.train.distributed.secret import Secret, new_secret
from bertjob.train.distributed.signed_store import SignedStore

GARBAGE = [
    b"",
    b"0",
    b"x" * 31,
    b"x" * 100,
    bytes(200),
    b"\x80\x04garbage of a pickle that is long enough to be signed.",
]
WORLD = World(0, 2, 0, 1, "test")
UNIQUE_IDS = [bytes(range(128)), bytes(range(128, 256)), bytes(128), b"\xff" * 128]
"""Of the length of NCCL's ncclUniqueId, any bytes at all."""


@pytest.fixture
def server() -> dist.TCPStore:
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


class Side:
    """A connection to the server, with a key."""

    def __init__(self, server: dist.TCPStore, secret: Secret) -> None:
        self.raw = dist.TCPStore(
            "127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60)
        )
        self.seen: list[str] = []
        self.store = SignedStore(self.raw, secret.key("store"), self.seen.append)


@pytest.fixture
def sides(server: dist.TCPStore) -> tuple[Side, Side, Side]:
    """Two ranks and a stranger."""
    secret = new_secret()
    return Side(server, secret), Side(server, secret), Side(server, new_secret())


def test_a_rank_reads_what_another_one_has_set(sides):
    one, two, _ = sides
    one.store.set("a", "1")
    one.store.set("b", b"\xff\0")
    two.store.wait(["a", "b"], timedelta(seconds=60))
    assert two.store.multi_get(["a", "b"]) == [b"1", b"\xff\0"]
    assert two.store.check(["a", "b"])
    assert not two.store.check(["a", "c"])
    assert two.store.clone().get("a") == b"1"
    assert not one.seen + two.seen


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_value_without_a_signature_counts_as_absent(sides, garbage):
    rank, _, stranger = sides
    stranger.raw.set("a", garbage)
    assert not rank.store.check(["a"])
    rank.raw.set_timeout(timedelta(seconds=0.3))
    with pytest.raises(dist.DistStoreError, match="no rank of this start has said a in time"):
        rank.store.get("a")
    with pytest.raises(dist.DistStoreError):
        rank.store.wait(["a"], timedelta(seconds=0.3))
    assert set(rank.seen) == ({"a"} if garbage else set())


def test_a_strangers_signature_counts_for_nothing(sides):
    rank, _, stranger = sides
    stranger.store.set("a", "1")
    assert not rank.store.check(["a"])


def test_a_value_is_no_value_of_another_key(sides):
    rank, _, stranger = sides
    rank.store.set("left/1", "")
    stranger.raw.set("left/2", stranger.raw.get("left/1"))
    assert rank.store.check(["left/1"])
    assert not rank.store.check(["left/2"])


def test_a_value_of_another_start_counts_for_nothing(server, sides):
    rank, _, stranger = sides
    earlier = Side(server, new_secret())
    earlier.store.set("a", "1")
    stranger.raw.set("a", stranger.raw.get("a"))
    assert not rank.store.check(["a"])


def test_the_true_value_replaces_a_strangers_and_waiting_goes_on(sides):
    one, two, stranger = sides
    stranger.store.set("a", "evil")
    assert not two.store.check(["a"])
    one.store.set("a", "true")
    assert two.store.get("a") == b"true"


@pytest.fixture
def groups(sides) -> tuple[dist.PrefixStore, dist.PrefixStore]:
    """Two ranks' stores as torch's groups have them: each layer is C++, which calls the methods in Python."""
    one, two, _ = sides
    return tuple(dist.PrefixStore("0", dist.PrefixStore("group", side.store)) for side in (one, two))


@pytest.mark.parametrize("unique_id", UNIQUE_IDS)
def test_nccl_finds_the_id_that_rank_0_has_made(groups, unique_id):
    """What broadcastUniqueNCCLID does."""
    one, two = groups
    one.set("0", unique_id)
    assert two.get("0") == unique_id


def test_nccl_finds_the_ids_of_several_roots(groups):
    """What allgatherUniqueNCCLIDs does in groups of more than 128 ranks."""
    one, two = groups
    one.multi_set(["0", "1"], UNIQUE_IDS[:2])
    two.set("2", UNIQUE_IDS[2])
    assert one.multi_get(["0", "1", "2"]) == two.multi_get(["0", "1", "2"]) == UNIQUE_IDS[:3]


def test_an_id_that_does_not_come_is_an_error_that_torch_can_report(groups, sides):
    sides[1].raw.set_timeout(timedelta(seconds=0.3))
    with pytest.raises(RuntimeError, match=r"group/0/0"):
        groups[1].get("0")
    with pytest.raises(RuntimeError, match=r"group/0/0"):
        groups[1].multi_get(["0"])


def test_nccl_signals_errors_beside_its_groups(groups):
    """HeartbeatMonitor and Watchdog ask the store below all prefixes: check, then get; the value is one number."""
    one, two = (group._underlying_non_prefix_store for group in groups)
    assert not two.check(["exception_dump"])
    one.set("exception_dump", (3).to_bytes(4, "little"))
    assert two.check(["exception_dump"])
    assert two.get("exception_dump") == b"\3\0\0\0"


def test_a_group_that_is_split_has_a_store_of_its_own(groups):
    one, two = groups
    clone = one.clone()
    del one
    clone.set("id", UNIQUE_IDS[1])
    two.wait(["id"])
    two.wait(["id"], timedelta(seconds=60))
    assert two.clone().get("id") == UNIQUE_IDS[1]
    assert two.compare_set("id", b"", b"other") == UNIQUE_IDS[1]


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.add("number", 1),
        lambda store: store.num_keys(),
        lambda store: store.delete_key("number"),
        lambda store: store.queue_push("queue", b""),
        lambda store: store.queue_pop("queue", False),
        lambda store: store.list_keys(),
    ],
)
def test_what_no_group_asks_for_is_refused_and_ends_no_process(groups, call):
    with pytest.raises(RuntimeError):
        call(groups[0])


def test_there_are_no_counters(sides):
    with pytest.raises(NotImplementedError, match="TORCH_DIST_INIT_BARRIER"):
        sides[0].store.add("a", 1)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_a_stranger_leaves_in_its_place_hides_no_departure(sides, garbage):
    one, two, stranger = sides
    notices = Notices(one.store, WORLD, "here")
    stranger.raw.set("departure", garbage)
    assert notices.departure() is None
    first = Departure(1, "rank 1 (there)", "broken")
    assert Notices(two.store, World(1, 2, 0, 1, "test"), "there").announce(first) == first
    assert notices.departure() == first
    assert notices.announce(Departure(REQUEUE_EXIT_CODE, "", "later")) == first


def test_a_counter_of_a_stranger_is_no_departure(sides):
    one, _, stranger = sides
    stranger.raw.add("departure", 1)
    assert Notices(one.store, WORLD, "here").departure() is None


@pytest.mark.parametrize("code", [0, 2**31, -9, 137, 77])
def test_a_code_that_no_rank_ends_with_is_no_departure(sides, code):
    """Even signed: 0 would end the run as completed."""
    one, two, _ = sides
    notices = Notices(one.store, WORLD, "here")
    two.store.set("departure", b'{"code":%d,"who":"","line":"done"}' % code)
    assert notices.departure() is None
