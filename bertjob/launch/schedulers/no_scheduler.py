"""This machine without a scheduler: a script is run by bash, and stopped by the person who started it.

The blocks are bash as it stands in the script; 85 is errors.REQUEUE_EXIT_CODE.
"""

from collections.abc import Mapping

from msgspec.structs import asdict

from bertjob.config.job import Resources
from bertjob.config.site import Site
from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch.schedulers.cut_off import NOTE_HERE, SIGNALS_HERE
from bertjob.launch.schedulers.slurm_requirements import Combined
from bertjob.rundir.world import LOCAL_ID, NODE_ADDRESS

JOB_ID = LOCAL_ID
"""Stands in for a scheduler's id, also in the names of logs."""


def nothing(*_: object) -> tuple[str, ...]:
    """No lines, and no words."""
    return ()


def never(*_: object) -> bool:
    """No options and no variables are those of a scheduler."""
    return False


def combined(job: Resources, site: Site, environment: Mapping[str, str], prefix: str) -> Combined:
    """What the job says over the site's defaults; of options of a scheduler nobody takes any."""
    said = {name: value for name, value in asdict(job).items() if value is not None}
    return Combined(Resources(**{**asdict(site.defaults), **said, "sbatch": site.defaults.sbatch + job.sbatch}))


def address(site: Site) -> tuple[str, ...]:
    """Lines that set MASTER_ADDR."""
    return (f"MASTER_ADDR=127.0.0.1 {NODE_ADDRESS}=127.0.0.1",)


PORT_NUMBER = "$$"
"""Differs between the scripts that run at the same time."""


def new_run(job_name: str) -> tuple[str, str]:
    """A comment on the run directory that a script makes, and its path."""
    return "Each start makes a new run directory.", f"$PWD/runs/{job_name}-$(date +%Y%m%d-%H%M%S)-$$"


LEASE = "former=${BERTJOB_FORMER_LEASE:-} # of `bertjob run`, which holds the lease of the run directory for rank 0"
"""Rank 0 sees by itself whether another run is at work here."""


def top(*_: object) -> tuple[str, ...]:
    """The first lines of a script."""
    return (f"trap 'exit {REQUEUE_EXIT_CODE}' {SIGNALS_HERE} # asked to stop before there are ranks: nothing is lost",)


BEFORE = f"""
stopping=''
trap 'stopping=$SECONDS' {SIGNALS_HERE}
{NOTE_HERE}
""".strip()
"""From here on a signal is for the ranks."""

SIGNALS = rf"""
# USR1, TERM, ^C and the like reach the ranks as USR1, at which they write a checkpoint and end with 85; at TERM, mpirun
# would kill them. bash runs a trap only between commands, hence & and wait.
trap 'kill -USR1 "$launcher" 2> /dev/null || true' {SIGNALS_HERE}
[ -z "$stopping" ] || kill -USR1 "$launcher" 2> /dev/null || true
""".strip()
"""Hands signals of a person on to the ranks."""

WAIT_FOR_RANKS = r"""
# USR1, TERM, ^C and the like reach the ranks as USR1, at which they write a checkpoint and end with 85: every 3 s,
# as one that is only starting does not listen yet. A rank that fails ends the others, which would wait for it for
# ever. Where some are silent, the others leave by themselves, and they are ended. The sleep is short because a trap
# runs when it is over, and may be ended by the same signal.
code=0 failed_at=
while ((${#ranks[@]})); do
  sleep 0.2 || true
  if [ -n "$stopping" ] && ((SECONDS >= stopping)); then
    stopping=$((SECONDS + 3))
    kill -USR1 "${ranks[@]}" 2> /dev/null || true
  fi
  for rank in "${!ranks[@]}"; do
    kill -0 "${ranks[rank]}" 2> /dev/null && continue
    ended=0
    wait "${ranks[rank]}" || ended=$?
    unset "ranks[rank]"
    if ((ended == 0 || ended == 85)); then
      ((code)) || code=$ended
      [ -n "$failed_at" ] || ! cut_off || failed_at=$SECONDS
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

EXIT = f"""
((code == 0)) || ! cut_off || code={REQUEUE_EXIT_CODE} # whatever ended the launcher, the run can go on
exit "$code"
""".strip()
