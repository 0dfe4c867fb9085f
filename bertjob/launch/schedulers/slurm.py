"""What a job script does once the ranks have started: signals go on to them, their exit code is the script's.

The blocks are bash as it stands in the script; 85 is errors.REQUEUE_EXIT_CODE.
"""

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
