"""bertjob's image, built for real with podman, looked into, trained in, and moved to another store."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import image_build
import pytest
from face import Face
from provision import require, unavailable

from bertjob.rundir.directory import RunDir
from bertjob.version import __version__

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

REF = f"localhost/bertjob:{__version__}-cpu"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the image needs, as wheels."""
    return image_build.make_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to a store with bertjob's CPU image, which was built without a network."""
    require(image_build.missing(), "building an image")
    if os.geteuid() != 0:
        unavailable("building an image needs root here: mmdebstrap and podman; run the tests with sudo")
    folder = tmp_path_factory.mktemp("image")
    with image_build.store() as variables:
        environment = {**os.environ, **variables}
        base = image_build.make_base(folder, environment)
        words = (
            "image",
            "build",
            "--cpu",
            "--base",
            base,
            "--wheels",
            wheels,
            "--",
            "--network=none",
            "--layers=false",
        )
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            done = Face(folder)(*words, timeout=600)
        assert done.stdout.splitlines() == [REF]
        yield variables


@pytest.fixture
def bertjob(built: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Face:
    """The command line, with podman's store that has the image."""
    for name, value in built.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Face(tmp_path)


def test_the_image_has_all_that_training_needs_and_its_mpi_is_told(bertjob: Face) -> None:
    facts = json.loads(bertjob("image", "check", REF, "--json").stdout)
    assert facts["missing"] == []
    assert facts["absent"] == []
    assert facts["packages"]["bertjob"] == __version__
    assert facts["packages"]["torch"].startswith("2.")
    assert facts["mpi"] == {"family": "openmpi", "version": "4.1.4", "pmi": ["pmix"]}
    assert "speaks pmix" in bertjob("image", "check", REF).stdout


def test_what_the_base_lacks_is_said_with_exit_code_1(bertjob: Face) -> None:
    done = bertjob("image", "check", image_build.BASE, code=1)
    assert "torch: is not installed" in done.stdout


def test_a_missing_image_is_one_line(bertjob: Face) -> None:
    done = bertjob("image", "check", "localhost/nobody:1", code=3)
    assert done.stderr.splitlines() == [
        "bertjob: podman: localhost/nobody:1: there is no such image here:"
        " bring it by `bertjob image pull` or `bertjob image load`"
    ]


def test_the_image_says_what_it_is_and_surprises_nobody(bertjob: Face) -> None:
    shown = subprocess.run(["podman", "image", "inspect", REF], capture_output=True, text=True, check=True).stdout
    (image,) = json.loads(shown)
    assert image["User"] == "bertjob"
    assert image["Config"].get("Entrypoint") is None
    assert image["Config"]["Cmd"] == ["bash"]
    assert "HF_HUB_OFFLINE=1" in image["Config"]["Env"]
    assert image["Labels"]["org.opencontainers.image.version"] == __version__
    assert bertjob("image", "digest", REF).stdout.startswith("sha256:")
    assert "localhost/bertjob" in bertjob("image", "list").stdout


def test_two_ranks_train_in_the_image(bertjob: Face, squad: Path, tmp_path: Path) -> None:
    site = bertjob.site("podman", scheduler="none", launcher="local", engine="podman", image={"ref": REF})
    job = bertjob.job(
        model={"init": "random", "vocab": str(squad / "vocab.txt"), "layers": 2, "hidden": 32, "heads": 2},
        data={"train": str(squad / "train.json"), "dev": str(squad / "dev.json")},
        precision="fp32",
        train={
            "global_batch": 4,
            "micro_batch": 1,
            "epochs": 1e6,
            "max_steps": 4,
            "max_seq_length": 192,
            "log_every": 1,
        },
        resources={"tasks_per_node": 2, "gpus_per_node": 0},
    )
    bertjob("run", job, "--site", site, "--run-dir", "run", timeout=300)
    run = RunDir(tmp_path / "run")
    hparams = json.loads(run.hparams.read_text())
    assert hparams["world_size"] == 2
    assert len(json.loads(run.predictions.read_text())) == 16
    assert run.predictions.stat().st_uid == os.getuid()
    provenance = json.loads(run.provenance.read_text())
    assert provenance["image"] == REF
    assert provenance["image_digest"].startswith("sha256:")


def test_the_demo_runs_in_the_image(bertjob: Face, tmp_path: Path) -> None:
    site = bertjob.site("podman", scheduler="none", launcher="local", engine="podman", image={"ref": REF})
    few = ("--set", "train.max_steps=2", "--set", "data.dev=null")
    bertjob("run", "squad-demo", "--site", site, "--gpus-per-node", 0, "--run-dir", "run", *few, timeout=300)
    assert RunDir(tmp_path / "run").model.is_dir()


def test_a_mounted_checkout_is_used_in_place_of_the_images_bertjob(bertjob: Face, tmp_path: Path) -> None:
    (tmp_path / "checkout/bertjob").mkdir(parents=True)
    (tmp_path / "checkout/bertjob/__init__.py").write_text("")
    (tmp_path / "checkout/bertjob/train.py").write_text("print('the checkout trains')\n")
    image = {"ref": REF, "source": str(tmp_path / "checkout")}
    site = bertjob.site("podman", scheduler="none", launcher="local", engine="podman", image=image)
    job = bertjob.job(resources={"gpus_per_node": 0}, data={"train": "demo"})
    bertjob("run", job, "--site", site, "--run-dir", "run", timeout=120)
    assert "the checkout trains" in RunDir(tmp_path / "run").log("local").read_text()


def test_an_overlay_brings_what_an_image_lacks_and_sees_what_it_has(
    bertjob: Face, wheels: Path, tmp_path: Path
) -> None:
    overlay = tmp_path / "env"
    words = ("image", "overlay", "--image", image_build.BASE, "--path", overlay, "--wheels", wheels)
    assert bertjob(*words, timeout=300).stdout.splitlines() == [str(overlay)]
    facts = json.loads(bertjob("image", "check", image_build.BASE, "--overlay", overlay, "--json", code=1).stdout)
    assert facts["packages"]["bertjob"] == __version__
    assert facts["packages"]["transformers"] == "5.18.0"
    assert "torch: is not installed" in facts["missing"]
    assert overlay.stat().st_uid == os.getuid()
