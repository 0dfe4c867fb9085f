"""Which words of a command line a launch proof depends on: those to type again after ``bertjob doctor --prove``."""

from bertjob.cli.options import Request
from bertjob.cli.settings import key_of
from bertjob.cluster.doctor.typed import Typed
from bertjob.config.load import load_job

_LAUNCH = ("engine", "launcher", "mpi", "srun_mpi", "image", "env")
"""Keys and sections of a job that doctor.prove.smoke takes over."""
_WHERE = ("account", "partition", "constraint")
"""Resources that say on which nodes it is proved."""


def launch_words(request: Request) -> Typed:
    """The site as it was given, the options that change the launch, and the job where its own file changes it."""
    own = any(_root(key) in _LAUNCH for key in load_job(request.job).origins)
    options: list[str] = []
    said = request.said
    for setting in (*said.shared, *said.own):
        if _matters(key_of(setting)):
            options += ["--set", setting]
    overruled = {key_of(setting) for setting in said.own}
    for key in (f"resources.{where}" for where in _WHERE):
        if key not in overruled:
            options += map(str, request.options.get(key, ()))
    return Typed(request.site, request.job if own else "", tuple(options))


def _matters(key: str) -> bool:
    return _root(key) in _LAUNCH or key in [f"resources.{where}" for where in _WHERE]


def _root(key: str) -> str:
    return key.partition(".")[0]
