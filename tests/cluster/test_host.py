"""What commands print, recorded from the real ones, and what is read from it."""

import os
import pwd
import time

import pytest

from bertjob.cluster.host import filesystem, programs
from bertjob.cluster.process import ask
from bertjob.cluster.slurm import facts
from bertjob.config.job import Library
from bertjob.config.registry.launcher_programs import OPEN_MPI
from bertjob.config.site import Site

SINFO = """\
normal*|up|1-00:00:00|1-infinite|4|12|64000|gpu:1|gpu|0/4|1|12
urgent|up|1:00:00|1-8|4+|12+|64000+|(null)|(null)|1/3|1+|6+
debug|down|infinite|1|2|128|512000|gpu:a100:4(S:0-3),nvme:1|amd,a100|0/0|2|32
a line of another form
"""
MPI_22_05 = """\
MPI plugin types are...
\tpmix
\tnone
\tcray_shasta
\tpmi2
specific pmix plugin versions available: pmix_v4
"""
MPI_20_11 = "srun: MPI types are...\nsrun: cray_shasta\nsrun: none\nsrun: pmi2\nsrun: pmix\nsrun: pmix_v3\n"
CONFIG = """\
Configuration data as of 2026-11-20T13:51:50
AccountingStorageBackupHost = (null)
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = bj0
PowerPlugin             =
SchedulerParameters     = batch_sched_delay=0,sched_interval=2
"""
OMPI_INFO = """\
package:Debian OpenMPI
ompi:version:full:4.1.4
mca:pmix:ext3x:version:"mca:2.1.0"
mca:pmix:ext3x:version:"api:2.0.0"
mca:pmix:isolated:version:"mca:2.1.0"
mca:pmix:flux:version:"mca:2.1.0"
mca:ess:pmi:version:"mca:2.1.0"
"""


def test_partitions_of_sinfo():
    normal, urgent, debug = facts.parse_sinfo(SINFO)
    assert [group.cores for group in (normal, urgent, debug)] == [12, 6, 64]
    assert [group.more for group in (normal, urgent, debug)] == [False, True, False]
    assert (normal.partition, normal.default, normal.up, normal.time, normal.idle) == (
        "normal",
        True,
        True,
        "1-00:00:00",
        4,
    )
    assert (normal.gpus, normal.gpu, normal.features, normal.most_nodes) == (1, "", ("gpu",), None)
    assert (urgent.nodes, urgent.cpus, urgent.gpus, urgent.features, urgent.most_nodes) == (4, 12, 0, (), 8)
    assert (debug.up, debug.time, debug.gpus, debug.gpu, debug.most_nodes) == (False, None, 4, "a100", 1)


def test_partitions_of_several_clusters():
    head = "PARTITION|AVAIL|TIMELIMIT|JOB_SIZE|NODES|CPUS|MEMORY|GRES|AVAIL_FEATURES|NODES(A/I)|SOCKETS|CORES\n"
    found = facts.parse_sinfo(f"CLUSTER: daint\n{head}{SINFO}\nCLUSTER: eiger\n{head}{SINFO}")
    assert [group.cluster for group in found] == ["daint"] * 3 + ["eiger"] * 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(null)", ("", 0)),
        ("gpu:1", ("", 1)),
        ("gpu:h100:8,nvme:1", ("h100", 8)),
        ("craynetwork:4,gpu:a100:4(S:0,1)", ("a100", 4)),
        ("gpu:v100:2,gpu:p100:1", ("v100", 3)),
    ],
)
def test_gpus_of_a_gres(text, found):
    assert facts.parse_gres(text) == found


def test_types_of_srun_mpi_list():
    assert facts.parse_mpi_list(MPI_22_05) == ("cray_shasta", "none", "pmi2", "pmix", "pmix_v4")
    assert facts.parse_mpi_list(MPI_20_11) == ("cray_shasta", "none", "pmi2", "pmix", "pmix_v3")
    assert facts.parse_mpi_list("srun: error: Unable to contact slurm controller") == ()


def test_a_plugin_of_one_pmix_version_is_a_pmix():
    found = facts.SchedulerFacts(mpi_types=("none", "pmix_v4"))
    assert found.offers("pmix")
    assert not found.offers("pmi2")


def test_settings_that_are_not_set_are_left_out():
    assert facts.parse_config(CONFIG) == {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "ClusterName": "bj0",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=2",
    }


def test_the_controllers_clock():
    said = time.mktime((2026, 11, 20, 13, 51, 50, 0, 0, -1))
    assert facts.parse_clock(CONFIG, said + 0.7) == 0  # it says whole seconds
    assert facts.parse_clock(CONFIG, said - 60) == 60
    assert facts.parse_clock(CONFIG, said + 60) == -60
    assert facts.parse_clock("no such line", said) is None


def test_without_slurm_conf_the_last_complaint_is_put_in_words():
    said = "scontrol: error: DNS SRV lookup failed; scontrol: fatal: Could not establish a configuration source"
    assert facts._last_words(said) == facts.NO_CONFIGURATION
    assert facts._last_words("scontrol: error: slurm is odd") == "slurm is odd"


def test_ping_says_which_controllers_are_down():
    up, down = "Slurmctld(primary) at ctl is UP", "Slurmctld(backup) at ctl2 is DOWN"
    assert facts.parse_ping(f"{up}\n{down}\n") == ""
    assert facts.parse_ping("Slurmctld(primary) at ctl is DOWN\n") == "slurmctld(primary) at ctl is DOWN"


