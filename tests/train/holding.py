"""A run directory as rank 0 of a start has it: open, and with its lease."""

from pathlib import Path

from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun


def hold(folder: Path | RunDir, rank: int = 0) -> HeldRun:
    """Open a folder that is there; rank 0 takes its lease, from whoever has it."""
    run_dir = folder if isinstance(folder, RunDir) else RunDir(folder)
    held = HeldRun(run_dir)
    assert rank or held.take(lease.of_this_process("local"), lease.read(run_dir))
    return held
