"""A new engine is one function and one row: one that no other code knows is planned, examined, read and ported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from fakes.commands import Commands
from msgspec.structs import replace
from planned import HERE, LOCAL, SLURM, made, with_
from toy_engine import ROW

from bertjob.cli.main import cli
from bertjob.cluster import doctor
from bertjob.cluster.doctor.case import Typed
from bertjob.cluster.doctor.examine import examine
from bertjob.cluster.host import programs
from bertjob.cluster.images import engine as images
from bertjob.cluster.preflight import check_image
from bertjob.config.job import Data, Image, Job, Library, Resources
from bertjob.config.site import Mount
from bertjob.errors import PreflightError
from bertjob.launch import pmi
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.images import commands, in_job
from bertjob.launch.engines.references import PATH
from bertjob.launch.engines.types import Order, SlurmOptions
from bertjob.launch.plan import plan
from bertjob.launch.shell import script, shell
from bertjob.lint.rules import check
from bertjob.port import port
from bertjob.rundir.proof import Proof

ROOT = Path(__file__).resolve().parents[1]
TOY: Any = "toy"
"""A name that the Literal of a job's engines does not have."""
KEYS: dict[str, Any] = {"engine": TOY, "image": Image(ref="group/doll:1")}
HEAD = "#!/bin/bash\n#SBATCH --nodes=2\n"
SHA = "sha256:" + "ab" * 32
FACTS = '{"python": "3.12.3", "packages": {}, "mpi": {"family": null}}'


@pytest.fixture(autouse=True)
def _in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "toy", ROW)  # type: ignore[arg-type]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


def test_it_is_planned_and_its_script_checks_the_nodes_for_it() -> None:
    text = made(**KEYS, resources=Resources(gpus_per_node=1))
    assert 'toybox start --gpu --dir="$RUN" --share="$RUNS:$RUNS"' in " ".join(text.replace("\\\n", " ").split())
    assert "# toybox shows the folders that are shared." in text
    assert "export TOYS=all" in text
    assert "sh -s toybox << 'END_OF_CHECK'" in text
    assert "command -v toybox" in made(LOCAL, **KEYS)


def test_a_shell_starts_in_it() -> None:
    opened = shell(Job(name="j", **KEYS), LOCAL, HERE, ("bash",), tty=True)
    assert "exec toybox start --dir=/home/me" in script(opened)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"data": Data(train="/a+b/t.json")}, "data.train: '/a\\+b': toy separates toys by '\\+'"),
        ({"image": Image(ref="/doll")}, "is a path, and engine toy wants a reference"),
    ],
)
def test_what_it_cannot_do_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(PreflightError, match=told):
        made(**KEYS | keys)
    site = with_(SLURM, mounts=(Mount(source="/a", target="/toys/a"),), annotations={"a": "b"}, gpu_vendor="amd")
    with pytest.raises(PreflightError) as raised:
        made(site, **KEYS, resources=Resources(gpus_per_node=1))
    for refusal in ("toy mounts nothing below /toys", "engine toy reads none", "engine toy shows no amd GPUs"):
        assert refusal in str(raised.value)


def test_the_prediction_knows_that_it_closes_files() -> None:
    mpich = Library(family="mpich", version="4.2")
    facts = pmi.Facts(mpich, Library(), ("none", "pmi2"), "toy", needs_mpi=True)
    (verdict,) = (one for one in pmi.verdicts(facts) if one.srun_mpi == "pmi2")
    assert (verdict.outcome, verdict.reason[:28]) == ("aborts", "toy closes the file over whi")


def test_doctor_finds_it_and_looks_into_its_image(fakes: Commands, tmp_path: Path) -> None:
    fakes.make("toybox", stdout=f"toybox version 0.9.1 {SHA}\n{FACTS}\n")
    fakes.make("toytool", stdout="toytool 2.5\n")
    found = programs.look(LOCAL).engines
    assert (found["toy"], found["toytool"]) == ("0.9.1", "2.5")
    assert fakes.calls("toybox") == [["version"]]
    case = examine(Job(name="j", task="smoke", **KEYS), LOCAL, tmp_path / "runs/j", Typed("local"), named=False)
    said = {finding.check: finding.finding for part in doctor.findings(case).values() for finding in part}
    assert said["engine"] == "toy 0.9.1"
    assert said["image"] == f"group/doll:1, {SHA[:19]}…"
    assert said["plan"].endswith("by local and engine toy")


