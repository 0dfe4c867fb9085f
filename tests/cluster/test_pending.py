"""A job that waits too long is taken out of the queue, and one that has just started is not."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
from fakes.commands import Commands

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.pending import wait_for_start
from bertjob.cluster.scheduler import withdraw
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.errors import PendingError, SchedulerError
from bertjob.rundir.state import RunState, write_state
from bertjob.rundir.submissions import Submission

PENDING = JobInfo(JobState.PENDING, reason="Resources")
HELD = "4711|PENDING||JobHeldUser\n"
RUNNING = "4711|RUNNING|nid00001|None\n"
AWAY = "slurm_load_jobs error: Unable to contact slurm controller\n"


class Queue:
    """A scheduler whose answers are a list, and a clock that only sleep moves."""

    def __init__(self, *says: JobInfo | str) -> None:
        self.says = list(says)
        self.now = 0.0

    def ask(self, runs: Collection[Run]) -> Answer:
        (run,) = runs
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        return Answer(controller=said) if isinstance(said, str) else Answer({run.path: said})

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(
        self,
        run: Run,
        withdraw: Callable[[Run], bool],
        limit: float = 30,
        heard: list[str] | None = None,
        behind: Sequence[Run] = (),
        cancel: Callable[[Collection[Run]], object] = lambda runs: None,
    ) -> JobInfo:
        said = [] if heard is None else heard
        return wait_for_start(
            (run, *behind),
            limit,
            notify=said.append,
            ask=self.ask,
            withdraw=withdraw,
            cancel=cancel,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(str(tmp_path), Submission(job_id="4711", site="x", scheduler="slurm", time=2e9, host="h"))


def never(run: Run) -> bool:
    raise AssertionError("it was taken out of the queue")


def test_a_job_that_starts_in_time_is_left_alone(run: Run) -> None:
    info = JobInfo(JobState.RUNNING, "nid00001")
    assert Queue(PENDING, PENDING, info).wait(run, never) == info


def test_a_job_that_does_not_start_is_cancelled_once_its_time_is_over(run: Run) -> None:
    queue = Queue(PENDING)
    with pytest.raises(PendingError, match=r"^job 4711 was still pending \(Resources\) after 00:00:30, and"):
        queue.wait(run, lambda run: True)
    assert queue.now == 30


BEHIND = [
    Run(f"/runs/{job_id}", Submission(job_id=job_id, site="x", scheduler="slurm", time=2e9, host="h", after="4711"))
    for job_id in ("4712", "4713")
]


def test_the_rest_of_a_chain_is_cancelled_with_its_first_job(run: Run) -> None:
    cancelled: list[Run] = []
    with pytest.raises(PendingError, match=r"; those behind it are cancelled too: 4712, 4713$"):
        Queue(PENDING).wait(run, lambda run: True, behind=BEHIND, cancel=cancelled.extend)
    assert cancelled == BEHIND


def test_what_cannot_be_cancelled_of_a_chain_is_named(run: Run) -> None:
    def away(runs: Collection[Run]) -> None:
        raise SchedulerError("squeue: away")

    with pytest.raises(PendingError, match=r"those behind it cannot start, and stay in the queue: 4712, 4713 \(squeue"):
        Queue(PENDING).wait(run, lambda run: True, behind=BEHIND, cancel=away)


def test_a_chain_whose_first_job_starts_is_left_alone(run: Run) -> None:
    def never(runs: Collection[Run]) -> None:
        raise AssertionError("its other jobs were cancelled")

    assert Queue(JobInfo(JobState.RUNNING)).wait(run, lambda run: False, behind=BEHIND, cancel=never).state.live


def test_a_job_that_starts_while_it_is_given_up_goes_on(run: Run) -> None:
    info = JobInfo(JobState.RUNNING)
    queue = Queue(PENDING)

    def has_started(run: Run) -> bool:
        queue.says = [info]
        return False

    assert queue.wait(run, has_started) == info


def test_nothing_is_cancelled_while_the_scheduler_does_not_answer(run: Run) -> None:
    queue, heard = Queue("squeue: away"), list[str]()

    def away(run: Run) -> bool:
        if queue.now > 100:
            queue.says = [JobInfo(JobState.RUNNING)]
        raise SchedulerError("squeue: away")

    assert queue.wait(run, away, heard=heard).state is JobState.RUNNING
    assert heard == ["squeue: away: job 4711 may have started, so it is left alone until that is known"]


def test_a_run_that_writes_its_heartbeat_has_started_whatever_slurm_says(run: Run) -> None:
    write_state(run.run_dir.state, RunState(phase="training", time=0.0, job_id="4711"))
    assert Queue("squeue: away").wait(run, never).state is JobState.RUNNING


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.FAILED])
def test_a_job_that_ends_in_the_queue_is_not_waited_for(run: Run, state: JobState) -> None:
    assert Queue(PENDING, JobInfo(state)).wait(run, never).state is state


@pytest.mark.parametrize(
    ("squeue", "cancelled", "last"),
    [(HELD, True, "hold"), (RUNNING, False, "release"), ("4711|CANCELLED||None\n", False, "hold")],
)
def test_slurm_holds_the_job_before_it_is_cancelled(
    commands: Commands, run: Run, squeue: str, cancelled: bool, last: str
) -> None:
    commands.make("scontrol")
    commands.make("squeue", squeue)
    assert withdraw(run) is cancelled
    assert bool(commands.calls("scancel")) is cancelled
    assert commands.calls("scontrol")[-1] == [last, "4711"]


@pytest.mark.parametrize(
    ("squeue", "told"), [("", "cannot be held"), ("4711|PENDING||Resources\n", "cannot be held"), (None, "Unable to")]
)
def test_a_job_that_is_not_known_to_be_held_stays_in_the_queue(
    commands: Commands, run: Run, squeue: str | None, told: str
) -> None:
    commands.make("scontrol")
    commands.make("squeue", squeue or "", stderr=AWAY if squeue is None else "", code=int(squeue is None))
    with pytest.raises(SchedulerError, match=told):
        withdraw(run)
    assert commands.calls("scancel") == []
    assert commands.calls("scontrol")[-1] == ["release", "4711"]
