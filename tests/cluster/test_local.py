"""Run the real script here, with a small program in place of the training."""

import os
import signal
import socket
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from planned import HERE, SMALL

from bertjob.cluster import process_group
from bertjob.cluster.claim import check_over
from bertjob.cluster.local import run_here
from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.status import status
from bertjob.cluster.scheduler import cancel
from bertjob.config.job import Job, Resources
from bertjob.config.site import Site
from bertjob.errors import BertjobError, PreflightError, SpecError
from bertjob.launch.plan import Here, Plan, plan
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import RunState, read_state, write_state
from bertjob.rundir.submissions import Submission

HOSTILE = "run dir with 'quotes' and $(x)"
Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """A function that plans a local run of a Python program, which stands in for ``python -m bertjob.train``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def make(body: str, ranks: int = 1) -> Plan:
        program = tmp_path / "program"
        program.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{textwrap.dedent(body)}")
        program.chmod(0o755)
        site = Site(name="here", scheduler="none", launcher="local", python=str(program))
        job = Job(name="squad", **SMALL, resources=Resources(tasks_per_node=ranks))
        return plan(job, site, str(tmp_path / HOSTILE), Here(sys.executable, str(tmp_path)))

    return make


def test_a_site_with_a_scheduler_is_refused(tmp_path: Path) -> None:
    wanted = plan(Job(name="squad", **SMALL), Site(name="daint"), str(tmp_path / "run"), HERE)
    told = "^site daint has a scheduler: use bertjob submit, or run with --site local$"
    with pytest.raises(PreflightError, match=told):
        run_here(wanted)


def test_output_comes_as_it_is_written_and_is_kept(planned: Planned, tmp_path: Path) -> None:
    told: list[str] = []
    assert run_here(planned("print('hello', sys.argv[1:], flush=True)"), told.append) == 0
    assert f"hello ['-u', '-m', 'bertjob.train', '{tmp_path}" in "".join(told).replace('"', "'")
    assert RunDir(tmp_path / HOSTILE).log("local").read_text() == "".join(told)


@pytest.mark.parametrize(("body", "code"), [("sys.exit(3)", 3), ("sys.exit(85)", 85), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_is_the_programs(planned: Planned, body: str, code: int) -> None:
    assert run_here(planned(body)) == code


def test_ranks_find_their_place_and_nothing_of_an_enclosing_job(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "RANK", "WORLD_SIZE", "BERTJOB_WORLD_SIZE"):
        monkeypatch.setenv(name, "9")
    monkeypatch.delenv("LOCAL_RANK", raising=False)  # DeepSpeed leaves it in a process that tests it
    body = """
        left = [name for name in os.environ if name.startswith(("SLURM_", "OMPI_", "PMI_"))]
        print(os.environ["RANK"], "of", os.environ["WORLD_SIZE"], os.environ["BERTJOB_WORLD_SIZE"], left)
    """
    told: list[str] = []
    assert run_here(planned(body, ranks=2), told.append) == 0
    assert sorted("".join(told).splitlines()) == ["0 of 2 2 []", "1 of 2 2 []"]


def test_a_run_is_continued_in_its_directory_and_its_log_goes_on(planned: Planned, tmp_path: Path) -> None:
    told: list[str] = []
    assert run_here(planned("print('first'); sys.exit(85)")) == 85
    assert run_here(planned("print('second')"), told.append) == 0
    assert "".join(told) == "second\n"
    assert RunDir(tmp_path / HOSTILE).log("local").read_text() == "first\nsecond\n"


def wait_for_line(log: Path, line: str) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and line in log.read_text()):
        assert time.monotonic() < end, log.read_text() if log.exists() else "no log"
        time.sleep(0.02)


GRACEFUL = """
    def stop(number, frame):
        print("checkpoint", flush=True)
        time.sleep(0.5)
        sys.exit(85)
    signal.signal(signal.SIGUSR1, stop)
    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    time.sleep(60)
"""
LISTENING = """
    from bertjob.train.distributed.signals import StopSignals
    signals = StopSignals()
    print("ready", os.getpid(), flush=True)
    while not signals.wait(1):
        pass
    os._exit(85)  # as ranks do: Python takes its handlers away before it is gone
"""
STUBBORN = """
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    print("ready", os.getpid(), flush=True)
    time.sleep(60)