def test_its_images_are_brought_named_and_looked_into(fakes: Commands) -> None:
    for name in ("toybox", "toytool"):
        fakes.make(name)
    site = with_(LOCAL, engine=TOY)
    assert images.engine_of(site) == "toy"
    images.run(commands("toy", "pull", Order(ref="doll:1")), site)
    assert (fakes.calls("toybox"), fakes.calls("toytool")) == ([["fetch", "doll:1"]], [["unpack", "doll:1"]])
    assert in_job("toy", Order(ref="doll:1", archive="/a.tar")) == "toys/doll:1"
    with pytest.raises(PreflightError, match="engine toy: builds no images: buy them"):
        commands("toy", "build", Order())
    fakes.make("toybox", stdout=f"{SHA}\n")
    assert images.digest("toy", "doll:1", site) == SHA
    fakes.make("toybox", stdout=FACTS)
    assert images.inspect(Image(ref="doll:1"), site).python == "3.12.3"
    assert "--no-shopping" in (fakes.folder / "toybox.calls").read_text()


def test_an_engine_may_stand_in_on_a_site_without_one(fakes: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    stands_in = replace(ROW, images=replace(ROW.images, stands_in=True))
    monkeypatch.setitem(ENGINES, "toy", stands_in)  # type: ignore[arg-type]
    monkeypatch.setenv("PATH", str(fakes.folder))
    fakes.make("toybox")
    assert images.engine_of(LOCAL) == "toy"
    monkeypatch.setenv("PATH", str(fakes.folder / "empty"))
    with pytest.raises(PreflightError, match="neither podman nor toy nor docker is here"):
        images.engine_of(LOCAL)


def test_what_a_folder_must_hold_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "toy", replace(ROW, takes=(PATH,)))  # type: ignore[arg-type]
    job = Job(name="j", task="smoke", engine=TOY, image=Image(ref=str(tmp_path)))
    planned = plan(job, with_(SLURM, mounts=(Mount(source="/data"), Mount(source="/tmp"))), "/runs/j", HERE)
    for lacking in ("lid", "data", "runs"):
        with pytest.raises(PreflightError, match=f"has no /{lacking}, and toybox makes none"):
            check_image(planned)
        (tmp_path / lacking).mkdir()
    check_image(planned)


@pytest.mark.parametrize("program", ["toybox", "toychest"])
def test_lint_reads_its_command_line(program: str) -> None:
    script = f"{HEAD}#SBATCH --cpus-per-task=4\nsrun {program} start --colour red -T doll:1 mpirun -n 2 python t.py\n"
    found = {finding.rule: finding.reason for finding in check(script)}
    assert found["tty-in-batch"] == f"a batch job has no terminal: {program} -T plays with it"
    assert found["mpirun-as-root"].startswith(f"{program} runs as root inside")
    assert found["mpirun-in-step"]
    named = script.replace("mpirun -n 2 python t.py", "python t.py")
    assert "kill-on-bad-exit" in {finding.rule for finding in check(named)}  # the training is seen behind it


def test_lint_knows_the_options_of_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"{HEAD}#SBATCH --toy-image=doll\n#SBATCH --toy-quick\nsrun --toy-image doll python t.py\n"
    assert [finding.rule for finding in check(script)].count("unknown-option") == 2
    plugin = SlurmOptions(valued=frozenset({"toy-image"}), flags=frozenset({"toy-quick"}))
    monkeypatch.setitem(ENGINES, "toy", replace(ROW, slurm_options=plugin))  # type: ignore[arg-type]
    assert [finding.rule for finding in check(script)] == ["kill-on-bad-exit"]


