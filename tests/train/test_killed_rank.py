"""A rank that is killed is a failure with its name, also when the launcher ends the others before they have noticed."""

import os
import signal
import socket
from pathlib import Path

import pytest
import run_faults
from run_ranks import finish, job_log, make_run, start, state, wait_for

HOST = socket.gethostname()
PHASES = {
    "features": run_faults.slow_features,
    "training": run_faults.slow_steps,
    "evaluating": run_faults.slow_answers,
}
KINDS = [("torch", phase, victim) for phase in PHASES for victim in (0, 1)]
REST = [("deepspeed", phase, victim) for phase in PHASES for victim in (0, 1)] + KINDS * 6


@pytest.mark.parametrize(
    ("backend", "phase", "victim"), [*KINDS, *(pytest.param(*one, marks=pytest.mark.faults) for one in REST)]
)
def test_a_killed_rank_is_a_failure_although_the_launcher_ends_the_others_by_term(
    tmp_path: Path, backend: str, phase: str, victim: int
) -> None:
    run = make_run(tmp_path / "run", backend=backend, train__global_batch=6)
    ranks = start(run, 3, fault=PHASES[phase])
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == phase)
    if phase == "training":
        wait_for(lambda: (run / "metrics.jsonl").exists())
    os.kill(ranks[victim].pid, signal.SIGKILL)
    for rank in ranks:
        os.kill(rank.pid, signal.SIGTERM)
    codes = finish(ranks)
    assert codes[victim] == -signal.SIGKILL
    if victim == 0:  # who alone writes the state
        assert codes[1:] == [1, 1]
        assert "rank 0 is gone: it was killed, or its node failed" in job_log(run)
        return
    assert codes[0] == 1
    assert state(run)["phase"] == "failed"
    assert state(run)["error"] == f"rank 1 ({HOST}) is gone without a word: killed, or the node failed"
    assert state(run)["error"] in job_log(run)
