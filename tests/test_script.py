"""Whole scripts: as the golden files, for shellcheck, and run by bash with the cluster's commands as fakes."""

import json
import os
import re
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
from fakes.commands import Commands
from regen import EXAMPLES, ROOT

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch import ending
from bertjob.launch.engines import ENGINES
from bertjob.launch.plan import Here, plan
from bertjob.launch.script import script
from bertjob.spec.job import Data, Image, Job, Model, Resources, Train
from bertjob.spec.layout import RunDir
from bertjob.spec.load import dump, read_job
from bertjob.spec.site import Fabric, Mount, Site
from bertjob.spec.state import RunState, write_state

HERE = Here(python="/venv/bin/python", cwd="/home/me")
SLURM = Site(name="slurm", defaults=Resources(time="1:00:00", gpus_per_node=1))
LOCAL = Site(name="local", scheduler="none", launcher="local")
HOSTILE = ["a'; echo foo", "$(touch x)", "`touch x`", 'say "hi"', "sp  ace", "100% %j", "ü#!", "-rf"]


def made(site: Site = SLURM, run_dir: str | None = None, here: Here = HERE, **keys: Any) -> str:
    return script(plan(Job(name="j", train=Train(global_batch=4, micro_batch=1), **keys), site, run_dir, here))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def with_(site: Site, **keys: Any) -> Site:
    return msgspec.structs.replace(site, **keys)


# The examples


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_bertjob_prints(name: str) -> None:
    assert (ROOT / "slurm/examples" / name).read_text() == EXAMPLES[name](), "see the change, then `make regen`"


def test_every_example_is_generated() -> None:
    assert {path.name for path in (ROOT / "slurm/examples").iterdir()} == set(EXAMPLES)


def test_the_example_of_daint_says_what_the_tutorials_script_says_in_its_order() -> None:
    said = [
        *("#!/bin/bash -l", "#SBATCH --job-name=squad", "--time=00:20:00", "--nodes=8", "--ntasks-per-node=1"),
        *("--cpus-per-task=12", "--constraint=gpu", '--account="<account>"', "--ntasks-per-core=1"),
        *("module load daint-gpu", "module load sarus", "module load OpenMPI/4.1.2"),
        *('export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"', "\nmpirun ", "sarus run "),
        "source=$SCRATCH,destination=$SCRATCH",
        *("nvcr.io/nvidia/pytorch:", "bertjob.train"),
    ]
    rest = EXAMPLES["daint-squad-8.sbatch"]()
    for what in said:
        assert what in rest, f"{what!r} does not follow"
        rest = rest.partition(what)[2]


# The text


@pytest.mark.parametrize("name", EXAMPLES)
def test_options_of_sbatch_stand_before_the_first_command(name: str) -> None:
    lines = EXAMPLES[name]().splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]
    assert any(line.startswith("#SBATCH") for line in lines[:first]) == name.endswith(".sbatch")


def test_options_keep_the_words_that_follow_them() -> None:
    text = made(resources=Resources(sbatch=("--mail-type", "END", "-x", "node 1", "--exclusive")))
    assert '#SBATCH --mail-type END\n#SBATCH -x "node 1"\n#SBATCH --exclusive\n' in text


@pytest.mark.parametrize(
    ("option", "line"),
    [("gpus-per-node", "#SBATCH --gpus-per-node=2\n"), ("gres", "#SBATCH --gres=gpu:2\n"), ("none", "")],
)
def test_gpus_are_asked_for_in_the_sites_way(option: str, line: str) -> None:
    text = made(with_(SLURM, gpu_option=option), resources=Resources(gpus_per_node=2))
    assert re.findall(r"#SBATCH --g.*\n", text) == [line] * bool(line)
    assert "#SBATCH --g" not in made(with_(SLURM, gpu_option=option), resources=Resources(gpus_per_node=0))


def test_a_description_cannot_leave_its_comment() -> None:
    text = made(description="one\ntouch x\r\n#SBATCH --uid=0\n" + "long " * 60)
    assert [line for line in text.splitlines()[1:6] if not line.startswith("#")] == []
    assert "\n#SBATCH --uid" not in text
    assert "\ntouch" not in text


def test_the_exit_code_of_a_checkpoint_is_the_one_that_training_has() -> None:
    assert f'"$code" -eq {REQUEUE_EXIT_CODE} ]' in ending.REQUEUE
    assert f"ended == {REQUEUE_EXIT_CODE}" in ending.WAIT_FOR_RANKS


