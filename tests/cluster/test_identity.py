"""Whose the job of a number is: by cluster, user, name, working directory and script; answers as Slurm 22.05 gives."""

import os
import time
from pathlib import Path

import pytest
from fakes.commands import Commands
from msgspec.structs import replace

from bertjob.cluster.runs import catalog, provenance
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import JobState, Started
from bertjob.cluster.slurm import identity, queue
from bertjob.errors import SchedulerError, SpecError
from bertjob.launch.schedulers import sbatch_options
from bertjob.rundir import submissions
from bertjob.rundir.directory import RunDir
from bertjob.rundir.provenance import encode

US = identity.SEPARATOR


@pytest.fixture(autouse=True)
def home(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster of this machine is daint."""
    conf = tmp_path / "slurm.conf"
    conf.write_text("# a comment\nClusterName=Daint # capital letters are made small\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Submitted here as job 7 of daint, under the name squad."""
    run_dir = RunDir(tmp_path / "runs" / "one")
    run_dir.logs.mkdir(parents=True)
    said = catalog.submission(run_dir, Started("7", "daint"), site="daint", scheduler="slurm", job_name="squad")
    return catalog.file(run_dir, said)


def squeue(run: Run, **other: str) -> str:
    """squeue's line of a job that differs from the run's in some fields."""
    said = run.submission
    own = {"uid": str(os.getuid()), "user": "me", "submitted": "2026-11-30T11:51:38", "name": "squad"}
    fields = {**own, "directory": said.directory, "command": said.script, **other}
    return US.join([f"{said.job_id}|RUNNING|nid00001|None", *fields.values()]) + "\n"


def test_the_runs_own_job_is_the_runs(run: Run, commands: Commands) -> None:
    for other in ({}, {"name": "renamed | by hand"}, {"submitted": "2031-01-01T00:00:00"}, {"submitted": "N/A"}):
        commands.make("squeue", squeue(run, **other))
        assert queue.query([run]).job(run).state is JobState.RUNNING


@pytest.mark.parametrize(
    "other",
    [
        {"uid": "1", "user": "alice", "name": "evil|7|RUNNING"},
        {"command": "/elsewhere/job.sbatch"},
        {"name": "line\nbreak"},
        {"name": "innocent", "directory": "/elsewhere", "command": "(null)"},
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_strangers_job_is_neither_reported_nor_touched(
    run: Run, commands: Commands, other: dict[str, str], at_once: bool
) -> None:
    commands.make("squeue", squeue(run, **other))
    info = queue.query([run]).job(run)
    assert info.state is JobState.UNKNOWN
    assert info.stranger.startswith("job 7 is not the run's any more, but ")
    with pytest.raises(SchedulerError, match=r"^not cancelled: one: job 7 is not the run's any more, but "):
        queue.cancel([run], at_once=at_once)
    assert commands.calls("scancel") == []
    assert not run.run_dir.cancellation("7").exists()


@pytest.mark.parametrize("command", ["/site/copy.sh", "(null)", "{script} -M other"])
@pytest.mark.parametrize("own", [True, False])
def test_of_a_copy_of_the_script_the_log_tells(run: Run, commands: Commands, command: str, own: bool) -> None:
    log = run.run_dir.log("7") if own else "/elsewhere/logs/7.out"
    listed = squeue(run, command=command.format(script=run.submission.script), directory="/site")
    commands.make("squeue", f"{listed}7                   {log}\n")
    assert bool(queue.query([run]).job(run).stranger) is not own
    listed = squeue(run, command="/site/copy.sh", uid="4711")
    commands.make("squeue", f"{listed}7                   {log}\n")
    assert queue.query([run]).job(run).stranger


def test_a_strangers_job_does_not_keep_others_from_being_cancelled(run: Run, commands: Commands) -> None:
    another = replace(run, path="/gone", submission=replace(run.submission, job_id="8", script="/gone/job.sbatch"))
    commands.make("squeue", squeue(run, name="x", command="/x") + squeue(another))
    with pytest.raises(SchedulerError, match="not cancelled: one: job 7"):
        queue.cancel([run, another], at_once=True)
    assert commands.calls("scancel") == [["8"]]


@pytest.mark.parametrize(
    ("uid", "submitted", "place", "own"),
    [
        (None, 0.0, "HERE|squad", True),
        (None, 0.0, "HERE|renamed", True),  # at the very time
        (None, 86400.0, "HERE|squad", True),  # requeued on the next day
        (None, 86400.0, "HERE|other", False),
        (None, 86400.0, "/elsewhere|squad", False),
        (None, -86400.0, "HERE|squad", False),  # the number was another job's before; this one is not filed yet
        ("1", 0.0, "HERE|squad", False),
    ],
)
def test_of_ended_jobs_the_accounting_tells(
    run: Run, commands: Commands, uid: str | None, submitted: float, place: str, own: bool
) -> None:
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(run.submission.time + submitted))
    whose = f"{uid or os.getuid()}|me|{when}|{place.replace('HERE', run.submission.directory)}"
    commands.make("sacct", f"7|COMPLETED|nid00001|0:0|{whose}\n")
    info = queue.query([run]).job(run)
    assert info.state is (JobState.COMPLETED if own else JobState.UNKNOWN)
    assert bool(info.stranger) is not own


def older(run: Run) -> Run:
    """The run as an older version has filed it."""
    keys = ("job_id", "site", "scheduler", "time", "host")
    said = submissions.Submission(**{key: getattr(run.submission, key) for key in keys})
    origin = provenance.collect("squad", "daint", None)
    run.run_dir.provenance.write_bytes(encode(origin))
    return replace(run, submission=said)


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ({}, True),
        ({"command": "/home/me/by-hand.sh"}, True),
        ({"command": "/moved/job.sbatch"}, True),  # the run directory was moved since
        ({"name": "innocent", "command": "(null)"}, False),
        ({"directory": "/elsewhere", "command": "x"}, False),
        ({"uid": "1", "command": "(null)"}, False),
    ],
)
def test_older_submissions_are_told_apart_by_the_files_of_the_run(
    run: Run, commands: Commands, other: dict[str, str], own: bool
) -> None:
    commands.make("squeue", squeue(run, **other))
    info = queue.query([older(run)]).job(run)
    assert info.state is (JobState.RUNNING if own else JobState.UNKNOWN)
    assert (info.stranger, info.asked) == ("", True) or (not info.asked and "here is not the run's" in info.stranger)


