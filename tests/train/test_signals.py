"""Stop signals are remembered, seen at once by any thread, and not inherited by worker processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from run_ranks import finish, free_port, job_log, make_run, make_secret, start_rank, state, wait_for


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code that begins to listen in its main thread, in a process of its own."""
    modules = "import hashlib, os, signal, threading, time\nfrom bertjob.train.distributed.signals import StopSignals\n"
    start = f"{modules}signals = StopSignals()\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )


def test_the_first_signal_is_remembered_and_none_kills():
    done = python("""
        print(repr(signals.received))
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        print(signals.received)
    """)
    assert (done.returncode, done.stdout) == (0, "''\nSIGUSR1\n"), done.stderr


def test_another_thread_sees_it_while_the_main_thread_is_in_a_long_call():
    done = python("""
        def look():
            print(signals.wait(20), flush=True)
            os._exit(0)
        threading.Thread(target=look).start()
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # one call, as a collective is
    """)
    assert done.stdout == "SIGTERM\n", done.stderr


def test_a_forked_worker_dies_by_term():
    done = python("""
        import multiprocessing
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        worker.start()
        worker.terminate()
        worker.join(10)
        print(worker.exitcode, repr(signals.received))
    """)
    assert done.stdout == "-15 ''\n", done.stderr


def test_a_signal_while_torch_is_imported_ends_with_requeue(tmp_path: Path):
    run = make_run(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "bertjob.train", str(run / "job.yaml")], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    for line in process.stderr:  # of -X importtime: listening begins after this import
        if line.rstrip().endswith(b"bertjob.train.distributed.signals"):
            break
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGUSR1)
    said = process.stderr.read().decode()
    assert process.wait(60) == 85
    assert "stopped by a signal (SIGUSR1); start again to go on" in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 85), (signal.SIGTERM, 143)])
def test_before_the_ranks_have_met_term_is_no_reason_to_start_again(tmp_path: Path, number: signal.Signals, code: int):
    """A launcher sends it to all ranks when one has failed."""
    run = make_run(tmp_path / "run")
    world = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    rank = start_rank(
        run,
        {
            **world,
            "MASTER_PORT": str(free_port()),
            "BERTJOB_WORLD_SIZE": "2",
            "BERTJOB_SECRET_FILE": str(make_secret(run)),
        },
    )
    wait_for(lambda: any("rank 1 of 2" in log.read_text() for log in (run / "logs").glob("*.1.out")))
    os.kill(rank.pid, number)
    assert finish([rank], seconds=20) == [code]


def test_usage():
    done = subprocess.run([sys.executable, "-m", "bertjob.train"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: python -m bertjob.train RUN/job.yaml\n")


def test_a_job_that_cannot_be_read_is_one_line(tmp_path: Path):
    assert finish([start_rank(tmp_path, {})]) == [2]
    assert job_log(tmp_path) == f"{tmp_path}/job.yaml: cannot be read: No such file or directory\n"
    assert (state(tmp_path)["phase"], state(tmp_path)["exit_code"]) == ("failed", 2)
