"""``bertjob shell``: its script, and what is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from planned import HERE, LOCAL, SLURM, with_

from bertjob.cli.main import cli
from bertjob.cluster.local import run_shell
from bertjob.config.job import Data, Image, Job, Resources
from bertjob.config.site import Mount, Site
from bertjob.errors import PreflightError, SchedulerError
from bertjob.launch.shell import Shell, script, shell

SARUS: dict[str, Any] = {"engine": "sarus", "image": Image(ref="group/name:1"), "mounts": (Mount(source="$SCRATCH"),)}


def opened(site: Site, *words: str, tty: bool = True, folders: tuple[str, ...] = ("/home/me",), **keys: Any) -> Shell:
    here = replace(HERE, is_folder=lambda path: path in folders)
    return shell(Job(name="j", **keys), site, here, words or ("bash",), tty)


def last(shell: Shell) -> str:
    """The command at the end, on one line."""
    return " ".join(script(shell).partition("\nexec ")[2].replace("\\\n", " ").split())


def test_srun_and_sarus_have_a_terminal() -> None:
    assert last(opened(with_(SLURM, **SARUS))) == (
        'srun --mpi=none --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --pty'
        " env --unset=LD_LIBRARY_PATH --unset=LD_PRELOAD --unset=PYTHONHOME --unset=PYTHONPATH"
        " sarus run --tty --entrypoint '' --workdir=/home/me"
        ' --env="OMP_NUM_THREADS=$OMP_NUM_THREADS" --env="PYTHONNOUSERSITE=$PYTHONNOUSERSITE"'
        ' --mount="type=bind,source=$SCRATCH,destination=$SCRATCH"'
        " --mount=type=bind,source=/home/me,destination=/home/me group/name:1 bash"
    )


def test_without_a_terminal_none_is_asked_for() -> None:
    command = last(opened(with_(SLURM, **SARUS), "python3", "-c", "print('a b')", tty=False))
    assert "tty" not in command
    assert command.endswith("""group/name:1 python3 -c 'print('"'"'a b'"'"')'""")


def test_the_allocation_is_the_jobs() -> None:
    site = with_(SLURM, modules=("sarus",), login_shell=True, **SARUS)
    text = script(opened(site, resources=Resources(nodes=3, account="a b", time="10", sbatch=("--exclusive",))))
    asked = " ".join(text.partition("  exec ")[2].partition("\nfi\n")[0].replace("\\\n", " ").split())
    assert asked == (
        "salloc --job-name=j --time=00:10:00 --nodes=3 --ntasks-per-node=1 --cpus-per-task=1 --gpus-per-node=1"
        """ '--account=a b' --exclusive bash -l "$0\""""
    )
    assert text.index("\nfi\n") < text.index("module load sarus\n") < text.index("\nexec srun ")


def test_on_this_machine_it_is_the_engine_alone() -> None:
    keys: dict[str, Any] = {"engine": "podman", "image": Image(ref="group/name:1")}
    assert last(opened(with_(LOCAL, **keys))).startswith("podman run --rm --interactive --tty ")
    assert last(opened(LOCAL)) == "bash"


def test_the_file_of_an_engine_lies_in_the_home() -> None:
    text = script(opened(with_(SLURM, engine="edf", image=Image(ref="group/name:1"))))
    assert 'mkdir -p "$HOME/.edf/bertjob"\n' in text
    assert 'cat > "$HOME/.edf/bertjob/environment.toml" <<' in text
    assert last(opened(with_(SLURM, engine="edf", image=Image(ref="group/name:1")))).endswith(
        '--pty --environment="$HOME/.edf/bertjob/environment.toml" bash'
    )


def test_the_names_of_the_hosts_variables_lie_below_the_home() -> None:
    text = script(opened(with_(SLURM, engine="podman", image=Image(ref="group/name:1"))))
    assert 'mkdir -p "$HOME/.cache/bertjob"\n' in text
    assert '} > "$HOME/.cache/bertjob/host-variables"' in text


