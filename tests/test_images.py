"""Images: the words of each engine's verbs, what is said where something is wrong, and what an image is built from."""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from planned import HERE, LOCAL, SLURM, made, with_

from bertjob.cli.main import cli
from bertjob.cluster import images, inside, recipe, rundir
from bertjob.cluster.overlay import overlay_commands
from bertjob.cluster.registry import registry_digest
from bertjob.errors import BertjobError, DataError, PreflightError, SpecError
from bertjob.launch.images import IMAGES, Order, commands, find_digest, image_file, in_job
from bertjob.spec.image import NEEDED, ImageFacts
from bertjob.spec.job import Engine, Image, Library
from bertjob.spec.load import load_site
from bertjob.spec.site import Mount

ROOT = Path(__file__).resolve().parent.parent
NGC = "nvcr.io/nvidia/pytorch:24.11-py3"
SHA = "sha256:" + "ab" * 32


def words(engine: str, verb: Any, **keys: Any) -> list[str]:
    ref = keys.pop("ref", NGC)
    order = Order(ref=ref, file=f"/s/{image_file(engine, ref)}" if image_file(engine, ref) else "", **keys)
    return [" ".join(command) for command in commands(engine, verb, order)]


def test_every_engine_has_its_images() -> None:
    assert set(IMAGES) == set(get_args(Engine)) - {"none"}


@pytest.mark.parametrize(
    ("engine", "pulled"),
    [
        ("podman", [f"podman pull {NGC}"]),
        ("docker", [f"docker pull {NGC}"]),
        ("podman-hpc", [f"podman-hpc pull {NGC}"]),
        ("sarus", [f"sarus pull {NGC}"]),
        ("apptainer", [f"apptainer build /s/pytorch-24.11-py3.sif docker://{NGC}"]),
        ("singularity", [f"singularity build /s/pytorch-24.11-py3.sif docker://{NGC}"]),
        ("pyxis", ["enroot import --output /s/pytorch-24.11-py3.sqsh docker://nvcr.io#nvidia/pytorch:24.11-py3"]),
        ("edf", ["enroot import --output /s/pytorch-24.11-py3.sqsh docker://nvcr.io#nvidia/pytorch:24.11-py3"]),
        ("shifter", [f"shifterimg pull docker:{NGC}"]),
        ("charliecloud", [f"ch-image pull {NGC}", f"ch-convert {NGC} /s/pytorch-24.11-py3.image"]),
    ],
)
def test_pull(engine: str, pulled: list[str]) -> None:
    assert words(engine, "pull") == pulled


@pytest.mark.parametrize(
    ("engine", "loaded", "ref"),
    [
        ("podman", ["podman load --input /a.tar"], "b:1"),
        ("podman-hpc", ["podman-hpc load --input /a.tar", "podman-hpc migrate b:1"], "b:1"),
        ("sarus", ["sarus load /a.tar b:1"], "load/library/b:1"),
        ("apptainer", ["apptainer build /s/b-1.sif docker-archive:/a.tar"], "/s/b-1.sif"),
        (
            "edf",
            ["podman load --input /a.tar", "enroot import --output /s/b-1.sqsh podman://b:1"],
            "/s/b-1.sqsh",
        ),
    ],
)
def test_load_and_what_a_job_calls_the_image_then(engine: str, loaded: list[str], ref: str) -> None:
    assert words(engine, "load", ref="b:1", archive="/a.tar") == loaded
    file = f"/s/{image_file(engine, 'b:1')}" if image_file(engine, "b:1") else ""
    assert in_job(engine, Order(ref="b:1", file=file, archive="/a.tar")) == ref


def test_an_archives_own_name_gives_way_to_the_one_that_is_wanted() -> None:
    loaded = words("podman", "load", ref="b:2", archive="/a.tar", archived="localhost/b:1")
    assert loaded == ["podman load --input /a.tar", "podman tag localhost/b:1 b:2"]


BUILT = "build --tag b:1 --file /c/container/Dockerfile --build-arg V=1 --quiet /c"


