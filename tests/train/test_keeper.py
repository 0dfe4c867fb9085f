"""Whose the lease is, as ranks see it that do not hold it."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.lease import Holder
from bertjob.rundir.world import FORMER_LEASE, LOCAL_ID, RESTART
from bertjob.train.keeper import is_replaced

ENDED = replace(lease.of_this_process("16"), ended=True)
FORMER = lease.of_this_process("16")
FRONT = lease.of_this_process(LOCAL_ID)
ENV = {RESTART: "1", FORMER_LEASE: FORMER.nonce}


@pytest.mark.parametrize(
    ("holder", "replaced"),
    [
        (None, False),
        (ENDED, True),
        (FORMER, False),
        (lease.of_waiting_job(""), False),
        (lease.of_waiting_job("17"), False),
        (lease.of_this_process("17"), False),
        (lease.of_this_process("17", 1), False),
        (lease.of_this_process("17", 2), True),
        (replace(lease.of_this_process("17", 2), ended=True), True),
        (replace(lease.of_this_process("17", 1), ended=True), False),
        (lease.of_this_process("18"), True),
        (FRONT, True),
    ],
)
def test_ranks_of_a_job_know_whether_its_start_was_replaced(
    tmp_path: Path, holder: Holder | None, replaced: bool
) -> None:
    held = HeldRun(RunDir(tmp_path))
    if holder is not None:
        assert lease.replace(held.run_dir, None, holder)
    assert is_replaced(held, "17", ENV) == replaced


def test_ranks_of_a_local_run_know_it_by_the_lease_that_was_given_to_them(tmp_path: Path) -> None:
    held = HeldRun(RunDir(tmp_path))
    assert lease.replace(held.run_dir, None, replace(lease.of_this_process(LOCAL_ID), given=FRONT.nonce))
    assert not is_replaced(held, LOCAL_ID, {FORMER_LEASE: FRONT.nonce})
    assert is_replaced(held, LOCAL_ID, {FORMER_LEASE: "another"})
