"""Jobs that come from inside other jobs, copies that a launcher starts, and a person's own script with --signal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

BERTJOB = str(Path(sys.executable).with_name("bertjob"))
AROUND = {
    "salloc": ("salloc", "-Q", "-n1", "--mem-per-cpu=50", "--hint=nomultithread", "-m", "plane=2"),
    "srun": ("srun", "-Q", "-n1", "--mem-per-cpu=50", "--exact", "--mpi=pmi2"),
}


def called(*words: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = os.environ | variables
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("export", ["ALL", pytest.param("NONE", marks=pytest.mark.faults)])
@pytest.mark.parametrize("around", ["salloc", pytest.param("srun", marks=pytest.mark.faults)])
@pytest.mark.usefixtures("cluster")
def test_a_script_that_is_submitted_inside_a_job_has_nothing_of_it(bertjob: Face, around: str, export: str) -> None:
    look = "env > seen-$SLURM_JOB_ID"
    site = bertjob.site("site", setup=[look.replace("seen", "before")], defaults={"mem": "100"})
    job = bertjob.job("smoke", task="smoke", data={}, model={}, train={}, epilogue=[f"cd {bertjob.folder}; {look}"])
    text = bertjob("script", job, "--site", site, "--nodes", "2").stdout
    (bertjob.folder / "x.sbatch").write_text(text)
    variables = {} if export == "ALL" else {"SLURM_CPU_BIND": "quiet,mask_cpu:0x1"}
    submit = ("sbatch", "-Q", "-W", f"--export={export}", "x.sbatch")
    done = called(*AROUND[around], *submit, folder=bertjob.folder, **variables)
    assert done.returncode == 0, done.stderr + "".join(path.read_text() for path in bertjob.folder.glob("*.out"))
    (seen,) = bertjob.folder.glob("seen-*")
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "SLURM_JOB_ID" in names
    assert "SLURM_MEM_PER_NODE" in names
    assert not names & {"SLURM_MEM_PER_CPU", "SLURM_HINT", "SLURM_DISTRIBUTION", "SLURM_CPU_BIND", "SLURM_STEP_ID"}


@pytest.mark.parametrize("words", [("srun", "-Q", "-n2"), ("srun", "-Q", "-N2"), ("salloc", "-Q", "-N2", "srun", "-Q")])
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("verb", ["run", "submit"])
def test_copies_are_refused_and_make_nothing(bertjob: Face, words: tuple[str, ...], verb: str) -> None:
    before = set(bertjob.folder.iterdir())
    done = called(*words, BERTJOB, verb, "squad-demo", folder=bertjob.folder)
    assert "srun has started this command 2 times" in done.stderr
    assert "Traceback" not in done.stderr
    assert set(bertjob.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("signal", "start"),
    [
        ("--batch USR1", "exec"),
        ("USR2", "srun -n1"),
        pytest.param("QUIT", "srun -n1", marks=pytest.mark.faults),
        pytest.param("--batch USR2", "exec", marks=pytest.mark.faults),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_a_persons_own_script_gets_its_checkpoint(bertjob: Face, tiny: Tiny, signal: str, start: str) -> None:
    run = RunDir(bertjob.folder / "run")
    resources = {"nodes": 1, "tasks_per_node": 1, "gpus_per_node": 0, "cpus_per_task": 1}
    job = tiny(1_000_000, resources=resources)
    script = bertjob.folder / "own.sbatch"
    script.write_text(f"#!/bin/bash\n#SBATCH --output=own.out\n{start} {BERTJOB} run {job} --run-dir {run.path}\n")
    job_id = called("sbatch", "--parsable", str(script), folder=bertjob.folder).stdout.strip()
    wait_for_step(run, "local", 3)
    *batch, number = signal.split()
    subprocess.run(["scancel", *batch, f"--signal={number}", job_id], check=True)
    until(
        lambda: called("squeue", "-h", "-j", job_id, "-o", "%T", folder=bertjob.folder).stdout.strip() in ("FAILED", "")
    )
    said = called("scontrol", "show", "job", job_id, folder=bertjob.folder).stdout
    assert "ExitCode=85:0" in said, (bertjob.folder / "own.out").read_text()
    assert run.latest.exists()


def test_a_jobs_constraint_keeps_the_sites(bertjob: Face, cluster: Lab) -> None:
    subprocess.run(
        ["scontrol", "update", "NodeName=nid00003", "AvailableFeatures=gpu,big", "ActiveFeatures=gpu,big"], check=True
    )
    site = bertjob.site("site", defaults={"constraint": "gpu"})
    job = bertjob.job("smoke", task="smoke", data={}, model={}, train={})
    done = bertjob("submit", job, "--site", site, "--nodes", "1", "-C", "big", "--wait", "--json")
    job_id = json.loads(done.stdout.splitlines()[0])["job_id"]
    said = called("scontrol", "show", "job", job_id, folder=bertjob.folder).stdout
    assert "Features=(gpu)&(big)" in said
    assert "NodeList=nid00003" in said
    cluster.wait_idle()
