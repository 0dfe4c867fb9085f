"""``bertjob estimate``: steps, time, node-hours and memory of a job, by formulas."""

import click
import msgspec
from msgspec.structs import replace

from bertjob.cli.options import Request, job_options, json_option
from bertjob.cluster.host.here import here
from bertjob.errors import SpecError
from bertjob.launch.resolve import resolve, shape
from bertjob.text import counted


def _model_of(run: str) -> str:
    """The model of a run; of one that is yet to be trained the sizes are those that the job says."""
    try:
        return here().run(run)
    except SpecError:
        return f"run:{run}"


@click.command("estimate")
@job_options(default_site="generic")
@click.option("--optimizer", metavar="NAME", help="Another optimizer than the job's: does a 1-bit one pay here?")
@json_option
def verb(request: Request, optimizer: str | None, as_json: bool) -> None:
    """Say what a job will take: steps, time, memory.

    And what a 1-bit optimizer would gain on the network: faster steps, and less to send.

    The figures come from formulas and the site's numbers (gpu, fabric.gbits), not from a run: take them as good to a
    third.
    """
    from bertjob.estimate.estimate import estimate
    from bertjob.estimate.job_files import samples_of, sizes_of

    if optimizer is not None:
        request = replace(request, options={**request.options, "optimizer.name": ("--optimizer", optimizer)})
    loaded = request.load()
    site = loaded.site.value
    whole = resolve(loaded.job.value, site, msgspec.structs.replace(here(), run=_model_of))
    form = shape(whole)
    if form.gpus_per_node == 0:
        raise SpecError(f"{whole.name}: estimates are of GPUs, and none are asked for: say --gpus-per-node")
    samples, source = samples_of(whole)
    found = estimate(whole, sizes_of(whole), samples, site.gpu, form.nodes, form.world_size, site.fabric.gbits)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    from bertjob.cli.output import show
    from bertjob.cli.tables import estimate_table

    nodes, ranks = counted(form.nodes, "node"), counted(form.world_size, "rank")
    click.echo(f"{whole.name} at {site.name}: {source}, {nodes}, {ranks}", err=True)
    show(estimate_table(whole, found, form.nodes))