@pytest.mark.parametrize(
    ("engine", "built"),
    [
        ("podman", [f"podman {BUILT}"]),
        ("docker", [f"docker {BUILT}"]),
        ("podman-hpc", [f"podman-hpc {BUILT}", "podman-hpc migrate b:1"]),
        (
            "apptainer",
            [
                f"podman {BUILT}",
                "podman save --format docker-archive --output /s/b-1.sif.tar b:1",
                "apptainer build /s/b-1.sif docker-archive:/s/b-1.sif.tar",
            ],
        ),
        ("edf", [f"podman {BUILT}", "enroot import --output /s/b-1.sqsh podman://b:1"]),
    ],
)
def test_build(engine: str, built: list[str]) -> None:
    assert words(engine, "build", ref="b:1", context="/c", arguments={"V": "1"}, extra=("--quiet",)) == built


def test_a_build_leaves_an_archive_that_sarus_loads() -> None:
    saved = words("podman", "build", ref="b:1", context="/c", archive="/a.tar")[-1]
    assert saved == "podman save --format docker-archive --output /a.tar b:1"
    assert words("docker", "build", ref="b:1", context="/c", archive="/a.tar")[-1] == "docker save --output /a.tar b:1"


@pytest.mark.parametrize(
    ("engine", "verb", "told"),
    [
        ("sarus", "build", "bertjob image load FILE.tar"),
        ("shifter", "build", "push it to a registry"),
        ("shifter", "load", "takes no archives"),
        ("apptainer", "list", r"ls \*.sif"),
        ("charliecloud", "build", "podman export"),
        ("charliecloud", "digest", "folders"),
    ],
)
def test_a_verb_that_an_engine_lacks_says_what_to_do(engine: str, verb: str, told: str) -> None:
    with pytest.raises(PreflightError, match=f"^engine {engine}: .*{told}"):
        words(engine, verb, context="/c", archive="/a.tar")


SARUS_IMAGES = f"""\
REPOSITORY              TAG         DIGEST                                                                    SIZE
alpine                  latest      sha256:{"11" * 32}   2.60MB
nvcr.io/nvidia/pytorch  24.11-py3   {SHA}   8.60GB
"""


def test_digests_are_read_from_what_engines_print() -> None:
    assert find_digest("sarus", Order(ref=NGC), SARUS_IMAGES) == SHA
    assert find_digest("sarus", Order(ref="alpine"), SARUS_IMAGES) == "sha256:" + "11" * 32
    assert find_digest("sarus", Order(ref="busybox:1"), SARUS_IMAGES) is None
    assert find_digest("shifter", Order(ref=NGC), "cd" * 32 + "\n") == "sha256:" + "cd" * 32
    assert find_digest("docker", Order(ref=NGC), f"nvcr.io/nvidia/pytorch@{SHA}\n") == SHA


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


def test_provenance_holds_the_digest_where_the_engine_tells_it(fakes: Commands, tmp_path: Path) -> None:
    from bertjob.launch.plan import plan
    from bertjob.spec.job import Job
    from bertjob.spec.layout import RunDir

    fakes.make("podman", stdout=f"{SHA}\n")
    run = RunDir(tmp_path / "run")
    keys = {"data": {"train": "demo"}, "model": {"init": "demo"}, "train": {"global_batch": 1, "micro_batch": 1}}
    job = msgspec.convert({"name": "j", **keys, "image": {"ref": "b:1"}}, Job)
    planned = plan(job, with_(LOCAL, engine="podman"), str(run.path), HERE)
    written = json.loads(rundir.files(planned, run, images.digest_of(planned))["provenance.json"])
    assert (written["image"], written["image_digest"]) == ("b:1", SHA)
    fakes.make("podman", stderr="no such image", code=125)
    assert images.digest_of(planned) is None


def test_the_digest_of_an_image_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_bytes(b"SIF")
    assert images.digest("apptainer", str(tmp_path / "a.sif"), SLURM) == "sha256:" + hashlib.sha256(b"SIF").hexdigest()
    assert images.digest("apptainer", str(tmp_path / "b.sif"), SLURM) is None


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
    assert images.check_archive(good) == "localhost/b:1"
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(good.read_bytes()))
    assert images.check_archive(tmp_path / "a.tar.gz") == ""


