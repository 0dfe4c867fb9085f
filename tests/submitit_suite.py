"""submitit's own tests with bertjob in place of its way to sbatch, and the list of them in docs/submitit.md.

    git clone --branch 1.5.4 https://github.com/facebookincubator/submitit /tmp/submitit
    .venv/bin/pip install pytest-asyncio
    .venv/bin/python -m tests.submitit_suite /tmp/submitit

submitit does not install its tests, hence the clone. Its executor still makes the script and the job; what hands the
script to sbatch and reads the id is bertjob's, by a fake sbatch on PATH that takes its ids from the tests' own fake.
"""

import os
import shutil
import sys
import tempfile
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "submitit.md"
MARK = "<!-- the list: written by tests/submitit_suite.py -->\n"
OURS = ("submitit/slurm/", "submitit/auto/")
"""Folders whose tests are about Slurm's executor; others count where they submit something by it."""


class Plugin:
    """Puts bertjob into submitit, and notes what came of each test."""

    def __init__(self) -> None:
        self.submitted_by: set[str] = set()
        self.outcomes: dict[str, str] = {}
        self._mock: Any = None
        self._test = ""
        self._bin = Path(tempfile.mkdtemp(prefix="bertjob-submitit-"))

    def pytest_configure(self) -> None:
        """Before submitit's tests are imported: they take the class from its module."""
        from submitit.core import test_core, utils
        from submitit.slurm.slurm import SlurmExecutor

        from bertjob.cluster.scheduler import CLIENTS
        from bertjob.rundir.directory import RunDir

        os.environ["PATH"] = f"{self._bin}:{os.environ['PATH']}"
        real_which, real_command, submit = shutil.which, utils.CommandFunction, SlurmExecutor._submit_command
        mocked = test_core.MockedSubprocess
        make = mocked.__init__

        def noted(mock: Any, *args: Any, **keys: Any) -> None:
            make(mock, *args, **keys)
            self._mock = mock

        def which(mock: Any, name: str, *args: Any, **keys: Any) -> str | None:
            return real_which(name, *args, **keys) or ("here" if name in mock.known_cmds else None)

        def by_bertjob(executor: Any, command: str) -> Any:
            uid = uuid.uuid4().hex
            folder = utils.JobPaths.get_first_id_independent_folder(executor.folder) / f".submission-{uid}"
            run_dir = RunDir(folder)
            run_dir.logs.mkdir(parents=True)
            run_dir.script.write_text(executor._make_submission_file_text(command, uid))
            number = self._mock.sbatch([str(run_dir.script)]).split()[-1]
            self._say(number)
            self.submitted_by.add(self._test)
            with (
                patch.object(SlurmExecutor, "_submit_command", submit),
                patch("submitit.core.utils.CommandFunction", real_command),
            ):
                started = CLIENTS["slurm"].submit(run_dir)
            assert started.job_id == number
            job = executor.job_class(folder=executor.folder, job_id=number, tasks=list(range(executor._num_tasks())))
            job.paths.move_temporary_file(run_dir.script, "submission_file", keep_as_symlink=True)
            executor._write_job_id(job.job_id, uid)
            executor._set_job_permissions(job.paths.folder)
            return job

        mocked.__init__, mocked.which, SlurmExecutor._submit_command = noted, which, by_bertjob
        self._say("")

    def _say(self, number: str) -> None:
        """What the fake sbatch prints."""
        for name, text in (
            ("srun", ""),
            ("squeue", ""),
            ("sbatch", f'case " $* " in *" --parsable "*) echo {number};; *) echo Submitted batch job {number};; esac'),
        ):
            (self._bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self._bin / name).chmod(0o755)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Whose submissions are next."""
        self._test = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of setup, call and teardown; what is expected to fail is so for submitit itself."""
        outcome = "expected to fail" if hasattr(report, "wasxfail") else report.outcome
        if report.when == "call" or outcome != "passed":
            self.outcomes[report.nodeid] = outcome

    def page(self) -> str:
        """The list: names with what came of them, those that differ first."""
        apply = {
            name: outcome
            for name, outcome in self.outcomes.items()
            if name in self.submitted_by or any(folder in name for folder in OURS)
        }
        counts = {outcome: list(apply.values()).count(outcome) for outcome in sorted(set(apply.values()))}
        others = {name: outcome for name, outcome in self.outcomes.items() if name not in apply}
        rest = {outcome: list(others.values()).count(outcome) for outcome in sorted(set(others.values()))}
        failed = ", ".join(f"`{_shown(name)}`" for name, outcome in sorted(others.items()) if outcome == "failed")
        rows = [
            f"| `{_shown(name)}` | {'bertjob' if name in self.submitted_by else '-'} | {outcome} |"
            for name, outcome in sorted(apply.items(), key=lambda one: (one[1] == "passed", one[0]))
        ]
        return "\n".join(
            [
                f"{len(apply)} tests are about Slurm's executor: {_counted(counts)}. {len(self.submitted_by)} of them",
                f"submit, by bertjob. {len(others)} others are about submitit's local executor, pickles and helpers,",
                f"and never meet bertjob: {_counted(rest)}.",
                *([f"These failed: {failed}."] if failed else []),
                "",
                "| test | submitted by | outcome |",
                "|---|---|---|",
                *rows,
                "",
            ]
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.items())


def _shown(name: str) -> str:
    return name[name.index("submitit/") :].encode("unicode_escape").decode().replace("|", "\\|")


def main(clone: str) -> int:
    """Run the suite in this process, and write the list."""
    folder = Path(clone).resolve()
    sys.path.insert(0, str(folder))
    plugin = Plugin()
    os.chdir(folder)
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "submitit"], plugins=[plugin])
    head, _, _ = PAGE.read_text().partition(MARK)
    version = f"submitit {import_module('submitit').__version__}, Python {sys.version.split()[0]}.\n\n"
    PAGE.write_text(head + MARK + version + plugin.page())
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
