"""Stars in place of secrets, and nowhere else."""

import json
import stat
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from bertjob.cluster.runs import create
from bertjob.config.job import Job
from bertjob.config.load import load_job
from bertjob.config.secret_values import is_secret, masked, masked_text
from bertjob.config.site import Site
from bertjob.launch.plan import Here, Plan, plan
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.provenance import collect

HIDDEN = "geheim-123"
HUB = "hf_" + "a1B2" * 9


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "token",
            "WANDB_API_KEY",
            "wandb-api-key",
            "OPENAI_APIKEY",
            "MY_SECRET",
        ),
        *("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "DB_PASSWORD", "PGPASSWD", "NEPTUNE_API_TOKEN", "GITHUB_PAT"),
        *(
            "COMET_API_KEY",
            "AZURE_CLIENT_SECRET",
            "GOOGLE_CREDENTIALS",
            "env.HF_TOKEN",
            "wandb.key.api_key",
            "TOKEN_FILE",
        ),
    ],
)
def test_secrets_by_their_names(name: str) -> None:
    assert is_secret(name)


def test_no_key_of_a_job_is_taken_for_one() -> None:
    job = msgspec.to_builtins(Job(name="j"))
    assert masked(job) == job


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "NCCL_IB_HCA", "OMP_NUM_THREADS", "KEYS", "PATH", "UCX_TLS", "COMPAT"]
)
def test_other_names_are_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (f"env.HF_TOKEN={HIDDEN}", "env.HF_TOKEN=***"),
        (f"squad:env.HF_TOKEN={HIDDEN} and more", "squad:env.HF_TOKEN=***"),
        (f"--set=env.HF_TOKEN={HIDDEN}", "--set=env.HF_TOKEN=***"),
        (f"env={{HF_TOKEN: {HIDDEN}, A: 1}}", "env={HF_TOKEN: ***, A: 1}"),
        (f'env={{"HF_TOKEN": "{HIDDEN}, {HIDDEN}"}}', 'env={"HF_TOKEN": ***}'),
        (f"--export=ALL,HF_TOKEN={HIDDEN},B=2", "--export=ALL,HF_TOKEN=***,B=2"),
        (f"env.X={HUB}", "env.X=***"),
        (f"https://me:{HIDDEN}@host/x", "https://me:***@host/x"),
        ("pretraining.mask_token=0.7", "pretraining.mask_token=0.7"),
        ("train.epochs=1", "train.epochs=1"),
    ],
)
def test_command_lines(word: str, shown: str) -> None:
    assert masked_text(word) == shown


def planned(folder: Path, job: Job, site: Site) -> Plan:
    return plan(job, site, str(folder), Here(python="/venv/bin/python", cwd="/home/me"))


def test_files_for_reading_hold_no_secret_and_others_are_their_owners(tmp_path: Path) -> None:
    site = Site(name="local", scheduler="none", launcher="local", env={"A": "1"})
    job = replace(load_job("squad-demo").value, env={"HF_TOKEN": HIDDEN})
    assert HIDDEN not in collect("j", "s", None, ["bertjob", "run", "--set", f"env.HF_TOKEN={HIDDEN}"]).command
    for said, private in (
        (planned(tmp_path / "a", job, site), True),
        (planned(tmp_path / "b", job, Site(name="local", scheduler="none", launcher="local")), True),
        (planned(tmp_path / "c", replace(job, env={}), Site(name="local", scheduler="none", launcher="local")), False),
    ):
        run_dir = RunDir(Path(said.run_dir or ""))
        with create.made(run_dir, create.files(said, run_dir, None)):
            pass
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run_dir.path.iterdir() if path.is_file()}
        closed = {name for name, mode in modes.items() if mode == 0o600}
        assert closed == ({"job.yaml", "site.yaml", "job.sbatch"} if private else set())
        assert not any(HIDDEN in (run_dir.path / name).read_text() for name in modes.keys() - closed)


def test_a_file_that_was_open_is_closed_when_it_is_written_again(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with create.made(run_dir, {"job.yaml": "a"}) as claim:
        run_dir.job.chmod(0o644)
    lease.end(run_dir, claim)
    with create.made(run_dir, {"job.yaml": create.Private("b")}):
        assert stat.S_IMODE(run_dir.job.stat().st_mode) == 0o600
        assert run_dir.job.read_text() == "b"


def test_hparams_and_its_deepspeed_section(tmp_path: Path) -> None:
    from bertjob.train.reporting.hparams import write_hparams

    run_dir = RunDir(tmp_path)
    job = msgspec.to_builtins(Job(name="j", env={"HF_TOKEN": HIDDEN}))
    held = HeldRun(run_dir)
    assert held.take(lease.of_this_process("local"), None)
    write_hparams(held, {"job": job, "deepspeed_config": {"wandb": {"api_key": HIDDEN, "team": "t"}}, "n": 1})
    assert HIDDEN not in run_dir.hparams.read_text()
    assert json.loads(run_dir.hparams.read_text())["deepspeed_config"] == {"wandb": {"api_key": "***", "team": "t"}}
