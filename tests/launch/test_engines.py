"""What each container engine is told, and which folders it sees."""

import fnmatch
import re
import runpy
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from planned import LOCAL, SLURM, SMALL, made

from bertjob.cluster.host.here import linked
from bertjob.config.job import Data, Engine, Image, Job, Model, Resources
from bertjob.config.site import Mount, Site
from bertjob.errors import PreflightError
from bertjob.launch.argv import Word, parse, variable
from bertjob.launch.container import binds
from bertjob.launch.engines import ENGINES, Bind, Container, limits
from bertjob.launch.engines.types import SOFTWARE
from bertjob.launch.plan import plan
from bertjob.launch.resolve import Here
from bertjob.launch.script import script as text_of

CONTAINER = Container(
    image="registry.org/group/image:1",
    binds=(Bind(parse("$SCRATCH"), parse("$SCRATCH")), Bind("/data sets", "/data", readonly=True)),
    workdir=variable("RUN"),
    folder=variable("RUN"),
    environment={"A": "1", "B": parse("$SCRATCH/$")},
    ranks=("RANK",),
)
RUNS = variable("RUNS")
SITE = Site(name="s")
SARUS_MOUNTS = (
    "--mount=type=bind,source=${SCRATCH},destination=${SCRATCH}",
    "--mount=type=bind,source=/data sets,destination=/data,readonly",
)
SHARED = ("--network=host", "--pid=host", "--ipc=host", "--uts=host")


def command(engine: str, **keys: Any) -> list[str]:
    return [str(word) for word in ENGINES[engine].command(replace(CONTAINER, **keys))]


def test_every_engine_that_a_job_may_name_has_its_row() -> None:
    assert set(ENGINES) == set(get_args(Engine))


def test_no_engine_adds_no_word() -> None:
    assert command("none") == []


def test_sarus_gets_mounts_workdir_and_no_terminal() -> None:
    assert command("sarus", annotations={"a.b": "c"}, args=("--mpi",)) == [
        *("sarus", "run", "--entrypoint", "", "--workdir=${RUN}", "--env=A=${A}", "--env=B=${B}"),
        *("--annotation=a.b=c", *SARUS_MOUNTS, "--mpi", "registry.org/group/image:1"),
    ]


def test_sarus_counts_the_gpus_itself() -> None:
    """It shows 2,3 as 0,1, which the option would undo."""
    words = command("sarus", environment={"CUDA_VISIBLE_DEVICES": "2,3", "A": "1"})
    assert [word for word in words if word.startswith("--env")] == ["--env=A=${A}"]


@pytest.mark.parametrize("more", [{}, {"tty": True, "args": ("--mpi",), "annotations": {"a.b": "c"}}])
def test_sarus_itself_would_take_these_words(more: dict[str, Any]) -> None:
    parse_sarus = runpy.run_path(str(Path(__file__).parents[1] / "fakes" / "sarus"))["parse"]
    options, image, program = parse_sarus([*command("sarus", **more)[2:], "python3", "-u"])
    assert dict(options)["--entrypoint"] == ""
    assert image == "registry.org/group/image:1"
    assert program == ["python3", "-u"]


@pytest.mark.parametrize(("engine", "gpu"), [("podman", ["--device", "nvidia.com/gpu=all"]), ("podman-hpc", ["--gpu"])])
def test_podman_shares_what_ranks_need_of_the_host(engine: str, gpu: list[str]) -> None:
    assert command(engine, gpus=4) == [
        *(engine, "run", "--rm", "--env-host", *SHARED, *gpu, "--user=0:0", "--entrypoint", "", "--workdir=${RUN}"),
        *("--env=A", "--env=B", *SARUS_MOUNTS, "registry.org/group/image:1"),
    ]


def test_docker_is_handed_each_variable_of_a_rank_and_the_user() -> None:
    assert command("docker", gpus=4) == [
        *("docker", "run", "--rm", *SHARED, "--user=${UID}:${GID}", "--gpus", "all", "--entrypoint", ""),
        *("--workdir=${RUN}", "--env=A", "--env=B", "--env=RANK", *SARUS_MOUNTS, "registry.org/group/image:1"),
    ]


