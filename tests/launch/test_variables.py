"""Variables of jobs are values: no name makes code of one, and what comes from the shell stands in no file."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes.commands import Commands
from msgspec.structs import replace
from planned import HERE, LOCAL, SLURM, SMALL, made, with_

from bertjob.cluster.preflight import check_environment
from bertjob.config.job import Image, Job, Resources
from bertjob.config.site import Fabric, Site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.engines import containers
from bertjob.launch.environment import OWN, RANK, problems
from bertjob.launch.plan import plan
from bertjob.launch.script import port_choice, script

INJECTION = "PATH[$(touch INJECTED)]"
COMMON = {"PATH", "SHELL", "TERM", "HOME", "LANG"}
"""Variables that any program may have."""
EXAMPLES = sorted((Path(__file__).parents[2] / "slurm" / "examples").iterdir())
SECRET = "HF_TOKEN"


def refused(name: str) -> bool:
    return bool(problems("env", [name]))


def test_names_of_bash_are_refused() -> None:
    run = subprocess.run(["bash", "-c", "compgen -v; declare -pr"], capture_output=True, text=True, check=True, env={})
    names = set(re.findall(r"^(?:declare \S+ )?([A-Za-z_]\w*)", run.stdout, re.MULTILINE))
    assert {"RANDOM", "UID", "BASHOPTS", "SECONDS", "IFS"} <= names
    assert {name for name in names - COMMON if not refused(name)} == set()
    assert not any(map(refused, COMMON))


def test_names_that_scripts_compute_with_are_refused() -> None:
    assigned = re.compile(r"^ *(?:read -r |for |for \(\()?([A-Za-z_]\w*)(?:\+?=| in | < | _ <)", re.MULTILINE)
    names = {name for example in EXAMPLES for name in assigned.findall(example.read_text())}
    assert {"RUN", "code", "launcher", "MASTER_PORT"} <= names
    assert {name for name in names if not refused(name)} == set()


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SRUN_X", "SBATCH_X", "RANDOM", "UID", "PS4"])
@pytest.mark.parametrize("site", [SLURM, LOCAL])
def test_a_name_that_is_somebody_elses_is_refused_wherever_it_is_said(name: str, site: Site) -> None:
    value = {name: INJECTION}
    with pytest.raises(PreflightError, match=rf"env: {name} (belongs to|is set by)"):
        made(site, env=value)
    with pytest.raises(PreflightError, match=rf"the site's env: {name} "):
        made(with_(site, env=value))
    with pytest.raises(PreflightError, match=rf"fabric.env: {name} "):
        made(with_(site, fabric=Fabric(env={name: INJECTION})))
    with pytest.raises(PreflightError, match=rf"env_from: {name} "):
        made(site, env_from=(name,))


@pytest.mark.parametrize("name", [*OWN, *RANK, "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_the_place_of_a_rank_is_nobodys_to_say(name: str) -> None:
    assert refused(name)


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "SLURM_RESTART_COUNT"])
def test_only_numbers_reach_arithmetic(tmp_path: Path, name: str) -> None:
    lines = port_choice("SLURM_JOB_ID + 997 * ${SLURM_RESTART_COUNT:-0}")
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "0", name: INJECTION}
    run = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (run.returncode, run.stderr) == (1, f"bertjob: {name} is not a number\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_JOB_NUM_NODES", "SLURM_CPUS_PER_TASK"])
def test_no_variable_of_slurm_runs_commands_in_a_script(tmp_path: Path, name: str) -> None:
    commands = Commands(tmp_path / "bin")
    for command in ("scontrol", "srun"):
        commands.make(command, "n1\n")
    job = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "0", "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "1"}
    env = {"PATH": f"{commands.folder}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "n1", **job, name: INJECTION}
    text = made(run_dir=str(tmp_path / "run"))
    subprocess.run(["bash", "-c", text], capture_output=True, cwd=tmp_path, env=env, check=False)
    assert list(tmp_path.rglob("INJECTED")) == []


def contained(engine: str, **keys: Any) -> str:
    site = with_(LOCAL if engine == "docker" else SLURM, mounts=())
    ref = "/img" if engine == "charliecloud" else "group/name:1"
    job = Job(name="j", **SMALL, engine=engine, image=Image(ref=ref), **keys)  # type: ignore[arg-type]
    return script(plan(job, site, "/runs/j", HERE))


@pytest.mark.parametrize("engine", [*containers()])
def test_what_comes_from_the_shell_is_on_no_command_line(engine: str) -> None:
    text = contained(engine, env_from=(SECRET,))
    said = [line for line in text.splitlines() if SECRET in line]
    assert any(line.startswith(f'[ -n "${{{SECRET}:+set}}" ] || ') for line in said)
    assert not any(re.search(rf"\${SECRET}\b|export {SECRET}", line) for line in said), said
    if engine == "edf":  # which replaces the name when it starts the container
        assert f'{SECRET} = "${{{SECRET}}}"' in text
    elif engine in ("pyxis", "podman", "podman-hpc", "docker"):  # by their names, which they look up themselves
        assert re.search(rf"(--env=|--container-env=\S*){SECRET}\b", text)


def test_mpirun_hands_it_on_by_its_name() -> None:
    text = made(with_(SLURM, launcher="openmpi"), env_from=(SECRET,))
    assert f"-x {SECRET} " in text.replace(" \\\n", " ")


def test_what_the_shell_lacks_is_refused_before_anything_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(name="j", env_from=(SECRET, "OTHER"))
    monkeypatch.setenv("OTHER", "x")
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(PreflightError, match=f"^env_from: {SECRET}: not set in this shell; export {SECRET}"):
        check_environment(job)
    monkeypatch.setenv(SECRET, "")
    with pytest.raises(PreflightError, match=SECRET):
        check_environment(job)
    monkeypatch.setenv(SECRET, "x")
    check_environment(job)


def test_a_script_without_it_ends_at_once(tmp_path: Path) -> None:
    text = made(LOCAL, str(tmp_path / "run"), replace(HERE, python="/nowhere"), env_from=(SECRET,))
    environment = {"PATH": os.environ["PATH"], SECRET: ""}
    run = subprocess.run(["bash"], input=text, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (run.returncode, run.stderr.splitlines()) == (
        1,
        [f"bertjob: {SECRET} is not set in the shell that submits"],
    )
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_the_script_does_not_print_it(tmp_path: Path) -> None:
    lines = made(LOCAL, str(tmp_path / "run"), env_from=(SECRET,)).split("# From the shell")[1].split("\n\n")[0]
    run = subprocess.run(
        ["bash", "-xc", f"# {lines}"], capture_output=True, text=True, env={SECRET: "geheim"}, check=True
    )
    assert "geheim" not in run.stdout + run.stderr


@pytest.mark.parametrize("option", ["--export=NONE", "--export=OTHER", "--export-file=f", "--expor=NIL"])
def test_an_option_that_keeps_it_from_the_job_is_refused(option: str) -> None:
    asked = Resources(sbatch=(option,))
    with pytest.raises(PreflightError, match=f"env_from: the sbatch option {option} would keep {SECRET}"):
        made(env_from=(SECRET,), resources=asked)
    made(resources=asked)
    made(env_from=(SECRET,), resources=Resources(sbatch=("--export=ALL,OTHER=1",)))


def test_a_variable_has_one_value() -> None:
    with pytest.raises(PreflightError, match=f"env_from: {SECRET} has a value in env already"):
        made(env={SECRET: "x"}, env_from=(SECRET,))


def test_a_secret_in_the_job_is_worth_a_warning() -> None:
    told = plan(Job(name="j", **SMALL, env={SECRET: "x", "TOKENIZERS_PARALLELISM": "0"}), SLURM, None, HERE).warnings
    assert [line for line in told if line.startswith("env.")] == [
        f"env.{SECRET}: the value stands in files of the run; env_from: [{SECRET}] takes it from your shell"
    ]


def test_files_with_values_are_written_for_their_owner_alone() -> None:
    for text in (made(env={"A": "1"}), made(with_(SLURM, env={"A": "1"}))):
        assert '(umask 077 && cat > "$RUN/job.yaml") <<' in text
        assert 'install -m 600 "$0" "$RUN/job.sbatch"' in text
    assert "umask" not in made()
    assert "(umask 077 && cat > " in contained("edf", env={"A": "1"}).split("environment.toml")[0]


def test_deepspeeds_universal_checkpoints_are_refused() -> None:
    from bertjob.config.checks.deepspeed_config import check_deepspeed

    with pytest.raises(SpecError, match=r"deepspeed\.checkpoint\.load_universal"):
        check_deepspeed({"checkpoint": {"load_universal": True}})
