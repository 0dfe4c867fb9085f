"""What killed a job is reported by name, and with it the command that resumes the run: by wait, status and logs.

One of each kind runs always; all combinations are `faults`.
"""

import json
import os
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import containers
import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.resume import command
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
SITES: Mapping[str, Mapping[str, object]] = {
    "srun": {},
    "openmpi": {"launcher": "openmpi", "env": AS_ROOT},
    "torchrun": {"launcher": "torchrun"},
}
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
"""Variables that hold a rank's number, the nearest launcher's first."""


def rank_of(pid: int, words: list[str]) -> int | None:
    if words[1:4] != ["-u", "-m", "bertjob.train"]:
        return None
    variables = dict(one.split("=", 1) for one in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in one)
    return int(next(variables[name] for name in RANKS if name in variables))


VICTIMS: Mapping[str, Callable[[int, list[str]], bool]] = {
    "rank 0": lambda pid, words: rank_of(pid, words) == 0,
    "rank 1": lambda pid, words: rank_of(pid, words) == 1,
    "launcher": lambda pid, words: bool(words) and Path(words[0]).name in ("srun", "mpirun"),
    "agent": lambda pid, words: "torch.distributed.run" in words and Path(words[0]).name != "srun",
    "daemon": lambda pid, words: bool(words) and Path(words[0]).name == "orted",
    "script": lambda pid, words: any(word.endswith("slurm_script") for word in words),
}
REASONS = {
    "rank 0": "rank 0 (nid00001) was killed by SIGKILL",
    "rank 1": "rank 1 (nid00002) was killed by SIGKILL",
    "agent": "torchrun's agent on nid00001 was killed by SIGKILL",
    "daemon": "mpirun has lost its daemon on nid00002: it was killed, or the node failed",
    "script": "the job's script was killed by SIGKILL",
}
KINDS = [("srun", "rank 0"), ("torchrun", "rank 1"), ("openmpi", "launcher"), ("srun", "script"), ("torchrun", "agent")]
ONLY = {"agent": "torchrun", "daemon": "openmpi"}
"""What only one launcher has."""
REST = [
    (launcher, victim)
    for launcher in SITES
    for victim in VICTIMS
    if (launcher, victim) not in KINDS and ONLY.get(victim, launcher) == launcher
]


def kill(cluster: Lab, victim: str) -> None:
    for node in cluster.nodes:
        for pid, words in cluster.processes(node).items():
            if VICTIMS[victim](pid, words):
                os.kill(pid, signal.SIGKILL)
                return  # srun has a second process
    raise AssertionError(f"there is no {victim}")


def assert_reported(bertjob: Face, run: RunDir, job_id: str, reason: str) -> None:
    resume = command(run, submitted=True)
    told = [f"{run.name} ({job_id}) failed: {reason}", f"resume with: {resume}"]
    assert bertjob("wait", job_id, code=1).stderr.splitlines() == told
    assert bertjob("logs", job_id).stderr.splitlines() == told
    (row,) = json.loads(bertjob("status", "--json", job_id).stdout)
    assert (row["state"], row["reason"], row["resume"]) == ("failed", reason, resume)
    assert restarts(job_id) == 0


@pytest.mark.parametrize(
    ("launcher", "victim"), [*KINDS, *(pytest.param(*one, marks=pytest.mark.faults) for one in REST)]
)
def test_what_was_killed_is_named_by_all_verbs(
    bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str, victim: str
) -> None:
    run, site = RunDir(bertjob.folder / "run"), bertjob.site("site", **SITES[launcher])
    words = ("--site", site, "--nodes", 2, "--run-dir", run.path)
    job_id = bertjob("submit", tiny(1_000_000), *words).stdout.split()[-1]
    wait_for_step(run, job_id, 3)
    kill(cluster, victim)
    started_by = "mpirun" if launcher == "openmpi" else "srun"
    bertjob("wait", job_id, code=1)
    assert_reported(bertjob, run, job_id, REASONS.get(victim, f"{started_by} was killed by SIGKILL"))


