"""What a job asks of Slurm, beside the site's defaults and what the shell says."""

import pytest

from bertjob.config.job import Resources
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.launch.schedulers.slurm_constraint import both
from bertjob.launch.schedulers.slurm_requirements import Combined, combined

SITE = Site(
    name="here",
    defaults=Resources(
        constraint="gpu",
        partition="normal",
        mem="10G",
        gpus_per_node=1,
        time="10",
        sbatch=("--ntasks-per-core=1", "-xn1"),
    ),
    combine={"gpus-per-node": "site"},
)


NOTHING = Resources()


def asked(job: Resources = NOTHING, site: Site = SITE, **environment: str) -> Combined:
    return combined(job, site, environment, "SBATCH_")


@pytest.mark.parametrize(
    ("site", "job", "whole"),
    [
        ("gpu", "startx", "(gpu)&(startx)"),
        ("gpu", "gpu", "gpu"),
        ("gpu", "gpu&startx", "gpu&startx"),
        ("gpu", "a|b", "(gpu)&(a|b)"),
        ("gpu", "[a|b]", "(gpu)&([a|b])"),
        ("gpu", "gpu&(a|b)", "gpu&(a|b)"),
        ("gpu", "x&(a|b)", "x&(a|b)&(gpu)"),
        ("gpu", "(a&b)|(c&d)", "(a&b)|(c&d)&(gpu)"),
        ("gpu", "[(gpu&a)*2&(gpu&b)*1]", "[(gpu&a)*2&(gpu&b)*1]"),
        ("a|b", "c", "(a|b)&(c)"),
        ("(a|b)&c", "d", "(a|b)&c&(d)"),
        ("(a|b)&c", "(d&e)|f", "(d&e)|f&(a|b)&c"),
        ("gpu", "a*2", None),
        ("(a&b)|c", "(d&e)|f", None),
    ],
)
def test_two_constraints_hold_without_nested_parentheses(site: str, job: str, whole: str | None) -> None:
    assert both(site, job) == whole
    if whole is not None:
        assert both(site, whole) == whole, "a resolved job that is planned again"


SPELLINGS = [
    Resources(constraint="startx"),
    Resources(sbatch=("-C", "startx")),
    Resources(sbatch=("-Cstartx",)),
    Resources(sbatch=("-HCstartx",)),
    Resources(sbatch=("--constraint=startx",)),
    Resources(sbatch=("--constraint", "startx")),
    Resources(sbatch=("--constr=startx",)),
]


@pytest.mark.parametrize("job", SPELLINGS)
def test_a_jobs_constraint_in_any_spelling_keeps_the_sites(job: Resources) -> None:
    found = asked(job).resources
    assert found.constraint == "(gpu)&(startx)"
    assert not any("startx" in word for word in found.sbatch)
    assert asked(found).resources == found


def test_a_sites_option_is_joined_as_its_key_is() -> None:
    site = Site(name="here", defaults=Resources(sbatch=("-C", "gpu")))
    found = asked(Resources(constraint="startx"), site).resources
    assert (found.constraint, found.sbatch) == ("(gpu)&(startx)", ())


def test_what_slurm_cannot_write_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"resources\.constraint: a\*2 and gpu of site here cannot both hold"):
        asked(Resources(constraint="a*2"))


def test_lists_are_joined() -> None:
    assert asked(Resources(sbatch=("--exclude=n2",))).resources.sbatch == ("--ntasks-per-core=1", "--exclude=n1,n2")


def test_what_is_replaced_is_reported() -> None:
    found = asked(Resources(time="20", sbatch=("--mem-per-cpu=3G", "-p", "urgent", "--hint=nomultithread")))
    assert found.resources.mem is None
    assert (found.resources.partition, found.resources.time) == ("urgent", "20")
    assert set(found.notes) == {
        "sbatch option -p: urgent replaces partition normal of site here",
        "sbatch option --mem-per-cpu: mem-per-cpu 3G replaces mem 10G of site here",
        "sbatch option --hint: hint nomultithread replaces ntasks-per-core 1 of site here",
    }


@pytest.mark.parametrize(
    ("constraint", "noted"),
    [
        ("(rack1|rack2)&gpu", False),
        ("big&gpu", False),
        ("gpu", False),
        ("[gpu*1&rack2*1]", True),
        ("rack1*1&gpu*1", True),
    ],
)
def test_a_constraint_that_requires_the_sites_anyway_replaces_nothing(constraint: str, noted: bool) -> None:
    site = Site(name="here", defaults=Resources(constraint="gpu"))
    found = combined(Resources(constraint=constraint), site, {}, "SBATCH_")
    assert found.resources.constraint == constraint
    assert bool(found.notes) == noted


