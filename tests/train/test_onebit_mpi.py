"""1-bit Adam over a real MPI, which mpirun of the wheel of MPICH starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from onebit_ranks import simulate
from wheels import MPICH, install

RANKS = Path(__file__).with_name("onebit_mpi.py")


@pytest.mark.slow
def test_over_mpi_the_weights_are_those_of_the_simulation(tmp_path):
    trouble = install(MPICH, tmp_path / "mpich")
    assert not trouble
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{tmp_path}/mpich/lib",
        "MPI4PY_MPIABI": "mpich",
        "OMP_NUM_THREADS": "1",
    }
    command = [tmp_path / "mpich/bin/mpirun", "-n", "3", sys.executable, RANKS, tmp_path / "weights.pt"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ranks = torch.load(tmp_path / "weights.pt")
    assert len(ranks) == 3
    for weights, expected in zip(ranks, simulate("adam", 3), strict=True):
        for weight, other, first in zip(weights, expected, ranks[0], strict=True):
            assert torch.allclose(weight.flatten(), other, rtol=0, atol=1e-10)
            assert torch.equal(weight, first)
