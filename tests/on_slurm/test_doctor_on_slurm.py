"""Doctor on a real Slurm: what it says there, the proof of a launch, a node that fails, and a site file that works."""

import json
import sys
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab

pytestmark = pytest.mark.cluster

IMAGE = "localhost/any:1"
ENGINE = f"""\
#!/bin/sh
[ "$1" = run ] || exit 1
if [ "$(hostname)" = BROKEN ]; then echo "Error: no space left on device" >&2; exit 125; fi
while [ "$1" != {IMAGE} ]; do shift; done
shift
exec "$@"
"""
"""Podman's command line with no container behind it, broken on one node."""


def levels(said: str) -> dict[str, str]:
    """The worst level of each check."""
    worst = {"ok": 0, "warn": 1, "fail": 2}
    found: dict[str, str] = {}
    for line in json.loads(said):
        assert line.keys() == {"check", "level", "finding", "remedy"}
        found[line["check"]] = max(found.get(line["check"], "ok"), line["level"], key=worst.__getitem__)
    return found


def test_all_is_green_but_what_nobody_has_said_or_proved(bertjob: Face) -> None:
    found = levels(bertjob("doctor", "--gpus-per-node", 1, "--json").stdout)
    assert {"Slurm", "trap", "partition", "PMI types", "clock", "host MPI", "launcher", "ports"} <= found.keys()
    assert {check for check, level in found.items() if level == "warn"} == {"proof", "run directory"}
    assert "fail" not in found.values()


def test_what_slurm_would_let_pend_for_ever_is_red(bertjob: Face) -> None:
    done = bertjob("doctor", "--nodes", 9, "--partition", "urgent", "--time", "2:00:00", "--json", code=3)
    (red,) = [line for line in json.loads(done.stdout) if line["level"] == "fail"]
    assert red["check"] == "partition"
    assert red["finding"] == (
        "urgent: 9 nodes are asked for, a job may have 4; 02:00:00 is asked for, the limit is 1:00:00"
    )


def test_a_stopped_controller_is_red(bertjob: Face, cluster: Lab) -> None:
    cluster.stop_daemon("slurmctld")
    try:
        done = bertjob("doctor", code=3)
        assert "is DOWN" in done.stdout
        assert "✗ Slurm" in done.stdout
        bertjob("sites", "new", code=4)
    finally:
        cluster.start_daemon("slurmctld")


@pytest.mark.slow
def test_a_proof_is_kept_and_submit_has_nothing_more_to_say(bertjob: Face) -> None:
    site = bertjob.site("lab")
    done = bertjob("doctor", "--prove", "--nodes", 2, "--site", site, "--json")
    proof = json.loads(done.stdout)
    assert len({rank["host"] for rank in proof["ranks"]}) == 2
    assert proof["all_reduces"]
    found = json.loads(bertjob("doctor", "--site", site, "--json").stdout)
    (said,) = [line for line in found if line["check"] == "proof"]
    assert said["level"] == "ok"
    assert "2 ranks on 2 nodes" in said["finding"]
    other = bertjob.site("other", python="/bin/true")
    doubt = bertjob("submit", bertjob.job(), "--site", other).stderr
    assert "no launch was proved yet" in doubt
    assert f": bertjob doctor --prove --nodes 2 --site {other}\n" in doubt
    same = bertjob.site("lab", python="/bin/true")
    assert "proved" not in bertjob("submit", bertjob.job(), "--site", same).stderr


@pytest.mark.slow
def test_a_node_that_cannot_start_the_image_is_named_and_left_out(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    broken = cluster.shape.host(2)
    program = tmp_path / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(ENGINE.replace("BROKEN", broken))
    program.chmod(0o755)
    keys = {"engine": "podman", "image": {"ref": IMAGE}, "python": sys.executable}
    site = bertjob.site("pod", setup=[f"export PATH={program.parent}:$PATH"], **keys)
    done = bertjob("doctor", "--prove", "--nodes", 2, "--site", site, code=1)
    assert done.stderr.splitlines()[-1] == (
        f"bertjob: no proof: {broken}: Error: no space left on device (submit leaves it out for a week)"
    )
    script = bertjob("submit", "smoke", "--site", site, "--dry-run", "--", "--exclude=nid00004").stdout
    assert f"#SBATCH --exclude=nid00004,{broken}\n" in script
    done = bertjob("doctor", "--prove", "--nodes", 3, "--site", site, "--json")
    assert f"left out: {broken} (Error: no space left on device)" in done.stderr
    hosts = {rank["host"] for rank in json.loads(done.stdout)["ranks"]}
    assert hosts == {cluster.shape.host(node) for node in (1, 3, 4)}
    assert broken in bertjob("doctor", "--forget", "--site", site).stderr
    assert "#SBATCH --exclude" not in bertjob("submit", "smoke", "--site", site, "--dry-run").stdout


def test_a_site_file_made_from_the_running_slurm_works_with_submit(bertjob: Face, tmp_path: Path) -> None:
    file = bertjob("sites", "new", "-o", "mine.yaml").stdout.splitlines()[-1]
    bertjob("sites", "new", "-o", "mine.yaml", code=3)  # it writes over nothing
    (tmp_path / "mine.yaml").write_text((tmp_path / "mine.yaml").read_text() + "python: /bin/true\n")
    site = json.loads(bertjob("sites", f"./{file}", "--json").stdout)
    assert site["limits"] == {"nodes": 4, "time": "1-00:00:00", "cpus_per_node": 12, "gpus_per_node": 1}
    assert {"none", "pmi2", "pmix"} <= set(site["mpi"]["slurm"])
    bertjob("submit", bertjob.job(), "--site", f"./{file}", "--wait")
    refused = bertjob("submit", bertjob.job(), "--site", f"./{file}", "--nodes", 5, code=3)
    assert "at most 4 nodes" in refused.stderr


def test_bridges_that_have_the_same_address_on_several_nodes_are_named(bertjob: Face, cluster: Lab) -> None:
    """Of container engines, such as docker0: an MPI may take the way to itself for the way to the other node."""
    try:
        for node in (1, 2):
            for words in (["link", "add", "name", "docker0", "type", "bridge"], ["link", "set", "docker0", "up"]):
                assert cluster.on_node(node, "ip", *words).returncode == 0
            cluster.on_node(node, "ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
        done = bertjob("doctor", "--prove", "--nodes", 2, "--json")
    finally:
        for node in (1, 2):
            cluster.on_node(node, "ip", "link", "del", "docker0")
    assert json.loads(done.stdout)["warnings"] == [
        "MPI may hang: docker0 (172.17.0.1) on several nodes; fabric.interface of the site names the right one"
    ]


def test_on_a_site_without_a_scheduler_the_proof_is_made_here(bertjob: Face) -> None:
    done = bertjob("doctor", "--prove", "--site", "local", "--ntasks-per-node", 2)
    assert "✓ proved  local and engine none" in done.stdout
    assert "2 ranks on 1 node" in done.stdout
