"""Doctor on folders, ports, interfaces and GPUs; and its report."""

import re

import msgspec
import pytest
from cases import ABOUT, GB, PROOF, TYPED, case, one, said

from bertjob.cli.doctor_report import proof_view, report
from bertjob.cluster.doctor import SECTIONS, findings, host_checks, job_checks
from bertjob.cluster.doctor.case import Case
from bertjob.cluster.host import Machine, Places, Programs
from bertjob.cluster.host.filesystem import Place
from bertjob.config.job import Job
from bertjob.config.site import Fabric, Site
from bertjob.launch import script


def place(**keys):
    return Place(**{"path": "/x", "kind": "lustre", "size": 10**13, "free": 10**12} | keys)


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (place(), "ok"),
        (place(free=GB), "fail"),
        (place(free=10 * GB), "warn"),
        (place(used=99 * GB, quota=100 * GB), "fail"),
        (place(writable=False), "fail"),
        (place(free_files=3), "fail"),
        (place(kind="ext4"), "warn"),
        (place(error="no answer within 5 s"), "fail"),
    ],
)
def test_space_of_the_run_directory(found, level):
    places = Places(folders={"run directory": found})
    assert one(host_checks.folders, case(places=places)).level == level


def test_a_file_system_is_told_once():
    places = Places(folders={"run directory": place(), "home": place(path="/y")})
    assert len(list(host_checks.folders(case(places=places)))) == 1


def test_caches_on_a_shared_home():
    homes = host_checks.cache_folders({"TRITON_CACHE_DIR": "/tmp/t"}, "/home/me")
    assert homes["TRITON_CACHE_DIR"] == "/tmp/t"
    assert homes["TORCH_EXTENSIONS_DIR"] == "/home/me/.cache/torch_extensions"
    shared = Places(folders={"TRITON_CACHE_DIR": place(kind="nfs4"), "HF_HOME": place(kind="ext4")})
    finding = one(host_checks.caches, case(places=shared))
    assert (finding.level, finding.finding.partition(":")[0]) == ("warn", "TRITON_CACHE_DIR")


def test_ports_of_outgoing_connections():
    assert one(host_checks.ports, case(places=Places(ephemeral=(32768, 60999)))).level == "ok"
    assert one(host_checks.ports, case(places=Places(ephemeral=(10000, 60999)))).level == "warn"
    assert f"$(({host_checks._FIRST_PORT} + " in script.port_choice("0")


def test_an_interface_that_does_not_exist():
    there = Places(interfaces=("eth0", "hsn0", "lo"))
    for wanted, level in (("hsn0", "ok"), ("hsn", "ok"), ("ib0", "warn")):
        site = Site(name="s", fabric=Fabric(interface=wanted))
        assert one(host_checks.interface, case(site, places=there)).level == level
    here = Site(name="l", scheduler="none", launcher="local", fabric=Fabric(interface="ib0"))
    assert one(host_checks.interface, case(here, places=there)).level == "fail"


def test_gpus_of_this_machine():
    here = Site(name="l", scheduler="none", launcher="local")
    assert one(host_checks.gpus, case(here)).level == "fail"
    assert one(host_checks.gpus, case(here, programs=Programs(gpus=("NVIDIA H200",)))).level == "ok"


def test_files_of_the_job():
    found = said(
        job_checks.files, case(problems={"data.train": "/x: there is no such file", "packages": "torch is missing"})
    )
    assert {level for level, _ in found.values()} == {"fail"}


def test_reports_read_without_colour(capsys):
    from rich.console import Console

    console = Console(width=100, no_color=True, force_terminal=False)
    console.print(report("j at s", findings(case(places=Places(folders={"run directory": place(free=GB)})))))
    console.print(proof_view(PROOF, str(ABOUT)))
    shown = capsys.readouterr().out
    assert re.search(r"^✗ run directory  /x: 1\.0 GB free", shown, flags=re.MULTILINE)
    assert re.search(r"^✓ Slurm ", shown, flags=re.MULTILINE)
    assert "2.000 GB/s" in shown
    assert "! the clock of n2" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_every_check_is_called_for_a_case_of_which_nothing_is_known():
    bare = Case(job=Job(name="j", task="smoke"), site=Site(name="s"), machine=Machine(), typed=TYPED, refusal="no plan")
    found = findings(bare)
    assert found.keys() == {"scheduler", *SECTIONS}
    assert "scheduler" not in findings(msgspec.structs.replace(bare, site=Site(name="l", scheduler="none")))
