"""Scripts run by bash: the cluster's commands are fakes, the training is a small program."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from disks import fill
from fakes.commands import Commands
from planned import HERE, HOSTILE, LOCAL, SLURM, SMALL, made, with_

from bertjob.cluster.runs.reason import from_log
from bertjob.config.job import Image, Job, Resources
from bertjob.config.load import dump, read_job
from bertjob.config.site import Mount, Site
from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch.plan import plan
from bertjob.launch.script import script as text_of
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import reserve_room
from bertjob.rundir.state import RunState, write_state


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Batch:
    """A script that bash runs as slurmd would; the cluster's commands are fakes, the ranks are one Python program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / HOSTILE[0]
        self.commands = Commands(folder / "bin")
        self.slurm_says()
        self.commands.make("module")
        self.commands.make("scancel")
        srun = folder / "bin/srun"
        srun.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
        srun.chmod(0o755)

    def slurm_says(
        self, state: str = "RUNNING", restarts: int = 0, preempted: str = "None", stderr: str = "", code: int = 0
    ) -> None:
        """What scontrol says of the job; the first lines are the names of its nodes."""
        job = f"   JobState={state} Reason=None\n   Requeue=1 Restarts={restarts} BatchFlag=1\n"
        job += f"   PreemptTime={preempted} x\n"
        self.commands.make("scontrol", stdout=f"n1\nn2\n{job}", stderr=stderr, code=code)

    def cancel(self, process: subprocess.Popen[str]) -> None:
        """What ``bertjob cancel`` does: the mark, then TERM to the script."""
        RunDir(self.run_dir).cancellation("7").write_text("")
        process.send_signal(signal.SIGTERM)

    def start(self, body: str, *, by_hand: bool = False, site: Site = SLURM, **env: str) -> subprocess.Popen[str]:
        """Start the script of a job whose training is the body, a piece of Python."""
        if "SLURM_RESTART_COUNT" in env:  # the first start has made it
            self.run_dir.mkdir(exist_ok=True)
            RunDir(self.run_dir).job.touch()
        program = self.folder / "program"
        program.write_text(f"#!{sys.executable}\n{PRELUDE}{textwrap.dedent(body)}")
        program.chmod(0o755)
        return self.start_text(made(with_(site, python=str(program)), None if by_hand else str(self.run_dir)), **env)

    def start_text(self, text: str, **env: str) -> subprocess.Popen[str]:
        """Start a script."""
        path = self.folder / "script"
        path.write_text(text)
        job = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_PER_TASK": "3",
            "SLURM_JOB_NUM_NODES": "1",
        }
        job |= {"SLURM_SUBMIT_DIR": str(self.folder), "PATH": f"{self.commands.folder}:{os.environ['PATH']}"}
        with (self.folder / "j-7.out").open("a") as log:
            return subprocess.Popen(["bash", str(path)], env=job | env, stdout=log, stderr=log, text=True)

    def run(self, body: str, **keys: Any) -> int:
        """Run it to the end; the exit code."""
        return self.start(body, **keys).wait(60)

    @property
    def log(self) -> str:
        """What the script and the ranks have said, without the line by which each start begins."""
        lines = (self.folder / "j-7.out").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("bertjob: job 7 starts on "))

    @property
    def requeues(self) -> list[list[str]]:
        """How often, and with which id, Slurm was asked to start the job again."""
        return [call for call in self.commands.calls("scontrol") if call[0] == "requeue"]


PRELUDE = r"""
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[-1]).parent

def checkpoint(step):
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints/latest").write_text(f"step-{step:06d}")

def stop(number, frame):
    os.write(1, f"got {signal.Signals(number).name}\n".encode())  # at once, or two ranks' lines would mix
    checkpoint(1)
    sys.exit(85)

"""
WAITING = """
signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGTERM, stop)
(run / "up").write_text(str(os.getpid()))
time.sleep(20)
"""


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


