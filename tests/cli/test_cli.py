"""The command line as a person or a script meets it: exit codes, streams, last lines."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.commands import Commands

from bertjob.cluster.runs import catalog
from bertjob.config.load import dump, load_job
from bertjob.config.search import names
from bertjob.formats.squad import demo_set
from bertjob.rundir.directory import RunDir

LIMITS = ["plain,train.max_seq_length=", "plain,train.max_query_length="]
BERTJOB = str(Path(sys.executable).with_name("bertjob"))


@pytest.fixture
def bertjob(tmp_path):
    """Runs the real command in an empty folder, with an index of its own."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    environment.pop("BERTJOB_SITE", None)
    folder = tmp_path / "here"
    folder.mkdir()

    def run(*arguments, **more):
        return subprocess.run(
            [BERTJOB, *arguments], capture_output=True, text=True, check=False, cwd=folder, env={**environment, **more}
        )

    run.folder = folder
    return run


def test_version_and_help(bertjob):
    assert bertjob("--version").stdout.startswith("bertjob, version ")
    assert "submit" in bertjob("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sumbit", "squad"], 2, "there is no verb 'sumbit': did you mean 'submit'?"),
        (["script", "squat"], 2, "there is no job 'squat': did you mean 'squad'?"),
        (["run", "pretrain"], 2, "'pretrain' is pretrain-seq128 and pretrain-seq512, one after the other: `bertjob"),
        (["script", "squad", "--set", "smoke:seed=1"], 2, "there is no job 'smoke' here, but squad"),
        (["script", "squad", "--set", "squad:train.epoch=1"], 2, "did you mean 'train.epochs'?"),
        (["script", "squad", "--site", "diant"], 2, "there is no site 'diant': did you mean 'daint'?"),
        (["script", "squad", "--set", "train.epoch=1"], 2, "did you mean 'train.epochs'?"),
        (["script", "squad", "--nodes", "many"], 2, "--nodes"),
        (["script", "squad", "--nodes", "16"], 2, "global batch 24 is no multiple of micro batch 3 x 16 ranks"),
        (["run", "squad-demo", "--site", "daint", "--dry-run"], 3, "has a scheduler: use bertjob submit"),
        (["submit", "squad-demo", "--site", "local", "--dry-run"], 3, "has no scheduler: use bertjob run"),
        (["script", "squad", "-t", "soon"], 2, "resources.time: 'soon' is no walltime"),
        (["submit", "squad", "--dry-run", "--gpus-per-node", "1"], 3, "data.train"),
        (["logs", "123456"], 2, "123456"),
        (["cancel", "nothing"], 2, "nothing"),
        (["wait", "nothing"], 2, "nothing"),
        (["ask", "nothing"], 2, "nothing"),
        (["ask", "x", "--question", "Who?"], 2, "go together"),
        (["ask", "x", "--question", " ", "--context", "-"], 2, "--question: a question is wanted, got nothing"),
        (["eval", "--data", "no.json", "no.json"], 1, "no.json"),
        (["data", "info", "no.json"], 1, "no.json"),
        (["data", "fetch", "squat"], 2, "squad"),
        (["schema", "jbo"], 2, "jbo"),
        (["script", "squad", "--set", "nmae=x\n\x1b[1m"], 2, r"--set nmae=x\n\x1b[1m: unknown key 'nmae'"),
        (["image", "check", "--engine", "apptainer", "/no\nfile"], 3, r"image /no\nfile: there is no such file"),
        (["schema"], 2, "Missing argument '{job|site}'. Choose from: job, site"),
    ],
)
def test_mistakes_are_one_line_on_stderr_with_the_fields_exit_codes(bertjob, arguments, code, words):
    done = bertjob(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert list(bertjob.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "what"), [(["run", "squad-demo"], "training"), (["ask", "old"], "asking")], ids=["run", "ask"]
)
def test_without_torch_the_remedy_is_said(bertjob, arguments, what):
    (bertjob.folder / "old").mkdir()
    (bertjob.folder / "old/job.yaml").write_text(dump(load_job("squad-demo").value))
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {arguments}; import bertjob.cli.main as m; m.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=bertjob.folder)
    assert done.returncode == 3
    remedy = f"{what} needs torch, which {sys.executable} lacks: pip install 'bertjob[train]'"
    assert done.stderr.splitlines()[-1] == f"bertjob: {remedy}"


