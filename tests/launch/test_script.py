"""The text of whole scripts: as the golden files, for shellcheck, and safe from what jobs and sites say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from planned import HOSTILE, LOCAL, SLURM, made, with_
from regen import EXAMPLES, ROOT, text_of

from bertjob.config.job import Data, Image, Model, Resources
from bertjob.config.site import Fabric, Mount, Site
from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.references import PATH
from bertjob.launch.launchers import LAUNCHERS
from bertjob.launch.schedulers import no_scheduler, slurm


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_bertjob_prints(name: str) -> None:
    assert (ROOT / "slurm/examples" / name).read_text() == text_of(name), "see the change, then `make regen`"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_none_of_the_problems_that_submit_refuses(name: str) -> None:
    assert EXAMPLES[name]().problems == ()


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
    rest = text_of("daint-squad-8.sbatch")
    for what in said:
        assert what in rest, f"{what!r} does not follow"
        rest = rest.partition(what)[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_options_of_sbatch_stand_before_the_first_command(name: str) -> None:
    lines = text_of(name).splitlines()
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


@pytest.mark.parametrize(
    ("run_dir", "log"),
    [
        (None, "%x-%j.out"),
        ("/runs/j-1", "/runs/j-1/logs/%j.out"),
        ("/100% %j", '"/100%% %%j/logs/%j.out"'),
        ('/a "b" $(c)', '"/a \\"b\\" $(c)/logs/%j.out"'),
    ],
)
def test_the_log_is_in_the_run_directory_where_there_is_one(run_dir: str | None, log: str) -> None:
    assert f"\n#SBATCH --output={log}\n" in made(run_dir=run_dir)


def test_a_description_cannot_leave_its_comment() -> None:
    text = made(description="one\ntouch x\r\n#SBATCH --uid=0\n" + "long " * 60)
    assert [line for line in text.splitlines()[1:6] if not line.startswith("#")] == []
    assert "\n#SBATCH --uid" not in text
    assert "\ntouch" not in text


def test_the_exit_code_of_a_checkpoint_is_the_one_that_training_has() -> None:
    assert f'"$code" -eq {REQUEUE_EXIT_CODE} ]' in slurm.REQUEUE
    assert f"ended == {REQUEUE_EXIT_CODE}" in no_scheduler.WAIT_FOR_RANKS


def every_kind() -> dict[str, str]:
    """Scripts of all kinds, with hostile text in every place that takes any."""
    kinds = [(SLURM, launcher, engine) for launcher in LAUNCHERS if launcher != "local" for engine in ENGINES]
    kinds = [kind for kind in kinds if fits(*kind)]
    kinds += [(LOCAL, "local", engine) for engine in ("none", "podman", "docker")] + [(LOCAL, "openmpi", "none")]
    return {
        f"{launcher}, {engine}, {'by hand' if run_dir is None else 'submitted'}": text
        for site, launcher, engine in kinds
        for run_dir, text in both(site, launcher, engine)
    }


_BY_SRUN = ("srun", "torchrun", "deepspeed")


def fits(site: Site, launcher: str, engine: str) -> bool:
    """Whether the launcher can start the engine's containers there."""
    return not ENGINES[engine].daemon and (launcher in _BY_SRUN or not ENGINES[engine].started_by_srun)


def both(site: Site, launcher: str, engine: str) -> list[tuple[str | None, str]]:
    """The script without and with a run directory, with all that the engine can express."""
    hostile = "/".join(HOSTILE).translate({ord(character): "_" for character in ENGINES[engine].limits.separators})
    keys: dict[str, Any] = {
        "env": {"A": "/".join(HOSTILE), "B": "two\nlines"},
        "data": Data(train=f"/{hostile}/train.json", cache=f"/cache/{hostile}"),
        "model": Model(init=f"/{hostile}"),
        "description": hostile,
        "image": Image(ref=f"/{hostile}" if PATH in ENGINES[engine].takes else "example.org:5000/group/name:tag"),
        "resources": Resources(gpus_per_node=1),
    }
    own: dict[str, Any] = {"python": f"$HOME/{hostile}", "env": {"C": f"$HOME/{hostile}"}, "modules": tuple(HOSTILE)}
    own |= {"fabric": Fabric(interface="hsn0"), "mounts": (Mount(source=f"$HOME/{hostile}"),)}
    return [
        (run_dir, made(with_(site, **own), run_dir, **keys, launcher=launcher, engine=engine))
        for run_dir in (None, f"/{hostile}")
    ]


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


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=3))
@example("END_OF_JOB\n\nEND_OF_JOB\n", {"END_OF_JOB": "END_OF_JOB\n"})
def test_no_job_can_end_its_own_text_early(description: str, section: dict[str, str]) -> None:
    text = made(description=description, deepspeed=section)
    assert text.split("\n").count("END_OF_JOB") == 1


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".sbatch")])
def test_a_script_files_its_run_by_one_function(name: str) -> None:
    text = text_of(name)
    assert text.count("/submissions.jsonl") == 2  # looks for its line, and adds it
    assert text.count("ln -sf ") == 1
    assert len(re.findall(r"^ *file_run$", text, re.MULTILINE)) == 2
