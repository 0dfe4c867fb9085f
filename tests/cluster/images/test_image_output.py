"""Files that engines make: whole, or not there, and never in place of another one unasked."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.commands import Commands
from planned import SLURM, with_
from test_image_archives import archive

from bertjob.cli.main import cli
from bertjob.cluster.images import engine
from bertjob.errors import BertjobError, DataError, PreflightError

ENROOT = """\
#!/bin/bash
set -euo pipefail
[ "$1 $2" = "import --output" ] || exit 9
podman create --name c "${4#podman://}" >&2
trap 'docker rm -f -v c > /dev/null' EXIT
echo squashfs > "$3"
"""
"""What matters of enroot 4.1.2: with podman:// too it removes its container by docker, as the last thing."""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def image(*words: str) -> Result:
    return CliRunner().invoke(cli, ["image", *words])


def program(fakes: Commands, name: str, text: str) -> None:
    (fakes.folder / name).write_text(text)
    (fakes.folder / name).chmod(0o755)


def here(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"bin", "state"}


@pytest.mark.parametrize("engine_name", ["pyxis", "edf"])
def test_an_image_for_enroot_comes_from_podman_where_there_is_no_docker(
    fakes: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_name: str
) -> None:
    monkeypatch.setenv("PATH", str(fakes.folder))
    for name in ("bash", "env", "sh", "cat"):
        (fakes.folder / name).symlink_to(f"/bin/{name}")
    fakes.make("podman")
    program(fakes, "enroot", ENROOT)
    archive(tmp_path / "a.tar", "manifest.json")
    done = image("load", "a.tar", "b:1", "--engine", engine_name)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(tmp_path / "b-1.sqsh")]
    assert here(tmp_path) == {"a.tar", "b-1.sqsh"}
    assert fakes.calls("podman")[-1] == ["rm", "-f", "-v", "c"]  # its container goes, too


def test_nothing_stays_of_a_failure_and_what_was_there_before_does(fakes: Commands, tmp_path: Path) -> None:
    program(fakes, "apptainer", '#!/bin/sh\necho half > "$2"\necho no space left on device >&2\nexit 1\n')
    (tmp_path / "b-1.sif").write_text("former")
    done = image("pull", "b:1", "--engine", "apptainer", "--yes")
    assert isinstance(done.exception, BertjobError)
    assert here(tmp_path) == {"b-1.sif"}
    assert (tmp_path / "b-1.sif").read_text() == "former"


def test_what_a_build_makes_on_the_way_goes(fakes: Commands, tmp_path: Path) -> None:
    saves = """#!/bin/sh\nfor word; do [ "$last" = --output ] && echo tar > "$word"; last=$word; done\n"""
    program(fakes, "podman", saves)
    program(fakes, "apptainer", '#!/bin/sh\ncp "${3#docker-archive:}" "$2"\n')
    done = image("build", "--cpu", "--engine", "apptainer", "--tag", "b:1")
    assert done.exit_code == 0, done.output
    assert here(tmp_path) == {"b-1.sif"}
    done = image("build", "--cpu", "--engine", "apptainer", "--tag", "b:2", "--archive", "b.tar")
    assert done.exit_code == 0, done.output
    assert here(tmp_path) == {"b-1.sif", "b-2.sif", "b.tar"}


def test_a_folder_is_replaced_as_a_whole(fakes: Commands, tmp_path: Path) -> None:
    program(fakes, "ch-image", "#!/bin/sh\n")
    program(fakes, "ch-convert", '#!/bin/sh\nmkdir "$2"; echo new > "$2/a"\n')
    (tmp_path / "image").mkdir()
    (tmp_path / "image/old").touch()
    done = image("pull", "b:1", "--engine", "charliecloud", "--output", "image", "--yes")
    assert done.exit_code == 0, done.output
    assert (here(tmp_path), here(tmp_path / "image")) == ({"image"}, {"a"})


def test_a_file_that_is_there_is_not_replaced_unasked(fakes: Commands, tmp_path: Path) -> None:
    program(fakes, "apptainer", '#!/bin/sh\necho new > "$2"\n')
    (tmp_path / "mine.sif").write_text("mine")
    words = ("pull", "b:1", "--engine", "apptainer", "--output", "mine.sif")
    refused = image(*words).exception
    assert isinstance(refused, PreflightError)
    assert str(refused) == f"{tmp_path}/mine.sif: is there already: say --yes to replace it, or choose another name"
    assert (tmp_path / "mine.sif").read_text() == "mine"
    assert image(*words, "--yes").exit_code == 0
    assert (tmp_path / "mine.sif").read_text() == "new\n"


