"""Digests of images: from engines, from files, from registries."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from known import SHA
from planned import HERE, LOCAL, SLURM, with_

from bertjob.cli.main import cli
from bertjob.cluster.images import engine
from bertjob.cluster.images.registry import registry_digest
from bertjob.cluster.runs import create
from bertjob.errors import DataError, PreflightError, SpecError


def test_provenance_holds_the_digest_where_the_engine_tells_it(fakes: Commands, tmp_path: Path) -> None:
    from bertjob.config.job import Job
    from bertjob.launch.plan import plan
    from bertjob.rundir.directory import RunDir

    fakes.make("podman", stdout=f"{SHA}\n")
    run = RunDir(tmp_path / "run")
    keys = {"data": {"train": "demo"}, "model": {"init": "demo"}, "train": {"global_batch": 1, "micro_batch": 1}}
    job = msgspec.convert({"name": "j", **keys, "image": {"ref": "b:1"}}, Job)
    planned = plan(job, with_(LOCAL, engine="podman"), str(run.path), HERE)
    written = json.loads(create.files(planned, run, engine.digest_of(planned))["provenance.json"])
    assert (written["image"], written["image_digest"]) == ("b:1", SHA)
    fakes.make("podman", stderr="no such image", code=125)
    assert engine.digest_of(planned) is None


def test_the_digest_of_an_image_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_bytes(b"SIF")
    assert engine.digest("apptainer", str(tmp_path / "a.sif"), SLURM) == "sha256:" + hashlib.sha256(b"SIF").hexdigest()
    assert engine.digest("apptainer", str(tmp_path / "b.sif"), SLURM) is None


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


def test_a_registry_gets_no_file_of_this_machine(tmp_path: Path) -> None:
    """Its guard may be anywhere; what the guard answers goes to the registry."""
    (tmp_path / "config.json").write_text('{"token": "mine"}')
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            got.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="file://{tmp_path}/config.json#"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match=r"cannot be asked from here \(it sends to file://.* for a token\)"):
            registry_digest(f"127.0.0.1:{server.server_port}/a/b:1")
        server.shutdown()
    assert got == [None]


def test_no_registry_and_no_reference_are_one_line() -> None:
    with pytest.raises(DataError, match=r"cannot be asked from here \(.*refused"):
        registry_digest("127.0.0.1:9/a/b:1")
    with pytest.raises(SpecError, match="is no image of a registry"):
        registry_digest("A B")


def test_an_image_that_is_not_here_has_no_digest(fakes: Commands) -> None:
    fakes.make("podman", stderr="Error: x:1: image not known\n", code=125)
    error = CliRunner().invoke(cli, ["image", "digest", "x:1", "--engine", "podman"]).exception
    assert isinstance(error, PreflightError)
    assert str(error).startswith("x:1: engine podman tells no digest of it: it is not here (bertjob image list), or")