"""


def interrupt_when_ready(log: Path, *pauses: float, number: int = signal.SIGINT) -> threading.Thread:
    """Interrupt once and, after each pause, again."""

    def interrupt() -> None:
        wait_for_line(log, "ready")
        for pause in (0.0, *pauses):
            time.sleep(pause)
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_the_first_interrupt_asks_for_a_checkpoint(planned: Planned, tmp_path: Path) -> None:
    log = RunDir(tmp_path / HOSTILE).log("local")
    thread = interrupt_when_ready(log, 0.01)  # pressed twice at once, which is one interrupt
    told: list[str] = []
    assert run_here(planned(GRACEFUL), on_notice=told.append) == 85
    thread.join()
    assert log.read_text().count("checkpoint") == 1
    assert len(told) == 1
    assert told[0].startswith("stopping after this step, with a checkpoint")
    with pytest.raises(KeyboardInterrupt):  # the handlers are as before
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGXCPU", "SIGTERM", "SIGHUP"])
def test_what_schedulers_announce_the_end_by_asks_for_a_checkpoint(planned: Planned, tmp_path: Path, name: str) -> None:
    log = RunDir(tmp_path / HOSTILE).log("local")
    thread = interrupt_when_ready(log, number=signal.Signals[name])
    assert run_here(planned(GRACEFUL)) == 85
    thread.join()
    assert "checkpoint" in log.read_text()


@pytest.mark.parametrize("name", ["USR1", "USR2", "QUIT", "ALRM"])
def test_a_signal_to_every_process_of_a_step_ends_none_before_its_checkpoint(
    planned: Planned, tmp_path: Path, name: str
) -> None:
    log = RunDir(tmp_path / HOSTILE).log("local")

    def as_slurm_does() -> None:
        wait_for_line(log, "ready")
        rank = int(next(line for line in log.read_text().splitlines() if line.startswith("ready")).split()[1])
        script = os.getpgid(rank)  # the leader of the group: the script, with its sleep and its ranks
        os.kill(os.getpid(), signal.Signals[f"SIG{name}"])
        os.killpg(script, signal.Signals[f"SIG{name}"])

    thread = threading.Thread(target=as_slurm_does)
    thread.start()
    assert run_here(planned(LISTENING)) == 85
    thread.join()


def test_a_run_whose_output_nobody_reads_any_more_is_stopped_with_a_checkpoint(
    planned: Planned, tmp_path: Path
) -> None:
    run_dir = RunDir(tmp_path / HOSTILE)

    def closed(text: str) -> None:
        if "ready" in text:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_here(planned(GRACEFUL), on_text=closed)
    wait_for_line(run_dir.log("local"), "checkpoint")


def test_the_second_interrupt_kills(planned: Planned, tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / HOSTILE)
    thread = interrupt_when_ready(run_dir.log("local"), 1.2)
    assert run_here(planned(STUBBORN)) == 137
    thread.join()
    assert ended(int(run_dir.log("local").read_text().split()[1]))
    state = read_state(run_dir.state)
    assert state is not None
    assert state.error == "ended at once by a second interrupt"


def ended(pid: int) -> bool:
    """It is gone, or a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


def start_in_background(wanted: Plan, log: Path) -> threading.Thread:
    thread = threading.Thread(target=run_here, args=(wanted,))
    thread.start()
    wait_for_line(log, "ready")
    return thread


def test_a_run_is_seen_running_is_not_started_twice_and_can_be_cancelled(planned: Planned, tmp_path: Path) -> None:
    wanted = planned(GRACEFUL)
    thread = start_in_background(wanted, RunDir(tmp_path / HOSTILE).log("local"))
    run = catalog.find(str(tmp_path / HOSTILE))
    assert status([run]).rows[0].state == "running"
    with pytest.raises(PreflightError, match="is still running here as process"):
        run_here(wanted)
    cancel([run])
    thread.join()
    assert not process_group.alive(run)
    cancel([run])  # what has ended is left alone


def test_a_run_of_another_machine_is_cancelled_there(planned: Planned, tmp_path: Path) -> None:
    run_here(planned(""))
    run = catalog.find(str(tmp_path / HOSTILE))
    elsewhere = catalog.Run(run.path, Submission(job_id="local", site="x", scheduler="none", time=0, host="elsewhere"))
    with pytest.raises(BertjobError, match="was started on elsewhere: cancel it there"):
        cancel([elsewhere])


def test_what_outlives_the_script_is_ended(planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "_ORPHANS_S", 0.3)
    assert run_here(planned("import subprocess; print(subprocess.Popen(['sleep', '60']).pid)")) == 0
    pid = int(RunDir(tmp_path / HOSTILE).log("local").read_text())
    time.sleep(0.1)
    assert ended(pid)


