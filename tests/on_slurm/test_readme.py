"""The README's Python runs, on a cluster."""

import re
import subprocess
from pathlib import Path

import pytest
from slurm.lab import Lab

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readmes_python_submits_a_job(
    cluster: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "2 1"
    job_id, run_dir = second.split()
    listed = ["squeue", "-h", "--states=all", "-j", job_id, "-o", "%i %D"]
    assert subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split() == [job_id, "2"]
    assert (Path(run_dir) / "job.yaml").is_file()
    assert third.startswith("COMPLETED {")
