"""`make locks`: hashes from an index that answers on this machine."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from indices import HTML, JSON, page_html, page_json, serving

from tests import locks

PYTHONS = [f"cp3{minor}" for _, minor in locks.PYTHONS]
OURS = {
    f"A_b-1.0+x-{python}-{python}-manylinux_2_28_{machine}.whl": f"{number:064x}"
    for number, (python, machine) in enumerate((p, m) for p in reversed(PYTHONS) for m in locks.MACHINES)
}
OTHERS = {
    "a_b-1.0+x-cp310-cp310-manylinux_2_28_x86_64.whl": "a" * 64,
    "a_b-1.0+x-cp313-cp313t-manylinux_2_28_x86_64.whl": "a" * 64,
    "a_b-1.0+x-cp311-cp311-musllinux_1_2_x86_64.whl": "a" * 64,
    "a_b-1.0+x-cp311-cp311-manylinux_2_99_x86_64.whl": "a" * 64,
    "a_b-1.0+x-cp311-cp311-manylinux_2_28_ppc64le.whl": "a" * 64,
    "a_b-1.0+x-cp311-cp311-win_amd64.whl": "a" * 64,
    "a_b-1.1+x-py3-none-any.whl": "a" * 64,
    "c-1.0+x-py3-none-any.whl": "a" * 64,
    "a_b-1.0+x.tar.gz": "b" * 64,
    "a_b-1.0.exe": "",
}
TEXT = "# why\n--index-url {}\n--only-binary :all:\n\nA.b==1.0+x{}\n# more\n"
WRITTEN = "".join(f" \\\n    --hash=sha256:{number:064x}" for number in range(len(OURS)))


def made(text: str, page: tuple[str, bytes]) -> str:
    with serving({"/simple/a-b/": page}) as index:
        return locks.locked(text.format(index.address, "")).replace(index.address, "{}")


@pytest.mark.parametrize("page", [page_json, page_html])
def test_a_lock_has_the_files_that_its_pythons_and_machines_can_use(page: object) -> None:
    assert callable(page)
    found = made(TEXT, page(OTHERS | OURS))
    assert found == TEXT.format("{}", WRITTEN)
    assert made(found, page(dict(reversed((OURS | OTHERS).items())))) == found


@pytest.mark.parametrize("tag", ["py3-none-any", "py2.py3-none-any"])
def test_one_wheel_for_all_is_enough(tag: str) -> None:
    assert made(TEXT, page_json({f"a_b-1.0+x-{tag}.whl": "c" * 64})).count("--hash") == 1


def test_stable_abis_count_for_later_pythons() -> None:
    files = {f"a_b-1.0+x-cp38-abi3-manylinux2014_{machine}.whl": "d" * 64 for machine in locks.MACHINES}
    assert made(TEXT, page_json(files)).count("--hash") == 1


def test_a_lock_of_sources_has_sources() -> None:
    found = made(TEXT.replace("--only", "--no"), page_json(OTHERS | OURS))
    assert found.count("--hash") == 1
    assert "b" * 64 in found


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (page_json(dict(list(OURS.items())[1:])), f"a-b==1.0+x: the index has no wheel {PYTHONS[-1]} on x86_64"),
        (page_json({}), "a-b==1.0+x: the index has no wheel cp311 on x86_64, "),
        (page_json(OURS | dict.fromkeys(list(OURS)[:1], "")), "the index has no SHA-256 of A_b-1.0+x-cp313"),
        (page_html(OURS | dict.fromkeys(list(OURS)[:1], "")), "the index has no SHA-256 of A_b-1.0+x-cp313"),
        (page_json(OURS | dict.fromkeys(list(OURS)[:1], "../../etc")), "the index has no SHA-256 of A_b-1.0+x-cp313"),
        (page_json(OURS, yanked="broken"), "was withdrawn: broken"),
        (page_html(OURS, 'data-yanked=""'), "was withdrawn: no reason given"),
        (("", b""), "404"),
        ((JSON, b"{"), "a-b/: "),
        ((JSON, b"[]"), "a-b/: "),
        ((JSON, b'{"files": [{}]}'), "a-b/: "),
        ((HTML, b"\xff"), "a-b/: "),
        (("location", b"file:///etc/passwd"), "a-b/: "),
        ((HTML, b" " * (2 << 16)), "has more than"),
    ],
)
def test_what_an_index_lacks_is_told_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    page: tuple[str, bytes],
    told: str,
) -> None:
    monkeypatch.setattr(locks, "_MOST", 1 << 16)
    good, bad = tmp_path / "a.lock", tmp_path / "b.lock"
    with serving({"/simple/a-b/": page_json(OURS)}) as whole, serving({"/simple/a-b/": page}) as index:
        good.write_text(TEXT.format(whole.address, ""))
        bad.write_text(TEXT.format(index.address, ""))
        assert locks.main([str(good), str(bad)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"{bad}: ")
    assert told in said.err
    assert said.err.count("\n") == 1
    assert [path.read_text().count("--hash") for path in (good, bad)] == [0, 0]


def test_all_is_written_where_all_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving({"/simple/a-b/": page_json(OURS)}) as index:
        (tmp_path / "a.lock").write_text(TEXT.format(index.address, ""))
        assert locks.main([str(tmp_path / "a.lock")]) == 0
        assert (tmp_path / "a.lock").read_text() == TEXT.format(index.address, WRITTEN)
    assert capsys.readouterr().out == f"{tmp_path}/a.lock: 1 packages, {len(OURS)} files\n"


@pytest.mark.parametrize("lines", ["", "--index-url {0}\n--index-url {0}\n", "--index-url file:///srv/simple\n"])
def test_a_lock_names_one_index_on_the_network(lines: str) -> None:
    with pytest.raises(locks.LockError, match=r"one line --index-url URL|expected an address of https"):
        locks.locked(lines.format("https://a.example") + "a==1\n")


def test_pythons_are_those_that_bertjob_runs_on() -> None:
    said: Mapping[str, object] = {"text": (locks.CONTAINER.parent / "pyproject.toml").read_text()}
    assert all(f'"Programming Language :: Python :: 3.{minor}"' in str(said["text"]) for _, minor in locks.PYTHONS)
