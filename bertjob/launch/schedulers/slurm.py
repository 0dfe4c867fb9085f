"""Slurm in a script: its #SBATCH lines, the options passed through to sbatch, and the signals it sends.

The blocks are bash as it stands in the script; 85 is errors.REQUEUE_EXIT_CODE.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.argv import quote_directive
from bertjob.rundir.directory import RunDir

_INSTEAD = {
    "--array": "submit once for each run, as all jobs of an array would train in one run directory",
    "--chdir": "use --run-dir before the --",
    "--cpus-per-task": "use --cpus-per-task before the --, or set resources.cpus_per_task",
    "--error": "the log is in the run directory, use --run-dir before the --",
    "--job-name": "set name",
    "--nodes": "use --nodes before the --, or set resources.nodes",
    "--ntasks": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--ntasks-per-node": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--open-mode": "leave it out, as a job that starts again goes on in its log",
    "--output": "the log is in the run directory, use --run-dir before the --",
    "--signal": "set checkpoint.signal_seconds",
    "--time": "use --time before the --, or set resources.time",
    "--wrap": "leave it out, as bertjob writes the script",
}
"""Options that the plan computes with or the script relies on, and what to use in their place."""

_SHORT = {
    "-D": "--chdir",
    "-J": "--job-name",
    "-N": "--nodes",
    "-a": "--array",
    "-c": "--cpus-per-task",
    "-e": "--error",
    "-n": "--ntasks",
    "-o": "--output",
    "-t": "--time",
}
SHORT_OPTIONS = {"account": "-A", "constraint": "-C", "partition": "-p", "time": "-t"}
"""Short options by the keys of the resources that a site may want to be told."""
_SHORT_NAME = re.compile(r"-[HOQVWhsv]*([A-Za-z])")
"""A short option, maybe behind some that take no value: ``-Hc4`` is ``-H -c4``."""


def option_problems(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the options: one line for each that would break the plan."""
    for word in words:
        name = _name(word)
        full = _full(name)
        if full is not None:
            yield f"the sbatch option {name} would contradict the plan: {_INSTEAD[full]}"


def has_option(words: Sequence[str], long: str, short: str) -> bool:
    """Whether an option is among the words, in its long or its short form."""
    return any(_name(word) in (long, short) for word in words)


def _name(word: str) -> str:
    """The option without its value: ``--time=1`` is ``--time``, ``-t1`` is ``-t``; empty for a value by itself."""
    if word.startswith("--"):
        return word.partition("=")[0]
    short = _SHORT_NAME.match(word)
    return f"-{short[1]}" if short else ""


def _full(name: str) -> str | None:
    """The option of the table that is meant; sbatch takes long ones cut short as well: ``--arr`` is ``--array``."""
    if name in _INSTEAD or name in _SHORT:
        return _SHORT.get(name, name)
    cut_short = (option for option in _INSTEAD if len(name) > len("--") and option.startswith(name))
    return next(cut_short, None)


