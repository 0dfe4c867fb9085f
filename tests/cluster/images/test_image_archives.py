"""Archives of images, and what goes wrong where they are brought."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.commands import Commands
from planned import LOCAL, SLURM, with_

from bertjob.cluster.images import archive as archives
from bertjob.cluster.images import engine
from bertjob.config.job import Image
from bertjob.errors import BertjobError, DataError, PreflightError

MANIFEST = b'[{"Config": "c.json", "RepoTags": ["localhost/b:1"], "Layers": []}]'


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(MANIFEST)
            tar.addfile(member, io.BytesIO(MANIFEST))
    return path


def broken_manifest(path: Path) -> Path:
    (path.parent / "manifest.json").write_text("{")
    with tarfile.open(path, "w") as tar:
        tar.add(path.parent / "manifest.json", "manifest.json")
    return path


def test_archives_of_images_are_taken(tmp_path: Path) -> None:
    good = archive(tmp_path / "a.tar", "ab/layer.tar", "manifest.json")
    assert archives.check_archive(good) == "localhost/b:1"
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(good.read_bytes()))
    assert archives.check_archive(tmp_path / "a.tar.gz") == ""


def test_what_is_no_archive_of_an_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    (tmp_path / "empty.tar").write_text("")
    cases = {
        tmp_path / "none.tar": "there is no such file",
        tmp_path: "Is a directory",
        tmp_path / "text.tar": "is no archive of an image",
        tmp_path / "empty.tar": "is empty",
        archive(tmp_path / "oci.tar", "oci-layout", "index.json"): "OCI's form",
        archive(tmp_path / "files.tar", "etc/passwd"): "an archive of files",
        broken_manifest(tmp_path / "broken.tar"): "is no archive of an image",
    }
    for path, told in cases.items():
        with pytest.raises(DataError, match=told) as raised:
            archives.check_archive(path)
        assert "\n" not in str(raised.value)


def test_an_archive_that_is_cut_off_anywhere_is_said(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.tar", "ab/layer.tar", "manifest.json", "repositories").read_bytes()
    used = len(whole.rstrip(b"\0")) // 512 * 512 + 512  # the last member ends in this block
    for size in {*range(300, used, 100), *range(512, used, 512)}:
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"is cut off after|is no archive of an image"):
            archives.check_archive(tmp_path / "cut.tar")
    (tmp_path / "cut.tar").write_bytes(whole[: used + 512])
    assert archives.check_archive(tmp_path / "cut.tar") == "localhost/b:1"


def load(file: Path) -> None:
    archives.check_archive(file)
    engine.run([("podman", "load", "--input", str(file))], SLURM)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_archive_that_is_cut_off_anywhere_is_said(
    fakes: Commands, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """By us where even its beginning is lost, else once the engine has failed, which reads all of it."""
    said = (
        "Error: payload does not match:\n * oci: initializing source oci:a\n * docker-archive: no c.json\n * dir: no\n"
    )
    fakes.make("podman", stderr=said, code=125)
    whole = pack(archive(tmp_path / "a.tar", "layer.tar", "manifest.json").read_bytes())
    inner = pack((tmp_path / "a.tar").read_bytes()[:540])
    flipped = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 0xFF]) + whole[len(whole) // 2 + 1 :]
    file = tmp_path / "cut"
    for content in (*(whole[:size] for size in range(12, len(whole) - 1, 9)), whole[:-1], inner, flipped):
        file.write_bytes(content)
        with pytest.raises(DataError, match="is cut off or damaged: copy it again"):
            load(file)
    file.write_bytes(whole)
    with pytest.raises(BertjobError, match=r"cut cannot be loaded: docker-archive: no c\.json$") as raised:
        load(file)
    assert "registry" not in str(raised.value)


@pytest.mark.parametrize(
    "command",
    [
        ("podman", "load", "--input", "/a b.tar"),
        ("sarus", "load", "/a b.tar", "group/name:1"),
        ("apptainer", "build", "/x.sif", "docker-archive:/a b.tar"),
    ],
)
def test_what_is_damaged_is_called_by_its_name(fakes: Commands, command: tuple[str, ...]) -> None:
    fakes.make(command[0], stderr="layer is corrupt\n", code=1)
    with pytest.raises(DataError, match=r"^/a b\.tar: is cut off or damaged"):
        engine.run([command], SLURM)


def test_an_archive_of_which_the_engine_finds_the_end_too_early_is_no_matter_of_a_registry(fakes: Commands) -> None:
    said = "Error: payload does not match any of the image formats:\n * oci: initializing source oci:a.tar\n"
    fakes.make("podman", stderr=f"{said} * docker-archive: copying contents: unexpected EOF\n * dir: no\n", code=125)
    with pytest.raises(DataError, match=r"^/a\.tar\.gz: is cut off or damaged: copy it again"):
        engine.run([("podman", "load", "--input", "/a.tar.gz")], SLURM)


OFFLINE = {
    "podman-hpc": "Error: Get https://r/v2/: net/http: canceled (Client.Timeout exceeded while awaiting headers)",
    "podman": "Error: initializing source docker://a:1: pinging container registry r: dial tcp: lookup r: no such host",
    "docker": 'Error response from daemon: Get "https://r/v2/": dial tcp: lookup r on 127.0.0.53: server misbehaving',
    "apptainer": "FATAL: While performing build: conveyor failed to get: pinging container registry r: dial tcp",
    "enroot": "curl: (6) Could not resolve host: auth.docker.io",
    "ch-image": "error: can't reach: HTTPSConnectionPool(host='r', port=443): Max retries exceeded with url: /v2/",
    "shifterimg": "requests.exceptions.ConnectionError: [Errno -2] Name or service not known",
    "sarus": "[h] [main] [ERROR] Failed to pull image 'docker.io/library/a:1'",
}


@pytest.mark.parametrize("program", OFFLINE)
def test_a_pull_without_a_network_fails_with_rc_3_and_a_remedy_whatever_the_engine(
    fakes: Commands, program: str
) -> None:
    fakes.make(program, stderr=f"{OFFLINE[program]}\n", code=1)
    no_archives = {
        "ch-image": "engine charliecloud takes no docker-archive, but",
        "shifterimg": "push it to a registry",
    }
    with pytest.raises(PreflightError, match=no_archives.get(program, r"`bertjob image load FILE\.tar`")) as raised:
        engine.run([(program, "pull", "--output", "/x/.part-1-y", "a:1")], SLURM)
    assert str(raised.value).startswith(f"{program} pull a:1: the registry")
    assert raised.value.exit_code == 3


def test_an_absent_engine_is_one_line(fakes: Commands) -> None:
    site = with_(SLURM, engine="sarus", image=Image(ref="b:1"))
    told = "there is no command sarus on this machine"
    with pytest.raises(PreflightError, match=told):
        engine.run([("sarus", "pull", "b:1")], site)
    with pytest.raises(PreflightError, match=told):
        engine.inspect(site.image, site)


def test_a_pull_without_a_network_says_what_to_do(fakes: Commands) -> None:
    fakes.make("sarus", stderr="[0.1] [h] [main] [ERROR] Failed to pull image 'docker.io/library/a:1'\n", code=1)
    with pytest.raises(PreflightError, match=r"sarus pull a:1: the registry cannot be reached .* image load FILE.tar"):
        engine.run([("sarus", "pull", "a:1")], with_(SLURM, engine="sarus"))


def test_other_failures_end_in_the_engines_last_words(fakes: Commands) -> None:
    fakes.make("podman", stdout="STEP 1\n", stderr="Error: no space left on device\n\n", code=125)
    seen: list[str] = []
    with pytest.raises(BertjobError, match=r"^podman build x: Error: no space left on device$"):
        engine.run([("podman", "build", "x")], SLURM, seen.append)
    assert "STEP 1" in seen


def test_an_image_file_that_is_not_there_is_one_line(fakes: Commands) -> None:
    fakes.make("apptainer")
    with pytest.raises(PreflightError, match=r"^image /no/a\.sif: there is no such file or folder$"):
        engine.inspect(Image(ref="/no/a.sif"), with_(SLURM, engine="apptainer"))


def test_without_an_engine_podman_or_docker_is_taken(fakes: Commands) -> None:
    fakes.make("docker")
    fakes.make("podman")
    assert engine.engine_of(LOCAL) == "podman"
    assert engine.engine_of(LOCAL, "sarus") == "sarus"
    assert engine.engine_of(with_(SLURM, engine="shifter")) == "shifter"
