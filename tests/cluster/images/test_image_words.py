"""The words of each engine's verbs, and what is said where there is no such verb or no such name."""

from typing import Any

import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from known import NGC, SHA

from bertjob.cli.main import cli
from bertjob.config.load import load_site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.engines.images import commands, find_digest, image_file, in_job
from bertjob.launch.engines.types import Order

BY_PODMAN = 'env BASH_FUNC_docker%%=() { podman "$@"; }'


def words(engine: str, verb: Any, **keys: Any) -> list[str]:
    ref = keys.pop("ref", NGC)
    order = Order(ref=ref, file=f"/s/{image_file(engine, ref)}" if image_file(engine, ref) else "", **keys)
    return [" ".join(command) for command in commands(engine, verb, order)]


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
            ["podman load --input /a.tar", f"{BY_PODMAN} enroot import --output /s/b-1.sqsh podman://b:1"],
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
        ("edf", [f"podman {BUILT}", f"{BY_PODMAN} enroot import --output /s/b-1.sqsh podman://b:1"]),
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
