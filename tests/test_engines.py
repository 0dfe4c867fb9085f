"""What each container engine is told, and which folders it sees."""

import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from bertjob.cluster.machine import linked
from bertjob.launch.engines import ENGINES, Bind, Container
from bertjob.launch.mounts import binds
from bertjob.launch.words import Word, parse, variable
from bertjob.spec.job import Data, Engine, Image, Job, Model
from bertjob.spec.site import Mount, Site

CONTAINER = Container(
    image="registry/image:1",
    binds=(Bind(parse("$SCRATCH"), parse("$SCRATCH")), Bind("/data sets", "/data", readonly=True)),
    workdir=variable("RUN"),
    folder=variable("RUN"),
)
RUNS = variable("RUNS")


def command(engine: str, container: Container = CONTAINER) -> list[str]:
    return [str(word) for word in ENGINES[engine].command(container)]


def test_every_engine_that_a_job_may_name_has_its_row() -> None:
    assert set(ENGINES) == set(get_args(Engine))


def test_no_engine_adds_no_word() -> None:
    assert command("none") == []


def test_sarus_gets_mounts_workdir_and_no_terminal() -> None:
    assert command("sarus") == [
        *("sarus", "run", "--entrypoint", "", "--workdir=${RUN}"),
        "--mount=type=bind,source=${SCRATCH},destination=${SCRATCH}",
        "--mount=type=bind,source=/data sets,destination=/data,readonly",
        "registry/image:1",
    ]


def test_sarus_itself_would_take_these_words() -> None:
    parse_sarus = runpy.run_path(str(Path(__file__).parent / "fakes" / "sarus"))["parse"]
    options, image, program = parse_sarus([*command("sarus")[2:], "python3", "-u"])
    assert dict(options)["--entrypoint"] == ""
    assert image == "registry/image:1"
    assert program == ["python3", "-u"]


def test_podman_shares_what_ranks_need_of_the_host() -> None:
    words = command("podman")
    assert words[:3] == ["podman", "run", "--rm"]
    assert {"--env-host", "--network=host", "--pid=host", "--ipc=host", "--uts=host"} <= set(words)
    assert words[-1] == "registry/image:1"


def test_podman_gets_the_gpus_that_the_job_has() -> None:
    assert "nvidia.com/gpu=all" not in command("podman")
    with_gpus = replace(CONTAINER, gpus=4)
    assert "nvidia.com/gpu=all" in command("podman", with_gpus)


def job(data: Data, model: Model | None = None, overlay: str | None = None) -> Job:
    """A resolved job in a container."""
    image = Image(ref="image", overlay=overlay)
    return Job(name="j", engine="sarus", image=image, data=data, model=model or Model())


def site(*mounts: Mount) -> Site:
    return Site(name="s", mounts=mounts)


def no_links(path: str) -> tuple[str, ...]:
    return ()


def seen(job: Job, site: Site, linked: Callable[[str], Iterable[str]] = no_links) -> list[tuple[str, str, bool]]:
    return [(str(bind.source), str(bind.target), bind.readonly) for bind in binds(job, site, RUNS, linked)]


def same(path: str) -> tuple[str, str, bool]:
    return path, path, False


def test_a_container_sees_the_folders_that_the_job_names() -> None:
    named = job(
        Data(train="/data/train.json", dev="/dev set/dev.json", cache="/cache"),
        Model(init="/models/bert", vocab="/vocab/vocab.txt"),
        overlay="$SCRATCH/env",
    )
    paths = ("${RUNS}", "${SCRATCH}/env", "/cache", "/data", "/dev set", "/models/bert", "/vocab")
    assert seen(named, site()) == [same(path) for path in paths]


def test_names_are_no_folders() -> None:
    assert seen(job(Data(train="demo", dev="demo"), Model(init="bert-base-uncased")), site()) == [same("${RUNS}")]


def test_a_parent_covers_its_children_and_no_neighbour() -> None:
    data = Data(train="/data/a/train.json", dev="/data/dev.json", cache="/database")
    assert seen(job(data), site()) == [same("${RUNS}"), same("/data"), same("/database")]


@pytest.mark.parametrize("source", ["$SCRATCH", "${SCRATCH}"])
def test_the_sites_mounts_cover_paths_with_the_same_variable(source: str) -> None:
    scratch = Mount(source=source)
    assert seen(job(Data(), overlay="$SCRATCH/env"), site(scratch)) == [same("${SCRATCH}"), same("${RUNS}")]


def test_a_readonly_mount_does_not_cover_what_is_written() -> None:
    data = Data(train="/data/train.json", cache="/data/cache")
    mount = Mount(source="/data", readonly=True)
    assert seen(job(data), site(mount)) == [("/data", "/data", True), same("${RUNS}"), same("/data/cache")]


def test_a_mount_at_another_path_does_not_cover() -> None:
    mount = Mount(source="/data", target="/mnt")
    assert seen(job(Data(train="/data/t.json")), site(mount)) == [
        ("/data", "/mnt", False),
        same("${RUNS}"),
        same("/data"),
    ]


def test_a_container_sees_what_symbolic_links_lead_to(tmp_path: Path) -> None:
    """As in the hub's cache, and in a folder of data that is kept elsewhere."""
    snapshot, blobs, store = tmp_path / "hub/snapshots/1", tmp_path / "hub/blobs", tmp_path / "store"
    for folder in (snapshot, blobs, store, tmp_path / "data"):
        folder.mkdir(parents=True)
    (blobs / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (store / "train.json").write_text("{}")
    (tmp_path / "here.json").symlink_to(store / "train.json")
    (tmp_path / "data/train.json").symlink_to(tmp_path / "here.json")
    (tmp_path / "data/ring").symlink_to("ring")
    named = job(Data(train=str(tmp_path / "data/train.json")), Model(init=str(snapshot)))
    data, here = str(tmp_path / "data"), str(tmp_path)
    assert seen(named, site(), linked) == [same("${RUNS}"), same(here)]  # the folder of the first link holds the others
    assert linked(f"{data}/train.json") == [here, str(store)]
    assert linked(str(snapshot)) == [str(blobs)]
    assert linked(str(store / "train.json")) == []


def test_no_variable_of_a_literal_path_is_replaced() -> None:
    words: list[Word] = [bind.source for bind in binds(job(Data(cache="/a$SCRATCH")), site(), RUNS, no_links)]
    assert "/a$SCRATCH" in words
