"""`data fetch`: real downloads from a server on this machine, and what is said when they fail."""

import socket
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bertjob.cluster import datasets
from bertjob.errors import DataError, SpecError
from bertjob.formats.checksums import checksum_of

CONTENT = {"train-v1.1.json": b'{"data": []}' * 20_000, "dev-v1.1.json": b'{"version": "1.1"}'}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests' output is for tests."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A server with a small set in SQuAD's place: its address and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    files = {name: checksum_of(content) for name, content in CONTENT.items()}
    monkeypatch.setitem(datasets.DATA_SETS, "squad", datasets.DataSet("http://127.0.0.1:1/", files))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_files_arrive_whole_and_progress_is_told(mirror: tuple[str, Path], tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    paths = datasets.fetch("squad", tmp_path / "new" / "data", lambda *seen: told.append(seen), mirror[0])
    assert {path.name: path.read_bytes() for path in paths} == CONTENT
    assert [path.name for path in paths[0].parent.iterdir() if path.name.startswith(".")] == []
    size = len(CONTENT["train-v1.1.json"])
    assert ("train-v1.1.json", size, size) in told
    assert len([seen for seen in told if seen[0] == "train-v1.1.json"]) > 1


def test_good_files_are_kept_and_broken_ones_replaced(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, served = mirror
    to = tmp_path / "data"
    datasets.fetch("squad", to, address=address)
    (to / "dev-v1.1.json").write_bytes(b"cut")
    (served / "train-v1.1.json").unlink()  # asking for it again would fail
    datasets.fetch("squad", to, address=address)
    assert (to / "dev-v1.1.json").read_bytes() == CONTENT["dev-v1.1.json"]


@pytest.mark.parametrize("length", [True, False])
def test_no_more_is_taken_than_the_file_has(
    mirror: tuple[str, Path], tmp_path: Path, length: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = mirror
    with (served / "train-v1.1.json").open("ab") as file:
        file.truncate(10 << 30)  # a hole
    if not length:
        monkeypatch.setattr(Quiet, "send_header", lambda *_: None)
    told: list[int] = []
    with pytest.raises(DataError, match="it is another file"):
        datasets.fetch("squad", tmp_path / "data", lambda name, done, size: told.append(done), address)
    assert max(told, default=0) <= len(CONTENT["train-v1.1.json"])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("body", "says"), [(b"x" * 18, "sha256"), (b"{", "stopped after 1 of 18 bytes")])
def test_a_wrong_body_is_refused_and_leaves_nothing(
    mirror: tuple[str, Path], tmp_path: Path, body: bytes, says: str
) -> None:
    address, served = mirror
    (served / "dev-v1.1.json").write_bytes(body)
    with pytest.raises(DataError, match=says):
        datasets.fetch("squad", tmp_path / "data", address=address)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train-v1.1.json"]


def test_no_network_says_on_one_line_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for proxy in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    (tmp_path / "kept").mkdir()
    with pytest.raises(DataError) as refused:
        datasets.fetch("squad", tmp_path / "kept" / "new" / "data")
    assert list((tmp_path / "kept").iterdir()) == []
    line = str(refused.value)
    assert "\n" not in line
    assert "Name or service not known" in line
    for url in ("train-v1.1.json", "dev-v1.1.json"):
        assert f"https://rajpurkar.github.io/SQuAD-explorer/dataset/{url}" in line
    assert str(tmp_path / "kept" / "new" / "data") in line


def test_a_server_that_has_no_such_file_is_named_with_its_answer(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, served = mirror
    (served / "train-v1.1.json").unlink()
    with pytest.raises(DataError, match=r"404 File not found"):
        datasets.fetch("squad", tmp_path, address=address)


def test_an_unknown_set_names_the_known_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'squad'"):
        datasets.fetch("sqaud", tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.*cannot be written"):
        datasets.fetch("squad", tmp_path / "file" / "data")
