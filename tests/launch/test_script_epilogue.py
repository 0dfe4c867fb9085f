"""The epilogue of a script: once, after the last start of a job."""

import pytest
from planned import SLURM, with_
from script_runs import WAITING, Batch, until

from bertjob.config.site import Site

SEEN = 'echo "epilogue: $BERTJOB_EXIT_CODE $BERTJOB_JOB_ID $BERTJOB_RESTART $PWD"'


def with_epilogue(batch: Batch, body: str, *lines: str, site: Site = SLURM, **env: str) -> int:
    return batch.run(body, site=with_(site, epilogue=lines), **env)


@pytest.mark.parametrize(("body", "code"), [("", 0), ("sys.exit(5)", 5), ("os.kill(os.getpid(), 9)", 137)])
def test_an_epilogue_runs_once_after_the_job_and_sees_how_it_ended(batch: Batch, body: str, code: int) -> None:
    assert with_epilogue(batch, body, SEEN) == code
    assert batch.log.splitlines().count(f"epilogue: {code} 7 0 {batch.run_dir}") == 1


def test_an_epilogue_runs_after_lines_of_the_site_that_fail(batch: Batch) -> None:
    assert with_epilogue(batch, "", SEEN, site=with_(SLURM, setup=("(exit 9)",))) == 9
    assert batch.log.count("epilogue: 9 7 0") == 1


def test_an_epilogue_waits_for_the_last_start(batch: Batch) -> None:
    assert with_epilogue(batch, "checkpoint(5); sys.exit(85)", SEEN) == 0
    assert batch.requeues == [["requeue", "7"]]
    assert "epilogue:" not in batch.log


def test_a_start_that_slurm_has_requeued_runs_no_epilogue_and_a_cancelled_one_does(batch: Batch) -> None:
    batch.slurm_says("PENDING", restarts=1)
    assert with_epilogue(batch, "checkpoint(5); sys.exit(85)", SEEN) == 85
    assert "epilogue:" not in batch.log
    for times, state in enumerate(("CANCELLED", "COMPLETING", "TIMEOUT"), start=1):
        batch.slurm_says(state)
        assert with_epilogue(batch, "checkpoint(5); sys.exit(85)", SEEN) == 85
        assert batch.log.count("epilogue: 85 7 0") == times


@pytest.mark.parametrize("body", ["sys.exit(5)", "os.kill(os.getpid(), 15)", ""])
def test_a_start_that_slurm_has_requeued_runs_no_epilogue_however_its_ranks_end(batch: Batch, body: str) -> None:
    batch.slurm_says("COMPLETING", restarts=1)
    with_epilogue(batch, body, SEEN)
    assert "epilogue:" not in batch.log
    with_epilogue(batch, body, SEEN, site=with_(SLURM, setup=("(exit 9)",)))
    assert "epilogue:" not in batch.log


def test_a_cancelled_job_runs_its_epilogue_before_it_cancels_itself(batch: Batch) -> None:
    process = batch.start(WAITING, site=with_(SLURM, epilogue=(SEEN,)))
    until(lambda: (batch.run_dir / "up").exists())
    batch.cancel(process)
    assert process.wait(60) == 85
    assert batch.log.count("epilogue: 85 7 0") == 1
    assert batch.commands.calls("scancel") != []


def test_an_epilogue_runs_where_the_job_cannot_start_again(batch: Batch) -> None:
    batch.slurm_says(code=1)
    assert with_epilogue(batch, "checkpoint(5); sys.exit(85)", SEEN) == 85
    assert batch.log.count("epilogue: 85 7 0") == 1


@pytest.mark.parametrize("line", ["false", "exit 4", "echo 'unclosed", "cd /nowhere", 'echo "$UNSET_$$"; false'])
def test_an_epilogue_that_fails_is_reported_and_changes_nothing(batch: Batch, line: str) -> None:
    assert with_epilogue(batch, "", line) == 0
    assert "epilogue" in batch.log


def test_lines_of_an_epilogue_are_text_to_the_script(batch: Batch) -> None:
    lines = ("END_OF_EPILOGUE", "false", 'echo "it\'s ${BERTJOB_EXIT_CODE} \\$(id)" after')
    assert with_epilogue(batch, "", *lines) == 0
    assert "it's 0 $(id) after\n" in batch.log
    assert "bertjob: epilogue: exit code 1: false\n" in batch.log
