"""What stops a job and is known from its plan alone; submit refuses it, script and doctor report it."""

import msgspec
import pytest
from planned import HERE, SLURM, SMALL, with_

from bertjob.config.job import Engine, Image, Job
from bertjob.config.site import Mount, Site
from bertjob.launch.plan import Plan, plan

NGC = "nvcr.io/nvidia/pytorch:24.11-py3"


def planned(image: Image, site: Site = SLURM, engine: Engine | None = "apptainer", given: str | None = None) -> Plan:
    here = msgspec.structs.replace(HERE, is_folder=lambda path: True)
    return plan(Job(name="j", **SMALL, engine=engine, image=image), site, None, here, given)


@pytest.mark.parametrize(
    "image", [NGC, "rocm/pytorch", "docker.io/pytorch/pytorch:2.6", "$NOBODY_KNOWS/lumi-multitorch-full-u24.sif"]
)
def test_an_image_of_others_needs_what_brings_bertjob_into_it(image: str) -> None:
    (problem,) = planned(Image(ref=image)).problems
    assert problem.what.startswith(
        f"image.ref: {image}: has no bertjob in it: name an image that `bertjob image build`"
    )
    assert planned(Image(ref=image, overlay="$SCRATCH/env")).problems == ()
    assert planned(Image(ref=image, source="/home/me/bertjob")).problems == ()
    assert planned(Image(ref=image), with_(SLURM, python="/opt/env/bin/python")).problems == ()


def test_an_image_of_another_name_may_hold_bertjob() -> None:
    assert planned(Image(ref="group/pytorch:24.11-py3")).problems == ()


def test_without_a_container_the_image_does_not_matter() -> None:
    assert planned(Image(ref=NGC), engine="none").problems == ()


def test_the_remedy_is_the_command_that_makes_what_the_site_lacks() -> None:
    of_site = with_(SLURM, engine="sarus", image=Image(ref=NGC), mounts=(Mount(source="$SCRATCH"),))
    command = "bertjob image overlay --site slurm --path '$SCRATCH/bertjob-env'"
    (problem,) = planned(Image(), of_site, engine=None).problems
    assert str(problem).endswith(f", or say image.overlay: $SCRATCH/bertjob-env, and make it: {command}")


def test_the_command_names_what_is_not_the_sites_own() -> None:
    """The engine and the image that the job asks for, and the site as the user calls it."""
    of_site = with_(SLURM, engine="sarus", image=Image(ref="other/image"))
    (problem,) = planned(Image(ref=NGC), of_site, given="my sites/s.yaml").problems
    assert problem.remedy == (
        f"bertjob image overlay --site 'my sites/s.yaml' --engine apptainer --image {NGC} --path '$HOME/bertjob-env'"
    )


def test_all_that_is_wrong_is_found_at_once() -> None:
    found = planned(Image(ref=NGC), with_(SLURM, needs=("account", "partition"))).problems
    assert [problem.what.partition(" here")[0] for problem in found[:2]] == [
        "jobs must say their account",
        "jobs must say their partition",
    ]
    assert found[2].remedy.startswith("bertjob image overlay ")
