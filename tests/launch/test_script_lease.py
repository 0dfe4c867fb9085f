"""A script and the lease of its run directory: one job at a time, and only in its own."""

import shutil

import msgspec
import pytest
from script_runs import Batch

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir

HOLDERS = {
    "job 6": lease.Holder(job_id="6", restart=2, nonce="0af1", host="n9", time=1.5, pid=3, machine="there"),
    "the same job": lease.Holder(job_id="7", nonce="0af1", host="n9", time=1.5),
    "its submission": lease.Holder(job_id="", nonce="0af1", host="login1", time=1.5, pid=3),
    "a local run": lease.Holder(job_id="local", nonce="0af1", host="n9", time=1.5, pid=3, machine="there"),
}
TELL = "print('former', os.environ['BERTJOB_FORMER_LEASE'], os.environ['BERTJOB_RESTART'], 'end')"


def hold(batch: Batch, holder: str) -> None:
    RunDir(batch.run_dir).path.mkdir()
    assert lease.replace(RunDir(batch.run_dir), None, HOLDERS[holder])


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "REQUEUE_HOLD", "RESV_DEL_HOLD"])
def test_beside_another_job_nothing_begins_and_nothing_is_written(batch: Batch, state: str) -> None:
    hold(batch, "job 6")
    batch.commands.make("squeue", f"{state}\n")
    assert batch.run("checkpoint(5); sys.exit(85)") == 3
    assert f"{batch.run_dir}: job 6 is still {state.lower()} there; cancel it or wait for it\n" in batch.log
    assert [path.name for path in batch.run_dir.iterdir()] == ["lease.json"]
    assert batch.requeues == []
    asked = ["--noheader", "--states=all", "--jobs=6", "--format=%T"]
    assert batch.commands.calls("squeue") == [asked]


OVER = (
    *("COMPLETED", "CANCELLED", "FAILED", "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"),
    *("TIMEOUT", "PREEMPTED", "DEADLINE", "OUT_OF_MEMORY"),
)


@pytest.mark.parametrize(
    ("said", "code"),
    [*((f"{state}\n", 0) for state in OVER), ("slurm_load_jobs error: Invalid job id specified\n", 1)],
)
def test_a_job_that_is_over_makes_way(batch: Batch, said: str, code: int) -> None:
    hold(batch, "job 6")
    batch.commands.make("squeue", *(("", said) if code else (said, "")), code=code)
    assert batch.run(TELL) == 0
    assert "former 0af1 0 end\n" in batch.log


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", 0),
        ("COMPLETING\n", 0),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", 1),
        ("squeue: command not found\n", 127),
    ],
)
def test_where_slurm_does_not_know_rank_0_watches_the_holder(batch: Batch, said: str, code: int) -> None:
    hold(batch, "job 6")
    batch.commands.make("squeue", *(("", said) if code else (said, "")), code=code)
    assert batch.run(TELL) == 0
    assert "former  0 end\n" in batch.log


@pytest.mark.parametrize("holder", ["the same job", "its submission"])
def test_its_own_former_start_and_its_submission_make_way(batch: Batch, holder: str) -> None:
    hold(batch, holder)
    assert batch.run(TELL) == 0
    assert "former 0af1 0 end\n" in batch.log
    assert batch.commands.calls("squeue") == []


def test_of_a_local_run_slurm_knows_nothing(batch: Batch) -> None:
    hold(batch, "a local run")
    assert batch.run(TELL) == 0
    assert "former  0 end\n" in batch.log


def test_a_component_of_a_heterogeneous_job_begins_nothing(batch: Batch) -> None:
    assert batch.run("print('trained')", SLURM_HET_SIZE="2") == 3
    assert "bertjob starts no heterogeneous job" in batch.log
    assert "trained" not in batch.log


def test_a_later_start_finds_the_run_directory_of_the_first_and_makes_none(batch: Batch) -> None:
    batch.slurm_says(restarts=1)
    process = batch.start("", SLURM_RESTART_COUNT="1", BERTJOB_RUN_DIR=str(batch.run_dir))
    assert process.wait(60) == 0
    shutil.rmtree(batch.run_dir)
    assert batch.start_text((batch.folder / "script").read_text(), SLURM_RESTART_COUNT="1").wait(60) == 1
    assert f"{batch.run_dir}: the job's run directory is not there: it was moved or removed; with DIR for" in batch.log
    assert not batch.run_dir.exists()


@pytest.mark.parametrize("lease_there", [None, "999", "local", "", "7"])
def test_a_submitted_job_takes_no_run_directory_but_its_own(batch: Batch, lease_there: str | None) -> None:
    run_dir = RunDir(batch.run_dir)
    run_dir.logs.mkdir(parents=True)
    if lease_there is not None:
        assert lease.replace(run_dir, None, lease.of_waiting_job(lease_there))
    before = sorted(run_dir.path.rglob("*"))
    own = lease_there in ("", "7")
    assert batch.run("", BERTJOB_SUBMITTED=str(batch.run_dir)) == (not own)
    if not own:
        assert f"bertjob: {batch.run_dir}: the job's run directory is not there: it was moved or removed" in batch.log
        assert sorted(run_dir.path.rglob("*")) == before


@pytest.mark.parametrize("preempted", ["None", "2026-11-30T10:00:00"])
def test_a_job_whose_run_directory_goes_away_is_not_started_again(batch: Batch, preempted: str) -> None:
    batch.slurm_says(preempted=preempted)
    assert batch.run("run.rename(run.with_name('moved')); sys.exit(85)") == 1
    assert batch.requeues == []
    assert f"{batch.run_dir}: the run directory was moved or removed, so the job is not started again" in batch.log
    assert not batch.run_dir.exists()


@pytest.mark.parametrize("preempted", ["None", "2026-11-30T10:00:00"])
def test_a_job_that_was_replaced_is_not_started_again(batch: Batch, preempted: str) -> None:
    batch.slurm_says(preempted=preempted)
    other = msgspec.json.encode(HOLDERS["job 6"]).decode()
    assert batch.run(f"(run / 'lease.json').write_text({other!r}); checkpoint(5); sys.exit(85)") == REQUEUE_EXIT_CODE
    assert batch.requeues == []