def test_the_named_command_resumes_a_run_which_is_then_not_shown_as_failed(
    bertjob: Face, tiny: Tiny, cluster: Lab
) -> None:
    run = RunDir(bertjob.folder / "run")
    words = ("--nodes", 2, "--run-dir", run.path)
    first = bertjob("submit", tiny(100, checkpoint={"every_steps": 2}), *words).stdout.split()[-1]
    wait_for_step(run, first, 5)
    kill(cluster, "rank 1")
    resume = bertjob("wait", first, code=1).stderr.splitlines()[-1].removeprefix("resume with: ")
    second = bertjob(*shlex.split(resume)[1:]).stdout.split()[-1]

    def begun() -> bool:
        (row,) = json.loads(bertjob("status", "--json", second).stdout)
        assert row["state"] in ("pending", "running", "completing", "completed")
        assert row["phase"] != "failed"
        assert "killed" not in row["reason"]
        state = read_state(run.state)
        return state is not None and state.job_id == second

    until(begun)
    bertjob("wait", second)
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", 100)
    assert f"{first}: an earlier job of run, whose newest is {second}" in bertjob("status", first).stderr
    earlier = bertjob("logs", first)
    assert f"job {first} starts on " in earlier.stdout
    assert earlier.stderr.splitlines() == [
        f"run ({first}) failed: rank 1 (nid00002) was killed by SIGKILL",
        f"its run went on as job {second}",
    ]
    assert bertjob("cancel", first, code=2).stderr.endswith(f"whose newest is {second}: say that\n")


def foreign(path: Path) -> None:
    """A program for 64-bit ARM, which the number of its architecture makes of one of ours (EM_AARCH64, elf.h)."""
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (183).to_bytes(2, "little")
    path.write_bytes(program)
    path.chmod(0o755)


def missing(keys: dict[str, object], images: containers.Images, folder: Path) -> str:
    keys["image"] = {"ref": "group/name:1"}
    return "image group/name:1 is not here"


def absent_python(keys: dict[str, object], images: containers.Images, folder: Path) -> str:
    keys["python"] = "/opt/nowhere/python3"
    return "no /opt/nowhere/python3 in the image; name the image's own by `python` in the site file"


def other_architecture(keys: dict[str, object], images: containers.Images, folder: Path) -> str:
    keys["python"] = "/opt/foreign"
    if Path(str(keys["image"]["ref"])).is_dir():  # type: ignore[index]
        (images.tree / "opt").mkdir(exist_ok=True)
        foreign(images.tree / "opt/foreign")
    else:
        foreign(folder / "foreign")
        keys["mounts"] = [{"source": str(folder / "foreign"), "target": "/opt/foreign", "readonly": True}]
    return "/opt/foreign in the image is "


def corrupt(keys: dict[str, object], images: containers.Images, folder: Path) -> str:
    file = folder / "bad.sqsh"
    file.write_bytes(b"hsqs" + b"\0" * 5000)
    keys["image"] = {"ref": str(file)}
    return f"image {file} is damaged or not a SquashFS file; load it again by `bertjob image load`"


IMAGES = [
    ("sarus", missing),
    ("charliecloud", corrupt),
    ("podman", other_architecture),
    ("charliecloud", absent_python),
]
OTHERS = [
    ("podman", missing),
    ("podman", absent_python),
    ("sarus", absent_python),
    ("sarus", other_architecture),
    ("charliecloud", other_architecture),
]


@pytest.mark.parametrize(
    ("engine", "fault"), [*IMAGES, *(pytest.param(*one, marks=pytest.mark.faults) for one in OTHERS)]
)
def test_an_image_that_cannot_run_is_the_reason(
    bertjob: Face,
    images: containers.Images,
    tmp_path: Path,
    engine: str,
    fault: Callable[[dict[str, object], containers.Images, Path], str],
) -> None:
    keys = images.site_keys(engine)
    reason = fault(keys, images, tmp_path)
    site, run = bertjob.site(engine, engine=engine, **keys), RunDir(tmp_path / "runs" / "run")
    words = ("--site", site, "--nodes", 2, "--gpus-per-node", 0, "--run-dir", run.path)
    job_id = bertjob("submit", "smoke", *words).stdout.split()[-1]
    told = bertjob("wait", job_id, code=1).stderr.splitlines()
    assert told[0].startswith(f"run ({job_id}) failed: {reason}")
    assert_reported(bertjob, run, job_id, told[0].partition(" failed: ")[2])
