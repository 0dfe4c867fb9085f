"""Jobs that no partition could ever start, which Slurm itself takes into its queue."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from planned import SMALL

from bertjob.cluster import capacity
from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.config.job import Job, Resources
from bertjob.config.site import Site

SITE = Site(name="daint")
NORMAL = NodeGroup(partition="normal", default=True, time="1-00:00:00", most_nodes=3, nodes=4, cpus=12, gpus=1)
WIDE = replace(NORMAL, partition="wide", default=False, most_nodes=None, nodes=100)


def found(groups: Sequence[NodeGroup] = (NORMAL, WIDE), site: Site = SITE, **asked: object) -> str:
    resources = Resources(**{"nodes": 2, "tasks_per_node": 1, "cpus_per_task": 1, "gpus_per_node": 1} | asked)
    return "; ".join(map(str, capacity.problems(Job(name="j", **SMALL, resources=resources), site, groups)))


def test_a_job_that_fits_has_no_problem() -> None:
    assert not found(time="24:00:00", nodes=3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"nodes": 4}, "4 nodes are asked for, a job may have 3"),
        ({"time": "1-00:00:01"}, "1-00:00:01 is asked for, the limit is 1-00:00:00"),
        ({"tasks_per_node": 4, "cpus_per_task": 4}, "16 CPUs per node are asked for, there are 12"),
        ({"gpus_per_node": 2}, "2 GPUs per node are asked for, there are 1"),
    ],
)
def test_what_the_default_partition_has_not_is_said(asked: dict[str, object], said: str) -> None:
    assert found(**asked) == f"partition normal: {said}: ask for less, or for another --partition"


def test_one_of_several_partitions_is_enough() -> None:
    assert not found(nodes=50, partition="normal,wide")
    assert "partition normal: 500 nodes" in (both := found(nodes=500, partition="normal,wide"))
    assert "; partition wide: 500 nodes" in both


def test_a_quality_of_service_may_lift_the_limits_but_makes_no_nodes() -> None:
    assert not found(nodes=4, qos="long", time="3-00:00:00")
    assert not found(nodes=4, sbatch=("-qlong",))
    assert "5 nodes are asked for, a job may have 4" in found(nodes=5, qos="long")


@pytest.mark.parametrize("option", ["--partition=secret", "-psecret", "--clusters=other", "-Mother", "-M all"])
def test_nodes_that_were_not_asked_about_are_left_to_the_scheduler(option: str) -> None:
    assert not found(nodes=500, sbatch=(option,))


def test_a_partition_that_sinfo_does_not_show_is_left_to_the_scheduler() -> None:
    assert not found(nodes=500, partition="hidden")
    assert not found(nodes=500, groups=())


@pytest.mark.parametrize("option", ["--partition=wide", "-pwide", "-p wide"])
def test_a_partition_counts_in_any_spelling(option: str) -> None:
    assert not found(nodes=50, sbatch=tuple(option.split()))
    assert found(nodes=500, sbatch=tuple(option.split())).startswith("partition wide: 500 nodes are asked for")


OTHER = replace(NORMAL, cluster="other", cpus=4)
MORE = replace(NORMAL, cluster="more", nodes=50, most_nodes=None)


@pytest.mark.parametrize("option", ["--clusters=other", "-Mother", "-M other", "--cluster=other"])
def test_the_nodes_of_the_cluster_that_is_named_count(option: str) -> None:
    words = tuple(option.split())
    assert not found((OTHER,), sbatch=words)
    said = "partition normal of cluster other: 6 CPUs per node are asked for, there are 4: ask for less"
    assert found((OTHER,), cpus_per_task=6, sbatch=words).startswith(said)


def test_one_of_several_clusters_is_enough() -> None:
    both = ("--clusters=other,more",)
    assert not found((OTHER, MORE), nodes=40, sbatch=both)
    said = found((OTHER, MORE), nodes=60, sbatch=both)
    assert "of cluster other: 60 nodes are asked for" in said
    assert "of cluster more: 60 nodes are asked for" in said
    assert not found((OTHER,), nodes=60, sbatch=both)  # the other one does not answer


def test_gpus_that_no_option_asks_for_come_with_the_partition() -> None:
    assert not found(site=replace(SITE, gpu_option="none"), gpus_per_node=4)


FAT = NodeGroup(partition="normal", nodes=2, cpus=64, cores=32, memory=500_000, features=("fat", "gpu"))
THIN = NodeGroup(
    partition="normal", default=True, nodes=10, cpus=24, cores=12, memory=64_000, gpus=4, features=("thin", "gpu")
)
MIXED = (THIN, FAT)
MEMORY = {"gpus_per_node": 0, "mem": "100G"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpus_per_node": 0, "cpus_per_task": 65}, "65 CPUs per node are asked for, there are 64"),
        (MEMORY | {"mem": "1T"}, "1048576 MB of memory per node are asked for, there are 500000"),
        (
            {"gpus_per_node": 0, "sbatch": ("--mem=600000",)},
            "600000 MB of memory per node are asked for, there are 500000",
        ),
        (
            {"gpus_per_node": 0, "cpus_per_task": 8, "sbatch": ("--mem-per-cpu=100G",)},
            "819200 MB of memory per node are asked for, there are 500000",
        ),
        ({"gpus_per_node": 0, "sbatch": ("-C", "nope")}, "no node has the features nope"),
        (
            {"gpus_per_node": 4, "sbatch": ("--mem-per-gpu=30G",)},
            "2 nodes of at least 4 GPUs and 1 CPUs and 122880 MB of memory are asked for, there are 0",
        ),
        (
            {"gpus_per_node": 4, "sbatch": ("--mem-per-g", "200G")},
            "819200 MB of memory per node are asked for, there are 500000",
        ),
        *(
            (
                {"gpus_per_node": 0, "cpus_per_task": 33, "sbatch": words},
                "33 CPU cores per node are asked for, there are 32",
            )
            for words in (
                ("--hint=nomultithread",),
                ("--hint", "compute_bound"),
                ("--threads-per-core=1",),
                ("--threads=1",),
            )
        ),
        (
            {"gpus_per_node": 0, "tasks_per_node": 33, "sbatch": ("--ntasks-per-core=1",)},
            "33 CPU cores per node are asked for, there are 32",
        ),
        ({"gpus_per_node": 0, "sbatch": ("--mincpus=65",)}, "65 CPUs per node are asked for, there are 64"),
        ({"gpus_per_node": 5}, "5 GPUs per node are asked for, there are 4"),
        (MEMORY | {"nodes": 3}, "3 nodes of at least 1 CPUs and 102400 MB of memory are asked for, there are 2"),
        ({"mem": "100G"}, "2 nodes of at least 1 GPUs and 1 CPUs and 102400 MB of memory are asked for, there are 0"),
        (
            {"gpus_per_node": 0, "cpus_per_task": 32, "constraint": "thin"},
            "32 CPUs per node are asked for, there are 24",
        ),
        (
            {"gpus_per_node": 0, "nodes": 3, "constraint": "(gpu)&(fat)"},
            "3 nodes with the features (gpu)&(fat) of at least 1 CPUs are asked for, there are 2",
        ),
        ({"gpus_per_node": 0, "constraint": "fat&thin"}, "no node has the features fat&thin"),
        ({"gpus_per_node": 0, "nodes": 13}, "13 nodes are asked for, a job may have 12"),
    ],
)
def test_of_nodes_that_differ_enough_must_have_all_that_is_asked_of_each(asked: dict[str, object], said: str) -> None:
    assert found(MIXED, **asked) == f"partition normal: {said}: ask for less, or for another --partition"


@pytest.mark.parametrize(
    "asked",
    [
        MEMORY | {"nodes": 2},
        MEMORY | {"mem": "0", "nodes": 12},
        {"gpus_per_node": 0, "cpus_per_task": 64},
        {"gpus_per_node": 0, "nodes": 12, "constraint": "fat|thin"},
        {"gpus_per_node": 0, "nodes": 2, "constraint": "fat"},
        {"gpus_per_node": 0, "nodes": 12, "constraint": "[fat|thin]"},
        {"gpus_per_node": 0, "nodes": 12, "constraint": "fat*2&thin*4"},
        {"gpus_per_node": 0, "nodes": 12, "constraint": "fat&thin|gpu"},
        {"gpus_per_node": 0, "nodes": 12, "constraint": "fat&"},
        {"gpus_per_node": 0, "constraint": "none", "sbatch": ("-Cfat",)},
        {"gpus_per_node": 2, "sbatch": ("--mem-per-gpu=30G",)},
        {"gpus_per_node": 0, "tasks_per_node": 24, "sbatch": ("--ntasks-per-core=2",)},
        {"gpus_per_node": 0, "cpus_per_task": 64, "sbatch": ("--hint=multithread",)},
        {"gpus_per_node": 0, "cpus_per_task": 32, "sbatch": ("--hint", "nomultithread")},
        MEMORY | {"mem": "1T", "sbatch": ("--mem=60G",)},
        {"gpus_per_node": 4, "nodes": 10, "cpus_per_task": 24, "mem": "60G"},
    ],
)
def test_what_fits_or_cannot_be_told_passes(asked: dict[str, object]) -> None:
    assert not found(MIXED, **asked)


def test_numbers_that_nobody_has_configured_or_that_are_the_least_of_several_are_unknown() -> None:
    assert not found((replace(FAT, default=True, memory=1),), gpus_per_node=0, mem="1T")
    assert not found((replace(FAT, default=True, more=True),), gpus_per_node=0, mem="1T", cpus_per_task=500)