def test_a_script_is_ported_from_it() -> None:
    options = "--dir /w --share /a:/b --set A=1 --colour red"
    ported = port(f"{HEAD}srun toychest start {options} group/doll:1 ls\n", "apptainer")
    assert ported.text.endswith("srun apptainer exec --pwd=/w --bind=/a:/b docker://group/doll:1 env A=1 ls\n")
    notes = [note.text for note in ported.notes]
    assert "--colour=red is left out: only toys have one" in notes
    assert "the image's entry point is no longer run: apptainer starts the program itself" in notes
    assert any(note.startswith("toychest shows GPUs untold") for note in notes)
    notes = [note.text for note in port(f"{HEAD}toybox start toys/doll ls\n", "podman").notes]
    assert any(note.startswith("only toybox knows toys/doll") for note in notes)


def test_a_script_is_ported_to_it(tmp_path: Path) -> None:
    file = tmp_path / "a.sbatch"
    file.write_text(
        f"{HEAD}module load sarus\ntoytool unpack x\n"
        "srun sarus run -w /w -e A=1 --mount=type=bind,source=/a,destination=/b group/doll:1 ls\n"
    )
    done = CliRunner().invoke(cli, ["port", str(file), "--to", "toy"])
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("srun toybox start --dir=/w --share=/a:/b group/doll:1 env A=1 ls\n")
    assert "the module sarus is still loaded" in done.stderr
    assert "toytool" not in done.stderr  # which belongs to the new engine


TOYBOX = """\
#!/bin/bash
case $1 in
version) echo "toybox version 0.9.1" && exit ;;
mark) echo "$SHA" && exit ;;
start) shift ;;
*) echo "toybox $*" && exit ;;
esac
while [[ $1 == --* ]]; do
  case $1 in
  --dir=*) cd "${1#--dir=}" ;;
  --set=*) export "${1#--set=}" ;;
  esac
  shift
done
[ "$1" = group/doll:1 ] || exit 9
shift
exec "$@"
"""
"""Starts the program as it is, without a container."""


@pytest.mark.slow
def test_the_recipe_is_one_module_one_row_and_one_name(tmp_path: Path) -> None:
    """In a copy of bertjob, from the command line: a launch proof runs in the engine, and status tells of it."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "bertjob", copy / "bertjob", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("jobs", "slurm", "container", "pyproject.toml", "README.md", "LICENSE"):
        (copy / name).symlink_to(ROOT / name)
    rows = copy / "bertjob/launch/engines"
    shutil.copy(ROOT / "tests/toy_engine.py", rows / "toy.py")
    _insert(rows / "__init__.py", "from bertjob.launch.engines import apptainer,", " toy,")
    _insert(rows / "__init__.py", "ENGINES: Mapping[str, Engine] = {", '\n    "toy": toy.ROW,')
    _insert(copy / "bertjob/config/job.py", '    "singularity",', '\n    "toy",')
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"toybox": TOYBOX, "toytool": "#!/bin/sh\necho 2.5\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    python = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "BERTJOB_"))},
        "PATH": f"{programs}:{python}:/usr/bin:/bin",
        "PYTHONPATH": str(copy),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "SHA": SHA,
    }

    def bertjob(*words: str) -> str:
        command = [sys.executable, "-c", "from bertjob.cli.main import main; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    asked = ("--set", "engine=toy", "--set", "image.ref=group/doll:1", "--site", "local")
    assert "toybox start " in bertjob("script", "smoke", *asked)
    assert "toybox fetch doll" in bertjob("image", "pull", "doll", "--engine", "toy", "--dry-run")
    assert "toy" in bertjob("schema", "job")
    assert "toy 0.9.1" in bertjob("doctor", "smoke", *asked)
    run = tmp_path / "run"
    bertjob("run", "smoke", "--run-dir", str(run), *asked)
    proof = msgspec.json.decode((run / "proof.json").read_bytes(), type=Proof)
    assert proof.engine == "toy"
    assert SHA in (run / "provenance.json").read_text()
    assert "completed" in bertjob("status", str(run))


def _insert(path: Path, behind: str, text: str) -> None:
    old = path.read_text(encoding="utf-8")
    assert old.count(behind) == 1
    path.write_text(old.replace(behind, behind + text), encoding="utf-8")
