"""Whether a script runs text that is not to be seen here."""

import posixpath

from bertjob.lint.bash.sbatch_script import Script

_HARMLESS = ("activate", "bashrc", "profile", "modules.sh", "conda.sh", "setvars.sh", ".bashrc", ".profile", "bash")
"""Ends of files that read no variables of the script which sources them, and set no traps."""


def runs_unseen(script: Script) -> bool:
    """Whether its own shell reads files that may do anything, or text that it makes: ``source FILE``, ``eval``."""
    sourced = [command.arguments[0] for command in script.named("source", ".") if command.arguments]
    hidden = [path for path in sourced if not posixpath.basename(path).endswith(_HARMLESS)]
    return bool(hidden) or any(script.named("eval"))