def test_what_is_no_archive_of_an_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    (tmp_path / "empty.tar").write_text("")
    cases = {
        tmp_path / "none.tar": "there is no such file",
        tmp_path: "Is a directory",
        tmp_path / "text.tar": "is no archive of an image",
        tmp_path / "empty.tar": "is no archive of an image",
        archive(tmp_path / "oci.tar", "oci-layout", "index.json"): "OCI's form",
        archive(tmp_path / "files.tar", "etc/passwd"): "an archive of files",
        broken_manifest(tmp_path / "broken.tar"): "is no archive of an image",
    }
    for path, told in cases.items():
        with pytest.raises(DataError, match=told) as raised:
            images.check_archive(path)
        assert "\n" not in str(raised.value)


def test_an_absent_engine_is_one_line(fakes: Commands) -> None:
    site = with_(SLURM, engine="sarus", image=Image(ref="b:1"))
    told = "there is no command sarus on this machine"
    with pytest.raises(PreflightError, match=told):
        images.run([("sarus", "pull", "b:1")], site)
    with pytest.raises(PreflightError, match=told):
        images.inspect(site.image, site)


def test_a_pull_without_a_network_says_what_to_do(fakes: Commands) -> None:
    fakes.make("sarus", stderr="[0.1] [h] [main] [ERROR] Failed to pull image 'docker.io/library/a:1'\n", code=1)
    with pytest.raises(PreflightError, match=r"sarus pull a:1: the registry cannot be reached .* image load FILE.tar"):
        images.run([("sarus", "pull", "a:1")], with_(SLURM, engine="sarus"))


def test_other_failures_end_in_the_engines_last_words(fakes: Commands) -> None:
    fakes.make("podman", stdout="STEP 1\n", stderr="Error: no space left on device\n\n", code=125)
    seen: list[str] = []
    with pytest.raises(BertjobError, match=r"^podman build x: Error: no space left on device$"):
        images.run([("podman", "build", "x")], SLURM, seen.append)
    assert "STEP 1" in seen


def test_an_image_file_that_is_not_there_is_one_line(fakes: Commands) -> None:
    fakes.make("apptainer")
    with pytest.raises(PreflightError, match=r"^image /no/a\.sif: there is no such file or folder$"):
        images.inspect(Image(ref="/no/a.sif"), with_(SLURM, engine="apptainer"))


def test_without_an_engine_podman_or_docker_is_taken(fakes: Commands) -> None:
    fakes.make("docker")
    fakes.make("podman")
    assert images.engine_of(LOCAL) == "podman"
    assert images.engine_of(LOCAL, "sarus") == "sarus"
    assert images.engine_of(with_(SLURM, engine="shifter")) == "shifter"


def one_call(fakes: Commands, name: str) -> list[str]:
    """The words of the only call, of which one is a program of many lines."""
    return (fakes.folder / f"{name}.calls").read_text().removesuffix("\0\n").split("\0")


FACTS = {"python": "3.12.3", "packages": dict.fromkeys(NEEDED, "1"), "mpi": {"family": "openmpi", "version": "4.1.7"}}


