"""Containers for real: a proof of the launch on two nodes through each engine that can be had, and what goes wrong."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import containers
import pytest
from face import Face
from slurm.lab import Lab

from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import read_proof

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ON_TWO_NODES = ("--nodes", 2, "--gpus-per-node", 0, "--run-dir", "runs/run")


@pytest.mark.parametrize("engine", ["podman", "sarus", "charliecloud"])
def test_two_nodes_in_containers(
    bertjob: Face, cluster: Lab, images: containers.Images, tmp_path: Path, engine: str
) -> None:
    keys = images.site_keys(engine)
    site = bertjob.site(engine, engine=engine, **keys)
    done = bertjob("submit", "smoke", "--site", site, *ON_TWO_NODES, "--wait")
    run = RunDir(tmp_path / "runs/run")
    log = run.log(done.stdout.splitlines()[-1]).read_text()
    proof = read_proof(run.proof)
    assert proof is not None, log
    assert [rank.host for rank in proof.ranks] == [cluster.shape.host(1), cluster.shape.host(2)]


@pytest.mark.parametrize("engine", ["podman", "sarus", "charliecloud"])
def test_a_virtual_environment_of_the_host_does_not_replace_the_images_software(
    bertjob: Face, images: containers.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """As somebody has it who has activated one: its python3 is the first in PATH, and seen inside as well."""
    activated = tmp_path / "venv/bin"
    activated.mkdir(parents=True)
    (activated / "python3").write_text("#!/bin/sh\necho the python of the host >&2\nexit 9\n")
    (activated / "python3").chmod(0o755)
    (tmp_path / "libraries").mkdir()
    (tmp_path / "transformers.py").write_text("raise ImportError('the transformers of the host')\n")
    monkeypatch.setenv("PATH", f"{activated}:{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "libraries"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MINE", "kept")
    keys = {name: value for name, value in images.site_keys(engine).items() if name != "python"}
    site = bertjob.site(engine, engine=engine, **keys)
    told = "command -v python3; echo $LD_LIBRARY_PATH,$PYTHONPATH,$MINE"
    done = bertjob("shell", "--site", site, "--gpus-per-node", 0, "--", "sh", "-c", told)
    assert done.stdout.splitlines() == [str(containers.PYTHON.with_name("python3")), ",,kept"]
    bertjob("submit", "smoke", "--site", site, *ON_TWO_NODES, "--wait")
    assert json.loads(bertjob("image", "check", "--site", site, "--json").stdout)["broken"] == {}
    own = bertjob.site("own", engine=engine, env={"LD_LIBRARY_PATH": "/ours", "PYTHONPATH": "/mine"}, **keys)
    done = bertjob("shell", "--site", own, "--gpus-per-node", 0, "--", "sh", "-c", "echo $LD_LIBRARY_PATH,$PYTHONPATH")
    assert done.stdout.splitlines() == ["/ours,/mine"]


def test_a_folder_that_the_site_mounts_by_a_variable_holds_the_runs(
    bertjob: Face, images: containers.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman refuses to mount a folder twice at one place."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    site = bertjob.site("podman", engine="podman", mounts=[{"source": "$SCRATCH"}], **containers.IN_STORES)
    assert bertjob("shell", "--site", site, "--", "pwd").stdout == f"{tmp_path}\n"
    bertjob("submit", "smoke", "--site", site, "--gpus-per-node", 0, "--run-dir", tmp_path / "run", "--wait")


@pytest.mark.parametrize("engine", ["podman", "sarus", "charliecloud"])
def test_a_command_sees_the_image_and_what_the_job_would_see(
    bertjob: Face, images: containers.Images, tmp_path: Path, engine: str
) -> None:
    keys = images.site_keys(engine)
    site = bertjob.site(engine, engine=engine, env={"SAID": "by the site, with = and ,"}, **keys)
    (tmp_path / "mine").write_text("here\n")
    told = "cat mine; echo $SAID $OMP_NUM_THREADS; test -e /etc/os-release || echo inside; hostname; exit 7"
    options = ["--nodes", 2, "--cpus-per-task", 2, "--site", site]
    done = bertjob("shell", *options, "--", "sh", "-c", told, code=7)
    assert done.stdout.splitlines() == ["here", "by the site, with = and , 2", "inside", "nid00001"]


def test_a_shell_has_a_terminal_inside_the_container(bertjob: Face, images: containers.Images, tmp_path: Path) -> None:
    site = bertjob.site("sarus", engine="sarus", **containers.IN_STORES)
    shown, code = at_a_terminal(tmp_path, ["shell", "--site", str(site)], "tty; test -e /etc/os-release; exit 3$?\n")
    assert "/dev/pts/" in shown or "/dev/console" in shown
    assert code == 31, shown


def at_a_terminal(folder: Path, words: list[str], typed: str) -> tuple[str, int]:
    """What a terminal shows when `typed` is typed at the first prompt of ``bertjob WORDS``, and the exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(Path(sys.executable).with_name("bertjob"), ["bertjob", *words])
    shown = b""
    with contextlib.suppress(OSError):  # all who had the terminal have gone
        while select.select([terminal], [], [], 60)[0] and (piece := os.read(terminal, 4096)):
            if b"# " in piece and b"# " not in shown:
                os.write(terminal, typed.encode())
            shown += piece
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_node_without_the_engine_is_named(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    site = bertjob.site("shifter", engine="shifter", image={"ref": "group/name:1"})
    bertjob("submit", "smoke", "--site", site, "--gpus-per-node", 0, "--run-dir", "runs/run", "--wait", code=1)
    (log,) = (tmp_path / "runs/run/logs").glob("*.out")
    assert f"bertjob: shifter: not found on {cluster.shape.host(1)}; load it in the modules of" in log.read_text()


def test_srun_without_the_plugin_is_told(bertjob: Face, tmp_path: Path, cluster: Lab) -> None:
    site = bertjob.site("pyxis", engine="pyxis", image={"ref": "group/name:1"})
    bertjob("submit", "smoke", "--site", site, "--gpus-per-node", 0, "--run-dir", "runs/run", "--wait", code=1)
    (log,) = (tmp_path / "runs/run/logs").glob("*.out")
    assert "has no option --container-image: engine pyxis is not installed here\n" in log.read_text()


def test_an_image_that_is_not_there_is_told_by_the_engine(
    bertjob: Face, images: containers.Images, tmp_path: Path
) -> None:
    site = bertjob.site("sarus", engine="sarus", image={"ref": "group/name:1"})
    bertjob("submit", "smoke", "--site", site, "--gpus-per-node", 0, "--run-dir", "runs/run", "--wait", code=1)
    (log,) = (tmp_path / "runs/run/logs").glob("*.out")
    assert "Image group/name:1 is not available" in log.read_text()


SARUS = Path(__file__).parents[2] / "sarus"


def sarus(script: str, *words: str, folder: Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = [str(SARUS / f"{script}.sh"), *words]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_the_scripts_for_people_at_a_terminal(images: containers.Images, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("here\n")
    done = sarus(
        "run", containers.IMAGE, "--", "sh", "-c", "cat mine; test -e /etc/os-release; exit 4", folder=tmp_path
    )
    assert (done.stdout, done.returncode) == ("here\n", 4), done.stderr
    done = sarus("shell", containers.IMAGE, folder=tmp_path, stdin="cat mine\nexit 5\n")
    assert (done.stdout, done.returncode) == ("here\n", 5), done.stderr
    said = dict(
        line.split(maxsplit=1) for line in sarus("check", containers.IMAGE, folder=tmp_path).stdout.splitlines()
    )
    assert said["image"] == containers.IMAGE
    assert said["python"] == f"Python {sys.version.split()[0]}"
    assert {"torch", "CUDA", "MPI"} <= said.keys()
    assert sarus("pull", containers.IMAGE, folder=tmp_path).returncode == 0


def test_the_scripts_take_their_image_from_the_one_place_that_says_it(
    images: containers.Images, tmp_path: Path
) -> None:
    done = sarus("pull", folder=tmp_path)
    (base,) = (
        line for line in (SARUS.parent / "container/image.env").read_text().splitlines() if line[:9] == "GPU_BASE="
    )
    assert done.returncode == 1
    assert base.removeprefix("GPU_BASE=").partition(":")[0] in done.stderr
    assert "run.sh: use it as" in sarus("run", "--", folder=tmp_path).stderr
