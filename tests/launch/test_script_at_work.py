"""Scripts at work: their exit code, their environment, and the run directory that they make."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from disks import fill
from planned import HERE, HOSTILE, SLURM, SMALL, made, with_
from script_runs import Batch

from bertjob.cluster.runs.reason import from_log
from bertjob.config.job import Image, Job, Resources
from bertjob.config.load import dump, read_job
from bertjob.config.site import Mount
from bertjob.launch.plan import plan
from bertjob.launch.script import script as text_of
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import reserve_room


@pytest.mark.parametrize(("body", "code"), [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_of_training_is_the_jobs(batch: Batch, body: str, code: int) -> None:
    assert batch.run(body) == code
    assert batch.requeues == []


def test_ranks_find_each_other_and_nothing_of_the_calling_shell(batch: Batch) -> None:
    left = {"RANK": "1", "WORLD_SIZE": "9", "SLURM_EXPORT_ENV": "NONE"}
    assert batch.run("print(json.dumps(dict(os.environ)), sys.argv[1:], os.getcwd())", **left) == 0
    seen, _ = json.JSONDecoder().raw_decode(batch.log)
    assert (seen["MASTER_ADDR"], seen["BERTJOB_WORLD_SIZE"], seen["BERTJOB_JOB_ID"]) == ("n1", "1", "7")
    assert seen["OMP_NUM_THREADS"] == "3"
    assert not seen.keys() & left.keys()
    assert f"['-u', '-m', 'bertjob.train', {str(batch.run_dir / 'job.yaml')!r}] {batch.run_dir}\n" in batch.log


@pytest.mark.fault(
    "disk full before the ranks start",
    survived="once there is room",
    lost="nothing",
    reported="failed: the disk is full, in the log",
)
def test_on_a_full_disk_the_script_says_so(tmp_path: Path, small_disk: Callable[[Path, int], Path]) -> None:
    batch = Batch(small_disk(tmp_path / "disk", 1024))
    run_dir = RunDir(batch.run_dir)
    run_dir.logs.mkdir(parents=True)
    run_dir.job.write_text("kept")
    reserve_room(run_dir)
    filler = fill(batch.folder)
    os.truncate(filler, filler.stat().st_size - (1 << 16))  # for the script and the calls of the fakes
    text = made(SLURM, str(batch.run_dir))
    fuller = text.replace(
        "\n\nlatest() {", f"\ncat /dev/zero > {shlex.quote(str(batch.folder / 'more'))} || true\n\nlatest() {{"
    )
    assert fuller != text
    assert batch.start_text(fuller).wait(60) == 1
    told = f"{batch.run_dir}: cannot be written: the disk is full; make room and start again"
    assert f"bertjob: {told}" in batch.log.splitlines()
    assert from_log(batch.log) == told
    assert {path.name for path in run_dir.logs.iterdir()} <= {run_dir.ending("7").name}
    (batch.folder / "more").unlink()
    assert batch.run("") == 0
    assert run_dir.job.read_text() == "kept"


OF_ANOTHER_JOB = {
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
    "SLURM_CPU_BIND_LIST": "0x1",
    "SLURM_MEM_PER_CPU": "50",
    "SLURM_MEM_PER_NODE": "100",
    "SLURM_HINT": "nomultithread",
    "SLURM_DISTRIBUTION": "plane",
    "SLURM_EXACT": "1",
    "SLURM_GPUS": "8",
    "SLURM_STEP_ID": "0",
    "SLURM_STEPID": "0",
    "SRUN_CPUS_PER_TASK": "7",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_MCA_ess": "env",
    "PMIX_NAMESPACE": "x",
    "PMI_RANK": "3",
    "HYDRA_HOST_FILE": "x",
}
OF_THE_JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_STEPMGR": "n1",
    "SLURM_JWT": "token",
    "OMPI_MCA_plm_slurm_args": "--external-launcher",
    "HYDRA_BOOTSTRAP": "slurm",
}


def test_what_an_enclosing_job_has_left_is_unset_and_reported_and_the_jobs_own_stays(batch: Batch) -> None:
    assert batch.run("print(json.dumps(dict(os.environ)))", **OF_ANOTHER_JOB, **OF_THE_JOB) == 0
    seen = json.loads(next(line for line in batch.log.splitlines() if line.startswith("{")))
    assert not seen.keys() & OF_ANOTHER_JOB.keys()
    assert {name: seen[name] for name in OF_THE_JOB} == OF_THE_JOB
    report = next(line for line in batch.log.splitlines() if "no #SBATCH line asks for" in line)
    assert "SLURM_HINT=nomultithread" in report
    assert "MEM_PER" not in report


def test_what_the_lines_of_the_script_ask_for_stays_and_so_do_variables_of_mpi_without_a_rank(batch: Batch) -> None:
    site = with_(SLURM, defaults=Resources(time="10", mem="1G", sbatch=("--hint=nomultithread", "-m", "plane=2")))
    own = {
        "SLURM_HINT": "nomultithread",
        "SLURM_THREADS_PER_CORE": "1",
        "SLURM_DISTRIBUTION": "plane",
        "SLURM_MEM_PER_NODE": "1024",
        "SLURM_OPEN_MODE": "a",
        "OMPI_MCA_btl": "self,tcp",
    }
    assert batch.run("print(json.dumps(dict(os.environ)))", site=site, **own, SLURM_MEM_PER_CPU="50") == 0
    seen = json.loads(next(line for line in batch.log.splitlines() if line.startswith("{")))
    assert {name: seen.get(name) for name in own} == own
    assert "SLURM_MEM_PER_CPU" not in seen
    assert "no #SBATCH line" not in batch.log


def test_each_start_has_a_secret_of_its_own_that_only_its_owner_can_read(batch: Batch) -> None:
    look = """
        path = pathlib.Path(os.environ["BERTJOB_SECRET_FILE"])
        print(json.dumps([str(path), path.stat().st_mode, path.read_bytes().hex()]))
    """
    assert [batch.run(look), batch.run(look)] == [0, 0]
    starts = [json.loads(line) for line in batch.log.splitlines() if line.startswith("[")]
    assert len({path for path, _, _ in starts}) == len({secret for _, _, secret in starts}) == 2
    assert all(mode & 0o777 == 0o600 and len(secret) == 64 for _, mode, secret in starts)
    assert not list((batch.run_dir / "logs").glob(".secret-*"))


def test_by_hand_a_run_directory_is_made_where_sbatch_was_called(batch: Batch) -> None:
    assert batch.run("print('worked')", by_hand=True) == 0
    run = RunDir(batch.folder / "runs/j-7")
    assert read_job(run.job).resources.nodes == 1
    assert run.script.read_text() == (batch.folder / "script").read_text()
    assert "worked\n" in run.log("7").read_text()
    assert f"bertjob: run directory {run.path}\n" in batch.log


def test_a_script_of_submit_that_a_person_starts_again_files_its_job(batch: Batch) -> None:
    run = RunDir(batch.run_dir)
    run.path.mkdir()
    submit = '{"job_id":"6","site":"slurm","scheduler":"slurm","time":1.0,"host":"login"}'
    run.submissions.write_text(f"{submit}\n")
    assert batch.run("print('worked')") == 0  # as job 7
    assert batch.run("print('worked')") == 0  # and after a requeue
    first, second = run.submissions.read_text().splitlines()
    assert first == submit
    assert json.loads(second)["job_id"] == "7"


def test_by_hand_a_run_goes_on_in_its_directory(batch: Batch) -> None:
    old = batch.folder / "old run"
    old.mkdir()
    (old / "job.yaml").write_text("name: old")
    assert batch.run("print(pathlib.Path(sys.argv[-1]).read_text())", by_hand=True, BERTJOB_RUN_DIR=str(old)) == 0
    assert "name: old\n" in batch.log
    assert not (batch.folder / "runs").exists()


@pytest.mark.parametrize(("run", "mounts"), [("run", ["$S", "$S/run"]), ("runs/run", ["$S", "$S/runs"])])
def test_by_hand_a_run_directory_in_a_folder_that_the_site_mounts_mounts_it_once(
    batch: Batch, run: str, mounts: list[str]
) -> None:
    batch.commands.make("podman")
    job = Job(name="j", task="smoke", engine="podman", image=Image(ref="b:1"))
    text = text_of(plan(job, with_(SLURM, mounts=(Mount(source="$SCRATCH"),)), None, HERE))
    assert batch.start_text(text, BERTJOB_RUN_DIR=f"{batch.folder}/{run}", SCRATCH=f"{batch.folder}/").wait(60) == 0
    (call,) = batch.commands.calls("podman")
    sources = [word.split(",")[1].removeprefix("source=") for word in call if word.startswith("--mount=")]
    assert [source.rstrip("/").replace(str(batch.folder), "$S") for source in sources] == mounts


def test_modules_are_loaded_in_order_and_a_missing_one_ends_the_job(batch: Batch) -> None:
    site = with_(SLURM, modules=("daint-gpu", "sarus 2"), setup=("export EARLY=$UNSET",))
    assert batch.run("print('trained')", site=site) == 0
    assert batch.commands.calls("module") == [["load", "daint-gpu"], ["load", "sarus 2"]]
    batch.commands.make("module", stderr="no such module", code=5)
    assert batch.run("print('trained')", site=site) == 5
    assert batch.log.count("trained") == 1


@pytest.mark.parametrize("modules", [(), ("sarus",)])
def test_a_variable_of_the_site_that_is_unset_ends_the_job(batch: Batch, modules: tuple[str, ...]) -> None:
    assert batch.run("print('trained')", site=with_(SLURM, env={"A": "$NOWHERE/x"}, modules=modules)) != 0
    assert "NOWHERE: unbound variable" in batch.log
    assert "trained" not in batch.log


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_run_directories_do_no_harm(batch: Batch, name: str) -> None:
    batch.run_dir = batch.folder / name
    before = set(batch.folder.iterdir())
    assert batch.run("print(os.getcwd())") == 0
    assert batch.log == f"{batch.run_dir}\n"
    new = {path.name for path in set(batch.folder.iterdir()) - before}
    assert new == {name, "program", "script", "j-7.out"}


def test_the_job_in_the_script_is_the_resolved_one(batch: Batch) -> None:
    assert batch.run("") == 0
    resolved = plan(Job(name="j", **SMALL), SLURM, None, HERE).job
    assert (batch.run_dir / "job.yaml").read_text() == dump(resolved)