@pytest.mark.parametrize(("body", "code"), [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_of_training_is_the_jobs(batch: Batch, body: str, code: int) -> None:
    assert batch.run(body) == code
    assert batch.requeues == []


def test_ranks_find_each_other_and_nothing_of_the_calling_shell(batch: Batch) -> None:
    left = {"RANK": "1", "WORLD_SIZE": "9", "SLURM_EXPORT_ENV": "NONE"}
    assert batch.run("print(json.dumps(dict(os.environ)), sys.argv[1:], os.getcwd())", **left) == 0
    seen, _ = json.JSONDecoder().raw_decode(batch.log)
    assert (seen["MASTER_ADDR"], seen["BERTJOB_WORLD_SIZE"], seen["BERTJOB_JOB_ID"]) == ("n1", "1", "7")
    assert seen["OMP_NUM_THREADS"] == "3"
    assert not seen.keys() & left.keys()
    assert f"['-u', '-m', 'bertjob.train', {str(batch.run_dir / 'job.yaml')!r}] {batch.run_dir}\n" in batch.log


@pytest.mark.fault(
    "disk full before the ranks start",
    survived="once there is room",
    lost="nothing",
    reported="failed: the disk is full, in the log",
)
def test_on_a_full_disk_the_script_says_so(tmp_path: Path, small_disk: Callable[[Path, int], Path]) -> None:
    batch = Batch(small_disk(tmp_path / "disk", 1024))
    run_dir = RunDir(batch.run_dir)
    run_dir.logs.mkdir(parents=True)
    run_dir.job.write_text("kept")
    reserve_room(run_dir)
    filler = fill(batch.folder)
    os.truncate(filler, filler.stat().st_size - (1 << 16))  # for the script and the calls of the fakes
    text = made(SLURM, str(batch.run_dir))
    fuller = text.replace(
        "\n\nlatest() {", f"\ncat /dev/zero > {shlex.quote(str(batch.folder / 'more'))} || true\n\nlatest() {{"
    )
    assert fuller != text
    assert batch.start_text(fuller).wait(60) == 1
    told = f"{batch.run_dir}: cannot be written: the disk is full; make room and start again"
    assert f"bertjob: {told}" in batch.log.splitlines()
    assert from_log(batch.log) == told
    assert {path.name for path in run_dir.logs.iterdir()} <= {run_dir.ending("7").name}
    (batch.folder / "more").unlink()
    assert batch.run("") == 0
    assert run_dir.job.read_text() == "kept"


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


OF_ANOTHER_JOB = {
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
    "SLURM_CPU_BIND_LIST": "0x1",
    "SLURM_MEM_PER_CPU": "50",
    "SLURM_MEM_PER_NODE": "100",
    "SLURM_HINT": "nomultithread",
    "SLURM_DISTRIBUTION": "plane",
    "SLURM_EXACT": "1",
    "SLURM_GPUS": "8",
    "SLURM_STEP_ID": "0",
    "SLURM_STEPID": "0",
    "SRUN_CPUS_PER_TASK": "7",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_MCA_ess": "env",
    "PMIX_NAMESPACE": "x",
    "PMI_RANK": "3",
    "HYDRA_HOST_FILE": "x",
}
OF_THE_JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_STEPMGR": "n1",
    "SLURM_JWT": "token",
    "OMPI_MCA_plm_slurm_args": "--external-launcher",
    "HYDRA_BOOTSTRAP": "slurm",
}


def test_what_an_enclosing_job_has_left_is_unset_and_reported_and_the_jobs_own_stays(batch: Batch) -> None:
    assert batch.run("print(json.dumps(dict(os.environ)))", **OF_ANOTHER_JOB, **OF_THE_JOB) == 0
    seen = json.loads(next(line for line in batch.log.splitlines() if line.startswith("{")))
    assert not seen.keys() & OF_ANOTHER_JOB.keys()
    assert {name: seen[name] for name in OF_THE_JOB} == OF_THE_JOB
    report = next(line for line in batch.log.splitlines() if "no #SBATCH line asks for" in line)
    assert "SLURM_HINT=nomultithread" in report
    assert "MEM_PER" not in report


def test_what_the_lines_of_the_script_ask_for_stays_and_so_do_variables_of_mpi_without_a_rank(batch: Batch) -> None:
    site = with_(SLURM, defaults=Resources(time="10", mem="1G", sbatch=("--hint=nomultithread", "-m", "plane=2")))
    own = {
        "SLURM_HINT": "nomultithread",
        "SLURM_THREADS_PER_CORE": "1",
        "SLURM_DISTRIBUTION": "plane",
        "SLURM_MEM_PER_NODE": "1024",
        "SLURM_OPEN_MODE": "a",
        "OMPI_MCA_btl": "self,tcp",
    }
    assert batch.run("print(json.dumps(dict(os.environ)))", site=site, **own, SLURM_MEM_PER_CPU="50") == 0
    seen = json.loads(next(line for line in batch.log.splitlines() if line.startswith("{")))
    assert {name: seen.get(name) for name in own} == own
    assert "SLURM_MEM_PER_CPU" not in seen
    assert "no #SBATCH line" not in batch.log


def test_each_start_has_a_secret_of_its_own_that_only_its_owner_can_read(batch: Batch) -> None:
    look = """
        path = pathlib.Path(os.environ["BERTJOB_SECRET_FILE"])
        print(json.dumps([str(path), path.stat().st_mode, path.read_bytes().hex()]))
    """
    assert [batch.run(look), batch.run(look)] == [0, 0]
    starts = [json.loads(line) for line in batch.log.splitlines() if line.startswith("[")]
    assert len({path for path, _, _ in starts}) == len({secret for _, _, secret in starts}) == 2
    assert all(mode & 0o777 == 0o600 and len(secret) == 64 for _, mode, secret in starts)
    assert not list((batch.run_dir / "logs").glob(".secret-*"))


def test_a_checkpoint_and_85_start_the_job_again(batch: Batch) -> None:
    assert batch.run("checkpoint(5); sys.exit(85)") == 0
    assert batch.requeues == [["requeue", "7"]]
    assert "goes on from step-000005\n" in batch.log


def test_ranks_that_were_cut_off_are_started_again_whatever_the_launcher_says(batch: Batch) -> None:
    note = RunDir(batch.run_dir).departure("7", 0)
    body = f"""
        pathlib.Path({str(note)!r}).write_text('{{"code":85,"who":"rank 1","line":"…","silent":true}}')
        sys.exit(137)
    """
    assert batch.run(body) == 0
    assert batch.commands.calls("scontrol")[-1] == ["requeue", "7"]


def test_where_it_cannot_be_requeued_it_says_how_to_go_on(batch: Batch) -> None:
    batch.slurm_says(stderr="Requested operation is presently disabled", code=1)
    assert batch.run("checkpoint(5); sys.exit(85)") == REQUEUE_EXIT_CODE
    told = batch.log.partition("it cannot be requeued; start it by: ")[2]
    assert shlex.split(told) == [f"BERTJOB_RUN_DIR={batch.run_dir}", "sbatch", f"{batch.run_dir}/job.sbatch"]


@pytest.mark.parametrize(("restarts", "code", "requeues"), [("2", 0, 1), ("3", 1, 0)])
def test_a_job_that_makes_no_progress_is_given_up(batch: Batch, restarts: str, code: int, requeues: int) -> None:
    batch.slurm_says(restarts=int(restarts))
    assert batch.run("sys.exit(85)", SLURM_RESTART_COUNT=restarts) == code
    assert len(batch.requeues) == requeues


def test_a_job_that_makes_progress_goes_on_however_often(batch: Batch) -> None:
    batch.slurm_says(restarts=40)
    assert batch.run("checkpoint(5); sys.exit(85)", SLURM_RESTART_COUNT="40") == 0
    assert len(batch.requeues) == 1


def test_an_exit_code_that_the_launcher_garbled_does_not_stop_the_job(batch: Batch) -> None:
    def ended(seconds: float, code: int, before: str = "None") -> int:
        write_state(batch.folder / "state.json", RunState(phase="checkpointed", time=seconds))
        said = (batch.folder / "state.json").read_text()
        return batch.run(f"{before}; (run / 'state.json').write_text({said!r}); sys.exit({code})")

    assert ended(1.0, 143, "checkpoint(5)") == 0
    assert ended(1.0, 143, "checkpoint(6)") == 143  # this start has left no word: what is there is of the one before
    assert ended(2.0, 143) == 143  # nobody asked it to stop but srun, because another rank had failed
    assert len(batch.requeues) == 1


def test_a_signal_before_the_first_checkpoint_is_obeyed_though_torchrun_makes_1_of_85(batch: Batch) -> None:
    process = batch.start(leaving_1("checkpointed"))
    until(lambda: (batch.run_dir / "up").exists())
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert len(batch.requeues) == 1


def leaving_1(phase: str) -> str:
    """A rank that at a signal leaves this state and exit code 1."""
    state = f'{{"phase":"{phase}","time":0.0}}'
    return WAITING.replace("stop)", f"lambda *_: ((run / 'state.json').write_text({state!r}), os._exit(1)))")


@pytest.mark.parametrize(("phase", "cancels"), [("checkpointed", 1), ("failed", 0)])
def test_a_cancelled_job_that_stopped_is_no_failure_though_torchrun_makes_1_of_85(
    batch: Batch, phase: str, cancels: int
) -> None:
    process = batch.start(leaving_1(phase))
    until(lambda: (batch.run_dir / "up").exists())
    batch.cancel(process)
    assert process.wait(60) == 1
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == [["--state=RUNNING", "7"]] * cancels


def test_a_preempted_job_goes_on_whatever_its_exit_code(batch: Batch) -> None:
    batch.slurm_says(preempted="2026-11-20T11:22:45")
    assert batch.run("sys.exit(205)") == 0
    assert batch.run("") == 0
    assert len(batch.requeues) == 1


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_ranks_as_usr1_and_the_job_starts_again(batch: Batch, number: signal.Signals) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    process.send_signal(number)
    assert process.wait(60) == 0
    assert "got SIGUSR1\n" in batch.log
    assert len(batch.requeues) == 1
    assert batch.commands.calls("scancel") == []


def test_a_cancelled_job_writes_its_checkpoint_and_is_not_revived(batch: Batch) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.cancel(process)
    assert process.wait(60) == 85
    assert "got SIGUSR1\n" in batch.log
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == [["--state=RUNNING", "7"]]


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(("state", "restarts"), [("PENDING", 1), ("RUNNING", 1), ("COMPLETING", 0), ("CANCELLED", 0)])
def test_a_start_that_slurm_has_replaced_leaves_the_job_alone(
    batch: Batch, state: str, restarts: int, cancelled: bool
) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.slurm_says(state, restarts)
    if cancelled:
        batch.cancel(process)
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 85
    assert batch.requeues == []
    assert batch.commands.calls("scancel") == []
    requeued = restarts == 1  # measured on 22.05.8: a job that was cancelled is COMPLETING too
    assert ("back into its queue; the next start goes on from step-000001" in batch.log) == (not cancelled and requeued)


def test_without_an_answer_of_slurm_nothing_is_done_to_the_job(batch: Batch) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    batch.commands.make("scontrol", stderr="Unable to contact slurm controller (connect failure)\n", code=1)
    batch.cancel(process)
    assert process.wait(60) == 85
    assert batch.commands.calls("scancel") == []


def test_the_mark_of_a_cancel_of_an_earlier_start_is_void(batch: Batch) -> None:
    batch.slurm_says(restarts=1)
    logs = RunDir(batch.run_dir).logs
    logs.mkdir(parents=True)
    (logs / "7.cancel").write_text("")
    assert batch.run("checkpoint(5); sys.exit(85)", SLURM_RESTART_COUNT="1") == 0
    assert len(batch.requeues) == 1


def test_a_second_signal_does_not_part_the_script_from_its_ranks(batch: Batch) -> None:
    process = batch.start(WAITING.replace("stop)", "lambda *_: time.sleep(1))"))
    until(lambda: (batch.run_dir / "up").exists() and (batch.run_dir / "up").read_text() != "")
    for _ in range(3):
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
    assert process.poll() is None
    os.kill(int((batch.run_dir / "up").read_text()), signal.SIGKILL)
    assert process.wait(60) == 137


def test_a_requeue_that_ends_the_processes_of_the_script_is_a_requeue(batch: Batch) -> None:
    scontrol = batch.folder / "bin/scontrol"
    says = scontrol.read_text().partition("\n")[2]
    scontrol.write_text(f"#!/bin/sh\n[ $1 != requeue ] || kill -TERM $$ $PPID\n{says}")
    assert batch.run("checkpoint(5); sys.exit(85)") == 0
    assert "cannot be requeued" not in batch.log


def test_by_hand_a_run_directory_is_made_where_sbatch_was_called(batch: Batch) -> None:
    assert batch.run("print('worked')", by_hand=True) == 0
    run = RunDir(batch.folder / "runs/j-7")
    assert read_job(run.job).resources.nodes == 1
    assert run.script.read_text() == (batch.folder / "script").read_text()
    assert "worked\n" in run.log("7").read_text()
    assert f"bertjob: run directory {run.path}\n" in batch.log


def test_a_script_of_submit_that_a_person_starts_again_files_its_job(batch: Batch) -> None:
    run = RunDir(batch.run_dir)
    run.path.mkdir()
    submit = '{"job_id":"6","site":"slurm","scheduler":"slurm","time":1.0,"host":"login"}'
    run.submissions.write_text(f"{submit}\n")
    assert batch.run("print('worked')") == 0  # as job 7
    assert batch.run("print('worked')") == 0  # and after a requeue
    first, second = run.submissions.read_text().splitlines()
    assert first == submit
    assert json.loads(second)["job_id"] == "7"


def test_by_hand_a_run_goes_on_in_its_directory(batch: Batch) -> None:
    old = batch.folder / "old run"
    old.mkdir()
    (old / "job.yaml").write_text("name: old")
    assert batch.run("print(pathlib.Path(sys.argv[-1]).read_text())", by_hand=True, BERTJOB_RUN_DIR=str(old)) == 0
    assert "name: old\n" in batch.log
    assert not (batch.folder / "runs").exists()


@pytest.mark.parametrize(("run", "mounts"), [("run", ["$S", "$S/run"]), ("runs/run", ["$S", "$S/runs"])])
def test_by_hand_a_run_directory_in_a_folder_that_the_site_mounts_mounts_it_once(
    batch: Batch, run: str, mounts: list[str]
) -> None:
    batch.commands.make("podman")
    job = Job(name="j", task="smoke", engine="podman", image=Image(ref="b:1"))
    text = text_of(plan(job, with_(SLURM, mounts=(Mount(source="$SCRATCH"),)), None, HERE))
    assert batch.start_text(text, BERTJOB_RUN_DIR=f"{batch.folder}/{run}", SCRATCH=f"{batch.folder}/").wait(60) == 0
    (call,) = batch.commands.calls("podman")
    sources = [word.split(",")[1].removeprefix("source=") for word in call if word.startswith("--mount=")]
    assert [source.rstrip("/").replace(str(batch.folder), "$S") for source in sources] == mounts


def test_modules_are_loaded_in_order_and_a_missing_one_ends_the_job(batch: Batch) -> None:
    site = with_(SLURM, modules=("daint-gpu", "sarus 2"), setup=("export EARLY=$UNSET",))
    assert batch.run("print('trained')", site=site) == 0
    assert batch.commands.calls("module") == [["load", "daint-gpu"], ["load", "sarus 2"]]
    batch.commands.make("module", stderr="no such module", code=5)
    assert batch.run("print('trained')", site=site) == 5
    assert batch.log.count("trained") == 1


@pytest.mark.parametrize("modules", [(), ("sarus",)])
def test_a_variable_of_the_site_that_is_unset_ends_the_job(batch: Batch, modules: tuple[str, ...]) -> None:
    assert batch.run("print('trained')", site=with_(SLURM, env={"A": "$NOWHERE/x"}, modules=modules)) != 0
    assert "NOWHERE: unbound variable" in batch.log
    assert "trained" not in batch.log


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_run_directories_do_no_harm(batch: Batch, name: str) -> None:
    batch.run_dir = batch.folder / name
    before = set(batch.folder.iterdir())
    assert batch.run("print(os.getcwd())") == 0
    assert batch.log == f"{batch.run_dir}\n"
    new = {path.name for path in set(batch.folder.iterdir()) - before}
    assert new == {name, "program", "script", "j-7.out"}


def test_the_job_in_the_script_is_the_resolved_one(batch: Batch) -> None:
    assert batch.run("") == 0
    resolved = plan(Job(name="j", **SMALL), SLURM, None, HERE).job
    assert (batch.run_dir / "job.yaml").read_text() == dump(resolved)


def start_here(folder: Path, body: str, ranks: int = 2) -> subprocess.Popen[str]:
    """Start the script of a job without a scheduler."""
    program = folder / "program"
    program.write_text(f"#!{sys.executable}\n{PRELUDE}rank = int(os.environ['RANK'])\n{textwrap.dedent(body)}")
    program.chmod(0o755)
    resources = Resources(tasks_per_node=ranks)
    (folder / "script").write_text(made(with_(LOCAL, python=str(program)), str(folder / "run"), resources=resources))
    with (folder / "log").open("w") as log:
        return subprocess.Popen(["bash", str(folder / "script")], stdout=log, stderr=log, text=True)


def test_a_rank_that_fails_ends_the_others(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, stop); time.sleep(20 * rank); sys.exit(7)"
    assert start_here(tmp_path, body, 4).wait(60) == 7
    assert "bertjob: rank 0 ended with exit code 7, so the others are ended\n" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_rank_that_does_not_end_when_another_has_failed_is_killed(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(rank * 60); sys.exit(7)"
    assert start_here(tmp_path, body).wait(60) == 7


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all_ranks_as_usr1(tmp_path: Path, number: signal.Signals) -> None:
    process = start_here(tmp_path, WAITING.replace('"up"', 'f"up{rank}"'))
    until(lambda: all((tmp_path / f"run/up{rank}").exists() for rank in range(2)))
    process.send_signal(number)
    assert process.wait(60) == REQUEUE_EXIT_CODE
    assert (tmp_path / "log").read_text().splitlines() == ["got SIGUSR1", "got SIGUSR1"]


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