def test_check_tells_what_is_missing_by_its_exit_code(fakes: Commands) -> None:
    check = ["image", "check", "b:1", "--engine", "podman"]
    fakes.make("podman", stdout=f"a banner of the image\n{json.dumps(FACTS)}\n")
    good = CliRunner().invoke(cli, check)
    assert good.exit_code == 0, good.output
    assert "Open MPI 4.1.7, speaks no PMI" in good.output
    words = one_call(fakes, "podman")
    assert words[:2] == ["run", "--rm"]
    assert words[words.index("b:1") + 1 : words.index("b:1") + 3] == ["python3", "-c"]
    old = {**FACTS, "python": "3.10.2", "broken": {"torch": "ImportError: libcudart.so.12"}}
    fakes.make("podman", stdout=json.dumps(old))
    bad = CliRunner().invoke(cli, [*check, "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.output)["missing"] == [
        "Python is 3.10.2, 3.11 or newer is wanted",
        "torch: ImportError: libcudart.so.12",
    ]


def test_the_program_inside_stands_alone_and_tells_the_truth(tmp_path: Path) -> None:
    names = ["msgspec", "PyYAML", "no-such-package"]
    command = [sys.executable, "-I", "-c", Path(inside.__file__).read_text(), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    facts = msgspec.json.decode(done.stdout.splitlines()[-1], type=ImageFacts)
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert set(facts.packages) == {"msgspec", "PyYAML"}
    assert facts.broken == {}


@pytest.mark.parametrize(
    ("lines", "spoken"),
    [("mca:pmix:ext3x:version\nmca:pmix:isolated:version", ["pmix"]), ("mca:pmix:isolated:version", [])],
)
def test_open_mpi_4_speaks_what_its_components_are(fakes: Commands, lines: str, spoken: list[str]) -> None:
    fakes.make("ompi_info", stdout=lines)
    assert inside.pmi("openmpi", "4.1.7") == spoken
    assert inside.pmi("openmpi", "5.0.11") == []  # built in: said by launch.pmi


@pytest.mark.parametrize(
    ("option", "spoken"), [("--with-pmi=pmi2", ["pmi2"]), ("--with-pmix=/usr", ["pmix"]), ("", [])]
)
def test_mpich_speaks_what_it_was_configured_with(fakes: Commands, option: str, spoken: list[str]) -> None:
    fakes.make("mpichversion", stdout=f"MPICH Version: 4.2\nMPICH configure: --prefix=/usr {option}\n")
    assert inside.pmi("mpich", "4.2") == spoken


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry that wants a token, as NVIDIA's does, and has one image."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if self.headers.get("Authorization") != "Bearer open":
                self.send_response(401)
                guard = f"http://{self.headers['Host']}/guard"
                self.send_header("WWW-Authenticate", f'Bearer realm="{guard}",service="r",scope="repository:a/b:pull"')
            elif self.path == "/v2/a/b/manifests/1":
                self.send_response(200)
                self.send_header("Docker-Content-Digest", SHA)
            else:
                self.send_response(404)
            self.end_headers()

        def do_GET(self) -> None:
            assert self.path == "/guard?service=r&scope=repository%3Aa%2Fb%3Apull"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"token": "open"}')

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_registry_tells_a_digest_to_who_has_its_token(registry: str) -> None:
    assert registry_digest(f"{registry}/a/b:1") == SHA
    with pytest.raises(DataError, match="has no such image"):
        registry_digest(f"{registry}/a/b:2")


def test_no_registry_and_no_reference_are_one_line() -> None:
    with pytest.raises(DataError, match=r"cannot be asked from here \(.*refused"):
        registry_digest("127.0.0.1:9/a/b:1")
    with pytest.raises(SpecError, match="is no image of a registry"):
        registry_digest("A B")


def test_the_context_has_all_that_the_dockerfile_copies_and_nothing_else() -> None:
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "container/Dockerfile").read_text(), re.MULTILINE):
        copied |= {word.split("/")[0] for word in line.split()}
    with recipe.context() as folder:
        assert {path.name for path in folder.iterdir()} == copied
        assert not [*folder.rglob("__pycache__")]
        ours = subprocess.run(["git", "ls-files", "bertjob"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert all((folder / name).exists() for name in ours.stdout.split() if (ROOT / name).exists())


def test_wheels_go_into_the_context(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there are no wheels"), recipe.context(tmp_path):
        pass
    (tmp_path / "a-1-py3-none-any.whl").touch()
    with recipe.context(tmp_path) as folder:
        assert [path.name for path in (folder / "wheels").iterdir()] == ["a-1-py3-none-any.whl"]
    assert recipe.arguments("cpu", "b:1", wheels=True)["PIP_FIND_LINKS"] == "/context/wheels"


def test_a_pinned_base_is_named_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "container/image.env").read_text()
    (tmp_path / "image.env").write_text(text)
    monkeypatch.setattr(recipe, "_settings", lambda: tmp_path / "image.env")
    recipe.pin({"gpu": SHA})
    assert recipe.read_recipe().bases["gpu"].pinned == f"nvcr.io/nvidia/pytorch@{SHA}"
    assert recipe.Base("a/b:1").pinned == "a/b:1"
    changed = (tmp_path / "image.env").read_text().splitlines()
    assert len([1 for old, new in zip(text.splitlines(), changed, strict=True) if old != new]) == 1


def test_sites_take_the_base_that_the_image_is_built_on() -> None:
    assert load_site("daint").value.image.ref == recipe.read_recipe().bases["gpu"].ref


def test_locks_pin_all_that_training_needs() -> None:
    locked: dict[str, str] = {}
    for lock in ("requirements.lock", "requirements.cpu.lock"):
        lines = [line for line in (ROOT / "container" / lock).read_text().splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), lock
        locked |= {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower(): line for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    assert {re.match(r"[\w-]+", name)[0].lower() for name in wanted} <= set(locked)  # type: ignore[index]


def test_a_checkout_is_mounted_readonly_and_comes_first(tmp_path: Path) -> None:
    here = msgspec.structs.replace(HERE, is_folder=lambda path: path == "/home/me/bj/bertjob")
    site = with_(SLURM, engine="sarus")
    script = made(site, here=here, image=Image(ref="b:1", source="bj"), env={"PYTHONPATH": "/more"})
    assert "export PYTHONPATH=/home/me/bj:/more\n" in script
    assert "--mount=type=bind,source=/home/me/bj,destination=/home/me/bj,readonly" in script
    with pytest.raises(PreflightError, match=r"image\.source: /home/me/no: is no checkout of bertjob"):
        made(site, here=here, image=Image(ref="b:1", source="no"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["pull", "x;$(id)", "--engine", "podman"], "REF: 'x;$(id)' is no reference like"),
        (["pull", "--engine", "podman", "--", "--help"], "REF: '--help' is no reference like"),
        (
            ["pull", "/a.sif", "--engine", "apptainer"],
            "REF: '/a.sif' is a path, and engine apptainer wants a reference",
        ),
        (["pull", "a.sif", "--engine", "apptainer"], "REF: 'a.sif' is the name of a file: a reference like"),
        (["pull", "docker:a:1", "--engine", "shifter"], "REF: 'docker:a:1' is no reference like"),
        (["load", "no.tar", "UPPER name", "--engine", "podman"], "REF: 'UPPER name' is no reference like"),
        (["build", "--engine", "podman", "--tag", "A B"], "--tag: 'A B' is no reference like"),
        (["build", "--engine", "podman", "--base", "x y"], "--base: 'x y' is no reference like"),
        (["check", "--engine", "podman", "--", "--privileged"], "REF: '--privileged' is no reference like"),
        (["digest", "--engine", "podman", "a b"], "REF: 'a b' is no reference like"),
        (["overlay", "--engine", "podman", "--path", "/e", "--image", "a b"], "--image: 'a b' is no reference like"),
    ],
)
def test_a_name_that_is_none_reaches_no_engine(fakes: Commands, words: list[str], told: str) -> None:
    fakes.make("podman")
    error = CliRunner().invoke(cli, ["image", *words]).exception
    assert isinstance(error, SpecError), error
    assert told in str(error)
    assert fakes.calls("podman") == []


@pytest.mark.parametrize("site", ["lumi", "juwels-booster", "leonardo"])
def test_a_sites_image_file_is_nothing_to_pull(site: str) -> None:
    error = CliRunner().invoke(cli, ["image", "pull", "--site", site, "--dry-run"]).exception
    file = load_site(site).value.image.ref
    assert isinstance(error, SpecError)
    assert str(error) == (
        f"site {site}'s image is the file {file}, which nothing can pull: name a reference; -o says where it goes"
    )


@pytest.mark.parametrize(
    ("engine", "ref"),
    [
        ("apptainer", "oras://a/b:1"),
        ("pyxis", "nvcr.io#nvidia/pytorch:1"),
        ("shifter", "a/b:1"),
        ("podman", f"a@{SHA}"),
    ],
)
def test_what_an_engine_pulls_is_taken(engine: str, ref: str) -> None:
    done = CliRunner().invoke(cli, ["image", "pull", ref, "--engine", engine, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert ref in done.output


def test_an_image_that_is_not_here_has_no_digest(fakes: Commands) -> None:
    fakes.make("podman", stderr="Error: x:1: image not known\n", code=125)
    error = CliRunner().invoke(cli, ["image", "digest", "x:1", "--engine", "podman"]).exception
    assert isinstance(error, PreflightError)
    assert str(error).startswith("x:1: engine podman tells no digest of it: it is not here (bertjob image list), or")


def test_an_overlay_is_made_inside_of_the_image_with_the_sites_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    done = CliRunner().invoke(
        cli, ["image", "overlay", "--site", "daint", "--path", "$SCRATCH/env", "--dry-run", "--", "wandb"]
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "is there only while these commands run" in done.stderr
    assert len(lines) == 4
    assert all(line.startswith("sarus run ") and NGC in line for line in lines)
    assert all(f"source={tmp_path},destination={tmp_path}" in line for line in lines)
    assert lines[0].endswith(f"python3 -m venv --system-site-packages --without-pip {tmp_path}/env")
    assert lines[-1].endswith("install wandb")


def test_an_overlay_is_made_in_the_sites_mount_whatever_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources, too, must be at their place inside, although they are below a mount."""
    monkeypatch.setenv("SCRATCH", f"{tmp_path}/")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    site = with_(SLURM, engine="podman", mounts=(Mount(source="$SCRATCH"),))
    with overlay_commands("podman", "b:1", f"{tmp_path}/env", site) as sequence:
        mounts = [word for word in sequence[0] if word.startswith("--mount=")]
    assert mounts[0] == f"--mount=type=bind,source={tmp_path},destination={tmp_path}"
    assert [mount.partition("destination=")[2] for mount in mounts[1:]] == ["/context,readonly"]


def test_an_overlay_needs_a_path_that_all_nodes_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    words = ["image", "overlay", "--site", "daint", "--dry-run", "--path"]
    for path, told in (("env", "an absolute path"), ("$SCRATCH/env", r"$SCRATCH is not set here")):
        error = CliRunner().invoke(cli, [*words, path]).exception
        assert isinstance(error, PreflightError)
        assert told in str(error)


def test_an_engine_is_told_the_user_whom_the_environment_does_not_name(
    fakes: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ch-run: error: $USER not set` wants it."""
    fakes.make("ch-run", stdout=json.dumps(FACTS))
    site = with_(LOCAL, engine="charliecloud")
    monkeypatch.setenv("USER", "said")
    images.inspect(Image(ref=str(tmp_path)), site)
    assert fakes.environment("ch-run")["USER"] == "said"
    monkeypatch.delenv("USER")
    images.inspect(Image(ref=str(tmp_path)), site)
    assert fakes.environment("ch-run")["USER"] == os.popen("id -un").read().strip()


def test_a_relative_overlay_is_told_before_an_engine_is_asked(fakes: Commands) -> None:
    fakes.make("podman")
    with pytest.raises(PreflightError, match=r"^overlay env: an absolute path .* is wanted$"):
        images.inspect(Image(ref="b:1", overlay="env"), with_(LOCAL, engine="podman"))
    assert fakes.calls("podman") == []


def test_mounts_of_the_site_are_seen_in_a_check(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("podman", stdout=json.dumps(FACTS))
    site = with_(LOCAL, engine="podman", mounts=(Mount(source=str(tmp_path)),))
    facts = images.inspect(Image(ref="b:1", overlay=f"{tmp_path}/env"), site)
    assert facts.mpi == Library(family="openmpi", version="4.1.7")
    call = one_call(fakes, "podman")
    assert [word for word in call if word.startswith("--mount")] == [
        f"--mount=type=bind,source={tmp_path},destination={tmp_path}"
    ]
    assert f"{tmp_path}/env/bin/python" in call
    assert os.environ["PATH"] in fakes.environment("podman")["PATH"]
