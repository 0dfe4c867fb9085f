"""From job and site to plan: what is filled in, and what is refused beforehand."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from planned import with_

from bertjob.config.job import Checkpoint, Data, Image, Job, Model, Optimizer, Resources, Train
from bertjob.config.site import Fabric, Limits, Mount, Site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.plan import Here, Plan, plan

HERE = Here(
    python="/venv/bin/python", cwd="/home/me", cpus=8, gpus=2, environment={"HOME": "/home/me", "SCRATCH": "/scratch"}
)
SLURM = Site(name="slurm", defaults=Resources(time="1:00:00"))
LOCAL = Site(name="local", scheduler="none", launcher="local")
SARUS = Site(name="sarus", engine="sarus", image=Image(ref="site/image", overlay="$SCRATCH/env"))


def made(site: Site = SLURM, run_dir: str | None = None, here: Here = HERE, **keys: Any) -> Plan:
    said = {"train": Train(global_batch=48, micro_batch=1), "data": Data(train="demo"), "model": Model(init="demo")}
    return plan(Job(name="j", **said | keys), site, run_dir, here)


def refused(site: Site = SLURM, run_dir: str | None = None, **keys: Any) -> str:
    with pytest.raises((PreflightError, SpecError)) as raised:
        made(site, run_dir, **keys)
    message = str(raised.value)
    assert "\n" not in message
    return message


def command(plan: Plan) -> list[str]:
    return [str(word) for layer in plan.layers for word in layer.words]


def test_the_site_fills_what_the_job_leaves_open() -> None:
    defaults = Resources(time="30", cpus_per_task=12, constraint="gpu", sbatch=("--exclusive",))
    asked = made(
        with_(SLURM, defaults=defaults), resources=Resources(nodes=2, time="2:00:00", sbatch=("--mail-type=END",))
    )
    resources = asked.job.resources
    assert (resources.nodes, resources.cpus_per_task, resources.constraint) == (2, 12, "gpu")
    assert resources.time == "02:00:00"
    assert resources.sbatch == ("--exclusive", "--mail-type=END")
    assert (asked.job.engine, asked.job.launcher) == ("none", "srun")


@pytest.mark.parametrize(
    ("site", "resources", "ranks", "gpus", "cores"),
    [
        (SLURM, Resources(), 1, 0, 1),
        (SLURM, Resources(gpus_per_node=4), 4, 4, 1),
        (SLURM, Resources(gpus_per_node=4, tasks_per_node=2), 2, 4, 1),
        (with_(SLURM, limits=Limits(cpus_per_node=64)), Resources(gpus_per_node=4), 4, 4, 16),
        (LOCAL, Resources(), 1, 1, 8),
        (LOCAL, Resources(tasks_per_node=3), 3, 1, 2),
        (LOCAL, Resources(gpus_per_node=0), 1, 0, 8),
    ],
)
def test_ranks_follow_the_gpus_and_cores_are_shared_out(
    site: Site, resources: Resources, ranks: int, gpus: int, cores: int
) -> None:
    shape = made(site, resources=resources).shape
    assert (shape.tasks_per_node, shape.gpus_per_node, shape.cpus_per_task) == (ranks, gpus, cores)


def test_the_batch_arithmetic_is_solved_over_all_ranks() -> None:
    solved = made(resources=Resources(nodes=4, tasks_per_node=3))
    assert (solved.world_size, solved.accumulation) == (12, 4)
    with pytest.raises(SpecError, match="what works"):
        made(resources=Resources(nodes=5))


@pytest.mark.parametrize("site", [SLURM, LOCAL, SARUS, with_(SLURM, defaults=Resources(sbatch=("-x", "n1")))])
def test_a_resolved_job_makes_the_same_plan_again(site: Site) -> None:
    first = made(site, data=Data(train="a.json"), resources=Resources(gpus_per_node=1, sbatch=("--comment", "n1")))
    assert plan(first.job, site, None, HERE) == first


def test_plans_are_values() -> None:
    assert hash(made().layers) == hash(made().layers)
    with pytest.raises(AttributeError):
        made().run_dir = "/other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "absolute"),
    [
        ("data/train.json", "/home/me/data/train.json"),
        ("../t.json", "/home/t.json"),
        ("~/t.json", "/home/me/t.json"),
        ("$SCRATCH/t.json", "/scratch/t.json"),
        ("/a//b/./t.json", "/a/b/t.json"),
        ("demo", "demo"),
    ],
)
def test_paths_of_data_are_made_absolute(given: str, absolute: str) -> None:
    data = made(data=Data(train=given, dev=given)).job.data
    assert (data.train, data.dev, data.cache) == (absolute, absolute, None)


@pytest.mark.parametrize(
    ("init", "meant"),
    [
        ("random", "random"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("google/bert_uncased_L-2", "google/bert_uncased_L-2"),
        ("./model", "/home/me/model"),
        ("runs/squad-1/model", "/home/me/runs/squad-1/model"),
        ("~/model", "/home/me/model"),
    ],
)
def test_a_model_is_a_folder_or_a_name(init: str, meant: str) -> None:
    assert made(model=Model(init=init, vocab="v.txt")).job.model.init == meant


def test_a_folder_that_is_there_wins_over_a_name_of_the_hub() -> None:
    here = msgspec.structs.replace(HERE, is_folder=lambda path: path in ("/home/me/google/bert", "/home/me/demo"))
    found = [made(here=here, model=Model(init=init)).job.model.init for init in ("google/bert", "google/other", "demo")]
    assert found == ["/home/me/google/bert", "google/other", "demo"]


def test_a_variable_that_is_not_set_is_refused() -> None:
    assert refused(data=Data(train="$NOWHERE/t.json")) == (
        "data.train: $NOWHERE/t.json: $NOWHERE is not set here; write the path out"
    )


def test_what_must_be_there_beforehand_is_named_by_its_key() -> None:
    needed = made(SARUS, data=Data(train="t.json", dev="demo", cache="/cache"), model=Model(init="./m", vocab="v.txt"))
    assert needed.inputs == {
        "model.init": "/home/me/m",
        "model.vocab": "/home/me/v.txt",
        "data.train": "/home/me/t.json",
    }


@pytest.mark.parametrize(
    ("site", "keys", "python"),
    [
        (SLURM, {}, "/venv/bin/python"),
        (with_(SLURM, python="$SCRATCH/py"), {}, "${SCRATCH}/py"),
        (with_(SLURM, image=Image(overlay="/env")), {}, "/venv/bin/python"),
        (SARUS, {}, "${SCRATCH}/env/bin/python"),
        (SARUS, {"image": Image(ref="other")}, "python3"),
        (SARUS, {"image": Image(ref="other", overlay="/env")}, "/env/bin/python"),
        (SARUS, {"image": Image(overlay="/env")}, "/env/bin/python"),
        (with_(SARUS, python="/py"), {"image": Image(ref="other")}, "/py"),
    ],
)
def test_the_python_is_the_overlays_the_sites_this_ones_or_the_images(
    site: Site, keys: dict[str, Any], python: str
) -> None:
    program = made(site, **keys).layers[-1]
    assert [str(word) for word in program.words] == [python, "-u", "-m", "bertjob.train", "${RUN}/job.yaml"]


def test_layers_are_launcher_engine_and_program() -> None:
    words = command(made(SARUS, launcher="openmpi"))
    assert words[0] == "mpirun"
    assert words.index("mpirun") < words.index("sarus") < words.index("site/image") < words.index("bertjob.train")


def test_the_jobs_variables_win_and_only_the_sites_may_name_others() -> None:
    site = with_(SLURM, env={"A": "$SCRATCH", "B": "site"}, fabric=Fabric(interface="hsn0", env={"B": "fabric"}))
    environment = made(site, env={"B": "$SCRATCH", "OMP_NUM_THREADS": "1"}).environment
    assert {name: str(value) for name, value in environment.items()} == {
        "OMP_NUM_THREADS": "1",
        "NCCL_SOCKET_IFNAME": "hsn0",
        "GLOO_SOCKET_IFNAME": "hsn0",
        "A": "${SCRATCH}",
        "B": "$SCRATCH",
    }


def test_variables_of_the_environment_reach_the_ranks_of_open_mpi() -> None:
    words = command(made(launcher="openmpi", env={"MINE": "1"}))
    sent = {word for option, word in pairwise(words) if option == "-x"}
    own = {
        "MASTER_ADDR",
        "MASTER_PORT",
        "BERTJOB_WORLD_SIZE",
        "BERTJOB_JOB_ID",
        "BERTJOB_RESTART",
        "BERTJOB_FORMER_LEASE",
        "BERTJOB_NODE_ADDRESS",
        "BERTJOB_SECRET_FILE",
    }
    assert sent == {"OMP_NUM_THREADS", "MINE"} | own


@pytest.mark.parametrize("name", ["RANK", "MASTER_PORT", "BERTJOB_WORLD_SIZE", "not a name", "1A", "A=B"])
def test_variables_that_are_the_scripts_own_or_no_names_are_refused(name: str) -> None:
    assert repr(name).strip("'") in refused(env={name: "x"})


@pytest.mark.parametrize(
    ("site", "launcher", "told"),
    [
        (
            SLURM,
            "local",
            "launcher local does not work under Slurm; these do: srun, openmpi, openmpi-srun, hydra, torchrun,"
            " deepspeed",
        ),
        (LOCAL, "srun", "launcher srun does not work without a scheduler; these do: local, openmpi, hydra"),
    ],
)
def test_a_launcher_that_cannot_work_is_refused(site: Site, launcher: str, told: str) -> None:
    assert refused(site, launcher=launcher) == f"site {site.name}: {told}"


@pytest.mark.parametrize("interface", ["a b", "hsn0,hsn1", "", "/hsn0", "longer-than-linux-takes"])
def test_an_interface_that_no_node_has_is_refused(interface: str) -> None:
    told = f"site slurm: fabric.interface: {interface!r} is no name of one network interface, such as hsn0"
    assert refused(with_(SLURM, fabric=Fabric(interface=interface))) == told


def test_a_second_node_without_a_scheduler_is_refused() -> None:
    assert "resources.nodes is 2, but" in refused(LOCAL, resources=Resources(nodes=2))


def test_all_limits_that_are_passed_are_told_at_once() -> None:
    limits = Limits(nodes=2, time="1:00:00", cpus_per_node=10, gpus_per_node=1)
    asked = Resources(nodes=3, time="2:00:00", tasks_per_node=2, cpus_per_task=6, gpus_per_node=2)
    assert refused(with_(SLURM, limits=limits), resources=asked) == (
        "site slurm: resources.nodes is 3, but there are at most 2 nodes a job; "
        "resources.gpus_per_node is 2, but there are at most 1 GPUs a node; "
        "2 tasks_per_node x 6 cpus_per_task is 12, but there are at most 10 CPU cores a node; "
        "resources.time is 02:00:00, but a job may take at most 1:00:00"
    )
    at_the_limits = Resources(nodes=2, time="1:00:00", tasks_per_node=2, cpus_per_task=5, gpus_per_node=1)
    assert made(with_(SLURM, limits=limits), resources=at_the_limits).world_size == 4


def test_a_walltime_that_the_signal_eats_up_is_refused() -> None:
    refusal = refused(resources=Resources(time="2"), checkpoint=Checkpoint(signal_seconds=120))
    assert "checkpoint.signal_seconds 120 leaves nothing" in refusal


def test_an_engine_without_an_image_is_refused() -> None:
    assert refused(engine="podman") == "site slurm: engine podman needs an image: set image.ref"


@pytest.mark.parametrize(
    ("site", "keys", "named"),
    [
        (SARUS, {"data": Data(train="/a,b/t.json")}, "data.train: '/a,b'"),
        (SARUS, {"model": Model(init="/a,b")}, "model.init: '/a,b'"),
        (SARUS, {"image": Image(ref="i", overlay="/a,b")}, "image.overlay: '/a,b'"),
        (with_(SARUS, mounts=(Mount(source="/a,b"),)), {}, "mounts: '/a,b'"),
        (SARUS, {"run_dir": "/runs,old/j"}, "run directory '/runs,old/j'"),
    ],
)
def test_a_comma_in_a_mount_is_refused(site: Site, keys: dict[str, Any], named: str) -> None:
    assert f"{named}: sarus separates the fields of a mount by commas" in refused(site, **keys)


def test_a_comma_is_no_matter_without_a_container() -> None:
    assert made(run_dir="/runs,old/j", data=Data(train="/a,b/t.json")).run_dir == "/runs,old/j"


def test_a_mount_from_a_relative_path_is_refused() -> None:
    assert "mounts: 'data' is no absolute path" in refused(with_(SARUS, mounts=(Mount(source="data"),)))


@pytest.mark.parametrize(("site", "run_dir"), [(SLURM, "runs/j"), (SLURM, "/a\nb"), (LOCAL, "/a\tb"), (SLURM, "/a\\b")])
def test_a_run_directory_that_a_script_cannot_hold_is_refused(site: Site, run_dir: str) -> None:
    assert refused(site, run_dir).startswith(f"run directory {run_dir!r}: ")


def test_a_backslash_in_a_run_directory_is_for_slurm_alone_to_refuse() -> None:
    assert made(LOCAL, "/a\\b").run_dir == "/a\\b"


@pytest.mark.parametrize("field", ["partition", "account", "constraint", "qos", "reservation", "mem"])
def test_a_newline_in_an_option_of_sbatch_is_refused(field: str) -> None:
    resources = msgspec.structs.replace(Resources(), **{field: "x\n#SBATCH --uid=0"})
    assert "control character" in refused(resources=resources)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        *(
            (option, f"{option.partition('=')[0]} would contradict")
            for option in ("--array=1-3", "--wrap=x", "--arr=1")
        ),
        *(
            (option, f"{option[:2]} would contradict")
            for option in ("-a1-3", "-ox", "-e", "-n2", "-J", "-D/tmp", "-t9")
        ),
        *((option, "use --nodes before the --, or set resources.nodes") for option in ("--nodes=3", "-N", "-N3")),
        ("--ntasks-per-node=2", "or set resources.tasks_per_node"),
        *((option, "use --cpus-per-task before the --") for option in ("-c4", "-Hc4", "--cpus-per-task=4")),
        ("--time=72:00:00", "use --time before the --"),
        ("--output=x", "use --run-dir before the --"),
        *(
            (option, "use --gpus-per-node before the --, or set resources.gpus_per_node")
            for option in (
                "--gpus=4",
                "-G4",
                "--gpus-per-node=4",
                "--gpus-per-task=1",
                "--gres=gpu:4",
                "--gres=a,gpu,b",
            )
        ),
        ("--open-mode=truncate", "goes on in its log"),
        ("--signal=USR2@1", "set checkpoint.signal_seconds"),
    ],
)
def test_an_option_that_contradicts_the_plan_is_refused_with_what_to_use(option: str, told: str) -> None:
    assert told in refused(resources=Resources(sbatch=(option, "3")))


def test_options_that_the_plan_leaves_open_go_to_sbatch() -> None:
    options = ("-dafterok:7", "--no-requeue", "--dependency=afterok:7", "--mail-type=END", "--comment=-a", "-x", "n1")
    options += (
        "--exclusive",
        "--mem=0",
        "--hint=nomultithread",
        "--ntasks-per-core=1",
        "--nodelist=n2",
        "--time-min=1",
    )
    options += (
        "--licenses=a",
        "--qos=low",
        "--reservation=r",
        "--exclude=n3",
        "-Ldata-c4",
        "-wnode-a1",
        "-H",
        "--gres=nvme:1",
    )
    assert made(resources=Resources(sbatch=options)).job.resources.sbatch == options


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"data": Data()}, "data.train is not said: a SQuAD v1.1 file, or demo"),
        ({"data": Data(train="demo", shards="/s")}, "data.shards: task squad reads data.train and data.dev"),
        ({"task": "smoke", "data": Data(shards="/s")}, "data.shards: task smoke reads no data"),
        ({"optimizer": Optimizer(freeze_step=400)}, "optimizer.freeze_step: adamw has no frozen stage"),
        ({"optimizer": Optimizer(freeze_step="auto")}, "optimizer.freeze_step: adamw has no frozen stage"),
        ({"model": Model()}, "model.init random needs model.vocab: a vocab.txt or tokenizer.json"),
        ({"model": Model(vocab="v", ckpt_type="tf")}, "model.ckpt_type: init random is no checkpoint"),
        (
            {"task": "pretrain", "model": Model(kind="roberta", vocab="v"), "data": Data(shards="/s")},
            "model.kind roberta has no segments, and so no next sentence: say task mlm",
        ),
        ({"model": Model(vocab="v", hidden=100)}, "model.hidden 100 is no multiple of 64: say model.heads as well"),
        ({"model": Model(vocab="v", hidden=64, heads=3)}, "model.hidden 64 is no multiple of model.heads 3"),
        ({"precision": "fp16"}, "precision fp16 needs GPUs, and resources.gpus_per_node is 0"),
        ({"train": Train(max_seq_length=67)}, "max_query_length 64: at least 68 is needed"),
    ],
)
def test_what_could_not_train_anywhere_is_refused(keys: dict[str, Any], told: str) -> None:
    assert told in refused(**keys)


def test_a_proof_of_the_launch_needs_neither_model_nor_data_nor_even_batches() -> None:
    proof = made(task="smoke", data=Data(), model=Model(), resources=Resources(nodes=7))
    assert (proof.world_size, proof.accumulation) == (7, 1)


def test_a_plan_says_how_its_ranks_share_a_batch_and_of_a_proof_that_it_trains_nothing() -> None:
    train = Train(global_batch=48, micro_batch=3)
    assert made(train=train, resources=Resources(nodes=4)).summary == "batch 48 = 3 x 4 x 4"
    proof = made(task="smoke", data=Data(), model=Model(), train=train, resources=Resources(nodes=4))
    assert proof.summary == "no training"


def test_the_least_that_trains_is_planned() -> None:
    train = Train(global_batch=48, micro_batch=1, max_seq_length=68, doc_stride=500)
    model = Model(vocab="v", hidden=96, heads=3)
    assert made(LOCAL, train=train, model=model, precision="fp16").shape.gpus_per_node == 1


@pytest.mark.parametrize(
    ("site", "resources", "told"),
    [
        (SLURM, Resources(), "trains on CPUs"),
        (with_(SLURM, defaults=Resources()), Resources(gpus_per_node=0), "no walltime"),
        (SLURM, Resources(gpus_per_node=2, tasks_per_node=3), "3 ranks share 2 GPUs"),
        (SLURM, Resources(gpus_per_node=4, tasks_per_node=1), "3 of 4 GPUs"),
    ],
)
def test_what_is_seldom_meant_is_told(site: Site, resources: Resources, told: str) -> None:
    (warning,) = made(site, resources=resources).warnings
    assert told in warning


def test_what_is_meant_is_not_told() -> None:
    assert made(resources=Resources(gpus_per_node=2)).warnings == ()
    assert made(resources=Resources(gpus_per_node=0)).warnings == ()
    assert made(LOCAL).warnings == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"deepspeed": {"zero_optimization": {"stage": 1}}}, ["deepspeed: backend torch does not read this section"]),
        ({"image": Image(ref="own/image")}, ["image.ref: engine none starts no container"]),
        ({"image": Image(overlay="$HOME/env")}, ["image.overlay: engine none starts no container"]),
        ({"deepspeed": {"zero_optimization": {"stage": 1}}, "backend": "deepspeed"}, []),
        ({}, []),
    ],
)
def test_settings_that_nothing_reads_are_named(keys: dict[str, Any], said: list[str]) -> None:
    warnings = made(LOCAL, **keys).warnings
    assert len(warnings) == len(said)
    assert all(warning.startswith(start) for warning, start in zip(warnings, said, strict=True))


def test_an_image_that_the_engine_reads_or_the_site_brings_is_no_cause_to_warn() -> None:
    gpus = Resources(gpus_per_node=2, time="30")
    assert made(SARUS, image=Image(ref="own/image"), resources=gpus).warnings == ()
    assert made(SARUS, engine="none", resources=gpus).warnings == ()
