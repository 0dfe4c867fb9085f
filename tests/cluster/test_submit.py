"""Submit with a fake sbatch, where a fault must be made: what is left, and what is said. See also tests/on_slurm."""

import json
import os
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from planned import HERE, SMALL

from bertjob.cli.main import cli
from bertjob.cli.options import one_word_each
from bertjob.cluster.runs import catalog
from bertjob.cluster.scheduler import cancel
from bertjob.cluster.submit import submit, submit_chain
from bertjob.config.job import Data, Job
from bertjob.config.load import dump, read_job, read_site
from bertjob.config.site import Site
from bertjob.errors import PreflightError, SchedulerError, UncertainError
from bertjob.formats.squad import demo_set
from bertjob.launch.plan import Here, Plan, plan
from bertjob.launch.script import script

HOSTILE = "run dir with 'quotes' and $(x) %j é"


def planned(run_dir: Path, **data: str) -> Plan:
    job = Job(name="squad", **SMALL | {"data": Data(**{"train": "demo"} | data)})
    return plan(job, Site(name="daint"), str(run_dir), Here("/usr/bin/python3", str(Path.cwd())))


def test_a_site_without_a_scheduler_is_refused(tmp_path: Path) -> None:
    here = Site(name="here", scheduler="none", launcher="local")
    wanted = plan(Job(name="squad", **SMALL), here, str(tmp_path / "run"), HERE)
    with pytest.raises(PreflightError, match=r"^site here has no scheduler: use bertjob run$"):
        submit(wanted)


def test_sbatch_gets_the_very_script_that_was_planned(commands: Commands, tmp_path: Path) -> None:
    wanted = planned(tmp_path / HOSTILE)
    submitted = submit(wanted)
    assert submitted.job_id == "4711"
    assert commands.calls("sbatch") == [["--parsable", str(submitted.run_dir.script)]]
    assert submitted.run_dir.script.read_text(encoding="utf-8") == script(wanted)


def test_the_run_directory_is_enough_to_run_it_again(commands: Commands, tmp_path: Path) -> None:
    wanted = planned(tmp_path / "run")
    run_dir = submit(wanted).run_dir
    assert read_job(run_dir.job) == wanted.job
    assert read_site(run_dir.site) == wanted.site
    assert msgspec.json.decode(run_dir.provenance.read_bytes())["site"] == "daint"
    assert {path.name for path in run_dir.path.iterdir()} == {
        *(
            "job.yaml",
            "site.yaml",
            "job.sbatch",
            "provenance.json",
            "git.diff",
            "submissions.jsonl",
            "lease.json",
            "state.json",
            "logs",
        )
    }
    assert catalog.find("4711").run_dir == run_dir


