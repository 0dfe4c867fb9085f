"""The reason of a failure in one line: from logs as Slurm, launchers and engines have written them."""

import logging
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.status import Row, status
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.config.job import Launcher
from bertjob.errors import SpecError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import last_start
from bertjob.rundir.resume import command
from bertjob.rundir.state import RunState, write_state

BEGUN = "bertjob 0.1.0 on nid00001, cpu (1 threads), rank 0 of 2\nstep 1/9  loss 6.1  lr 3.0e-05\n"
GONE = "rank 1 (nid00002): rank 0 is gone: it was killed, or its node failed\n"
TORCHRUN = """\
====================================================
Failures:
  <NO_OTHER_FAILURES>
----------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-30_08:20:34
  host      : nid00002
  rank      : 1 (local_rank: 0)
  exitcode  : -9 (pid: 399)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 399
====================================================
srun: error: nid00002: task 1: Exited with exit code 1
torch.distributed.elastic.multiprocessing.api.SignalException: Process 726 got signal: 15
"""
MPIRUN = """\
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
mpirun noticed that process rank 1 with PID 227 on node nid00002 exited on signal 9 (Killed).
"""
HYDRA = """\
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 12345 RUNNING AT nid00002
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
"""
LOGS: list[tuple[str, Launcher, str]] = [
    (f"{BEGUN}srun: error: nid00001: task 0: Killed\n{GONE}", "srun", "rank 0 (nid00001) was killed by SIGKILL"),
    (f"{BEGUN}{MPIRUN}", "openmpi", "rank 1 (nid00002) was killed by SIGKILL"),
    (f"{BEGUN}{HYDRA}", "hydra", "a rank on nid00002 was killed by SIGKILL"),
    (f"{BEGUN}{TORCHRUN}", "torchrun", "rank 1 (nid00002) was killed by SIGKILL"),
    (f"{BEGUN}srun: error: n2: task 1: Killed\n", "torchrun", "torchrun's agent on n2 was killed by SIGKILL"),
    (
        "bertjob: rank 1 ended with exit code 137, so the others are ended\n",
        "local",
        "rank 1 was killed by SIGKILL",
    ),
    ("bertjob: rank 1 ended with exit code 3, so the others are ended\n", "local", "rank 1 ended with exit code 3"),
    (
        "-----\nmpirun has detected an attempt to run as root.\n\nRunning as root is *strongly* discouraged as any\n",
        "openmpi",
        "mpirun does not run as root, unless env has OMPI_ALLOW_RUN_AS_ROOT: 1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1",
    ),
    (
        "/runs/run/job.sbatch: line 93: /opt/venv/bin/python3: Permission denied\n",
        "local",
        "the job's script: line 93: /opt/venv/bin/python3: Permission denied",
    ),
    (
        f"{BEGUN}/spool/job00003/slurm_script: line 96:   185 Killed                  srun --mpi=none python\n",
        "srun",
        "srun was killed by SIGKILL",
    ),
    (
        "srun: error: Task launch for StepId=36.0 failed on node kn131: Job credential expired\n"
        "srun: error: kn130: task 0: Killed\n",
        "srun",
        "Task launch for StepId=36.0 failed on node kn131: Job credential expired",
    ),
    (
        f"{BEGUN}/spool/job7/slurm_script: line 98: 491 Killed   mpirun -n 2 python\n{GONE}",
        "openmpi",
        "mpirun was killed by SIGKILL",
    ),
    (
        f"{BEGUN}slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.\nsrun: error: n2: task 1: Killed\n",
        "srun",
        "out of memory: the kernel killed a process of the job; ask for more, e.g. by resources.mem",
    ),
    (
        'Error: short-name "group/name:1" did not resolve to an alias and no registries are defined\n',
        "srun",
        "image group/name:1 is not here;",
    ),
    ("[nid00001] [main] [ERROR] Image localhost/no:1 is not available\n", "srun", "image localhost/no:1 is not here;"),
    (
        "Trying to pull localhost/no:1...\nError: initializing source docker://localhost/no:1: pinging container"
        ' registry localhost: Get "https://localhost/v2/": dial tcp 127.0.0.1:443: connect: connection refused\n',
        "srun",
        "image localhost/no:1 is not here and cannot be pulled;",
    ),
    (
        "Squashfs version 0.0 detected, only version 4.0 supported.\n"
        "ch-run[753]: error: can't open SquashFS: /x/bad.sqsh; try ch-run -vv? (ch_fuse.c:230)\n",
        "srun",
        "image /x/bad.sqsh is damaged or not a SquashFS file;",
    ),
    (
        'Error: creating container storage: creating read-write layer with ID "9ee70034": Stat'
        " /store/overlay/052adf/diff: no such file or directory\n",
        "srun",
        "the image is damaged: /store/overlay/052adf/diff is missing in the engine's store;",
    ),
    ("exec /opt/foreign: exec format error\n", "srun", "/opt/foreign in the image is for another CPU architecture"),
    (
        "ch-run[9]: error: can't execve(2): /opt/foreign: Exec format error (ch_core.c:410 8)\n",
        "srun",
        "/opt/foreign in the image is for another CPU architecture",
    ),
    (
        'Error: runc: runc create failed: unable to start container process: exec: "/opt/python3": stat /opt/python3:'
        " no such file or directory: OCI runtime attempted to invoke a command that was not found\n",
        "srun",
        "no /opt/python3 in the image;",
    ),
    (
        "ch-run[1898]: error: can't execve(2): /opt/python3: No such file or directory (ch_core.c:410 2)\n",
        "srun",
        "no /opt/python3 in the image;",
    ),
    ('FATAL:   "python3": executable file not found in $PATH\n', "srun", "no python3 in the image;"),
    ("rank 1 (nid00002): ValueError: it is broken (traceback in x)\n", "srun", "rank 1 (nid00002): ValueError"),
    (
        "noise\nbertjob: shifter: not found on n1; load it\nsrun: error: task 0: Exited\n",
        "srun",
        "shifter: not found on",
    ),
    (
        "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\n",
        "srun",
        "ModuleNotFoundError: No",
    ),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run_dir = RunDir(tmp_path / "run")
    run_dir.logs.mkdir(parents=True)
    return catalog.record(run_dir, job_id="7", site="x", scheduler="slurm")


def shown(run: Run, state: JobState = JobState.FAILED, reason: str = "NonZeroExitCode", signal: int = 0) -> Row:
    return status([run], lambda runs: Answer({run.path: JobInfo(state, "", reason, signal=signal)})).rows[0]


def began(start: int) -> str:
    return f"bertjob: job 7 starts on nid00001 (start {start})\n"


@pytest.mark.parametrize(("log", "launcher", "expected"), LOGS)
def test_a_failed_run_gives_the_reason_from_its_log(run: Run, log: str, launcher: Launcher, expected: str) -> None:
    run.run_dir.job.write_text(f"name: squad\nlauncher: {launcher}\n")
    run.run_dir.log("7").write_text(began(1) + log)
    write_state(run.run_dir.state, RunState(phase="training", time=time.time(), job_id="7", step=3, total_steps=9))
    assert shown(run).reason.startswith(expected)
    assert shown(run).resume == command(run.run_dir, submitted=True)


def test_what_killed_the_script_or_the_launcher_comes_before_what_ranks_report_of_it(run: Run) -> None:
    error = "rank 1 (nid00002) is gone without a word: killed, or the node failed"
    write_state(run.run_dir.state, RunState(phase="failed", time=time.time(), job_id="7", error=error))
    log = run.run_dir.log("7")
    assert shown(run).reason == error
    log.write_text(f"{error}\nsrun: error: nid00002: task 1: Killed\n")
    assert shown(run).reason == "rank 1 (nid00002) was killed by SIGKILL"
    log.write_text(f"{error}\n/spool/slurm_script: line 9:  12 Killed      srun --mpi=none python\n")
    assert shown(run).reason == "srun was killed by SIGKILL"
    assert shown(run, signal=9).reason == "the job's script was killed by SIGKILL"
    assert shown(run, reason="RaisedSignal:9(Killed)").reason == "the job's script was killed by SIGKILL"
    assert shown(run, signal=53).reason.startswith("Slurm could not start the script")


def test_what_an_earlier_start_reported_is_not_why_this_one_failed(run: Run) -> None:
    missing = "[nid00001] [main] [ERROR] Image group/name:1 is not available\n"
    earlier = "rank 1 (nid00002): ValueError: it is broken (traceback in x)\n"
    write_state(run.run_dir.state, RunState(phase="failed", time=time.time(), job_id="7", error="broken"))
    log = run.run_dir.log("7")
    log.write_text(began(1) + BEGUN + earlier + began(2) + BEGUN)
    assert shown(run).reason == "broken"  # rank 0 of the second start has written it
    log.write_text(began(1) + BEGUN + earlier + "bertjob: the next start goes on from step-4\n" + began(2) + missing)
    assert shown(run).reason.startswith("image group/name:1 is not here;")
    log.write_text(began(1) + BEGUN + earlier + began(2))
    assert shown(run).reason == "its log is empty"


def test_a_log_of_an_older_version_is_cut_where_a_start_ended() -> None:
    assert last_start("bertjob: x\nbertjob: the next start goes on from step-4\nit fails\n") == "it fails\n"
    assert last_start("it fails\n") == "it fails\n"


def test_a_log_without_any_reason_is_quoted(run: Run) -> None:
    log = run.run_dir.log("7")
    log.write_text("bertjob: run directory /x\nsomething odd\nsrun: error: nid00001: task 0: Exited with exit code 1\n")
    assert shown(run).reason == "the log ends with: something odd"
    assert shown(run, reason="JobLaunchFailure").reason.startswith("the scheduler could not start its script")
    assert shown(run, JobState.TIMEOUT, "TimeLimit").reason == ""  # the state says so


@pytest.mark.parametrize("phase", ["failed", "checkpointed"])
@pytest.mark.parametrize("job_id", ["6", "7"])
@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.PENDING])
def test_a_run_that_goes_on_is_not_shown_as_it_ended_before(run: Run, phase, job_id: str, state: JobState) -> None:
    past = time.time() - 9000
    write_state(
        run.run_dir.state, RunState(phase=phase, time=past, job_id=job_id, error="broken", step=4, total_steps=9)
    )
    row = shown(run, state, "")
    assert row.phase in (None, "checkpointed" if state is JobState.PENDING else None)
    assert (row.state, row.reason, row.stale, row.resume, row.step) == (state, "", False, "", 4)