def test_errors_are_readable_where_only_ascii_can_be_printed(bertjob):
    done = bertjob("wait", LC_ALL="C", PYTHONUTF8="0")
    assert "Missing argument 'ID...'" in done.stderr


def test_what_ascii_cannot_say_costs_no_answer(bertjob):
    plain = bertjob("doctor", "--site", "local")
    ascii_only = bertjob("doctor", "--site", "local", LC_ALL="C", PYTHONUTF8="0")
    assert ascii_only.returncode == plain.returncode
    assert "\\u2713" in ascii_only.stdout
    assert len(ascii_only.stdout.splitlines()) == len(plain.stdout.splitlines())


def test_a_refusal_of_sbatch_is_one_line(bertjob, tmp_path):
    commands = Commands(tmp_path / "bin")
    for name in ("srun", "squeue"):
        commands.make(name)
    commands.make("sbatch", stderr="sbatch: error: invalid partition specified: nopart\nsbatch: error: no\n", code=1)
    done = bertjob("submit", "squad-demo", "-p", "nopart", PATH=f"{commands.folder}:{os.environ['PATH']}")
    assert done.returncode == 4
    said = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert said == ["bertjob: sbatch: invalid partition specified: nopart; no"]


@pytest.mark.parametrize(
    ("job", "options", "summary"),
    [
        ("squad-demo", [], "1 node x 1 rank by srun, without a container, batch 16 = 8 x 2 x 1"),
        ("smoke", ["--nodes", "3"], "3 nodes x 1 rank by srun, without a container, no training"),
        (
            "squad-demo",
            ["--nodes", "2", "--ntasks-per-node", "4", "--set", "train.micro_batch=2"],
            "2 nodes x 4 ranks by srun, without a container, batch 16 = 2 x 1 x 8",
        ),
    ],
)
def test_submit_sums_up_what_it_submitted(bertjob, tmp_path, job, options, summary):
    commands = Commands(tmp_path / "bin")
    commands.make("srun")
    commands.make("sbatch", "Submitted batch job 4711\n")
    done = bertjob("submit", job, *options, PATH=f"{commands.folder}:{os.environ['PATH']}")
    assert done.stdout == "4711\n"
    assert f"{job} at generic: {summary}\n" in done.stderr


def test_a_dry_run_of_submit_can_be_read_by_programs(bertjob):
    request = ("submit", "squad-demo", "--run-dir", "there", "--dry-run")
    told = json.loads(bertjob(*request, "--json").stdout)
    assert told == {"script": bertjob(*request).stdout, "run_dir": str(bertjob.folder / "there")}
    assert list(bertjob.folder.iterdir()) == []


def test_script_prints_what_submit_refuses_and_says_so(bertjob):
    site = bertjob.folder / "s.yaml"
    site.write_text("{name: s, engine: podman, image: {ref: 'nvcr.io/nvidia/pytorch:25.06-py3'}, defaults: {time: 10}}")
    words = ("squad-demo", "--site", "./s.yaml", "--gpus-per-node", "1", "--set", "train.micro_batch=1")
    shown, refused = bertjob("script", *words), bertjob("submit", *words)
    command = "bertjob image overlay --site ./s.yaml --path '$HOME/bertjob-env'"
    assert shown.returncode == 0
    assert shown.stdout.startswith("#!/usr/bin/env bash\n# squad-demo: ")
    (line,) = shown.stderr.splitlines()
    assert line.startswith("error: image.ref: nvcr.io/nvidia/pytorch:25.06-py3: has no bertjob in it")
    assert line.endswith(f": {command}")
    assert refused.returncode == 3
    assert refused.stderr == f"bertjob: site s: {line.removeprefix('error: ')}\n"


CHAIN = ("submit", "pretrain-seq128", "pretrain-seq512", "squad", "--chain", "--nodes", "16", "--gpus-per-node", "4")