def test_another_clusters_jobs_are_asked_for_there_each_cluster_once(run: Run, commands: Commands) -> None:
    there = [
        replace(run, path=f"/{number}", submission=replace(run.submission, job_id=number, cluster="other", uid=None))
        for number in ("7", "9")
    ]
    commands.make("squeue", "7|PENDING||Priority\n")
    commands.make("sacct", "9|FAILED|nid00001|1:0\n")
    answer = queue.query([run, *there])
    assert [answer.job(one).state for one in (run, *there)] == [JobState.PENDING, JobState.PENDING, JobState.FAILED]
    for name in ("squeue", "sacct"):
        asked = {
            tuple(word for word in call if word.startswith(("--clusters", "--jobs"))) for call in commands.calls(name)
        }
        assert asked == {("--jobs=7",), ("--clusters=other", "--jobs=7,9")}
    queue.cancel(there, at_once=True)
    assert commands.calls("scancel") == [["--clusters=other", "7", "9"]]


def test_a_cluster_that_cannot_be_reached_says_nothing_of_others(run: Run, commands: Commands) -> None:
    away = replace(run, path="/x", submission=replace(run.submission, cluster="other", uid=None))
    (commands.folder / "squeue").write_text(
        "#!/bin/sh\n"
        "case $* in *=other*) echo \"squeue: error: No cluster 'other' known by database.\" >&2; exit 1;; esac\n"
        "echo '7|RUNNING|nid00001|None'\n"
    )
    answer = queue.query([run, away])
    assert answer.job(run).state is JobState.RUNNING
    assert (answer.job(away).state, answer.job(away).asked) == (JobState.UNKNOWN, False)
    assert answer.controller == "squeue --clusters=other: No cluster 'other' known by database."
    with pytest.raises(SchedulerError, match="No cluster 'other' known"):
        queue.cancel([away], at_once=False)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), []),
        (("-Mother",), ["other"]),
        (("-M other",), ["other"]),
        (("-M", "other"), ["other"]),
        (("--clusters", "a,b"), ["a", "b"]),
        (("--clusters=a", "--hold", "--clusters=b"), ["b"]),
        (("-HMb",), ["b"]),
        (("--comment=-Mx",), []),
    ],
)
def test_clusters_that_options_name(words: tuple[str, ...], names: list[str]) -> None:
    assert sbatch_options.clusters(words) == names


def test_links_of_a_chain_go_to_the_cluster_of_the_first() -> None:
    assert sbatch_options.after(("-Ma,b",), "7", "b")[-1] == "--clusters=b"
    assert "--clusters" not in " ".join(sbatch_options.after((), "7", "daint"))


@pytest.mark.parametrize("cluster", ["a,b", "--all", "a b", "../x", "a\nb"])
def test_a_line_whose_cluster_is_no_name_is_not_read(run: Run, cluster: str) -> None:
    line = submissions.encode(replace(run.submission, cluster=cluster))
    if cluster == "--all":  # a word of its own in no command: it stands behind --clusters=
        assert submissions.decode(line).cluster == cluster
        return
    with pytest.raises(submissions.msgspec.DecodeError):
        submissions.decode(line)


def test_a_number_of_several_clusters(run: Run) -> None:
    there = RunDir(run.run_dir.path.with_name("two"))
    there.path.mkdir()
    catalog.file(there, replace(run.submission, cluster="other", time=run.submission.time + 1))
    assert catalog.find("7").name == "two"
    assert catalog.find("7@daint").name == catalog.find_newest("7@daint").name == "one"
    with pytest.raises(SpecError, match=r"7: a number of several clusters: 7@daint \(one\), 7@other \(two\): name one"):
        catalog.find_newest("7")
