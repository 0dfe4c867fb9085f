"""This machine without a scheduler: a script is run by bash, and stopped by the person who started it.

The blocks are bash as it stands in the script; 85 is errors.REQUEUE_EXIT_CODE.
"""

from bertjob.config.site import Site
from bertjob.rundir.world import LOCAL_ID, NODE_ADDRESS

JOB_ID = LOCAL_ID
"""Stands in for a scheduler's id, also in the names of logs."""


def nothing(*_: object) -> tuple[str, ...]:
    """No lines, and no words."""
    return ()


def never(*_: object) -> bool:
    """No options and no variables are those of a scheduler."""
    return False


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

SIGNALS = r"""
# USR1, TERM and ^C reach the ranks as USR1, at which they write a checkpoint and end with 85; at TERM, mpirun would
# kill them. bash runs a trap only between commands, hence & and wait.
trap 'kill -USR1 "$launcher" 2> /dev/null || true' USR1 TERM INT
""".strip()
"""Hands signals of a person on to the ranks."""

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