def test_options_of_a_chain_are_for_all_its_jobs_or_for_the_one_they_name(bertjob):
    (bertjob.folder / "data/corpus").mkdir(parents=True)
    (bertjob.folder / "data/corpus/pairs_0.hdf5").touch()
    for name in ("train", "dev"):
        (bertjob.folder / f"data/{name}-v1.1.json").write_bytes(demo_set(name))
    settings = ["squad:train.global_batch=64", "squad:train.micro_batch=8", "squad:resources.nodes=2", "seed=7"]
    options = [word for setting in settings for word in ("--set", setting)]
    done = bertjob(*CHAIN, *options, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    scripts = [json.loads(line)["script"] for line in done.stdout.splitlines()]
    assert [re.search(r"#SBATCH --nodes=(\d+)", script)[1] for script in scripts] == ["16", "16", "2"]
    assert [re.search(r"global_batch: (\d+)", script)[1] for script in scripts] == ["16384", "16384", "64"]
    assert all("seed: 7" in script for script in scripts)


def test_a_name_of_phases_is_their_chain(bertjob):
    (bertjob.folder / "data/corpus").mkdir(parents=True)
    (bertjob.folder / "data/corpus/pairs_0.hdf5").touch()
    done = bertjob("submit", "pretrain", *CHAIN[5:], "--set", "pretrain-seq512:seed=7", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert "name: pretrain-seq128" in first["script"]
    assert "name: pretrain-seq512" in second["script"]
    assert f"init: {first['run_dir']}/model" in second["script"]
    assert ["seed: 7" in each["script"] for each in (first, second)] == [False, True]
    three = bertjob("submit", "pretrain", "squad", *CHAIN[4:], "--set", "squad:train.global_batch=192", "--dry-run")
    assert "data.train" in three.stderr
    assert bertjob("submit", "pretrain", "--run-dir", "x").returncode == 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "bertjob: job squad: global batch 24 is no multiple of micro batch 3 x 64 ranks"),
        (
            ["--set", "data.dev=x"],
            2,
            "job pretrain-seq128: --set data.dev=x: data.dev: task pretrain reads ",
        ),
        (["--set", "squad:train.global_batch=192"], 3, "bertjob: job pretrain-seq128: data.shards: "),
        (["--set", "squat:seed=1"], 2, "no job 'squat' here, but pretrain-seq128, pretrain-seq512, squad"),
    ],
)
def test_what_is_wrong_in_a_chain_names_its_job(bertjob, options, code, words):
    done = bertjob(*CHAIN, *options, "--dry-run")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_dry_run_refuses_another_training_in_a_runs_folder(bertjob, verb):
    run = bertjob.folder / "old"
    run.mkdir()
    (run / "job.yaml").write_text(dump(load_job("squad-demo").value))
    done = bertjob(verb, "squad-demo", "--run-dir", "old", "--set", "optimizer.lr=0.5", "--dry-run")
    assert done.returncode == 3
    assert "is another training: optimizer.lr" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("verb", "scheduler"), [("run", "none"), ("submit", "slurm")])
def test_a_dry_run_refuses_the_folder_of_a_job_that_is_at_work(bertjob, tmp_path, verb, scheduler):
    run = RunDir(bertjob.folder / "old")
    run.path.mkdir()
    run.script.write_text("read -r")
    commands = Commands(tmp_path / "bin")
    commands.make("squeue", stdout="7|RUNNING|n1|None\n")
    commands.make("sacct")
    with subprocess.Popen(["bash", run.script], stdin=subprocess.PIPE) as work:
        said = {"site": "x", "time": 1.0, "host": socket.gethostname(), "scheduler": scheduler, "pid": work.pid}
        job_id = "7" if scheduler == "slurm" else "local"
        run.submissions.write_text(json.dumps({"job_id": job_id, **said}) + "\n")
        done = bertjob(verb, "squad-demo", "--run-dir", "old", "--dry-run", PATH=f"{commands.folder}:/usr/bin:/bin")
        assert work.poll() is None  # it reads until its input ends, which is now
    assert done.returncode == 3
    told = f"is still running here as process {work.pid}" if verb == "run" else "its job 7 is still running"
    assert f"bertjob: {run.path}: {told}" in done.stderr
    assert done.stdout == ""


