"""What came of sbatch, whatever it prints and exits with; and the options that change what it means."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from planned import SMALL

from bertjob.cli.main import cli
from bertjob.cluster.runs import catalog, create
from bertjob.cluster.slurm import hand_over
from bertjob.cluster.submit import submit
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.errors import PreflightError, SchedulerError, UncertainError
from bertjob.launch.plan import Here, Plan, plan
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir

HOSTILE = "run dir with 'quotes' and $(x) %j é"


def planned(run_dir: Path) -> Plan:
    return plan(Job(name="squad", **SMALL), Site(name="daint"), str(run_dir), Here("/usr/bin/python3", str(Path.cwd())))


@pytest.fixture
def hanging(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """An sbatch that does not end."""
    (commands.folder / "sbatch").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(hand_over, "_TIMEOUT_S", 1)
    monkeypatch.setattr(hand_over, "_LOOK_EVERY_S", 0.05)
    return commands


def test_an_sbatch_that_hangs_may_have_queued_the_job(hanging: Commands, tmp_path: Path) -> None:
    wanted = planned(tmp_path / HOSTILE)
    now = time.strftime("%FT%T", time.gmtime())
    others = f"12|{now}|/elsewhere/job.sbatch\n13|{now}|(null)\n"
    hanging.make("squeue", f"{others}14|{now}|{tmp_path / HOSTILE}/job.sbatch\n")
    assert submit(wanted).job_id == "14"
    assert catalog.find("14").path == str(tmp_path / HOSTILE)


def test_an_sbatch_that_hangs_without_a_job_leaves_nothing(hanging: Commands, tmp_path: Path) -> None:
    hanging.make("squeue", "12|2026-11-20T10:15:00|/elsewhere/job.sbatch\n")
    with pytest.raises(SchedulerError, match=r"^sbatch: no answer within 1 s, and squeue has no job of it$"):
        submit(planned(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_in_doubt_the_folder_stays(hanging: Commands, tmp_path: Path) -> None:
    hanging.make("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with pytest.raises(UncertainError, match="and squeue: Unable to contact slurm controller: if squeue shows"):
        submit(planned(tmp_path / "run"))
    assert (tmp_path / "run" / "job.sbatch").exists()


def test_an_interrupt_during_sbatch_cancels_the_job_and_keeps_its_folder(
    commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (commands.folder / "sbatch").write_text("#!/bin/sh\nsleep 1\necho Submitted batch job 4711\n")
    commands.make("scancel")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        submit(planned(tmp_path / "run"))
    assert commands.calls("scancel") == [["4711"]]
    assert catalog.find("4711").path == str(tmp_path / "run")
    assert "interrupted; cancelled: 4711" in caplog.text


QUEUED = """\
#!/bin/sh
for script; do :; done
printf '4711|%s|%s\\n' "$(date -u +%FT%T)" "$script" >{squeue}
"""
"""The beginning of an sbatch that queues the script: squeue shows it from then on."""
WRAPPERS = {
    "the number alone": "echo 4711",
    "a sentence of an older Slurm": "echo Submitted batch job 4711",
    "another language": "echo Auftrag 4711 eingereicht",
    "a banner before": "echo Your last job 7 used 3 hours.; echo 4711",
    "a number before": "echo 7; echo 4711",
    "a banner behind": "echo 4711; echo You have 12 hours left.",
    "a number behind": "echo 4711; echo 12",
    "numbers and a sentence": "echo 7; echo Submitted batch job 4711; echo 12",
    "nothing": "true",
    "an exit code of its own": "echo 4711; exit 1",
    "an exit code and another number": "echo 7; exit 3",
    "a lost answer": "echo sbatch: error: Batch job submission failed: Socket timed out >&2; exit 1",
    "killed": "kill -KILL $$",
    "killed behind the number": "echo 4711; kill -TERM $$",
    "something left running": "echo 4711; sleep 1000 &",
    "timeout's exit code": "exit 124",
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "_LOOK_EVERY_S", 0.02)


def queueing(commands: Commands, then: str) -> None:
    squeue = commands.folder / "squeue.stdout"
    (commands.folder / "sbatch").write_text(QUEUED.format(squeue=squeue) + then + "\n")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("says", WRAPPERS.values(), ids=WRAPPERS)
def test_a_job_that_is_queued_is_never_taken_for_refused_nor_another_number_for_its_id(
    commands: Commands, tmp_path: Path, says: str
) -> None:
    queueing(commands, says)
    submitted = submit(planned(tmp_path / "run"))
    assert submitted.job_id == "4711"
    assert submitted.run_dir.script.exists()
    assert catalog.find("4711").path == str(tmp_path / "run")
    assert commands.calls("scancel") == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("says", WRAPPERS.values(), ids=WRAPPERS)
def test_where_the_queue_is_silent_nothing_is_undone(commands: Commands, tmp_path: Path, says: str) -> None:
    queueing(commands, says)
    commands.make("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with contextlib.suppress(UncertainError):
        assert submit(planned(tmp_path / "run")).job_id == "4711"
    assert (tmp_path / "run" / "job.sbatch").exists()


@pytest.mark.usefixtures("quick")
def test_a_copy_of_the_script_is_known_by_its_log(commands: Commands, tmp_path: Path) -> None:
    """As where a wrapper edits the script and pipes it on: the queue shows no path then."""
    now = time.strftime("%FT%T", time.gmtime())
    log = tmp_path / "run" / "logs" / "%j.out"
    commands.make("sbatch", "queued\n")
    (commands.folder / "squeue").write_text(
        f'#!/bin/sh\ncase "$*" in *StdOut*) echo "12   {log}"; echo "13   /elsewhere/%j.out";;\n'
        f'*) for job in 12 13; do echo "$job|{now}|(null)"; done;; esac\n'
    )
    assert submit(planned(tmp_path / "run")).job_id == "12"


@pytest.mark.usefixtures("quick")
def test_a_job_that_is_over_before_the_queue_is_asked_has_left_its_log(commands: Commands, tmp_path: Path) -> None:
    (commands.folder / "sbatch").write_text(f"#!/bin/sh\necho done > {tmp_path}/run/logs/4711.out; exit 1\n")
    assert submit(planned(tmp_path / "run")).job_id == "4711"
    assert (tmp_path / "run" / "logs" / "4711.out").read_text() == "done\n"


@pytest.mark.usefixtures("quick")
def test_an_older_job_of_the_same_script_is_not_the_new_one(commands: Commands, tmp_path: Path) -> None:
    submit(planned(tmp_path / "run"))
    now = time.strftime("%FT%T", time.gmtime())
    script = tmp_path / "run" / "job.sbatch"
    commands.make("squeue", f"4711|{now}|{script}\n12|2026-11-01T10:00:00|{script}\n")
    commands.make("sacct", "4711|COMPLETED|nid00001|0:0\n")
    commands.make("sbatch", stderr="sbatch: error: no\n", code=1)
    with pytest.raises(SchedulerError, match=r"^sbatch: no$"):
        submit(planned(tmp_path / "run"))


@pytest.mark.parametrize("trace", ["checkpoints/step-000040/x", "logs/4711.out", "metrics.jsonl", "notes.txt"])
def test_a_refusal_removes_no_folder_with_work_in_it(commands: Commands, tmp_path: Path, trace: str) -> None:
    run_dir = RunDir(tmp_path / "run")
    refused = pytest.raises(SchedulerError)
    with refused, create.made(run_dir, create.files(planned(run_dir.path), run_dir, None)):
        (run_dir.path / trace).parent.mkdir(parents=True, exist_ok=True)
        (run_dir.path / trace).write_text("work")
        raise SchedulerError("refused")
    assert (run_dir.path / trace).read_text() == "work"
    assert run_dir.script.exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left"), RuntimeError(), KeyboardInterrupt(), UncertainError()])
def test_only_a_refusal_undoes_a_run_directory(commands: Commands, tmp_path: Path, error: BaseException) -> None:
    run_dir = RunDir(tmp_path / "run")
    with pytest.raises(type(error)), create.made(run_dir, create.files(planned(run_dir.path), run_dir, None)):
        raise error
    assert run_dir.script.exists()


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_that_a_wrapper_sends_to_another_cluster_is_found(commands: Commands, tmp_path: Path, code: int) -> None:
    run, now = tmp_path / "run", time.strftime("%FT%T", time.gmtime())
    commands.make("sbatch", code=code)
    head = "JOBID|SUBMIT_TIME|COMMAND"
    lines = ["CLUSTER: Home", head, "", "CLUSTER: Other", head, f"17|{now}|{run}/job.sbatch", ""]
    (commands.folder / "answer").write_text("\n".join(lines))
    (commands.folder / "squeue").write_text(
        f"#!/bin/sh\ncase $* in *--clusters=all*) cat {commands.folder}/answer;; esac\n"
    )
    submitted = submit(planned(run))
    assert (submitted.job_id, submitted.run.submission.cluster) == ("17", "other")
    assert run.exists()


def test_what_a_site_says_beside_the_id_is_shown(
    commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands.make("sbatch", "4711\n", stderr="sbatch: Your account expires tomorrow.\n")
    submit(planned(tmp_path / "run"))
    assert [record.message for record in caplog.records] == ["sbatch: Your account expires tomorrow."]


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("--wait", "use `bertjob submit --wait`"),
        ("--wai", "use `bertjob submit --wait`"),
        ("-W", "use `bertjob submit --wait`"),
        ("-HW", "use `bertjob submit --wait`"),
        ("-WHn4", "use `bertjob submit --wait`"),
        ("--test-only", "use `bertjob submit --dry-run`"),
        ("--te", "use `bertjob submit --dry-run`"),
        ("--parsable", "leave it out"),
        ("--pars", "leave it out"),
        ("--quiet", "leave it out"),
        ("-Qv", "leave it out"),
        ("--version", "call sbatch itself"),
        ("-h", "call sbatch itself"),
        ("--mem=64GiB", "sbatch takes a whole number of MB"),
        ("--mem-per-cpu=1.5G", "sbatch takes a whole number of MB"),
        ("--mem-per-g=1P", "sbatch takes a whole number of MB"),
        ("--", "is not an option of sbatch"),
    ],
)
def test_options_that_change_what_sbatch_means_are_refused_wherever_they_stand(
    commands: Commands, tmp_path: Path, word: str, remedy: str
) -> None:
    said = {"job": [f'{{base: squad-demo, resources: {{sbatch: ["{word}"]}}}}', "{name: s}"]}
    said["site"] = ["{base: squad-demo}", f'{{name: s, defaults: {{sbatch: ["{word}"]}}}}']
    for place, (job, site) in said.items():
        (tmp_path / "job.yaml").write_text(job)
        (tmp_path / "site.yaml").write_text(site)
        done = CliRunner().invoke(cli, ["submit", "./job.yaml", "--site", "./site.yaml", "--run-dir", "run"])
        assert done.exception is not None, place
        assert remedy in str(done.exception), place
    if word != "--":
        done = CliRunner().invoke(cli, ["submit", "squad-demo", "--run-dir", "run", "--", word])
        assert remedy in str(done.exception)
    assert commands.calls("sbatch") == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["--wait-all-nodes=1", "-Hwn1", "--wckey=W", "-k", "--verbose", "--qos=Q"])
def test_options_that_look_alike_go_to_sbatch(commands: Commands, tmp_path: Path, word: str) -> None:
    done = CliRunner().invoke(
        cli, ["submit", "squad-demo", "--run-dir", "run", "--set", "train.micro_batch=1", "--", word]
    )
    assert done.exit_code == 0, done.output
    script = (tmp_path / "run" / "job.sbatch").read_text()
    lines = {"-Hwn1": ("--hold", "--nodelist=n1"), "--qos=Q": ("--qos=Q",)}.get(word, (word,))
    assert all(f"#SBATCH {line}\n" in script for line in lines)


@pytest.mark.parametrize(
    ("stderr", "code", "said"),
    [
        (
            "sbatch: Job 6 to start at 2026-11-30T16:23:32 using 2 processors on nodes nid[00001-00002] in normal\n",
            0,
            "sbatch --test-only: to start at 2026-11-30T16:23:32 using 2 processors on nodes nid[00001-00002] in",
        ),
        ("allocation failure: Invalid feature specification\n", 1, "sbatch --test-only: Invalid feature specification"),
        (
            "sbatch: error: No cluster 'x' known by database.\n",
            1,
            "sbatch --test-only: No cluster 'x' known by database.",
        ),
        ("", 0, ""),
    ],
)
def test_a_dry_run_says_what_sbatch_estimates(commands: Commands, stderr: str, code: int, said: str) -> None:
    commands.make("sbatch", "Submitted batch job 4711\n", stderr, code)
    kept = f'cp "$2" {commands.folder}/script\n'
    (commands.folder / "sbatch").write_text(
        (commands.folder / "sbatch").read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{kept}")
    )
    words = ["submit", "squad-demo", "--run-dir", "run", "--dry-run", "--set", "train.micro_batch=1"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    told = [line for line in done.stderr.splitlines() if line.startswith("sbatch")]
    assert [line.startswith(said) for line in told] == [True] * bool(said)
    head, _, rest = (commands.folder / "script").read_text().partition("#SBATCH --test-only\n")
    assert rest == "exit 0\n"  # nothing is done where a wrapper queues it
    assert done.stdout.startswith(head.rstrip())


def test_a_dry_run_needs_no_slurm(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert hand_over.estimate("#!/bin/bash\n") == ""


@pytest.mark.parametrize(("value", "waits"), [("", True), ("yes", True), ("1", True), ("0", False), ("no", False)])
def test_a_variable_that_makes_sbatch_wait_is_named(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, waits: bool
) -> None:
    monkeypatch.setenv("SBATCH_WAIT", value)
    if not waits:
        assert submit(planned(tmp_path / "run")).job_id == "4711"
        return
    with pytest.raises(PreflightError, match=r"^SBATCH_WAIT is set in this shell: unset it, and use `bertjob submit"):
        submit(planned(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_are_ignored_stay_ignored_while_a_job_is_queued(
    commands: Commands, tmp_path: Path, number: signal.Signals
) -> None:
    former = signal.signal(number, signal.SIG_IGN)
    try:
        (commands.folder / "sbatch").write_text("#!/bin/sh\nsleep 1\necho 4711\n")
        threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
        assert submit(planned(tmp_path / "run")).job_id == "4711"
    finally:
        signal.signal(number, former)


def test_a_lost_connection_during_sbatch_leaves_no_job_without_its_folder(commands: Commands, tmp_path: Path) -> None:
    (commands.folder / "sbatch").write_text("#!/bin/sh\nsleep 1\necho 4711\n")
    former = signal.signal(signal.SIGHUP, lambda number, frame: sys.exit(129))
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGHUP)).start()
        with pytest.raises(SystemExit):
            submit(planned(tmp_path / "run"))
    finally:
        signal.signal(signal.SIGHUP, former)
    assert commands.calls("scancel") == [["4711"]]
    assert catalog.find("4711").path == str(tmp_path / "run")


def test_a_submission_that_never_told_its_id_is_looked_for_before_the_next(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an sbatch without an answer, or a bertjob that was killed: the lease names no job."""
    run_dir = RunDir(tmp_path / "run")
    with contextlib.suppress(UncertainError), create.made(run_dir, create.files(planned(run_dir.path), run_dir, None)):
        raise UncertainError("no answer")
    monkeypatch.setattr(lease, "lives", lambda holder: False)  # this process, which ends in real life
    now = time.strftime("%FT%T", time.gmtime())
    commands.make("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    with pytest.raises(SchedulerError, match="whether an earlier submission is queued is not known: squeue: Unable"):
        submit(planned(run_dir.path))
    commands.make("squeue", f"14|{now}|{run_dir.script}\n")
    with pytest.raises(PreflightError, match=r"job 14 of an earlier submission is in the queue: .* scancel 14"):
        submit(planned(run_dir.path))
    commands.make("squeue")
    assert submit(planned(run_dir.path)).job_id == "4711"


def test_a_former_job_that_may_be_waiting_keeps_its_folder_to_itself(commands: Commands, tmp_path: Path) -> None:
    run_dir = submit(planned(tmp_path / "run")).run_dir
    commands.make("squeue", stderr="slurm_load_jobs error: Socket timed out on send/recv operation\n", code=1)
    commands.make("sacct", stderr="Slurm accounting storage is disabled\n", code=1)
    with pytest.raises(SchedulerError, match="whether its job 4711 is over is not known: squeue: Socket timed out"):
        submit(planned(run_dir.path))
    assert len(commands.calls("sbatch")) == 1
