"""Going on with a run: what may differ, what may not, and that a refusal touches nothing."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from planned import HERE, LOCAL

from bertjob.cli.verbs.run import verb
from bertjob.cluster import local
from bertjob.cluster.preflight import check_continues
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.reason import reason
from bertjob.cluster.scheduler_answers import JobInfo, JobState
from bertjob.config.job import Checkpoint, Data, Evaluation, Image, Job, Model, Optimizer, Resources, Schedule, Train
from bertjob.config.load import dump
from bertjob.errors import PreflightError
from bertjob.launch.plan import Plan, plan
from bertjob.rundir.directory import RunDir
from bertjob.rundir.resume import command, differences, elsewhere
from bertjob.rundir.submissions import Submission

JOB = Job(
    name="squad", model=Model(init="demo"), data=Data(train="/t.json"), train=Train(global_batch=4, micro_batch=2)
)


def with_(**keys: Any) -> Job:
    return msgspec.structs.replace(JOB, **keys)


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (with_(seed=7), "seed was 42, is now 7"),
        (with_(backend="deepspeed"), "backend was torch, is now deepspeed"),
        (with_(precision="bf16"), "precision was auto, is now bf16"),
        (with_(model=Model(init="demo", dropout=0.2)), "model.dropout was 0.1, is now 0.2"),
        (with_(data=Data(train="/u.json")), "data.train was /t.json, is now /u.json"),
        (with_(data=Data(train="/t.json", dev="/d.json")), "data.dev was not said, is now /d.json"),
        (with_(train=Train(global_batch=8, micro_batch=2)), "train.global_batch was 4, is now 8"),
        (with_(optimizer=Optimizer(lr=1e-5)), "optimizer.lr was 3e-05, is now 1e-05"),
        (with_(schedule=Schedule(name="cosine")), "schedule.name was linear, is now cosine"),
        (
            with_(deepspeed={"zero_optimization": {"stage": 1}}),
            "deepspeed.zero_optimization.stage was not said, is now 1",
        ),
    ],
)
def test_what_decides_the_course_of_training_must_be_the_same(new: Job, line: str) -> None:
    assert differences(JOB, new) == [line]


def test_where_and_how_it_runs_may_differ() -> None:
    new = with_(
        name="other",
        description="more nodes",
        engine="sarus",
        launcher="srun",
        image=Image(ref="x"),
        env={"A": "b"},
        data=Data(train="/t.json", cache="/c"),
        train=Train(global_batch=4, micro_batch=1, log_every=1),
        evaluation=Evaluation(n_best=3),
        checkpoint=Checkpoint(keep=5),
        resources=Resources(nodes=2),
    )
    assert differences(JOB, new) == []


def started(folder: Path) -> RunDir:
    """A run directory with the job as it was planned."""
    folder.mkdir()
    (folder / "job.yaml").write_text(dump(planned(folder, JOB).job))
    return RunDir(folder)


def planned(folder: Path, job: Job) -> Plan:
    return plan(job, LOCAL, str(folder), HERE)


def test_a_refusal_is_one_line_that_names_the_first_differences_and_the_command_that_goes_on(tmp_path: Path) -> None:
    run_dir = started(tmp_path / "a run")
    check_continues(planned(run_dir.path, JOB), run_dir)
    other = with_(
        seed=1, optimizer=Optimizer(lr=1e-5), model=Model(init="demo", dropout=0.0), schedule=Schedule(name="constant")
    )
    with pytest.raises(PreflightError) as refused:
        check_continues(planned(run_dir.path, other), run_dir)
    line = str(refused.value)
    assert line.count(", is now ") == 3
    assert "seed was 42, is now 1; " in line
    assert " and 1 more; start a new run, or go on as it was with `bertjob run '" in line
    said = shlex.split(line.split("`")[1])
    assert said == ["bertjob", "run", str(run_dir.job), "--site", str(run_dir.site), "--run-dir", str(run_dir.path)]


def test_a_submitted_run_goes_on_at_its_own_site() -> None:
    text = command(RunDir(Path("/r")), submitted=True)
    assert text == "bertjob submit /r/job.yaml --site /r/site.yaml --run-dir /r"


@pytest.mark.parametrize(("saved", "words"), [(True, "with a checkpoint"), (False, "before the first checkpoint")])
def test_a_run_that_was_stopped_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool, words: str
) -> None:
    run_dir = RunDir(tmp_path / "a run")

    def stopped(*_: object) -> int:
        run_dir.checkpoints.mkdir(parents=True)
        if saved:
            run_dir.latest.write_text("step-000004\n")
        return 85

    monkeypatch.setattr(local, "run_here", stopped)
    done = CliRunner().invoke(
        verb, ["squad", "--set", "data.train=demo", "--set", "model.init=demo", "--run-dir", str(run_dir.path)]
    )
    assert done.exit_code == 85
    hint = next(line for line in done.stderr.splitlines() if line.startswith("stopped"))
    resume = f"bertjob run '{run_dir.job}' --site '{run_dir.site}' --run-dir '{run_dir.path}'"
    assert hint == f"stopped {words}; resume with: {resume}"


@pytest.mark.parametrize(("saved", "words"), [(True, "resume from step-000004 with: "), (False, "resume with: ")])
def test_a_run_that_has_failed_names_the_command_that_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool, words: str
) -> None:
    run_dir = RunDir(tmp_path / "run")

    def failed(*_: object) -> int:
        run_dir.checkpoints.mkdir(parents=True)
        if saved:
            run_dir.latest.write_text("step-000004\n")
        return 1

    monkeypatch.setattr(local, "run_here", failed)
    done = CliRunner().invoke(
        verb, ["squad", "--set", "data.train=demo", "--set", "model.init=demo", "--run-dir", str(run_dir.path)]
    )
    assert done.stderr.splitlines()[-1] == words + command(run_dir)
    assert str(done.exception).startswith("squad failed: exit code 1")


def test_a_run_that_was_moved_is_resumed_as_it_was_started() -> None:
    assert elsewhere(submitted=False).endswith("bertjob run DIR/job.yaml --site DIR/site.yaml --run-dir DIR")
    assert elsewhere().endswith("bertjob submit DIR/job.yaml --site DIR/site.yaml --run-dir DIR")


def test_status_names_the_verb_of_a_run_that_is_gone(tmp_path: Path) -> None:
    for scheduler, said_verb in (("none", "run"), ("slurm", "submit")):
        said = Submission(job_id="7", site="x", scheduler=scheduler, time=0.0, host="h")
        gone = Run(str(tmp_path / "gone"), said)
        assert f": bertjob {said_verb} DIR/job.yaml" in reason(gone, JobInfo(JobState.FAILED), None)
