"""The proof of a launch: submit the smoke job, wait for it, show and keep what it proved; the words to repeat it."""

from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from bertjob.cli.doctor_report import proof_view
from bertjob.cli.options import SMOKE, Loaded, key_of
from bertjob.cluster.doctor import proofs, prove
from bertjob.cluster.doctor.advice import combination, left_out, said_of, without
from bertjob.cluster.doctor.case import Typed
from bertjob.cluster.host.here import here
from bertjob.cluster.images import engine
from bertjob.cluster.runs.create import new_run_dir
from bertjob.cluster.scheduler import CLIENTS, cancel
from bertjob.config.load import build_job, read_job_file
from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError
from bertjob.launch.plan import Plan
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.rundir.directory import RUNS, RunDir

_LAUNCH = ("engine", "launcher", "mpi", "srun_mpi", "image", "env", "env_from")
"""Keys and sections of a job that doctor.prove.smoke takes over."""
_WHERE = ("account", "partition", "constraint")
"""Resources that say on which nodes it is proved."""
_NODES = 2


def launch_words(loaded: Loaded) -> Typed:
    """The site as it was given, the options that change the launch, and the job where its own file changes it."""
    own = any(_root(key) in _LAUNCH for key in loaded.file.keys)
    options: list[str] = []
    said = loaded.settings
    for setting in (*said.shared, *said.own):
        if _matters(key_of(setting)):
            options += ["--set", setting]
    overruled = {key_of(setting) for setting in said.own}
    for key in (f"resources.{where}" for where in _WHERE):
        if key not in overruled:
            options += map(str, loaded.request.options.get(key, ()))
    return Typed(loaded.request.site, loaded.file.given if own else "", tuple(options))


def _matters(key: str) -> bool:
    return _root(key) in _LAUNCH or key in [f"resources.{where}" for where in _WHERE]


def _root(key: str) -> str:
    return key.partition(".")[0]


def show_proof(loaded: Loaded, as_json: bool) -> None:
    """Prove the launch of the requested job at its site; the proof goes to stdout, all else to stderr.

    Raises:
        BertjobError: the launch failed; says which nodes, or why.
    """
    request, site = loaded.request, loaded.site.value
    own = loaded.file if loaded.file.given == SMOKE else read_job_file(SMOKE)
    wanted = prove.smoke(loaded.job.value, build_job(own).value)
    queues = SCHEDULERS[site.scheduler].queues
    if queues and wanted.resources.nodes is None and site.defaults.nodes is None:
        wanted = replace(wanted, resources=replace(wanted.resources, nodes=_NODES))
    run_dir = RunDir(Path(request.run_dir).absolute()) if request.run_dir else new_run_dir(Path(RUNS), "proof")
    planned = prove.proving(wanted, site, str(run_dir.path), here(), request.site)
    if bad := left_out(planned):
        click.echo(said_of(bad, launch_words(loaded)), err=True)
        planned = without(planned, bad)
    about = combination(planned, CLIENTS[site.scheduler].version(), engine.digest_of(planned))
    _run(planned, run_dir)
    found = prove.verdict(run_dir)
    proofs.change(lambda book: prove.noted(book, found, about, run_dir))
    if found.proof is None:
        raise BertjobError(_failure(found, run_dir))
    if as_json:
        click.echo(msgspec.json.encode(found.proof).decode())
        return
    from bertjob.cli.output import show

    show(proof_view(found.proof, str(about)))


def _run(planned: Plan, run_dir: RunDir) -> None:
    """Run the job to its end, whatever that is; an interrupt takes it out of the queue."""
    if not planned.scheduler.queues:
        from bertjob.cluster.local import run_here

        if run_here(planned) == REQUEUE_EXIT_CODE:
            raise BertjobError("interrupted")
        return
    from bertjob.cli.progress import showing_queue
    from bertjob.cluster.runs.watch import wait
    from bertjob.cluster.submit import submit

    submitted = submit(planned)
    click.echo(f"job {submitted.job_id}, run directory {run_dir.path}", err=True)
    try:
        with showing_queue(run_dir, submitted.job_id) as show:
            wait([submitted.run], show)
    except KeyboardInterrupt:  # nobody waits for what it would prove
        cancel([submitted.run], at_once=True)
        click.echo(f"job {submitted.job_id} is cancelled", err=True)
        raise


def _failure(found: prove.Verdict, run_dir: RunDir) -> str:
    if found.bad:
        named = "; ".join(f"{name}: {reason}" for name, reason in found.bad.items())
        return f"no proof: {named} (submit leaves {'it' if len(found.bad) == 1 else 'them'} out for a week)"
    return f"no proof: {found.error} (logs in {run_dir.logs})"