@pytest.mark.parametrize("engine", ["apptainer", "singularity"])
@pytest.mark.parametrize(("vendor", "gpu"), [("nvidia", "--nv"), ("amd", "--rocm")])
def test_apptainer_lets_env_win_over_the_image(engine: str, vendor: str, gpu: str) -> None:
    assert command(engine, gpus=4, gpu_vendor=vendor) == [
        *(engine, "exec", gpu, "--pwd=${RUN}", "--bind=${SCRATCH}:${SCRATCH}", "--bind=/data sets:/data:ro"),
        *("docker://registry.org/group/image:1", "env", "A=${A}", "B=${B}"),
    ]


def test_shifter_gets_its_modules_by_the_site() -> None:
    assert command("shifter", args=("--module=gpu",)) == [
        *("shifter", "--image=docker:registry.org/group/image:1", "--workdir=${RUN}", "--env=A=${A}", "--env=B=${B}"),
        *("--volume=${SCRATCH}:${SCRATCH}", "--volume=/data sets:/data:ro", "--module=gpu"),
    ]


def test_charliecloud_reads_the_images_variables_and_ends_its_options() -> None:
    path = "--set-env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    hidden = [f"--unset-env={name}" for name in SOFTWARE]
    assert command("charliecloud", binds=CONTAINER.binds[:1]) == [
        *("ch-run", "--cd=${RUN}", *hidden, path, "--set-env", "--env-no-expand", "--set-env=A=${A}"),
        *("--set-env=B=${B}", "--bind=${SCRATCH}:${SCRATCH}", "registry.org/group/image:1", "--"),
    ]


@pytest.mark.parametrize("engine", [name for name, row in ENGINES.items() if row.inherits])
def test_what_leads_to_the_hosts_software_is_kept_from_engines_that_would_hand_it_on(engine: Engine) -> None:
    image = Image(ref="group/name:1")
    text = made(engine=engine, image=image)
    row = ENGINES[engine]
    hidden = f"unset {' '.join(row.inherits)}\n" if row.started_by_srun else "env --unset="
    assert hidden in text
    for name in row.inherits:
        assert re.search(rf"unset[ =](?:.*unset=|[A-Z_ ]*\b)?{name}\b", text), name
    own = made(engine=engine, image=image, env=dict.fromkeys(SOFTWARE, "/own"))
    assert not re.search("unset.*(?:LD_LIBRARY_PATH|LD_PRELOAD|PYTHON)", own)


@pytest.mark.parametrize("engine", [name for name, row in ENGINES.items() if name != "none"])
def test_packages_of_the_home_do_not_come_before_the_images(engine: Engine) -> None:
    """As `pip install --user` leaves them in ~/.local, which several engines show inside."""
    image = Image(ref="/image" if engine == "charliecloud" else "group/name:1")
    site = LOCAL if ENGINES[engine].daemon else SLURM
    assert "export PYTHONNOUSERSITE=1\n" in made(site, engine=engine, image=image)
    own = made(site, engine=engine, image=image, env={"PYTHONNOUSERSITE": "0"})
    assert "export PYTHONNOUSERSITE=0\n" in own
    assert "PYTHONNOUSERSITE" not in made(engine="none")


@pytest.mark.parametrize("engine", ["podman", "podman-hpc"])
def test_podman_takes_the_hosts_variables_by_names_that_leave_out_its_software(engine: Engine, tmp_path: Path) -> None:
    text = made(engine=engine, image=Image(ref="group/name:1"))
    assert '--env-file="$RUN/host-variables"' in text
    assert "--env-host" not in text
    lines = text[text.index("{\n  compgen") : text.index("host-variables")] + 'names"\n'
    variables = {
        "RUN": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": "/x",
        "LD_LIBRARY_PATH": "",
        "LD_PRELOAD": "",
        "PYTHONHOME": "/x",
        "PAYLOAD": "",
    }
    subprocess.run(["bash", "-c", lines], env=variables, check=True)
    names = (tmp_path / "names").read_text().split()

    def taken(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in names)

    ranks = (
        "SLURM_PROCID",
        "OMPI_COMM_WORLD_RANK",
        "PMI_RANK",
        "PMIX_RANK",
        "PALS_RANKID",
        "LOCAL_RANK",
        "FLUX_JOB_ID",
    )
    assert all(map(taken, (*ranks, "RUN", "PAYLOAD", "CUDA_VISIBLE_DEVICES", "http_proxy", "_X")))
    assert not any(map(taken, SOFTWARE))