def directives(job: Job, site: Site, run_dir: str | None, options: tuple[str, ...]) -> list[str]:
    """The lines, comments between them. They must stand before the first command: sbatch ignores later ones silently.

    Args:
        job: the resolved job.
        site: where it runs.
        run_dir: absolute path of the run directory; None: the script makes one when it runs.
        options: further options of sbatch.
    """
    asked = [f"#SBATCH {option}={quote_directive(value)}" for option, value in resources(job, site)]
    return [
        *asked,
        "# USR1 before the time limit is for this script; it may start again, and its log goes on.",
        f"#SBATCH --signal=B:USR1@{job.checkpoint.signal_seconds}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={quote_directive(_log(run_dir))}",
        *(f"#SBATCH {' '.join(map(quote_directive, option))}" for option in _options(options)),
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


BEFORE_REQUEUE = r"""
latest() { cat "$RUN/checkpoints/latest" 2> /dev/null || true; }
state() { cat "$RUN/state.json" 2> /dev/null || true; }
before=$(latest) state_before=$(state)
""".strip()
"""Remembers checkpoint and state, so that the end can tell what this start has brought."""

SIGNALS = r"""
# USR1 comes before the time limit, TERM with scancel. Both reach the ranks as USR1, at which they write a checkpoint
# and end with 85; at TERM, srun and mpirun would kill them. bash runs a trap only between commands, hence & and wait.
# A trap here starts no process: scancel would end it with all others of this script.
signalled='' cancelled=''
trap 'signalled=yes; kill -USR1 "$launcher" 2> /dev/null || true' USR1
trap 'signalled=yes; cancelled=yes; kill -USR1 "$launcher" 2> /dev/null || true' TERM
""".strip()
"""Hands signals of the scheduler on to the ranks."""

SIGNALS_HERE = r"""
# USR1, TERM and ^C reach the ranks as USR1, at which they write a checkpoint and end with 85; at TERM, mpirun would
# kill them. bash runs a trap only between commands, hence & and wait.
trap 'kill -USR1 "$launcher" 2> /dev/null || true' USR1 TERM INT
""".strip()
"""Hands signals of a person on to the ranks."""

WAIT = r"""
while kill -0 "$launcher" 2> /dev/null; do wait "$launcher" || true; done
code=0
wait "$launcher" || code=$? # bash keeps the exit code of a process that has ended
""".strip()
"""Waits for the one process that holds the ranks."""

REQUEUE = r"""
# Has training stopped with more to do? Exit code 85 says so. But a launcher ends the last ranks once the first has
# ended, and may report what became of them, and torchrun makes a 1 of all codes: then the state that this start has
# left counts, if there was a signal or there is a new checkpoint. srun's TERM after a rank has failed is no reason.
stopped() {
  [ "$code" -eq 85 ] && return
  [[ $(state) == *'"phase":"checkpointed"'* && $(state) != "$state_before" ]] || return
  [ -n "$signalled" ] || [ "$(latest)" != "$before" ]
}
# A preempted job goes on whatever its code, because the TERM that announces preemption goes to the daemons of mpirun
# first.
unfinished() {
  stopped || [[ $(scontrol show job "$SLURM_JOB_ID") == *PreemptTime=2* ]]
}
# Never after a TERM to this script: a requeue would bring a cancelled job back. `bertjob cancel` sends it to the script
# alone, so that there was time for a checkpoint; the scheduler is told that this was no failure.
if [ "$code" -ne 0 ] && [ -z "$cancelled" ] && unfinished; then
  now=$(latest)
  if [ "${SLURM_RESTART_COUNT:-0}" -ge 3 ] && [ "$now" = "$before" ]; then
    echo "bertjob: given up after $SLURM_RESTART_COUNT requeues, the last of them without a new checkpoint" >&2
    exit 1
  fi
  echo "bertjob: the next start goes on from ${now:-the beginning}"
  trap '' TERM # which a requeue sends to every process of this script, scontrol among them
  scontrol requeue "$SLURM_JOB_ID" && exit 0
  printf 'bertjob: it cannot be requeued; start it by: BERTJOB_RUN_DIR=%q sbatch %q\n' "$RUN" "$RUN/job.sbatch" >&2
fi
if [ "$code" -ne 0 ] && [ -n "$cancelled" ] && stopped; then scancel "$SLURM_JOB_ID" || true; fi
exit "$code"
""".strip()
"""Starts the job again where it left off; nobody sees the exit code of a start that is requeued."""

WAIT_FOR_RANKS = r"""
# USR1, TERM and ^C reach the ranks as USR1, at which they write a checkpoint and end with 85. A rank that fails ends
# the others, which would wait for it for ever. The sleep is short because a trap runs when it is over.
trap 'kill -USR1 "${ranks[@]}" 2> /dev/null || true' USR1 TERM INT
code=0 failed_at=
while ((${#ranks[@]})); do
  sleep 0.2
  for rank in "${!ranks[@]}"; do
    kill -0 "${ranks[rank]}" 2> /dev/null && continue
    ended=0
    wait "${ranks[rank]}" || ended=$?
    unset "ranks[rank]"
    if ((ended == 0 || ended == 85)); then
      ((code)) || code=$ended
    elif [ -z "$failed_at" ]; then
      code=$ended failed_at=$SECONDS
      ((${#ranks[@]})) || break
      echo "bertjob: rank $rank ended with exit code $ended, so the others are ended" >&2
      kill -TERM "${ranks[@]}" 2> /dev/null || true
    fi
  done
  if [ -n "$failed_at" ] && ((SECONDS > failed_at + 10)); then kill -KILL "${ranks[@]}" 2> /dev/null || true; fi
done
""".strip()
"""Waits for the ranks that the script has started itself."""

EXIT = 'exit "$code"'
