import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from bertjob.errors import DataError
from bertjob.formats.squad import SquadSet
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.tasks.squad import cache
from bertjob.train.tasks.squad.cache import cached_features, shared_features
from bertjob.train.tasks.squad.features import Features, Settings, make_features

SETTINGS = Settings(96, 32, 24)


def same(one: Features, other: Features) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Features))


def entry(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each making of features."""
    made: list[int] = []

    def make(data: SquadSet, tokenizer: BertTokenizer, settings: Settings) -> Features:
        made.append(1)
        return make_features(data, tokenizer, settings)

    monkeypatch.setattr(cache, "make_features", make)
    return made


def test_features_are_made_once_and_then_mapped(
    demo_dev: SquadSet, demo_features: Features, tokenizer: BertTokenizer, tmp_path: Path, counted: list[int]
) -> None:
    for _ in range(2):
        features = cached_features(demo_dev, tokenizer, SETTINGS, tmp_path / "made")
        assert same(features, demo_features)
        assert isinstance(features.input_ids, np.memmap)
        assert not features.input_ids.flags.writeable
    assert len(counted) == 1


def test_content_tokenizer_and_settings_name_the_entry(
    demo_dev: SquadSet, demo_model: Path, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    cased = tmp_path / "cased"
    cased.mkdir()
    (cased / "vocab.txt").write_bytes((demo_model / "vocab.txt").read_bytes())
    (cased / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    other = SquadSet(demo_dev.name, "0" * 64, demo_dev.paragraphs, demo_dev.questions)
    for data, with_tokenizer, settings in (
        (demo_dev, tokenizer, SETTINGS),
        (other, tokenizer, SETTINGS),
        (demo_dev, load_tokenizer(cased), SETTINGS),
        (demo_dev, tokenizer, Settings(96, 33, 24)),
    ):
        cached_features(data, with_tokenizer, settings, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 4


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("name", ["input_ids.npy", "best_context.npy", "MANIFEST.json"])
def test_a_damaged_entry_is_made_again(
    name: str,
    damage: object,
    demo_dev: SquadSet,
    demo_features: Features,
    tokenizer: BertTokenizer,
    tmp_path: Path,
    counted: list[int],
) -> None:
    cached_features(demo_dev, tokenizer, SETTINGS, tmp_path)
    assert callable(damage)
    damage(entry(tmp_path) / name)
    assert same(cached_features(demo_dev, tokenizer, SETTINGS, tmp_path), demo_features)
    assert same(cached_features(demo_dev, tokenizer, SETTINGS, tmp_path), demo_features)
    assert len(counted) == 2
    assert entry(tmp_path).is_dir()  # and nothing else is left behind


def test_an_entry_that_is_a_file_is_replaced(
    demo_dev: SquadSet, demo_features: Features, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    cached_features(demo_dev, tokenizer, SETTINGS, tmp_path)
    name = entry(tmp_path)
    name.rename(tmp_path / "aside")
    name.write_text("hello")
    assert same(cached_features(demo_dev, tokenizer, SETTINGS, tmp_path), demo_features)
    assert name.is_dir()


RACER = """
import sys, time
from pathlib import Path
from bertjob.train.tasks.squad.cache import cached_features
from bertjob.train.tasks.squad.features import Settings
from bertjob.formats.squad import load
from bertjob.train.data.tokenizer import load_tokenizer

data, tokenizer = load("demo", "dev"), load_tokenizer(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
features = cached_features(data, tokenizer, Settings(96, 32, 24), Path(sys.argv[2]))
print(int(features.input_ids.sum()), len(features))
"""


@pytest.mark.parametrize("damaged", [False, True], ids=["empty cache", "damaged entry"])
def test_many_processes_may_start_at_once(
    damaged: bool,
    demo_dev: SquadSet,
    demo_features: Features,
    demo_model: Path,
    tokenizer: BertTokenizer,
    tmp_path: Path,
) -> None:
    if damaged:
        cached_features(demo_dev, tokenizer, SETTINGS, tmp_path)
        cut(entry(tmp_path) / "spans.npy")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(demo_model), str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outputs = {racer.communicate(timeout=180)[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 6
    assert outputs == {f"{demo_features.input_ids.sum()} {len(demo_features)}"}
    assert entry(tmp_path).is_dir()
    assert same(cached_features(demo_dev, tokenizer, SETTINGS, tmp_path), demo_features)


def test_one_rank_makes_them_and_the_others_wait(
    demo_dev: SquadSet, demo_features: Features, tokenizer: BertTokenizer, tmp_path: Path, counted: list[int]
) -> None:
    meeting = threading.Barrier(3)

    def barrier() -> None:
        meeting.wait(120)

    found: list[Features] = []

    def rank(leader: bool) -> None:
        found.append(shared_features(demo_dev, tokenizer, SETTINGS, tmp_path, leader=leader, barrier=barrier))

    ranks = [threading.Thread(target=rank, args=(number == 0,)) for number in range(3)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join(60)
    assert len(counted) == 1
    assert len(found) == 3
    assert all(same(features, demo_features) for features in found)


def test_a_cache_that_cannot_be_written_is_named(demo_dev: SquadSet, tokenizer: BertTokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"features cannot be cached: .*; make room, or say another "):
        cached_features(demo_dev, tokenizer, SETTINGS, tmp_path / "file" / "cache")