def test_a_script_is_the_same_bytes_each_time_and_on_stdout_alone(bertjob):
    first, second = (bertjob("script", "squad", "--nodes", "8", "--gpus-per-node", "1") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.startswith("#!")
    assert first.stderr == ""


def test_slurms_short_options_are_known(bertjob):
    script = bertjob(
        "script", "squad", "-N", "4", "-t", "30", "-A", "g33", "-p", "normal", "-C", "gpu", "-c", "6"
    ).stdout
    for line in ("--nodes=4", "--time=00:30:00", "--account=g33", "--partition=normal", "--constraint=gpu"):
        assert f"#SBATCH {line}\n" in script


def test_what_stands_after_two_dashes_goes_to_sbatch(bertjob):
    script = bertjob("script", "squad", "--", "--mail-type=END", "-d", "afterok:7", "--comment", "a b").stdout
    assert "#SBATCH --mail-type=END\n" in script
    assert "afterok:7" in script
    assert '#SBATCH "--comment=a b"' in script


def test_the_site_may_come_from_the_environment(bertjob):
    assert "sarus" in bertjob("script", "squad", BERTJOB_SITE="daint").stdout
    assert "sarus" not in bertjob("script", "squad").stdout


def test_jobs_show_values_and_where_they_came_from(bertjob):
    (bertjob.folder / "mine.yaml").write_text("base: squad\nname: mine\noptimizer: {lr: 5e-5}\n")
    shown = json.loads(bertjob("jobs", "./mine.yaml", "--set", "seed=7", "--json").stdout)
    assert shown["optimizer.lr"] == {"value": 5e-5, "from": "mine.yaml:3"}
    assert shown["seed"] == {"value": 7, "from": "--set seed=7"}
    assert shown["train.log_every"]["from"] == "default"
    assert "mine.yaml:3" in bertjob("jobs", "./mine.yaml").stdout


def test_jobs_show_values_as_a_job_file_holds_them(bertjob):
    (bertjob.folder / "mine.yaml").write_text(
        "base: squad\nname: mine\nbackend: deepspeed\ndeepspeed:\n  zero_optimization: {stage: 1}\n"
    )
    shown = {line.split()[0]: line.split(None, 1)[1] for line in bertjob("jobs", "./mine.yaml").stdout.splitlines()}
    for key, value, origin in (
        ("optimizer.betas", "[0.9, 0.999]", "default"),
        ("deepspeed", "{zero_optimization: {stage: 1}}", "mine.yaml:5"),
        ("mpi", "false", "default"),
        ("train.epochs", "2.0", "jobs/squad.yaml:18"),
    ):
        assert shown[key].startswith(f"{value}  ")
        assert shown[key].endswith(f" {origin}")
    assert shown["resources.sbatch"] == "default"


def test_jobs_show_what_the_site_fills_in(bertjob):
    shown = json.loads(bertjob("jobs", "squad", "--site", "daint", "--json").stdout)
    assert shown["launcher"] == {"value": "openmpi", "from": "site daint"}
    assert shown["resources.cpus_per_task"] == {"value": 12, "from": "site daint"}


def test_a_file_that_is_not_well_formed_spoils_no_list(bertjob, tmp_path):
    folder = tmp_path / "config/bertjob/jobs"
    folder.mkdir(parents=True)
    (folder / "broken.yaml").write_text("name: broken\nepochs: 3\n")
    (folder / "odd.yaml").write_text("name: odd\ndescription: 'a [/red] b'\n")
    listed = bertjob("jobs").stdout
    assert "unknown key 'epochs'" in listed
    assert "a [/red] b" in listed
    assert "squad-demo" in listed


def test_predictions_that_stand_twice_are_named(bertjob, tmp_path):
    answer = {"text": "c", "answer_start": 0}
    paragraph = {"context": "c", "qas": [{"id": "1", "question": "?", "answers": [answer]}]}
    (tmp_path / "dev.json").write_text(
        json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": [paragraph]}]})
    )
    (tmp_path / "twice.json").write_text('{"1": "c", "1": "b", "2": "x"}')
    done = bertjob("eval", "--data", str(tmp_path / "dev.json"), str(tmp_path / "twice.json"), "--json")
    assert json.loads(done.stdout) == {"exact_match": 0.0, "f1": 0.0, "total": 1}
    assert "1 predictions stand more than once, and the last one counts: '1'" in done.stderr
    assert "1 predictions are for unknown questions and do not count: '2'" in done.stderr


def test_the_demo_set_is_data_to_score_against(bertjob, tmp_path):
    (tmp_path / "none.json").write_text("{}")
    done = bertjob("eval", "--data", "demo", str(tmp_path / "none.json"), "--json")
    assert json.loads(done.stdout)["total"] > 300, done.stderr


def test_data_info_counts_the_demo_set(bertjob):
    facts = json.loads(bertjob("data", "info", "demo", "--json").stdout)
    assert facts["paragraphs"] >= 300
    assert facts["questions"] >= 1_700
    shown = bertjob("data", "info", "demo").stdout
    assert re.search(rf"^mean context +{facts['mean_context']:,} characters$", shown, re.MULTILINE)
    assert re.search(rf"^paragraphs +{facts['paragraphs']:,}$", shown, re.MULTILINE)


def test_jobs_and_sites_are_listed(bertjob):
    assert "squad" in json.loads(bertjob("jobs", "--json").stdout)
    assert {"local", "generic", "daint"} <= set(json.loads(bertjob("sites", "--json").stdout))
    assert [line.split()[0] for line in bertjob("jobs").stdout.splitlines()] == sorted(names("job"))
    assert "scheduler: slurm" in bertjob("sites", "daint").stdout


def test_the_users_own_jobs_are_found_by_name(bertjob, tmp_path):
    (tmp_path / "config/bertjob/jobs").mkdir(parents=True)
    (tmp_path / "config/bertjob/jobs/mine.yaml").write_text("base: squad\nname: mine\n")
    assert "--job-name=mine" in bertjob("script", "mine").stdout


@pytest.mark.parametrize("kind", ["job", "site"])
def test_the_schema_is_json_with_a_text_for_each_key(bertjob, kind):
    schema = json.loads(bertjob("schema", kind).stdout)
    definition = schema["$defs"][kind.capitalize()]
    assert all(value.get("description") for value in definition["properties"].values())


def test_no_colours_in_a_pipe_nor_with_no_color(bertjob):
    assert "\x1b" not in bertjob("jobs", "squad", NO_COLOR="1").stdout
    assert "\x1b" not in bertjob("jobs", "squad").stdout


def test_status_without_runs_says_so(bertjob):
    done = bertjob("status")
    assert done.returncode == 0
    assert "no runs yet" in done.stderr


def completed(bertjob, words):
    """What bash is told for the last word, without the kind before each."""
    cursor = str(len(words.split(" ")) - 1)
    done = bertjob(_BERTJOB_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=cursor)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("bertjob run squ", [f"plain,squad{end}" for end in ("", "-demo", "-kernel", "-onebit", "-tiny")]),
        ("bertjob data fetch ", ["plain,squad"]),
        ("bertjob submit squad --set train.m", ["plain,train.max_steps=", "plain,train.micro_batch=", *LIMITS]),
        ("bertjob run squad --set ba", ["plain,backend="]),
        ("bertjob schema j", ["plain,job"]),
        ("bertjob logs no", ["dir,no"]),
    ],
)
def test_completion_knows_names_and_keys(bertjob, words, found):
    assert sorted(completed(bertjob, words)) == sorted(found)


@pytest.mark.parametrize("verb", ["ask", "logs", "cancel", "wait"])
def test_completion_knows_runs_the_newest_first(bertjob, tmp_path, monkeypatch, verb):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("squad-1", "other", "squad-2"):
        run_dir = RunDir(bertjob.folder / "runs" / name)
        run_dir.path.mkdir(parents=True)
        catalog.record(run_dir, job_id="local", site="local", scheduler="none")
    assert completed(bertjob, f"bertjob {verb} squ") == ["plain,squad-2", "plain,squad-1"]
    assert completed(bertjob, f"bertjob {verb} ")[:1] == ["plain,squad-2"]


def test_a_reader_that_leaves_early_is_no_error(bertjob):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {BERTJOB} schema job | head -n 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("jobs",), ("jobs", "squad"), ("sites",), ("doctor", "--site", "local")])
def test_tables_in_a_pipe_have_no_trailing_blanks(bertjob, arguments):
    lines = bertjob(*arguments).stdout.splitlines()
    assert len(lines) > 1
    assert [line for line in lines if line != line.rstrip()] == []