def every_kind() -> dict[str, str]:
    """Scripts of all kinds, with hostile text in every place that takes any."""
    hostile = "/".join(HOSTILE)
    keys: dict[str, Any] = {
        "env": {"A": hostile, "B": "two\nlines"},
        "data": Data(train=f"/{hostile}/train.json", cache=f"/cache/{hostile}"),
        "model": Model(init=f"/{hostile}"),
        "description": hostile,
    }
    own: dict[str, Any] = {"python": f"$HOME/{hostile}", "env": {"C": f"$HOME/{hostile}"}, "modules": tuple(HOSTILE)}
    own |= {"fabric": Fabric(interface="hsn 0"), "mounts": (Mount(source=f"$HOME/{hostile}"),)}
    slurm, here = with_(SLURM, image=Image(ref="i'$(x)"), **own), with_(LOCAL, image=Image(ref="i'$(x)"), **own)
    kinds = [(slurm, launcher, engine) for launcher in ("srun", "openmpi", "hydra") for engine in ENGINES]
    kinds += [(here, "local", "none"), (here, "local", "podman"), (here, "openmpi", "none")]
    return {
        f"{launcher}, {engine}, {'by hand' if run_dir is None else 'submitted'}": made(
            site, run_dir, **keys, launcher=launcher, engine=engine
        )
        for site, launcher, engine in kinds
        for run_dir in (None, f"/{hostile}")
    }


def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    scripts = every_kind()
    for number, text in enumerate(scripts.values()):
        (tmp_path / f"{number}.sh").write_text(text)
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([shellcheck, *files], capture_output=True, text=True, check=False)
    assert done.stdout == "", dict(enumerate(scripts))
    assert done.returncode == 0


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert every_kind() == every_kind()


# The scripts at work