def test_pyxis_adds_options_to_srun() -> None:
    assert command("pyxis", args=("--container-mount-home",)) == [
        "--container-image=registry.org#group/image:1",
        "--container-mounts=${SCRATCH}:${SCRATCH},/data sets:/data:ro",
        *("--container-workdir=${RUN}", "--no-container-entrypoint", "--container-env=A,B", "--container-mount-home"),
    ]


def test_the_container_engine_reads_a_file_in_which_no_dollar_means_a_variable_that_is_none() -> None:
    assert command("edf") == ["--environment=${RUN}/environment.toml"]
    file = ENGINES["edf"].file
    assert file is not None
    hostile = {"C": 'a "b"\n\\ $HOME ${HOME} \x7f'}
    told = replace(CONTAINER, environment={**CONTAINER.environment, **hostile}, annotations={"com.hooks.x": "true"})
    assert tomllib.loads(file.text(told)) == {
        "image": "registry.org#group/image:1",
        "mounts": ["${SCRATCH}:${SCRATCH}", "/data sets:/data:ro"],
        "workdir": "${RUN}",
        "entrypoint": False,
        "annotations": {"com": {"hooks": {"x": "true"}}},
        "env": {"A": "1", "B": "${SCRATCH}/$$", "C": 'a "b"\n\\ $$HOME $${HOME} \x7f'},
    }


@pytest.mark.parametrize(
    ("engine", "terminal"),
    [
        ("sarus", {"--tty"}),
        *((engine, {"--interactive", "--tty"}) for engine in ("podman", "podman-hpc", "docker")),
        *((engine, set[str]()) for engine in ("apptainer", "charliecloud", "shifter", "pyxis", "edf")),
    ],
)
def test_a_terminal_is_asked_for_where_there_is_one(engine: str, terminal: set[str]) -> None:
    there = set(command(engine, stdin=True, tty=True))
    assert there - set(command(engine)) == terminal
    assert set(command(engine, stdin=True)) - set(command(engine)) == terminal & {"--interactive"}


@pytest.mark.parametrize(
    ("engine", "image", "named"),
    [
        ("apptainer", "/images/a.sif", "/images/a.sif"),
        ("apptainer", "oras://host/a:1", "oras://host/a:1"),
        ("apptainer", "ubuntu:24.04", "docker://ubuntu:24.04"),
        ("shifter", "docker:ubuntu:24.04", "--image=docker:ubuntu:24.04"),
        ("pyxis", "nvidia/cuda:12", "--container-image=nvidia/cuda:12"),
        ("pyxis", "localhost:5000/cuda:12", "--container-image=localhost:5000#cuda:12"),
        ("pyxis", "nvcr.io#nvidia/cuda:12", "--container-image=nvcr.io#nvidia/cuda:12"),
        ("pyxis", "/images/a.sqsh", "--container-image=/images/a.sqsh"),
    ],
)
def test_images_are_named_as_the_engine_names_them(engine: str, image: str, named: str) -> None:
    assert named in command(engine, image=image)


def problems(engine: Engine, image: str | None = "group/name:1", slurm: bool = True, **keys: Any) -> list[str]:
    """What stands against a job whose data lie in /data."""
    asked = Resources(gpus_per_node=1)
    job = Job(name="j", engine=engine, image=Image(ref=image), data=Data(train="/data/t.json"), resources=asked)
    return list(limits.problems(job, Site(name="s", scheduler="slurm" if slurm else "none", **keys)))


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "docker"])
def test_what_every_engine_can_express_is_not_refused(engine: Engine) -> None:
    assert problems(engine, mounts=(Mount(source="$SCRATCH"), Mount(source="/a'b", target="/c"))) == []


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "none"])
def test_a_character_that_parts_a_mount_is_refused_in_it(engine: Engine) -> None:
    for character in ENGINES[engine].limits.separators:
        found = problems(engine, mounts=(Mount(source=f"/a{character}b"),), slurm=engine != "docker")
        assert len(found) == 1
        assert found[0].startswith(f"mounts: '/a{character}b': {engine} separates ")