@pytest.mark.parametrize(
    ("output", "version", "release"),
    [
        ("slurm-wlm 22.05.8\n", "22.05.8", (22, 5)),
        ("slurm 23.11.4\n", "23.11.4", (23, 11)),
        ("slurm 24.05.0-0rc1\n", "24.05.0-0rc1", (24, 5)),
        ("", "", None),
    ],
)
def test_slurms_version(output, version, release):
    assert facts.parse_version(output) == version
    assert facts.SchedulerFacts(version=version).release == release


@pytest.mark.parametrize(
    ("output", "product", "version"),
    [
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n", "Open MPI", "4.1.4"),
        ("mpiexec (OpenRTE) 4.1.4\n", "Open MPI", "4.1.4"),
        ("mpirun (Open MPI) 5.0.11\n", "Open MPI", "5.0.11"),
        (
            "HYDRA build details:\n    Version:                                 5.0.2\n",
            "MPICH's or MVAPICH's hydra",
            "5.0.2",
        ),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307\n", "Intel MPI", "2021.9"),
    ],
)
def test_mpiruns_version(output, product, version):
    found = programs.parse_banner("mpirun", output)
    assert (found.product, found.version) == (product, version)
    assert found.library.family == ("openmpi" if product == "Open MPI" else "mpich")


def test_an_unknown_mpirun_is_none():
    assert programs.parse_banner("mpirun", "usage: mpirun …") is None


def test_what_open_mpi_4_speaks_is_in_its_pmix_components_alone():
    components = programs.parse_pmix(OMPI_INFO)
    assert components == ("ext3x", "flux", "isolated")
    found = programs.HostLauncher("mpirun", OPEN_MPI, "Open MPI", "4.1.4", components)
    assert found.library == Library(family="openmpi", version="4.1.4", pmi=("pmix",))
    assert programs.spoken(("isolated", "flux")) == ()
    assert programs.spoken(("s1", "s2", "pmix3x")) == ("pmi1", "pmi2", "pmix")


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("podman version 4.3.1\n", "4.3.1"),
        ("Docker version 28.2.2, build e6534b4\n", "28.2.2"),
        ("apptainer version 1.4.5\n", "1.4.5"),
        ("Modules Release 5.2.0 (2022-11-08)\n", "5.2.0"),
        ("Modules based on Lua: Version 8.7.32 2023-08-28\n", "8.7.32"),
        ("0.31\n", "0.31"),
        ("no number", ""),
    ],
)
def test_versions_of_engines_and_modules(output, version):
    assert programs.parse_version(output) == version


def test_gpus_of_nvidia_smi():
    output = "GPU 0: NVIDIA H200 (UUID: GPU-5a)\nGPU 1: NVIDIA H200 (UUID: GPU-6b)\n"
    assert programs.parse_gpus(output) == ("NVIDIA H200", "NVIDIA H200")


def test_modules_and_setup_lines_make_the_environment(tmp_path):
    environment, error = programs.loaded(
        Site(name="s", setup=(f"export PATH={tmp_path}:$PATH", "echo noise", "export A=$'b\\nc'"))
    )
    assert environment["PATH"].startswith(f"{tmp_path}:")
    assert (environment["A"], error) == ("b\nc", "")


def test_modules_that_cannot_be_loaded_are_one_line():
    environment, error = programs.loaded(Site(name="s", setup=("echo 'no module x' >&2; exit 3",)))
    assert (environment, error) == ({**environment, **os.environ}, "no module x")


@pytest.mark.parametrize("setup", [(), ("true",), ("false",)])
def test_programs_are_asked_with_a_users_name(monkeypatch, setup):
    """ch-run without USER does not even tell its version."""
    monkeypatch.delenv("USER", raising=False)
    environment, _ = programs.loaded(Site(name="s", setup=setup))
    assert environment["USER"] == pwd.getpwuid(os.getuid()).pw_name


def test_space_of_df():
    output = "Type  1B-blocks  Avail IFree Mounted on\nlustre 270553174016 72513036288 15956407 /scratch with spaces\n"
    found = filesystem.parse_df("/scratch/me", output)
    assert (found.kind, found.size, found.free, found.free_files) == ("lustre", 270553174016, 72513036288, 15956407)
    assert found.shared
    assert filesystem.parse_df("/", "df: /: Permission denied") is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nas:/home 41943040* 40000000 50000000 7days 12345 0 0", (41943040 * 1024, 40000000 * 1024)),
        (
            "        /lustre  123456       0 1048576       -    1234       0       0       -",
            (123456 << 10, 1048576 << 10),
        ),
        ("        /lustre  123456       0       0       -    1234       0       0       -", (None, None)),
    ],
)
def test_quota_of_quota_and_lustre(line, found):
    header = "Disk quotas for user joe (uid 1000):\n     Filesystem  kbytes   quota   limit   grace   files\n"
    assert filesystem.parse_quota(f"{header}{line}\n") == found


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path):
    assert filesystem.place(str(tmp_path / "new" / "er")).path == str(tmp_path)


def test_a_command_that_is_missing_fails_or_hangs_is_a_line():
    assert ask("no-such-command").error == "there is no command no-such-command on this machine"
    assert ask("sh", "-c", "echo why >&2; exit 3").error == "why"
    before = time.monotonic()
    assert ask("sh", "-c", "sleep 60 & sleep 60", timeout=0.2).error == "no answer within 0.2 s"
    assert time.monotonic() - before < 50  # the shell's own child, which holds the pipe, sleeps for 60


def test_questions_are_asked_without_the_variables_of_an_enclosing_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/x")
    assert ask("sh", "-c", "echo $SLURM_JOB_ID $SLURM_CONF").output == "/x\n"
