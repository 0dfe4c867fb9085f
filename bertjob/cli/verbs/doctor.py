"""``bertjob doctor``: whether this machine, this site and this job fit each other."""

import os
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from bertjob.cli.options import (
    SITE_VARIABLE,
    SMOKE,
    JobIsOptional,
    Loaded,
    Request,
    SbatchCommand,
    job_options,
    json_option,
)
from bertjob.cluster.doctor import proofs
from bertjob.cluster.scheduler import any_installed
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.rundir.directory import RUNS


class _Doctor(JobIsOptional, SbatchCommand):
    """A job may be named, and what follows ``--`` goes to the sbatch of a proof."""


@click.command("doctor", cls=_Doctor)
@job_options(default_site="generic")
@click.option("--image", metavar="I", help="Image in place of the job's or the site's.")
@click.option("--prove", is_flag=True, help="Start a one-minute job on --nodes N and keep its proof for submit.")
@click.option("--forget", is_flag=True, help="Forget the nodes that failed a proof at the site.")
@json_option
def verb(request: Request, image: str | None, prove: bool, forget: bool, as_json: bool) -> None:
    """Check this machine, the site and the job, or prove a launch.

    Without a JOB the launch alone is examined. The default site is that of submit; without Slurm, this machine. Exits
    with 3 when a line is red.
    """
    loaded = _at_site(request, image).load()
    if forget:
        _forget(loaded.site.value)
        return
    if prove:
        from bertjob.cli.launch_proof import show_proof

        show_proof(loaded, as_json)
        return
    _examine(loaded, as_json)


def _at_site(request: Request, image: str | None) -> Request:
    """The request with the smoke job where none is named, on this machine where no site is and no scheduler is here."""
    source = click.get_current_context().get_parameter_source("site")
    nobody_said = source is click.core.ParameterSource.DEFAULT and SITE_VARIABLE not in os.environ
    site = "local" if nobody_said and not any_installed() else request.site
    settings = request.settings if image is None else (*request.settings, f"image.ref={image}")
    return replace(request, job=request.job or SMOKE, site=site, settings=settings)


def _examine(loaded: Loaded, as_json: bool) -> None:
    from bertjob.cli.launch_proof import launch_words
    from bertjob.cluster.doctor import findings
    from bertjob.cluster.doctor.examine import examine
    from bertjob.cluster.host.here import working_directory

    request, job, site = loaded.request, loaded.job.value, loaded.site.value
    run_dir = Path(request.run_dir).absolute() if request.run_dir else working_directory() / RUNS / job.name
    found = findings(
        examine(job, site, run_dir, launch_words(loaded), named=request.job != SMOKE, said=loaded.job.origins)
    )
    everything = [finding for section in found.values() for finding in section]
    red = [finding for finding in everything if finding.level == "fail"]
    if as_json:
        click.echo(msgspec.json.encode(everything).decode())
    else:
        from bertjob.cli.doctor_report import report
        from bertjob.cli.output import show

        show(report(f"{job.name} at {site.name}", found))
    if red:
        raise click.exceptions.Exit(PreflightError.exit_code)


def _forget(site: Site) -> None:

    known = [node.name for node in proofs.read().bad_nodes if node.site == site.name]
    proofs.change(lambda book: book.without_bad(site.name))
    click.echo(f"forgotten: {', '.join(known) or 'nothing, as no node is left out'}", err=True)