@pytest.mark.parametrize(
    ("engine", "image", "told"),
    [
        ("sarus", "Group/Name:1", "is not in lower case, as names of images are: group/name:1"),
        ("sarus", "/images/a.sif", "is a path, and engine sarus wants a reference like nvcr.io/nvidia/pytorch"),
        ("podman", "no image", "is no reference like nvcr.io/nvidia/pytorch:24.12-py3"),
        ("podman", "name:", "is no reference"),
        ("apptainer", "a.sif", "is the name of a file: the absolute path is wanted"),
        ("charliecloud", "no image", "is no reference like nvcr.io/nvidia/pytorch:24.12-py3 and no absolute path"),
        ("pyxis", "docker://name:1", "is no reference"),
        ("apptainer", "$(id)", "is no reference like nvcr.io/nvidia/pytorch:24.12-py3 and no absolute path"),
        ("apptainer", "${X:-1}", "is no reference like nvcr.io/nvidia/pytorch:24.12-py3 and no absolute path"),
        ("apptainer", "$1/a", "is no reference like nvcr.io/nvidia/pytorch:24.12-py3 and no absolute path"),
    ],
)
def test_an_image_that_is_none_is_refused(engine: Engine, image: str, told: str) -> None:
    (found,) = problems(engine, image)
    assert found.startswith(f"image.ref: {image!r} {told}")


