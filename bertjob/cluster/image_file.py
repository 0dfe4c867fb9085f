"""What is known of an image without its engine: is a file or folder there, and does it hold what is wanted of it?"""

import os
import re
from pathlib import Path

from bertjob.errors import PreflightError
from bertjob.launch.argv import parse, value
from bertjob.launch.engines.references import PATH
from bertjob.launch.mounts import binds
from bertjob.launch.plan import Plan

_MADE_BY_CH_RUN = ("/dev", "/proc", "/sys", "/tmp")
"""Folders of the host that ch-run shows at their own place, with all that is below."""
_WANTED_BY_CH_RUN = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf")
"""Files in whose place ch-run puts its own or the host's; without the last two no node is known inside by its name."""
_WITHOUT_BERTJOB = re.compile(
    r"(nvcr\.io[/#]nvidia|(docker\.io[/#])?(pytorch|rocm))/pytorch([:@].*)?|.*/lumi-multitorch[^/]*\.sif"
)
"""Images of others that have torch, and are named by sites and tutorials."""


def check_image(plan: Plan) -> None:
    """The image of a plan brings bertjob, as far as its name tells; and is there, where it is a path that is seen here.

    Raises:
        PreflightError: it does not, or is not, or Charliecloud could not start it; says what to do.
    """
    brought = plan.job.image.overlay or plan.job.image.source or plan.site.python
    if plan.engine != "none" and not brought and _WITHOUT_BERTJOB.fullmatch(plan.image or ""):
        raise PreflightError(
            f"image.ref: {plan.image}: has no bertjob in it: make an environment that has by `bertjob image overlay`,"
            " and say image.overlay; or name an image that `bertjob image build` has made"
        )
    path = _path(plan)
    if path is None:
        return
    if not path.exists():
        raise PreflightError(f"image.ref: {path}: there is no such file or folder")
    if plan.engine == "charliecloud" and path.is_dir():
        lacking = [name for name in (*_WANTED_BY_CH_RUN, *_targets(plan)) if not (path / name.lstrip("/")).exists()]
        if lacking:
            raise PreflightError(f"image.ref: {path}: has no {lacking[0]}, and ch-run makes none; make it in the image")


def _path(plan: Plan) -> Path | None:
    ref = plan.image or ""
    path = value(parse(ref), os.environ) if plan.engine != "none" and PATH.fullmatch(ref) else None
    return None if path is None else Path(path)


def _targets(plan: Plan) -> list[str]:
    """Where folders are mounted, as far as this machine knows the paths."""
    assert plan.run_dir is not None
    found = binds(plan.job, plan.site, str(Path(plan.run_dir).parent), lambda path: ())
    known = (value(bind.target, os.environ) for bind in found)
    return [path for path in known if path is not None and not path.startswith(_MADE_BY_CH_RUN)]