class Batch:
    """A script that bash runs as slurmd would; the cluster's commands are fakes, the ranks are one Python program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / HOSTILE[0]
        self.commands = Commands(folder / "bin")
        self.commands.make("scontrol", stdout="n1\nn2\nPreemptTime=None\n")
        self.commands.make("module")
        srun = folder / "bin/srun"
        srun.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
        srun.chmod(0o755)

    def start(self, body: str, *, by_hand: bool = False, site: Site = SLURM, **env: str) -> subprocess.Popen[str]:
        """Start the script of a job whose training is the body, a piece of Python."""
        program = self.folder / "program"
        program.write_text(f"#!{sys.executable}\n{PRELUDE}{textwrap.dedent(body)}")
        program.chmod(0o755)
        text = made(with_(site, python=str(program)), None if by_hand else str(self.run_dir))
        path = self.folder / "script"
        path.write_text(text)
        job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "3"}
        job |= {"SLURM_SUBMIT_DIR": str(self.folder), "PATH": f"{self.commands.folder}:{os.environ['PATH']}"}
        with (self.folder / "j-7.out").open("a") as log:
            return subprocess.Popen(["bash", str(path)], env=job | env, stdout=log, stderr=log, text=True)

    def run(self, body: str, **keys: Any) -> int:
        """Run it to the end; the exit code."""
        return self.start(body, **keys).wait(20)

    @property
    def log(self) -> str:
        """What the script and the ranks have said."""
        return (self.folder / "j-7.out").read_text()

    @property
    def requeues(self) -> list[list[str]]:
        """How often, and with which id, Slurm was asked to start the job again."""
        return [call for call in self.commands.calls("scontrol") if call[0] == "requeue"]


PRELUDE = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[-1]).parent

def checkpoint(step):
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints/latest").write_text(f"step-{step:06d}")

def stop(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    checkpoint(1)
    sys.exit(85)

"""
WAITING = """
signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGTERM, stop)
(run / "up").touch()
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


def test_a_checkpoint_and_85_start_the_job_again(batch: Batch) -> None:
    assert batch.run("checkpoint(5); sys.exit(85)") == 0
    assert batch.requeues == [["requeue", "7"]]
    assert "goes on from step-000005\n" in batch.log


def test_where_it_cannot_be_requeued_it_says_how_to_go_on(batch: Batch) -> None:
    batch.commands.make("scontrol", stdout="n1\n", stderr="Requested operation is presently disabled", code=1)
    assert batch.run("checkpoint(5); sys.exit(85)") == REQUEUE_EXIT_CODE
    told = batch.log.partition("it cannot be requeued; start it by: ")[2]
    assert shlex.split(told) == [f"BERTJOB_RUN_DIR={batch.run_dir}", "sbatch", f"{batch.run_dir}/job.sbatch"]


@pytest.mark.parametrize(("restarts", "code", "requeues"), [("2", 0, 1), ("3", 1, 0)])
def test_a_job_that_makes_no_progress_is_given_up(batch: Batch, restarts: str, code: int, requeues: int) -> None:
    assert batch.run("sys.exit(85)", SLURM_RESTART_COUNT=restarts) == code
    assert len(batch.requeues) == requeues


def test_a_job_that_makes_progress_goes_on_however_often(batch: Batch) -> None:
    assert batch.run("checkpoint(5); sys.exit(85)", SLURM_RESTART_COUNT="40") == 0
    assert len(batch.requeues) == 1


def test_an_exit_code_that_the_launcher_garbled_does_not_stop_the_job(batch: Batch) -> None:
    state = RunState(phase="checkpointed", time=0.0)
    write_state(batch.folder / "state.json", state)
    said = (batch.folder / "state.json").read_text()
    body = f"(run / 'state.json').write_text({said!r}); checkpoint(5); sys.exit(143)"
    assert batch.run(body) == 0
    assert batch.run(body) == 143  # the second start brought nothing new
    assert len(batch.requeues) == 1


def test_a_preempted_job_goes_on_whatever_its_exit_code(batch: Batch) -> None:
    batch.commands.make("scontrol", stdout="n1\n   PreemptTime=2026-11-20T11:22:45 x\n")
    assert batch.run("sys.exit(205)") == 0
    assert batch.run("") == 0
    assert len(batch.requeues) == 1


@pytest.mark.parametrize(("number", "code", "requeues"), [(signal.SIGUSR1, 0, 1), (signal.SIGTERM, 85, 0)])
def test_signals_reach_the_ranks_as_usr1_and_a_cancelled_job_is_not_revived(
    batch: Batch, number: signal.Signals, code: int, requeues: int
) -> None:
    process = batch.start(WAITING)
    until(lambda: (batch.run_dir / "up").exists())
    process.send_signal(number)
    assert process.wait(10) == code
    assert "got SIGUSR1\n" in batch.log
    assert len(batch.requeues) == requeues


def test_by_hand_a_run_directory_is_made_where_sbatch_was_called(batch: Batch) -> None:
    assert batch.run("print('worked')", by_hand=True) == 0
    run = RunDir(batch.folder / "runs/j-7")
    assert read_job(run.job).resources.nodes == 1
    assert run.script.read_text() == (batch.folder / "script").read_text()
    assert "worked\n" in run.log("7").read_text()
    assert f"bertjob: run directory {run.path}\n" in batch.log


def test_by_hand_a_run_goes_on_in_its_directory(batch: Batch) -> None:
    old = batch.folder / "old run"
    old.mkdir()
    (old / "job.yaml").write_text("name: old")
    assert batch.run("print(pathlib.Path(sys.argv[-1]).read_text())", by_hand=True, BERTJOB_RUN_DIR=str(old)) == 0
    assert "name: old\n" in batch.log
    assert not (batch.folder / "runs").exists()


def test_modules_are_loaded_in_order_and_a_missing_one_ends_the_job(batch: Batch) -> None:
    site = with_(SLURM, modules=("daint-gpu", "sarus 2"), setup=("export EARLY=$UNSET",))
    assert batch.run("print('trained')", site=site) == 0
    assert batch.commands.calls("module") == [["load", "daint-gpu"], ["load", "sarus 2"]]
    batch.commands.make("module", stderr="no such module", code=5)
    assert batch.run("print('trained')", site=site) == 5
    assert batch.log.count("trained") == 1


def test_a_variable_of_the_site_that_is_unset_ends_the_job(batch: Batch) -> None:
    assert batch.run("print('trained')", site=with_(SLURM, env={"A": "$NOWHERE/x"})) != 0
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
    resolved = plan(Job(name="j", train=Train(global_batch=4, micro_batch=1)), SLURM, None, HERE).job
    assert (batch.run_dir / "job.yaml").read_text() == dump(resolved)


def test_a_job_that_holds_the_mark_of_its_end_is_not_cut(tmp_path: Path) -> None:
    text = made(deepspeed={"END_OF_JOB": "END_OF_JOB"}, description="END_OF_JOB")
    (mark,) = re.findall(r"<< '(\w+)'\n", text)
    assert text.count(f"\n{mark}\n") == 1