def test_a_sites_rule_keeps_its_own() -> None:
    assert asked(Resources(gpus_per_node=1)).resources.gpus_per_node == 1
    with pytest.raises(PreflightError, match=r"resources\.gpus_per_node: 2 .* `combine: \{gpus-per-node: site\}`"):
        asked(Resources(gpus_per_node=2))


def test_what_the_shell_says_wins_over_the_site_and_not_over_the_job() -> None:
    found = asked(
        Resources(partition="mine"),
        SBATCH_PARTITION="urgent",
        SBATCH_ACCOUNT="g33",
        SBATCH_QOS="high",
        SBATCH_RESERVATION="course",
        SBATCH_TIMELIMIT="7",
        SBATCH_CONSTRAINT="big",
        SBATCH_WCKEY="w",
        SBATCH_EXCLUSIVE="",
        SLURM_CLUSTERS="other",
    )
    it = found.resources
    assert (it.partition, it.account, it.qos, it.reservation, it.time) == ("mine", "g33", "high", "course", "7")
    assert it.constraint == "(gpu)&(big)"
    assert it.sbatch[-3:] == ("--clusters=other", "--exclusive", "--wckey=w")
    assert "resources.partition: mine replaces partition urgent of SBATCH_PARTITION" in found.notes


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("SBATCH_MEM_PER_CPU=50", ("--mem-per-cpu=50",)),
        ("SBATCH_MEM_PER_GPU=5G", ("--mem-per-gpu=5G",)),
        ("SBATCH_CORE_SPEC=1", ("--core-spec=1",)),
        ("SBATCH_REQ_SWITCH=2", ("--switches=2",)),
        ("SBATCH_ACCTG_FREQ=30", ("--acctg-freq=30",)),
        ("SBATCH_CPUS_PER_GPU=4", ("--cpus-per-gpu=4",)),
        ("SBATCH_OVERCOMMIT=1", ("--overcommit",)),
        ("SBATCH_OVERCOMMIT=yes", ("--overcommit",)),
        ("SBATCH_OVERCOMMIT=0", ()),
        ("SBATCH_SPREAD_JOB=no", ()),
        ("SBATCH_NO_REQUEUE=", ("--no-requeue",)),
        ("SBATCH_WAIT=0", ()),
        ("SBATCH_EXCLUSIVE=", ("--exclusive",)),
        ("SBATCH_EXCLUSIVE=user", ("--exclusive=user",)),
        ("SBATCH_NICE=100", ("--nice=100",)),
    ],
)
def test_a_variable_says_what_it_says_to_sbatch(variable: str, words: tuple[str, ...]) -> None:
    name, _, value = variable.partition("=")
    found = combined(Resources(), Site(name="s"), {name: value}, "SBATCH_")
    assert found.resources.sbatch == words
    assert found.notes == ()


def test_a_variable_with_a_size_that_sbatch_does_not_take_is_left_out_and_named() -> None:
    found = combined(Resources(), Site(name="s"), {"SBATCH_MEM_PER_NODE": "64GiB"}, "SBATCH_")
    assert found.resources == Resources()
    assert found.notes[0].startswith("SBATCH_MEM_PER_NODE=64GiB of this shell is left out: sbatch takes a whole number")
    kept = combined(Resources(), Site(name="s"), {"SBATCH_MEM_PER_NODE": "64G"}, "SBATCH_")
    assert kept.resources.mem == "64G"


@pytest.mark.parametrize("name", ["SBATCH_SIGNAL", "SBATCH_ARRAY_INX", "SBATCH_OUTPUT", "SBATCH_NEW"])
def test_what_the_plan_cannot_take_is_named(name: str) -> None:
    found = asked(**{name: "1"})
    assert found.resources == asked().resources
    assert any(note.startswith(f"{name}=1 of this shell is left out") for note in found.notes)


def test_variables_of_srun_are_named_unless_they_are_an_enclosing_jobs() -> None:
    assert asked(SLURM_HINT="x", SRUN_CPUS_PER_TASK="3").notes == (
        "left out, as the job has its own: SLURM_HINT, SRUN_CPUS_PER_TASK of this shell",
    )
    assert asked(SLURM_HINT="x", SLURM_JOB_ID="7", SLURM_JWT="t").notes == ()
