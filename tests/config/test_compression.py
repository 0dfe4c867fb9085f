"""1-bit optimizers before anything is queued: what is refused, what is said, and which mpirun starts them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from planned import LOCAL, SLURM, SMALL, made, with_

from bertjob.cluster.preflight import check_freeze
from bertjob.config.checks.deepspeed_config import check_deepspeed
from bertjob.config.job import Data, Job, OneBit, Optimizer, Resources, Schedule, Train
from bertjob.config.load import dump, load_job
from bertjob.config.registry.optimizers import one_bit_names
from bertjob.config.site import Fabric, Mpi, Site
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.plan import Here, Plan, plan

HERE = Here(python="/venv/bin/python", cwd="/home/me", run=lambda name: f"/runs/{name}")
BATCH = Train(global_batch=8, micro_batch=1)
FOUR = Resources(nodes=2, tasks_per_node=4, gpus_per_node=4)
MVAPICH = Fabric(mpi_env={"mpich": {"MV2_USE_CUDA": "1"}})


def compressed(name: Any = "onebit-adam", freeze_step: Any = 400, **onebit: Any) -> Optimizer:
    return Optimizer(name=name, freeze_step=freeze_step, onebit=OneBit(**onebit))


def planned(site: Site = SLURM, **keys: Any) -> Plan:
    said = {"train": BATCH, "optimizer": compressed(), "resources": FOUR}
    return plan(Job(name="j", **SMALL | said | keys), site, None, HERE)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"optimizer": compressed(freeze_step=None)}, "optimizer.freeze_step is not said: the step from which on "),
        (
            {"train": Train(global_batch=8, micro_batch=1, max_steps=400)},
            "optimizer.freeze_step 400: the training ends with step 400, so it would never compress",
        ),
        ({"optimizer": compressed(transport="mpi")}, "optimizer.onebit.transport mpi needs mpi: true"),
        ({"optimizer": compressed(cuda_aware=False)}, "optimizer.onebit.cuda_aware is of MPI"),
        ({"optimizer": compressed(coeff_beta=0.5)}, "optimizer.onebit.coeff_beta: onebit-lamb alone reads it"),
        (
            {"optimizer": compressed("onebit-lamb", local_step_clipper=4)},
            "local_step_clipper: zeroone-adam alone reads",
        ),
        (
            {"optimizer": Optimizer(onebit=OneBit(check_every=7))},
            "optimizer.onebit.check_every: adamw compresses nothing",
        ),
        (
            {"backend": "deepspeed", "deepspeed": {"zero_optimization": {"stage": 2}}},
            "compresses each rank's own momentum, and deepspeed.zero_optimization stage 2 leaves it one slice",
        ),
        (
            {"backend": "deepspeed", "deepspeed": {"bf16": {"enabled": True}}},
            "DeepSpeed's bf16, which needs ZeRO 1, leaves it one slice of averages",
        ),
        ({"precision": "fp16", "resources": Resources(nodes=8, gpus_per_node=0)}, "precision fp16 needs GPUs"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_queued(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as refused:
        planned(**keys)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("optimizer.onebit.factor_min", "1.5", "a number greater than 0 and of at most 1"),
        ("optimizer.onebit.factor_max", "0.9", "a number of at least 1"),
        ("optimizer.onebit.coeff_beta", "1.0", "a number of at least 0 and less than 1"),
        ("optimizer.betas", "[0.9, 1.0]", "a number of at least 0 and less than 1"),
    ],
)
def test_what_an_optimizer_would_refuse_on_the_nodes_is_refused_with_file_and_key(
    tmp_path: Path, key: str, value: str, wanted: str
) -> None:
    *sections, name = key.split(".")
    nested = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    file = tmp_path / "mine.yaml"
    file.write_text(f"base: pretrain-onebit-lamb\n{nested}{'  ' * len(sections)}{name}: {value}\n")
    at = f"{key}[1]" if value.startswith("[") else key
    with pytest.raises(SpecError) as refused:
        load_job(str(file))
    shown = value.strip("[]").split(", ")[-1]
    assert str(refused.value) == f"{file}:{len(sections) + 2}: {at}: {wanted} is wanted, got '{shown}'"


def test_zero_one_adam_compresses_before_its_freeze_and_may_freeze_after_the_end() -> None:
    train = Train(global_batch=8, micro_batch=1, max_steps=400)
    assert planned(train=train, optimizer=compressed("zeroone-adam", 500)).job.optimizer.freeze_step == 500


def test_deepspeed_leaves_the_scaling_of_the_loss_to_a_1_bit_optimizer() -> None:
    section = {"zero_optimization": {"stage": 0}}
    check_deepspeed(section, "fp16", one_bit=True)
    with pytest.raises(SpecError, match="but fp16 needs 1, 2 or 3"):
        check_deepspeed(section, "fp16")


@pytest.mark.parametrize("name", one_bit_names())
def test_one_rank_is_told_that_it_has_nothing_to_compress(name: str) -> None:
    plain = "LAMB" if "lamb" in name else "Adam"
    told = f"optimizer {name}: one rank has nothing to compress, so this runs as {plain}"
    assert told in planned(LOCAL, optimizer=compressed(name), resources=Resources()).warnings
    assert told not in planned(optimizer=compressed(name)).warnings


def test_one_node_has_nothing_to_compress_between_nodes() -> None:
    told = planned(resources=Resources(tasks_per_node=4), optimizer=compressed(hierarchical=True)).warnings
    assert any("hierarchical compresses between nodes, and there is one, so this runs as Adam" in line for line in told)


def test_a_freeze_while_the_learning_rate_still_rises_is_told() -> None:
    train = Train(global_batch=8, micro_batch=1, max_steps=5000)

    def told(warmup_proportion: float) -> str:
        return "; ".join(planned(train=train, schedule=Schedule(warmup_proportion=warmup_proportion)).warnings)

    assert "freeze_step 400 freezes the variance while the learning rate still rises, to step 500" in told(0.1)
    assert "freeze_step" not in told(0.05)


@pytest.mark.parametrize(("epochs", "refused"), [(1.0, True), (4.0, False)])
def test_epochs_tell_how_many_steps_there_are_before_a_freeze(tmp_path, epochs: float, refused: bool) -> None:
    asked = [{"id": str(i), "question": "Who?", "answers": []} for i in range(960)]
    file = tmp_path / "train.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [{"context": "A " * 99, "qas": asked}]}]}))
    train = Train(global_batch=8, micro_batch=1, epochs=epochs)  # 120 steps an epoch
    job = planned(train=train, data=Data(train=str(file)), optimizer=compressed(freeze_step=200)).job
    if refused:
        with pytest.raises(SpecError, match="freeze_step 200: the training ends with step 126, so it would never"):
            check_freeze(job)
    else:
        check_freeze(job)


@pytest.mark.parametrize(
    ("site", "onebit", "words"),
    [
        (SLURM, {}, "mpirun -n 8 -npernode 4 "),
        (SLURM, {"cuda_aware": True}, "mpiexec.hydra -n 8 -ppn 4 "),
        (with_(SLURM, fabric=MVAPICH), {}, "mpiexec.hydra -n 8 -ppn 4 "),
        (with_(SLURM, fabric=MVAPICH), {"cuda_aware": False}, "mpirun -n 8 -npernode 4 "),
        (with_(SLURM, mpi=Mpi(family="mpich")), {}, "mpiexec.hydra -n 8 -ppn 4 "),
        (with_(SLURM, mpi=Mpi(family="openmpi", version=5)), {"cuda_aware": True}, "mpirun -n 8 --map-by ppr:4:node "),
    ],
)
def test_cuda_aware_chooses_mpirun_where_the_site_does_not_name_its_mpi(
    site: Site, onebit: dict[str, Any], words: str
) -> None:
    text = made(site, mpi=True, launcher="auto", train=BATCH, optimizer=compressed(**onebit), resources=FOUR)
    assert f"\n{words}" in text
    assert ("# The site does not name its MPI (mpi.family): cuda_aware " in text) == (site.mpi.family is None)


def test_what_the_job_leaves_open_is_said_in_the_resolved_one() -> None:
    assert planned().job.optimizer.onebit == OneBit(transport="torch")
    over_mpi = {"mpi": True, "launcher": "auto"}
    by_ethernet, by_infiniband = (planned(site, **over_mpi) for site in (SLURM, with_(SLURM, fabric=MVAPICH)))
    assert by_ethernet.job.optimizer.onebit == OneBit(transport="mpi", cuda_aware=False)
    assert by_infiniband.job.optimizer.onebit == OneBit(transport="mpi", cuda_aware=True)
    again = plan(by_infiniband.job, by_infiniband.site, None, HERE)
    assert again.job == by_infiniband.job
    assert planned(optimizer=Optimizer()).job.optimizer.onebit == OneBit()


def test_a_launcher_that_is_named_is_not_concluded_from_cuda_aware() -> None:
    assert planned(mpi=True, launcher="hydra").job.optimizer.onebit.cuda_aware is False
    with pytest.raises(PreflightError, match="launcher auto cannot choose: which MPI the ranks link is not said"):
        planned(mpi=True, launcher="auto", engine="apptainer")


def test_other_optimizers_keep_quiet_about_the_section() -> None:
    assert "onebit" not in dump(load_job("squad").value)
    assert "onebit" in dump(load_job("squad-onebit").value)
    said = msgspec.structs.replace(load_job("squad").value, optimizer=Optimizer(onebit=OneBit(check_every=3)))
    assert "check_every: 3" in dump(said)


@pytest.mark.parametrize(
    ("name", "batch", "optimizer"),
    [
        ("squad-onebit", (96, 3, 384), {"name": "onebit-adam", "lr": 3e-5, "freeze_step": 400, "weight_decay": 0.0}),
        ("pretrain-onebit", (4096, 16, 128), {"name": "onebit-adam", "lr": 4e-4, "freeze_step": 23000}),
        ("pretrain-onebit-lamb", (65536, 64, 128), {"name": "onebit-lamb", "lr": 11e-3, "freeze_step": 1000}),
        ("pretrain-onebit-lamb-seq512", (32768, 16, 512), {"lr": 2e-3, "freeze_step": 107, "trust": (0.01, 0.3)}),
        ("pretrain-zeroone", (4096, 16, 128), {"name": "zeroone-adam", "lr": 4e-4, "freeze_step": 12500}),
        ("pretrain-zeroone-seq512", (4096, 8, 512), {"name": "zeroone-adam", "freeze_step": 2489}),
    ],
)
def test_the_jobs_have_the_settings_of_their_sources(
    name: str, batch: tuple[int, int, int], optimizer: dict[str, Any]
) -> None:
    job = load_job(name).value
    assert (job.train.global_batch, job.train.micro_batch, job.train.max_seq_length) == batch
    assert {key: getattr(job.optimizer, key) for key in optimizer} == optimizer
    assert plan(job, with_(SLURM, defaults=Resources(nodes=8, gpus_per_node=4)), None, HERE).world_size == 32