def test_leftovers_of_the_shell_do_not_reach_sbatch(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers = {"SBATCH_PARTITION": "debug", "SLURM_JOB_ID": "1", "SLURM_EXPORT_ENV": "NONE"}
    for name, value in {**leftovers, "SLURM_CONF": "/there", "SLURM_JWT": "token", "OWN": "kept"}.items():
        monkeypatch.setenv(name, value)
    submit(planned(tmp_path / "run"))
    environment = commands.environment("sbatch")
    assert (environment["SLURM_CONF"], environment["SLURM_JWT"], environment["OWN"]) == ("/there", "token", "kept")
    assert not leftovers.keys() & environment.keys()
    assert os.environ["SBATCH_PARTITION"] == "debug"


@pytest.mark.parametrize(
    ("complaint", "line"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "sbatch: invalid partition specified: nope; Batch job submission failed: Invalid partition name specified",
        ),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
            "sbatch: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        ),
        ("", "sbatch: refused without a word, exit code 1"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    commands: Commands, tmp_path: Path, complaint: str, line: str
) -> None:
    commands.make("sbatch", stderr=complaint, code=1)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(SchedulerError) as refused:
        submit(planned(tmp_path / "new" / HOSTILE))
    assert str(refused.value) == line
    after = {path for path in tmp_path.rglob("*") if path.parent != commands.folder}
    assert after <= before


@pytest.mark.parametrize(
    "complaint",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
        "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
        "sbatch: fatal: Could not establish a configuration source\n",
    ],
)
def test_what_no_controller_was_sent_leaves_nothing_though_squeue_does_not_tell_either(
    commands: Commands, tmp_path: Path, complaint: str
) -> None:
    commands.make("sbatch", stderr=complaint, code=1)
    commands.make("squeue", stderr=complaint.replace("sbatch", "squeue"), code=1)
    with pytest.raises(SchedulerError, match=r"Unable to contact|configuration source") as refused:
        submit(planned(tmp_path / "run"))
    assert not isinstance(refused.value, UncertainError)
    assert not (tmp_path / "run").exists()


def test_an_answer_without_a_job_id_is_a_refusal(commands: Commands, tmp_path: Path) -> None:
    commands.make("sbatch", "Queue is closed today\n")
    with pytest.raises(SchedulerError, match="Queue is closed today"):
        submit(planned(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_without_sbatch_the_line_says_where_to_go(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SchedulerError, match="login node"):
        submit(planned(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_missing_files_are_refused_with_key_and_path_before_anything_is_made(
    commands: Commands, tmp_path: Path
) -> None:
    with pytest.raises(PreflightError, match=r"^data\.train: .*/no\.json: there is no such file"):
        submit(planned(tmp_path / "run", train="no.json"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(PreflightError, match=r"^data\.dev: .*/folder: is a folder"):
        submit(planned(tmp_path / "run", dev="folder"))
    assert commands.calls("sbatch") == []
    assert not (tmp_path / "run").exists()


def test_lines_of_the_site_that_bash_cannot_read_are_refused(commands: Commands, tmp_path: Path) -> None:
    whole = planned(tmp_path / "run")
    for setup in (["if true", "then"], ["echo '"]):
        lines = msgspec.structs.replace(whole, site=msgspec.structs.replace(whole.site, setup=setup))
        with pytest.raises(PreflightError, match=r"^site daint: setup: line \d: .*unexpected"):
            submit(lines)
    assert not (tmp_path / "run").exists()
    submit(msgspec.structs.replace(whole, site=msgspec.structs.replace(whole.site, setup=["if true", "then :; fi"])))


def test_a_run_goes_on_in_its_directory_but_not_beside_its_own_job(commands: Commands, tmp_path: Path) -> None:
    first = submit(planned(tmp_path / "run")).run_dir
    first.metrics.write_text("kept")
    commands.make("squeue", "4711|RUNNING|nid00001|None\n")
    with pytest.raises(PreflightError, match="its job 4711 is still running"):
        submit(planned(tmp_path / "run"))
    commands.make("squeue", "4711|TIMEOUT|nid00001|None\n")
    commands.make("sbatch", "Submitted batch job 4712\n")
    assert submit(planned(tmp_path / "run")).job_id == "4712"
    assert first.metrics.read_text() == "kept"
    assert catalog.find("run").submission.job_id == "4712"


def test_a_refused_continuation_leaves_the_run_as_it_was(commands: Commands, tmp_path: Path) -> None:
    run_dir = submit(planned(tmp_path / "run")).run_dir
    before = {path: path.read_bytes() for path in run_dir.path.iterdir() if path.is_file()}
    commands.make("sbatch", stderr="sbatch: error: no\n", code=1)
    with pytest.raises(SchedulerError):
        submit(planned(tmp_path / "run", cache="elsewhere"))
    assert {path: path.read_bytes() for path in run_dir.path.iterdir() if path.is_file()} == before


def test_another_training_is_refused_before_a_file_of_the_run_is_written(commands: Commands, tmp_path: Path) -> None:
    run_dir = submit(planned(tmp_path / "run")).run_dir
    before = {path: path.read_bytes() for path in run_dir.path.iterdir() if path.is_file()}
    (tmp_path / "dev.json").write_bytes(demo_set("dev"))
    with pytest.raises(PreflightError, match=r"data\.dev was not said, is now .*dev\.json; start a new run"):
        submit(planned(tmp_path / "run", dev="dev.json"))
    assert {path: path.read_bytes() for path in run_dir.path.iterdir() if path.is_file()} == before
    assert len(commands.calls("sbatch")) == 1


def test_a_job_that_was_queued_and_cannot_be_written_down_is_told_all_the_same(
    commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "run" / "job.yaml").write_text(dump(planned(tmp_path / "run").job))
    (tmp_path / "run" / "submissions.jsonl").mkdir()  # a file that cannot be opened for writing
    assert submit(planned(tmp_path / "run")).job_id == "4711"
    assert "job 4711 cannot be written down: Is a directory" in caplog.text
    assert catalog.find("4711").path == str(tmp_path / "run")


def test_a_job_that_ended_meanwhile_does_not_take_the_checkpoint_from_others(
    commands: Commands, tmp_path: Path
) -> None:
    for number in ("11", "12"):
        commands.make("sbatch", f"Submitted batch job {number}\n")
        submit(planned(tmp_path / number))
    commands.make("squeue", "".join(f"{number}|RUNNING|nid00001|None\n" for number in ("11", "12")))
    commands.make("scancel")
    (commands.folder / "scancel").write_text(
        f'#!/bin/sh\nprintf "%s\\0" "$@" >>{commands.folder}/scancel.calls; echo >>{commands.folder}/scancel.calls\n'
        'case "$*" in --batch*12) echo "scancel: error: Job has already finished" >&2; exit 1;; esac\n'
    )
    cancel([catalog.find("11"), catalog.find("12")])
    told = ["--batch", "--signal=TERM"]
    assert commands.calls("scancel") == [[*told, "11"], [*told, "12"], ["12"]]


def test_a_chain_that_is_refused_half_way_is_taken_back_or_says_what_is_left(
    commands: Commands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands.make("sbatch")
    (commands.folder / "sbatch").write_text(
        '#!/bin/sh\nfor script; do :; done; grep -q afterok: "$script" || { echo Submitted batch job 4711; exit; }\n'
        "echo sbatch: error: the controller is away >&2; exit 1\n"
    )
    second = planned(tmp_path / "second")
    commands.make("scancel")
    with pytest.raises(SchedulerError, match="the controller is away"):
        submit_chain([planned(tmp_path / "first"), second])
    assert commands.calls("scancel") == [["4711"]]
    assert "the rest of the chain could not be queued; cancelled: 4711" in caplog.text
    assert not (tmp_path / "second").exists()
    commands.make("scancel", stderr="scancel: error: the controller is away\n", code=1)
    with pytest.raises(SchedulerError, match=r"^sbatch: the controller is away"):
        submit_chain([planned(tmp_path / "third"), second])
    assert "not to be cancelled now (scancel: the controller is away): scancel 4711" in caplog.text


def test_a_chain_through_a_job_that_trains_nothing_is_refused(commands: Commands, tmp_path: Path) -> None:
    here = Here("/usr/bin/python3", str(Path.cwd()))
    proof = plan(Job(name="smoke", task="smoke"), Site(name="daint"), str(tmp_path / "smoke"), here)
    with pytest.raises(PreflightError, match="job squad: job smoke trains no model to start from: task smoke"):
        submit_chain([proof, planned(tmp_path / "squad")])
    assert not commands.calls("sbatch")


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["-x", "n1"], "-xn1"),
        (["--mail-type", "END"], "--mail-type=END"),
        (["-x", "n1", "n2"], None),
        (["--mail-type=END", "FAIL"], None),
        (["FAIL"], None),
    ],
)
def test_words_after_the_dashes_are_joined_as_sbatch_reads_them(words: list[str], joined: str | None) -> None:
    if joined:
        assert one_word_each(words) == (joined,)
    else:
        with pytest.raises(click.UsageError, match=f"{words[-1]!r} belongs to no option of sbatch"):
            one_word_each(words)


def test_the_engine_is_asked_once_for_the_digest_of_the_image(commands: Commands, tmp_path: Path) -> None:
    commands.make("podman", stdout=f"sha256:{'0' * 64}\n")
    (tmp_path / "site.yaml").write_text("{name: s, engine: podman, image: {ref: b:1}, setup: [echo x >> loaded]}")
    options = ["--site", "site.yaml", "--run-dir", "run", "--set", "train.micro_batch=1"]
    done = CliRunner().invoke(cli, ["submit", "squad-demo", *options])
    assert done.exit_code == 0, done.output
    assert f"sha256:{'0' * 12}" in done.stderr
    assert json.loads((tmp_path / "run/provenance.json").read_text())["image_digest"] == f"sha256:{'0' * 64}"
    assert len(commands.calls("podman")) == 1
    assert (tmp_path / "loaded").read_text() == "x\n"


def test_names_that_no_file_can_have_are_one_line(commands: Commands, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"data\.train: .*: file name too long$"):
        submit(planned(tmp_path / "run", train="x" * 300))
