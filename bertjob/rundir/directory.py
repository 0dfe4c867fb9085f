"""The run directory: the contract between the login node, which plans and watches, and the training, which works.

job.yaml site.yaml job.sbatch       resolved: enough to run it again
provenance.json git.diff            who, where, which code
submissions.jsonl                   one line a submission or local start: the scheduler's id, host, process, time
lease.json                          which start may write here, replaced atomically
hparams.json                        what the training resolved
logs/<job id>.out                   the batch script and rank 0, appended over requeues
logs/<job id>.<rank>.out            each rank's own log
logs/<job id>.<rank>.nccl           what its NCCL says of the network, where it has a GPU
logs/<job id>.<start>.departure     why a rank left before it had met rank 0, until rank 0 has read it
logs/<job id>.exit                  how the newest start's script ended: exit code, command, resource limits
logs/<job id>.cancel                a person has cancelled the job, which tells the script whose TERM it gets
logs/.reserve                       room on a full disk for the line of the log that says so; removed for that
logs/.secret-…                      by which the ranks of a start recognise each other; removed when they have met
logs/<host>.shards                  the node has checked the shards of the data
state.json                          heartbeat, replaced atomically
metrics.jsonl  tb/                  one line a logged step; TensorBoard events
checkpoints/step-000400/            complete or absent
checkpoints/latest                  a file: the name of the newest complete checkpoint
model/                              the trained model in Hugging Face layout
predictions.json nbest_predictions.json eval.json
proof.json                          of a smoke job: the launch proof
"""

import re
from pathlib import Path

import msgspec

RUNS = "runs"
"""Folder of run directories, below the working directory."""
STATE = "state.json"
"""Name of the heartbeat in a run directory."""
_STEP = re.compile(r"step-(\d{6,})")


class RunDir(msgspec.Struct, frozen=True):
    """The paths of one run; touches no disk."""

    path: Path

    @classmethod
    def entries(cls) -> frozenset[str]:
        """Names of all files and folders that a run directory may hold."""
        here = cls(Path())
        paths = (getattr(here, name) for name, kind in vars(cls).items() if isinstance(kind, property))
        return frozenset(path.parts[0] for path in paths if isinstance(path, Path))

    @property
    def name(self) -> str:
        """Name of the run: the last part of its path."""
        return self.path.name

    @property
    def job(self) -> Path:
        """The resolved job."""
        return self.path / "job.yaml"

    @property
    def site(self) -> Path:
        """The resolved site."""
        return self.path / "site.yaml"

    @property
    def script(self) -> Path:
        """The script that was or would be submitted."""
        return self.path / "job.sbatch"

    @property
    def provenance(self) -> Path:
        """Who made the run, where, with which code."""
        return self.path / "provenance.json"

    @property
    def git_diff(self) -> Path:
        """What was not committed when the run was made."""
        return self.path / "git.diff"

    @property
    def submissions(self) -> Path:
        """One JSON object a line: a submission to the scheduler, or a start on this machine."""
        return self.path / "submissions.jsonl"

    @property
    def lease(self) -> Path:
        """Which start may write here (rundir.lease.Holder)."""
        return self.path / "lease.json"

    @property
    def hparams(self) -> Path:
        """What the training resolved: world size, batches, precision, versions."""
        return self.path / "hparams.json"

    @property
    def state(self) -> Path:
        """The heartbeat (rundir.state.RunState)."""
        return self.path / STATE

    @property
    def metrics(self) -> Path:
        """One JSON object a line: a logged step or an evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tb"

    @property
    def logs(self) -> Path:
        """Folder of all logs."""
        return self.path / "logs"

    def log(self, job_id: str, rank: int | None = None) -> Path:
        """The job's log, or one rank's own."""
        return self.logs / (f"{job_id}.out" if rank is None else f"{job_id}.{rank}.out")

    @property
    def reserve(self) -> Path:
        """Takes room that the log gets on a full disk (rundir.job_log)."""
        return self.logs / ".reserve"

    def departure(self, job_id: str, restart: int) -> Path:
        """Why a rank had to leave that could not tell rank 0, in one start of a job; for rank 0, or for the script."""
        return self.logs / f"{job_id}.{restart}.departure"

    def ending(self, job_id: str) -> Path:
        """How the script of a job's newest start ended (rundir.ending)."""
        return self.logs / f"{job_id}.exit"

    def cancellation(self, job_id: str) -> Path:
        """The mark of a person's cancel, left before the signal: a requeue sends the same one."""
        return self.logs / f"{job_id}.cancel"

    def secret(self, job_id: str) -> Path:
        """By which the ranks of a start recognise each other, where no job script has made a file for it."""
        return self.logs / f".secret-{job_id}"

    def verified(self, host: str) -> Path:
        """Which shards this node has found to be whole: the checksum of their manifest, or of their names and sizes."""
        return self.logs / f"{host}.shards"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint written after `step` optimizer steps."""
        return self.checkpoints / f"step-{step:06d}"

    @property
    def latest(self) -> Path:
        """A file that holds the name of the newest complete checkpoint."""
        return self.checkpoints / "latest"

    @property
    def model(self) -> Path:
        """The trained model in Hugging Face layout."""
        return self.path / "model"

    @property
    def predictions(self) -> Path:
        """Question id to answer text."""
        return self.path / "predictions.json"

    @property
    def nbest(self) -> Path:
        """Question id to the n best answers."""
        return self.path / "nbest_predictions.json"

    @property
    def evaluation(self) -> Path:
        """The metrics of the final evaluation, and what else the task says of it."""
        return self.path / "eval.json"

    @property
    def proof(self) -> Path:
        """What a smoke job saw (rundir.proof.Proof)."""
        return self.path / "proof.json"


def checkpoint_step(name: str) -> int | None:
    """The step that a checkpoint folder's name says, or None if it is no such name."""
    match = _STEP.fullmatch(name)
    return int(match[1]) if match else None
