"""Which words of a command line a launch proof depends on: those to type again after ``bertjob doctor --prove``."""

from bertjob.cli.options import Request
from bertjob.cluster.doctor.typed import Typed
from bertjob.spec.load import load_job

_LAUNCH = ("engine", "launcher", "mpi", "srun_mpi", "image", "env")
"""Keys and sections of a job that doctor.prove.smoke takes over."""
_WHERE = ("account", "partition", "constraint")
"""Resources that say on which nodes it is proved."""


def launch_words(request: Request) -> Typed:
    """The site as it was given, the options that change the launch, and the job where its own file changes it."""
    own = any(_root(key) in _LAUNCH for key in load_job(request.job).origins)
    options: list[str] = []
    for setting in request.settings:
        if _matters(setting.partition("=")[0].strip()):
            options += ["--set", setting]
    for key in _WHERE:
        options += map(str, request.options.get(f"resources.{key}", ()))
    return Typed(request.site, request.job if own else "", tuple(options))


def _matters(key: str) -> bool:
    return _root(key) in _LAUNCH or key in [f"resources.{where}" for where in _WHERE]


def _root(key: str) -> str:
    return key.partition(".")[0]