def test_an_engine_that_writes_nothing_is_not_believed(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("apptainer")
    error = image("pull", "b:1", "--engine", "apptainer").exception
    assert str(error) == f"{tmp_path}/b-1.sif: the engine ended well and has not written it"


def stays(folder: Path, names: set[str]) -> None:
    """Whoever removes the rest may need a moment after bertjob's end."""
    for _ in range(600):
        if here(folder) == names:
            return
        time.sleep(0.1)
    assert here(folder) == names


BEGINS = "touch began; exec sleep 60\n"
"""How a program ends that is to be interrupted there."""
PULL = ("pull", "b:1", "--engine", "apptainer")
BUILD = ("build", "--cpu", "--tag", "b:1", "--engine", "apptainer", "--archive", "b.tar")
SAVES = """for word; do [ "$last" = --output ] && echo tar > "$word"; last=$word; done"""
MOMENTS = {
    "before the file": (PULL, {"apptainer": BEGINS}),
    "half of the file": (PULL, {"apptainer": f'echo half > "$2"; {BEGINS}'}),
    "a folder": (PULL, {"apptainer": f'mkdir "$2"; touch "$2/a"; {BEGINS}'}),
    "while it is built": (BUILD, {"podman": f"{SAVES}; {BEGINS}", "apptainer": ""}),
    "while it is converted": (BUILD, {"podman": SAVES, "apptainer": f'echo half > "$2"; {BEGINS}'}),
}
"""What is interrupted: the words, and the programs until then."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_stays_of_what_is_interrupted(
    fakes: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: signal.Signals
) -> None:
    words, programs = MOMENTS[moment]
    for name, text in programs.items():
        program(fakes, name, f"#!/bin/sh\n{text}\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    command = [sys.executable, "-c", "from bertjob.cli.main import main; main()", "image", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as bertjob:
        while not (tmp_path / "began").exists():
            assert bertjob.poll() is None
            time.sleep(0.02)
        bertjob.send_signal(number)
        bertjob.communicate()  # the engine has its end too
    assert bertjob.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    stays(tmp_path, {"began", "tmp"})
    stays(tmp_path / "tmp", set())


def test_what_a_former_process_left_goes_with_the_next(fakes: Commands, tmp_path: Path) -> None:
    """As after a crash of the whole machine; not what another process or host may still write."""
    program(fakes, "apptainer", '#!/bin/sh\necho new > "$2"\n')
    with subprocess.Popen("true") as gone:
        pass
    host = socket.gethostname()
    left = [f".part-{host}-{gone.pid}-b-1.sif", f".part-{host}-{gone.pid}-b-1.sif.tar"]
    others = [f".part-{host}-1-b-1.sif", f".part-x{host}-{gone.pid}-b-1.sif", f".part-{host}-{gone.pid}-c-1.sif"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    assert image(*PULL).exit_code == 0
    assert here(tmp_path) == {"b-1.sif", *others}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_an_interrupted_overlay_that_was_not_there(
    fakes: Commands, tmp_path: Path, number: signal.Signals
) -> None:
    program(
        fakes, "apptainer", f'#!/bin/sh\nmkdir -p "{tmp_path}/env/bin"; touch "{tmp_path}/env/bin/python"; {BEGINS}'
    )
    words = ["image", "overlay", "--path", f"{tmp_path}/env", "--image", "b:1", "--engine", "apptainer"]
    command = [sys.executable, "-c", "from bertjob.cli.main import main; main()", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as bertjob:
        while not (tmp_path / "began").exists():
            assert bertjob.poll() is None
            time.sleep(0.02)
        bertjob.send_signal(number)
        bertjob.communicate()
    stays(tmp_path, {"began"})


def test_an_image_that_sarus_has_loaded_has_the_digest_of_its_archive(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("sarus", stdout="REPOSITORY TAG DIGEST SIZE\nload/library/b 1 - 2MB\n")
    site = with_(SLURM, engine="sarus")
    assert engine.digest("sarus", "load/library/b:1", site) is None
    file = archive(tmp_path / "a.tar", "manifest.json")
    done = image("load", "a.tar", "--engine", "sarus")
    assert done.stdout.splitlines() == ["load/library/b:1"]
    wanted = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    assert engine.digest("sarus", "load/library/b:1", site) == wanted
    assert engine.digest("podman", "load/library/b:1", site) is None


def test_a_cut_off_archive_reaches_no_engine(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("podman")
    whole = archive(tmp_path / "a.tar", "layer.tar", "manifest.json").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:1024])
    assert isinstance(image("load", "a.tar", "--engine", "podman").exception, DataError)
    assert fakes.calls("podman") == []