@pytest.mark.parametrize(
    ("body", "code", "cause"),
    [
        ("print('mkdir: no room'); sys.exit(1)", 1, "exit code 1; the log ends with: mkdir: no room"),
        ("sys.exit(127)", 127, "exit code 127"),
        ("os.kill(os.getpid(), 9)", 137, "killed by SIGKILL, often for want"),
    ],
)
def test_a_training_that_could_not_say_so_has_failed(
    planned: Planned, tmp_path: Path, body: str, code: int, cause: str
) -> None:
    run_here(planned(body))
    run_dir = RunDir(tmp_path / HOSTILE)
    state = read_state(run_dir.state)
    assert state is not None
    assert (state.phase, state.exit_code) == ("failed", code)
    assert state.error.startswith(cause)
    assert status([catalog.find(str(run_dir.path))]).rows[0].state == "failed"


def test_a_rank_that_was_killed_is_named_and_what_an_earlier_start_said_is_not(
    planned: Planned, tmp_path: Path
) -> None:
    def error(end: str, ranks: int) -> str:
        body = f"signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(60 * int(os.environ['RANK'])); {end}"
        run_here(planned(body, ranks=ranks))
        state = read_state(RunDir(tmp_path / HOSTILE).state)
        return "" if state is None else state.error

    assert error("os.kill(os.getpid(), 9)", 2) == "rank 0 was killed by SIGKILL"
    assert error("sys.exit(7)", 2) == "rank 0 ended with exit code 7"
    assert error("sys.exit(3)", 1) == "exit code 3; see the log"


def test_what_the_training_said_of_its_failure_stays(planned: Planned, tmp_path: Path) -> None:
    body = """
        from pathlib import Path
        state = Path(sys.argv[-1]).with_name("state.json")
        state.write_text('{"phase": "failed", "time": %f, "error": "the loss is nan"}' % (time.time() + 1))
        sys.exit(1)
    """
    run_here(planned(body))
    state = read_state(RunDir(tmp_path / HOSTILE).state)
    assert state is not None
    assert state.error == "the loss is nan"


def test_a_run_whose_rank_0_was_silent_until_it_was_killed_can_go_on(planned: Planned, tmp_path: Path) -> None:
    said = "rank 0 on n1 has not been heard of for 80 s: the network between is down, or the node hangs"
    body = f"""
        from pathlib import Path
        run = Path(sys.argv[-1]).parent
        (run / "state.json").write_text('{{"phase": "training", "time": %f, "step": 3}}' % (time.time() + 1))
        (run / "logs/local.0.departure").write_text('{{"code":85,"silent":true}}')
        print("rank 1 (n1): warning: {said}", flush=True)
        os.kill(os.getpid(), 9)
    """
    assert run_here(planned(body)) == 85
    state = read_state(RunDir(tmp_path / HOSTILE).state)
    assert state is not None
    assert (state.phase, state.exit_code, state.error, state.step) == ("checkpointed", 85, said, 3)


def test_a_run_of_an_older_version_at_work_on_another_machine_is_not_started_here(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(tmp_path / HOSTILE)
    monkeypatch.setattr(socket, "gethostname", lambda: "login7")
    run_here(planned("sys.exit(85)"))
    monkeypatch.undo()
    run_dir.lease.unlink()  # older versions have none
    write_state(run_dir.state, RunState(phase="training", time=time.time()))
    monkeypatch.setattr(lease, "is_silent", lambda file: False)
    with pytest.raises(PreflightError, match="is still running on login7; stop it there"):
        check_over(run_dir)
    write_state(run_dir.state, RunState(phase="checkpointed", time=time.time()))
    check_over(run_dir)


def test_what_the_training_refuses_before_it_begins_leaves_nothing(planned: Planned, tmp_path: Path) -> None:
    body = """
        import json, pathlib
        run = pathlib.Path(sys.argv[-1]).parent
        state = {"phase": "failed", "time": time.time(), "exit_code": 3, "error": "no GPU here", "refused": True}
        (run / "state.json").write_text(json.dumps(state))
        sys.exit(3)
    """
    with pytest.raises(PreflightError, match=r"^no GPU here$"):
        run_here(planned(body))
    assert not (tmp_path / HOSTILE).exists()
    assert catalog.known() == []
    with pytest.raises(SpecError, match="no such run: none has been started yet"):
        catalog.find(str(tmp_path / HOSTILE))