def test_an_earlier_job_of_a_run_is_found(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    newer = catalog.record(run.run_dir, job_id="8", site="x", scheduler="slurm")
    with caplog.at_level(logging.WARNING):
        assert catalog.find("7") == newer
    assert "7: an earlier job of run, whose newest is 8" in caplog.text
    assert catalog.find_job("7") == run  # whose log is meant
    assert catalog.find_newest("8") == newer
    with pytest.raises(SpecError, match="whose newest is 8"):
        catalog.find_newest("7")
    with pytest.raises(SpecError, match="no such run"):
        catalog.find("5")


FORGOTTEN = {"state": JobState.UNKNOWN, "reason": ""}
"""What Slurm says of a job soon after its end where it keeps no accounts."""
LOST = "gone without a word: killed, or its machine went down"
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max cpu time              20                   unlimited            seconds
Max file size             1048576              unlimited            bytes
Max stack size            8388608              unlimited            bytes
Max processes             200                  96365                processes
Max open files            1024                 20000                files
Max locked memory         65536                65536                bytes
Max address space         4294967296           unlimited            bytes
"""


def leave(run: Run, code: int, command: str = "srun python", limits: str = "") -> None:
    run.run_dir.ending("7").write_text(f"exit code {code}: {command}\n{limits}")


@pytest.mark.parametrize(
    ("log", "command", "expected"),
    [
        (
            "/spool/slurm_script: line 34: module: command not found\n",
            "module load nope",
            "the job's script: line 34: module: command not found",
        ),
        (
            "/x/env.sh: eval: line 2: syntax error near unexpected token `fi'\n/x/env.sh: eval: line 2: `if then fi'\n",
            ". /x/env.sh",
            "the job's script: line 2: syntax error near unexpected token `fi'",
        ),
        (
            "Lmod has detected the following error: The following module(s) are unknown: nope\n",
            "module load nope",
            "the job's script ended with exit code 3 at or after 'module load nope'; the log ends with: Lmod has",
        ),
        ("", "exit 3", "the job's script ended with exit code 3"),
        ("", "curl -u me:x https://a:hidden@b", "the job's script ended with exit code 3 at or after 'curl -u me:x ht"),
        ("", "export TOKEN=hidden", "the job's script ended with exit code 3"),
    ],
)
def test_a_forgotten_job_that_ended_at_a_line_of_the_site_failed_and_says_where(
    run: Run, log: str, command: str, expected: str
) -> None:
    run.run_dir.log("7").write_text(began(1) + log)
    leave(run, 3, command)
    row = shown(run, **FORGOTTEN)
    assert (row.state, row.reason[: len(expected)]) == ("failed", expected)
    assert "hidden" not in row.reason


def test_a_forgotten_job_that_left_nothing_is_gone(run: Run) -> None:
    old = catalog.Run(run.path, msgspec.structs.replace(run.submission, time=time.time() - 9000))
    assert shown(old, **FORGOTTEN).reason == (
        f"there is no log: its node does not see {run.path} or cannot write there; use a folder that all nodes share"
    )
    run.run_dir.log("7").write_text(began(1))
    assert (shown(old, **FORGOTTEN).state, shown(old, **FORGOTTEN).reason) == ("lost", LOST)
    run.run_dir.log("7").write_text(began(1) + "loading\n")
    assert shown(old, **FORGOTTEN).reason == f"{LOST}; the log ends with: loading"
    leave(run, 0)  # the code of a command before, where a signal has ended the script
    assert shown(old, **FORGOTTEN).state == "lost"
    leave(run, 1)
    write_state(run.run_dir.state, RunState(phase="training", time=time.time(), job_id="7"))
    assert shown(old, **FORGOTTEN).state == "unknown"  # ranks may still be at work


@pytest.mark.parametrize("said", [{"reason": "JobLaunchFailure"}, {"reason": "RaisedSignal:53"}, {"signal": 53}])
def test_a_job_that_slurm_could_not_start_says_that_the_nodes_do_not_see_the_folder(
    run: Run, said: dict[str, Any]
) -> None:
    assert shown(run, **said).reason.startswith(
        f"Slurm could not start the script: there is no log: its node does not see {run.path} or cannot write there;"
    )


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        ("srun: error: nid00001: task 0: CPU time limit exceeded (core dumped)", "RLIMIT_CPU is 20 s of CPU time"),
        (MPIRUN.replace("signal 9 (Killed)", "signal 24 (CPU time limit exceeded)"), "RLIMIT_CPU is 20 s of CPU time"),
        (TORCHRUN.replace("-9", "-24").replace("SIGKILL", "SIGXCPU"), "RLIMIT_CPU is 20 s of CPU time"),
        ("srun: error: n1: task 0: File size limit exceeded", "RLIMIT_FSIZE is 1 MiB for a file"),
        ("rank 0 (n1): OSError: [Errno 27] File too large (traceback in x)", "RLIMIT_FSIZE is 1 MiB for a file"),
        ("rank 0 (n1): MemoryError (traceback in x)", "RLIMIT_AS is 4 GiB of address space"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "RLIMIT_AS is 4 GiB of address space"),
        ("rank 0 (n1): OSError: [Errno 12] Cannot allocate memory (traceback in x)", "RLIMIT_AS is 4 GiB"),
        (
            "n1:12:15 [0] misc/ibvwrap.cc:190 NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory\n"
            "rank 0 (n1): DistBackendError: NCCL error: unhandled system error (traceback in x)",
            "RLIMIT_MEMLOCK is 64 KiB of locked memory",
        ),
        ("rank 0 (n1): OSError: [Errno 24] Too many open files: 'x' (traceback in x)", "RLIMIT_NOFILE is 1024 files"),
        ("rank 0 (n1): RuntimeError: can't start new thread (traceback in x)", "RLIMIT_NPROC is 200 processes"),
    ],
)
def test_a_limit_that_a_job_has_died_of_is_named(run: Run, error: str, limit: str) -> None:
    run.run_dir.log("7").write_text(f"{began(1)}{BEGUN}{error}\n")
    leave(run, 1, limits=LIMITS)
    assert f"; {limit}" in shown(run).reason
    leave(run, 1)  # without limits there is none to name
    assert "RLIMIT_" not in shown(run).reason


@pytest.mark.parametrize(
    "error",
    [
        "rank 0 (n1): ValueError: it is broken (traceback in x)",
        "libibverbs: Warning: RLIMIT_MEMLOCK is 65536 bytes.\nrank 0 (n1): ValueError: it is broken (traceback in x)",
        "srun: error: n1: task 0: Segmentation fault",
        "srun: error: n1: task 0: Killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.",
        "rank 0 (n1): OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB. (traceback in x)",
    ],
)
def test_a_limit_that_is_not_the_cause_is_not_named(run: Run, error: str) -> None:
    run.run_dir.log("7").write_text(f"{began(1)}{BEGUN}{error}\n")
    leave(run, 1, limits=LIMITS)
    assert "(ulimit" not in shown(run).reason
