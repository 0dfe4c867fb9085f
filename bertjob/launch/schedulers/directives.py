"""The #SBATCH lines of a job."""

from collections.abc import Iterator
from pathlib import Path

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.argv import quote_directive
from bertjob.rundir.directory import RunDir


def directives(job: Job, site: Site, run_dir: str | None) -> list[str]:
    """The lines, comments between them. They must stand before the first command: sbatch ignores later ones silently.

    Args:
        job: the resolved job.
        site: where it runs.
        run_dir: absolute path of the run directory; None: the script makes one when it runs.
    """
    asked = [f"#SBATCH {option}={quote_directive(value)}" for option, value in resources(job, site)]
    return [
        *asked,
        "# USR1 before the time limit is for this script; it may start again, and its log goes on.",
        f"#SBATCH --signal=B:USR1@{job.checkpoint.signal_seconds}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={quote_directive(_log(run_dir))}",
        *(f"#SBATCH {' '.join(map(quote_directive, option))}" for option in _options(job.resources.sbatch)),
    ]


def resources(job: Job, site: Site) -> list[tuple[str, str]]:
    """What is asked of the scheduler: options of sbatch, and of salloc, with their values."""
    return [(option, value) for option, value in _resources(job, site) if value]


def _resources(job: Job, site: Site) -> Iterator[tuple[str, str | None]]:
    asked = job.resources
    yield "--job-name", job.name
    yield "--time", asked.time
    yield "--nodes", str(asked.nodes)
    yield "--ntasks-per-node", str(asked.tasks_per_node)
    yield "--cpus-per-task", str(asked.cpus_per_task)
    if asked.gpus_per_node and site.gpu_option != "none":
        gpus = {"gpus-per-node": f"{asked.gpus_per_node}", "gres": f"gpu:{asked.gpus_per_node}"}
        yield f"--{site.gpu_option}", gpus[site.gpu_option]
    yield "--mem", asked.mem
    yield "--constraint", asked.constraint
    yield "--partition", asked.partition
    yield "--qos", asked.qos
    yield "--reservation", asked.reservation
    yield "--account", asked.account


def _log(run_dir: str | None) -> str:
    """Slurm opens the log before the script runs, so its folder must be there; ``%`` begins a pattern."""
    if run_dir is None:
        return "%x-%j.out"
    return str(RunDir(Path(run_dir.replace("%", "%%"))).log("%j"))


def _options(words: tuple[str, ...]) -> list[list[str]]:
    """Options as they are, each with the words that follow it: ``--mail-type END`` is one line."""
    lines: list[list[str]] = []
    for word in words:
        if lines and not word.startswith("-"):
            lines[-1].append(word)
        else:
            lines.append([word])
    return lines
