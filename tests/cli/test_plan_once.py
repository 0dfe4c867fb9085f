"""Each verb reads each job once and plans it once; what was checked is what is sent."""

import json
import os
import re
from pathlib import Path

import pytest
from calls import count
from click.testing import CliRunner, Result
from fakes.commands import Commands

from bertjob.cli.main import cli
from bertjob.cluster.doctor import proofs
from bertjob.cluster.doctor.proofs import BadNode
from bertjob.config.load import build_job, load_site, read_job, read_job_file
from bertjob.formats.squad import Part, demo_set
from bertjob.launch.plan import plan
from bertjob.launch.resolve import resolve
from bertjob.rundir.directory import RunDir

GPUS = "--nodes 2 --gpus-per-node 4"
CHAIN = f"submit pretrain-seq128 pretrain-seq512 squad --chain {GPUS} --set squad:train.micro_batch=1"


@pytest.fixture(autouse=True)
def login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A folder with the data of the jobs, and a fake scheduler that numbers its jobs from 101 on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/corpus").mkdir(parents=True)
    (tmp_path / "data/corpus/pairs_0.hdf5").touch()
    parts: tuple[Part, ...] = ("train", "dev")
    for part in parts:
        (tmp_path / f"data/{part}-v1.1.json").write_bytes(demo_set(part))
    commands = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    for name in ("srun", "squeue", "sacct", "sinfo", "scontrol"):
        commands.make(name)
    commands.make("sbatch")
    (commands.folder / "sbatch").write_text(
        "#!/bin/sh\n[ $1 = --parsable ] || exit 0\n"
        f"echo >> {tmp_path}/queue; echo Submitted batch job $((100 + $(wc -l < {tmp_path}/queue)))\n"
    )
    return commands


def bertjob(words: str) -> Result:
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 0, f"{done.stderr}{done.exception}"
    return done


def told(words: str, after: str = "") -> list[dict[str, str]]:
    """The JSON that a verb prints, a line for each job; `after` are options of sbatch."""
    return [json.loads(line) for line in bertjob(f"{words} --json {after}").stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (f"submit squad {GPUS}", 1),
        (f"submit squad {GPUS} --set squad:seed=1", 1),
        (f"submit squad {GPUS} --dry-run", 1),
        (CHAIN, 3),
        (f"{CHAIN} --dry-run", 3),
        (f"submit pretrain {GPUS} --set pretrain-seq128:seed=1", 2),
        (f"script squad {GPUS}", 1),
        (f"script squad {GPUS} --set squad:seed=1", 1),
        ("run squad-demo --dry-run", 1),
    ],
)
def test_a_job_is_read_once_and_planned_once(words: str, jobs: int) -> None:
    assert count(lambda: bertjob(words), read_job_file, build_job, load_site, plan, resolve) == {
        "read_job_file": jobs,
        "build_job": jobs,
        "load_site": 1,
        "plan": jobs,
        "resolve": jobs,
    }


@pytest.mark.parametrize(
    ("words", "plans"),
    [
        ("doctor squad-demo --site local", 1),
        (f"estimate squad {GPUS} --site juwels-booster", 0),
        ("jobs squad", 0),
        ("shell squad --dry-run", 0),
    ],
)
def test_verbs_that_start_no_job_read_it_once_as_well(words: str, plans: int) -> None:
    found = count(lambda: CliRunner().invoke(cli, words.split()), read_job_file, build_job, load_site, plan)
    assert found == {"read_job_file": 1, "build_job": 1, "load_site": 1, "plan": plans}


def test_what_a_dry_run_prints_is_what_is_sent_but_for_the_jobs_to_wait_for() -> None:
    printed = [one["script"] for one in told(f"{CHAIN} --dry-run")]
    scripts = [RunDir(Path(one["run_dir"])).script.read_text() for one in told(CHAIN)]
    waits = [re.findall(r"#SBATCH --dependency=(.*)\n", script) for script in scripts]
    assert waits == [[], ["afterok:101"], ["afterok:102"]]
    assert [_neutral(script) for script in scripts] == [_neutral(script) for script in printed]


def _neutral(script: str) -> str:
    """A script without the names of its run directories, which no two have in common, and without dependencies."""
    without = re.sub(r"#SBATCH --(kill-on-invalid-dep|dependency)=.*\n", "", script)
    return re.sub(r"-\d{8}-\d{6}-[0-9a-f]{4}", "-NEW", without)


def test_jobs_to_wait_for_and_nodes_to_leave_out_belong_to_a_submission_and_not_to_the_job() -> None:
    """`bertjob submit RUN/job.yaml` goes on with a run weeks later, when neither is true any more."""
    bad = BadNode(name="n7", site="generic", engine="none", reason="no image", time=4e9)
    proofs.change(lambda book: book.with_bad([bad]))
    for one in told(CHAIN, "-- --mail-type=END -xn1"):
        run = RunDir(Path(one["run_dir"]))
        assert "#SBATCH --mail-type=END\n#SBATCH -xn1\n#SBATCH --exclude=n1,n7\n" in run.script.read_text()
        assert read_job(run.job).resources.sbatch == ("--mail-type=END", "-xn1")


def test_submit_and_script_write_the_same_job_file() -> None:
    """The script writes it where nobody has submitted: `bertjob script squad > x; sbatch x`."""
    (submitted,) = told(f"submit squad {GPUS}")
    run = RunDir(Path(submitted["run_dir"]))
    heredoc = re.search(r"<< 'END_OF_JOB'\n(.*?)END_OF_JOB\n", run.script.read_text(), flags=re.DOTALL)
    assert heredoc is not None
    assert heredoc[1] == run.job.read_text()
