"""The commands at the top of the README work as printed, on the site that they name."""

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.commands import Commands

from bertjob.cli.main import cli
from bertjob.cluster import datasets
from bertjob.errors import PreflightError
from bertjob.formats.checksums import checksum
from bertjob.formats.squad import Part, demo_set

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
TOP = re.findall(r"(?m)^    (bertjob [^#\n]*)", README.partition("\n## ")[0])
ON_A_CLUSTER = re.findall(
    r"(?m)^    (bertjob (?:sites|image|script|submit|estimate)\b[^#\n]*)",
    README.partition("\n## On a cluster\n")[2].partition("\n## ")[0],
)
DRY = ("run", "submit", "overlay")
"""Commands that would train, queue or take a node."""
(OVERLAY,) = (line.strip() for line in TOP if line.startswith("bertjob image overlay "))
(SUBMIT,) = (line.strip() for line in TOP if line.startswith("bertjob submit "))


@pytest.fixture(autouse=True)
def login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account on the machine with its scratch folder, and the files that `bertjob data fetch` brings."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "SCRATCH"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("BERTJOB_SITE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    commands = Commands(tmp_path / "bin")
    for name in ("srun", "squeue", "sacct", "sbatch"):
        commands.make(name)
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    (tmp_path / "data").mkdir()
    files = {}
    parts: tuple[Part, ...] = ("train", "dev")
    for part in parts:
        (tmp_path / f"data/{part}-v1.1.json").write_bytes(demo_set(part))
        files[f"{part}-v1.1.json"] = checksum(tmp_path / f"data/{part}-v1.1.json")
    monkeypatch.setitem(datasets.DATA_SETS, "squad", datasets.DataSet("http://127.0.0.1:1/", files))


def made_overlay() -> None:
    """What `bertjob image overlay` leaves: a Python that is a link into the image."""
    folder = Path(os.environ["SCRATCH"], "bertjob-env/bin")
    folder.mkdir(parents=True)
    (folder / "python").symlink_to("/usr/bin/python-of-the-image")


def typed(line: str) -> Result:
    """Run a line of the README: without its redirection, dry where it would queue, and once where it would go on."""
    words = [word for word in shlex.split(line.partition(" > ")[0])[1:] if word != "--watch"]
    dry = next((number + 1 for number, word in enumerate(words) if word in DRY), 0)
    return CliRunner().invoke(cli, [*words[:dry], *(["--dry-run"] if dry else []), *words[dry:]])


@pytest.mark.parametrize("line", [*TOP, *ON_A_CLUSTER])
def test_a_command_works_as_printed(line: str) -> None:
    made_overlay()
    done = typed(line)
    assert done.exit_code == 0, f"{done.stderr}{done.exception}"
    assert "error: " not in done.stderr
    assert done.stdout or "status" in line


def test_the_top_names_one_site_for_all_that_a_submission_takes() -> None:
    sites = {re.search(r"--site (\S+)", line)[1] for line in TOP if "--site" in line}  # type: ignore[index]
    assert len(sites) == 1
    assert [line.split()[1] for line in TOP] == ["run", "data", "image", "submit", "script", "status"]


def test_submit_without_the_overlay_ends_with_the_command_that_the_readme_prints() -> None:
    done = typed(SUBMIT)
    assert isinstance(done.exception, PreflightError)
    assert str(done.exception).endswith(f": {OVERLAY}")


def test_the_overlay_is_made_where_the_job_looks_for_it() -> None:
    commands = typed(OVERLAY).stdout.splitlines()
    folder = f"{os.environ['SCRATCH']}/bertjob-env"
    assert all(line.startswith("srun --nodes=1 --ntasks=1 ") for line in commands)
    assert commands[0].endswith(f"-m venv --system-site-packages --without-pip {folder}")
    assert '"$SCRATCH/bertjob-env/bin/python" -u -m bertjob.train' in typed(SUBMIT.replace("submit", "script")).stdout