def test_the_working_directory_is_mounted_once_where_it_is_a_folder_of_the_site() -> None:
    here = replace(HERE, environment={"SCRATCH": HERE.cwd}, is_folder=lambda path: path == HERE.cwd)
    site = with_(SLURM, engine="podman", mounts=(Mount(source="$SCRATCH"),))
    opened = shell(Job(name="j", image=Image(ref="b:1")), site, here, ("true",), tty=False)
    assert script(opened).count("--mount=") == 1


def test_folders_that_are_not_there_are_told_and_not_mounted() -> None:
    asked: dict[str, Any] = {"data": Data(train="/data/t.json", dev="/other/d.json")}
    found = opened(with_(SLURM, **SARUS), folders=("/home/me", "/data"), **asked)
    assert found.unseen == ("/other",)
    assert "source=/data," in last(found)
    assert "/other" not in last(found)


def test_a_shell_opens_before_anybody_has_made_the_sites_overlay() -> None:
    here = replace(HERE, environment={"HOME": "/home/me", "WORK": "/work"}, is_folder=lambda path: path == "/home/me")
    site = with_(SLURM, **SARUS | {"image": Image(ref="group/name:1", overlay="$HOME/env")})
    before = shell(Job(name="j"), site, here, ("bash",), tty=True)
    assert before.unseen == ("${HOME}/env",)
    assert "/env" not in last(before)
    assert "source=$SCRATCH,destination=$SCRATCH" in last(before)  # which only the nodes know
    made = shell(Job(name="j"), site, replace(here, is_folder=lambda path: True), ("bash",), tty=True)
    assert made.unseen == ()
    assert "type=bind,source=$HOME/env,destination=$HOME/env" in last(made)


@pytest.mark.parametrize(
    ("site", "keys", "told"),
    [
        (SLURM, {"engine": "podman"}, "engine podman needs an image"),
        (SLURM, {"env": {"RANK": "1"}}, "RANK is set by bertjob"),
        (LOCAL, {"resources": Resources(nodes=2)}, "without a scheduler there is this one machine"),
    ],
)
def test_what_cannot_be_had_is_refused(site: Site, keys: dict[str, Any], told: str) -> None:
    with pytest.raises(PreflightError, match=told):
        opened(site, **keys)


def test_what_could_not_train_is_no_matter() -> None:
    assert last(opened(SLURM, resources=Resources(time="1"), data=Data())).endswith("bash")


def test_without_slurm_here_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(SchedulerError, match="there is no command salloc here"):
        run_shell(opened(SLURM))


def test_scripts_are_shellchecked(tmp_path: Path) -> None:
    for number, site in enumerate(
        (LOCAL, SLURM, with_(SLURM, **SARUS), with_(SLURM, login_shell=True, modules=("a",)))
    ):
        (tmp_path / f"{number}.sh").write_text(script(opened(site, resources=Resources(account="it's $(x)"))))
    shellcheck = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    done = subprocess.run([shellcheck, *map(str, tmp_path.iterdir())], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_command_runs_here_with_the_sites_variables(tmp_path: Path) -> None:
    site = tmp_path / "mine.yaml"
    site.write_text('{name: mine, scheduler: none, launcher: local, env: {SAID: "a b"}}')
    command = [str(Path(sys.executable).with_name("bertjob")), "shell", "--site", str(site)]
    env = {**os.environ, "RANK": "3"}
    words = ["--", "sh", "-c", "cat; echo $SAID ${RANK:-none}; exit 9"]
    done = subprocess.run([*command, *words], env=env, input="typed\n", capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("typed\na b none\n", 9), done.stderr


def test_a_run_directory_is_refused() -> None:
    done = CliRunner().invoke(cli, ["shell", "--run-dir", "runs/j", "--dry-run"])
    assert done.exit_code == 2
    assert "a shell has no run directory" in done.output


def test_a_dry_run_prints_the_script() -> None:
    done = CliRunner().invoke(cli, ["shell", "--site", "generic", "--nodes", "2", "--dry-run", "--", "ls", "-l"])
    assert done.stdout.splitlines()[-1] == "  ls -l"
    assert "exec salloc --job-name=squad --time=01:00:00 --nodes=2 " in done.stdout