@pytest.mark.parametrize(
    ("engine", "keys", "told"),
    [
        ("sarus", {"image": None}, "engine sarus needs an image: set image.ref"),
        ("charliecloud", {"mounts": (Mount(source="/a", readonly=True),)}, "charliecloud has no readonly mounts"),
        ("shifter", {"mounts": (Mount(source="/a", target="/etc/a"),)}, "shifter mounts nothing below /etc, /var"),
        ("sarus", {"gpu_vendor": "amd"}, "engine sarus shows no amd GPUs; these do: apptainer, charliecloud, docker,"),
        ("pyxis", {"annotations": {"a": "b"}}, "annotations: engine pyxis reads none"),
        ("edf", {"annotations": {"a b": "c"}}, "annotations: 'a b' is no key like com.hooks.cxi.enabled"),
        ("edf", {"env": {"A": "1", "CUDA_VISIBLE_DEVICES": ""}}, "the site's env: CUDA_VISIBLE_DEVICES is empty, and"),
        ("edf", {"engine_args": ("-x",)}, "engine_args: engine edf has no options of its own"),
        ("docker", {}, "engine docker does not work under Slurm"),
        ("pyxis", {"slurm": False}, "engine pyxis is a part of Slurm's srun, and the site has no scheduler"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_in_one_line(engine: Engine, keys: dict[str, Any], told: str) -> None:
    (found,) = problems(engine, **keys)
    assert told in found


def test_a_path_that_a_variable_begins_is_absolute_and_what_a_shell_would_run_is_none() -> None:
    for path in ("/a $(id).sif", "$SCRATCH/a.sif", "${SCRATCH}/a.sif", "${SCRATCH}_old/a.sif"):
        assert problems("apptainer", path) == []
        assert problems("apptainer", mounts=(Mount(source=path),)) == []
    for path in ("$(id)", "${X-/a}", "`id`", "$"):
        assert problems("apptainer", mounts=(Mount(source=path),)) == [f"mounts: {path!r} is no absolute path"]
        overlaid = Job(name="j", engine="sarus", image=Image(ref="b:1", overlay=path))
        assert list(limits.problems(overlaid, SITE)) == [f"image.overlay: {path!r} is no absolute path"]


@pytest.mark.parametrize("engine", ["pyxis", "edf"])
def test_a_part_of_srun_goes_with_no_other_launcher(engine: Engine) -> None:
    with pytest.raises(
        PreflightError, match=f"launcher openmpi: {engine} starts containers by srun.*use launcher: srun"
    ):
        made(engine=engine, launcher="openmpi", image=Image(ref="group/name:1"))
    assert "srun " in made(engine=engine, launcher="torchrun", image=Image(ref="group/name:1"))


def test_pyxis_is_told_by_variables_to_show_gpus() -> None:
    keys: dict[str, Any] = {"engine": "pyxis", "image": Image(ref="group/name:1")}
    assert "NVIDIA" not in made(**keys, resources=Resources(gpus_per_node=0))
    text = made(**keys, env={"NVIDIA_VISIBLE_DEVICES": "0"}, resources=Resources(gpus_per_node=1))
    assert "export NVIDIA_VISIBLE_DEVICES=0\n" in text
    assert "export NVIDIA_DRIVER_CAPABILITIES=compute,utility\n" in text


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


@pytest.mark.parametrize(
    ("mount", "runs", "folders"),
    [
        ("$SCRATCH", "/tmp/scratch", ["${SCRATCH}"]),  # podman refuses a second mount at one place
        ("${SCRATCH}/", "/tmp/scratch/", ["${SCRATCH}/"]),
        ("/tmp/scratch", "/tmp/scratch", ["/tmp/scratch"]),
        ("$SCRATCH", "/tmp/scratch/runs", ["${SCRATCH}", "${RUNS}"]),  # on the nodes $SCRATCH may be another folder
        ("$TMPDIR", "/tmp/scratch", ["${TMPDIR}", "${RUNS}"]),
    ],
)
def test_a_folder_is_mounted_once_whether_by_a_variable_or_by_its_value(
    mount: str, runs: str, folders: list[str]
) -> None:
    known = {"SCRATCH": "/tmp/scratch", "RUNS": runs}
    found = binds(job(Data(train=f"{runs}/train.json")), site(Mount(source=mount)), RUNS, no_links, known)
    assert [str(bind.target) for bind in found] == folders


def test_two_mounts_of_a_site_that_are_one_folder_are_one() -> None:
    mounts = (Mount(source="$HOME"), Mount(source="$WORK"), Mount(source="/opt"))
    found = binds(job(Data()), site(*mounts), RUNS, no_links, {"HOME": "/me", "WORK": "/me"})
    assert [str(bind.source) for bind in found] == ["${WORK}", "/opt", "${RUNS}"]


def test_the_run_directory_tells_which_folder_the_runs_are_in() -> None:
    here = Here(python="python", cwd="/w", environment={"SCRATCH": "/s", "RUNS": "/elsewhere"})
    named = Job(name="j", task="smoke", image=Image(ref="b:1"))
    where = Site(name="s", engine="podman", mounts=(Mount(source="$SCRATCH"), Mount(source="/elsewhere")))
    mounts = {
        run_dir: text_of(plan(named, where, run_dir, here)).count("--mount=") for run_dir in ("/s/x1", "/t/x1", None)
    }
    assert mounts == {"/s/x1": 2, "/t/x1": 3, None: 3}


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


def test_a_link_that_leads_where_the_engine_cannot_mount_is_told() -> None:
    here = Here(python="python", cwd="/w", linked=lambda path: ["/store/a,b"] if path == "/data/t.json" else [])
    named = Job(name="j", image=Image(ref="b:1"), **SMALL | {"data": Data(train="/data/t.json")})
    told = r"site s: '/store/a,b', where a symbolic link of the job's paths leads: sarus separates .* by commas"
    with pytest.raises(PreflightError, match=told):
        plan(named, Site(name="s", engine="sarus"), None, here)
    assert "/store/a,b" in text_of(plan(named, Site(name="s", engine="shifter"), None, here))


def test_no_variable_of_a_literal_path_is_replaced() -> None:
    words: list[Word] = [bind.source for bind in binds(job(Data(cache="/a$SCRATCH")), site(), RUNS, no_links)]
    assert "/a$SCRATCH" in words
