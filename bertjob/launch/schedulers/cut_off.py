"""A guard in scripts: it ends a launcher that waits for nodes or ranks which it cannot reach.

Ranks that notice that others are silent leave a note and end (train.distributed.pulse). srun then ends the step on all
nodes. The launchers of MPI libraries end ranks through daemons of their own, over the network that is down, and wait
without a limit: with a cable pulled, mpirun of Open MPI 4.1.4 and 5.0.11 and mpiexec.hydra of MPICH 5.0.2 still ran a
minute after rank 0 had ended, whether srun or ssh had started the daemons. A TERM makes mpirun 4.1.4, which is already
aborting, crash with a page of stack. So daemons and ranks get TERM and then KILL, and the launcher, unless it has ended
by then, gets KILL.

The processes of this start are recognised by the path of its secret, which is in the environment of ranks and of
daemons that srun has started. ssh hands no environment on. There Open MPI puts what is set as OMPI_MCA_x or PRTE_MCA_x
into the command lines of its daemons (parameter plm_rsh_pass_environ_mca_params of Open MPI 4.1, plm_ssh_… of PRRTE 3),
so a parameter that nothing reads serves as the mark. Hydra's proxies end with their ranks.

Without a scheduler there is no network to fail, but a rank may be stopped, or hang: mpirun, which only its end tells
of a rank, would wait for it as well.
"""

from bertjob.rundir.world import LOCAL_ID, SECRET_FILE

SIGNALS_HERE = "USR1 TERM INT USR2 QUIT ALRM XCPU"
"""Those of a person, or of limits of the shell, without a scheduler."""


def _note(job: str, start: str) -> str:
    return rf"""
# Ranks that were cut off from others leave a note; one of an earlier start is void.
note=$RUN/logs/{job}.{start}.departure
rm -f "$note"
cut_off() {{ [[ $(cat "$note" 2> /dev/null) == *'"silent":true'* ]]; }}
""".strip()


NOTE = _note("$SLURM_JOB_ID", "${SLURM_RESTART_COUNT:-0}")
"""Defines `cut_off`, whether ranks of this start have found that others are silent."""
NOTE_HERE = _note(LOCAL_ID, "0")
"""The same without a scheduler."""

_BODY = r"""
guard() {
  trap '' @SIGNALS@ # which are for the ranks
  until cut_off; do @PAUSE@; done
  for _ in {1..15}; do
    kill -0 "$launcher" 2> /dev/null || break
    sleep 1
  done
  sweep || true
  kill -KILL "$launcher" 2> /dev/null &&
    echo "bertjob: the launcher, which still waited for ranks that are cut off, was ended"
}
sweep() {
@SWEEP@ << 'END_OF_SWEEP'
@SPARED@
for signal in TERM 0 0 0 0 KILL; do
  started=$({
    grep -lszFx "@SECRET@=$1" /proc/[0-9]*/environ
    grep -lszx "[b]ertjob-${2%.*}[.]${2#*.}" /proc/[0-9]*/cmdline
  } | sed 's|^/proc/||; s|/.*||' | grep -vx "$spared") || break
  kill -s "$signal" $started 2> /dev/null
  sleep 1
done
END_OF_SWEEP
}
unguard() {
  cut_off || kill -KILL "$guard" 2> /dev/null || true # else it is at work
  wait "$guard" 2> /dev/null || true
}
""".strip()


def _guard(why: str, signals: str, sweep: str, spared: str, pause: str) -> str:
    parts = {"SPARED": spared, "SIGNALS": signals, "SWEEP": sweep.strip("\n"), "SECRET": SECRET_FILE, "PAUSE": pause}
    body = _BODY
    for mark, text in parts.items():
        body = body.replace(f"@{mark}@", text)
    return f"{why.strip()}\n{body}"


GUARD = _guard(
    r"""
# Where ranks are cut off, the launcher would wait for ever for its daemons on the other nodes, and so this script. Some
# seconds after the note `guard` ends it, and before on all nodes what carries the mark of this start, in its
# environment or, behind ssh, among its words.
export OMPI_MCA_bertjob_start="bertjob-$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"
export PRTE_MCA_bertjob_start="$OMPI_MCA_bertjob_start"
""",
    "USR1 TERM",
    rf"""
  env -u {SECRET_FILE} timeout --kill-after=5 60 srun --mpi=none --overlap --quiet --kill-on-bad-exit=0 \
    --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task=1 \
    /bin/sh -s "${SECRET_FILE}" "${{OMPI_MCA_bertjob_start#*-}}" "$launcher"
""",
    'spared=none\n[ "$SLURM_NODEID" -ne 0 ] || spared=$3',
    "sleep 5",
)
"""Defines `guard`, which runs beside the process `launcher`, and `unguard`, which ends the process `guard`."""
GUARD_HERE = _guard(
    """
# Where a rank is silent, as one that was stopped, the launcher would wait for it for ever, and so this script. By
# the note of the others `guard` knows; it ends what has the mark of this start in its environment, and the launcher.
""",
    SIGNALS_HERE,
    f"""
  env -u {SECRET_FILE} /bin/sh -s "${SECRET_FILE}" none.none "$launcher"
""",
    "spared=$3",
    'kill -0 "$$" 2> /dev/null || return 0; sleep 1',
)
"""The same without a scheduler: it ends with a script that is killed, and whoever started that waits for its sleep."""
