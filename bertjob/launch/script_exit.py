"""What a job script does at its exit, whatever ends it: it leaves its exit code, and runs the epilogue."""

from bertjob.launch.argv import quote
from bertjob.launch.plan import Plan
from bertjob.rundir import ending
from bertjob.rundir.world import JOB_ID, RESTART

_EPILOGUE = r"""
again=''
# shellcheck disable=SC2329 # the trap calls it
epilogue() {
  local code=$1 ended
  [ -z "$again" ] || return 0
  again=over
  set +e
  trap '' USR1 TERM INT
@UNLESS@
  export BERTJOB_EXIT_CODE="$code" BERTJOB_RUN_DIR=@RUN@
  export @JOB@
  (
    set +u
    if [ -e "$BERTJOB_RUN_DIR" ]; then
      # Refused because another job is at work there: it is that job's.
      [ "$code" -ne 3 ] || grep -qs "\"$BERTJOB_JOB_ID\"" "$BERTJOB_RUN_DIR/lease.json" || exit 0
      cd "$BERTJOB_RUN_DIR" || exit
    fi
    trap 'echo "bertjob: epilogue: exit code $?: $BASH_COMMAND" >&2' ERR
    eval "$epilogue_lines"
  ) < /dev/null
  ended=$?
  [ "$ended" -eq 0 ] || echo "bertjob: the epilogue failed with exit code $ended; the job's own is $code" >&2
}
""".strip()


def definitions(plan: Plan, by_hand: str) -> str:
    """Lines that come before the site's own, at which the job may end.

    Args:
        plan: of the job.
        by_hand: word with the run directory that a script makes which nobody has submitted.
    """
    parts = [_filing(plan), _ending(plan, by_hand), _epilogue(plan)]
    return "\n".join([*filter(None, parts), "status=0", trap(plan)]) if any(parts) else ""


FILE = "file_run"
"""Function of a script that nobody has submitted: shows its log and files its job, in the run directory `$RUN`."""


def files_itself(plan: Plan) -> bool:
    """Whether the script has that function: it makes its own run directory, under a scheduler."""
    return plan.run_dir is None and bool(_filed(plan))


def trap(plan: Plan, *more: str) -> str:
    """The line that has all of it done at the exit, and `more` commands after it.

    A trap of bash changes the exit code of a script only by an exit of its own.
    """
    acts = [*(['ended "$status"'] if _leaves(plan) else []), *(['epilogue "$status"'] if lines(plan) else [])]
    kept = ["status=$?"] if acts else []
    return f"trap '{'; '.join([*kept, *acts, *more])}' EXIT"


def lines(plan: Plan) -> tuple[str, ...]:
    """The lines of the epilogue: the job's, then the site's."""
    return (*plan.job.epilogue, *plan.site.epilogue)


def _leaves(plan: Plan) -> bool:
    """A person who runs a script in a terminal sees how it ends."""
    return plan.run_dir is not None or plan.scheduler.queues


def _filed(plan: Plan) -> list[str]:
    return [*plan.scheduler.link_log, *plan.scheduler.record(plan.site.name)]


def _filing(plan: Plan) -> str:
    if not files_itself(plan):
        return ""
    what = "# What submit does beforehand: where the log is, and what the scheduler's jobs are found by."
    return "\n".join([what, f"{FILE}() {{", *(f"  {line}" for line in _filed(plan)), "}"])


def _ending(plan: Plan, by_hand: str) -> str:
    scheduler = plan.scheduler
    if not _leaves(plan):
        return ""
    if plan.run_dir is not None:
        return "\n".join(ending.left_by_script(quote(plan.run_dir), scheduler.job_id, private=plan.private))
    made = [
        "# It may end before it has made its run directory.",
        f"RUN={by_hand}",
        f'if [ ! -e "$RUN" ] && [ {scheduler.restart} -eq 0 ]; then',
        '  mkdir -p "$RUN/logs"',
        f"  {FILE}",
        "fi",
    ]
    return "\n".join(ending.left_by_script(by_hand, scheduler.job_id, private=plan.private, otherwise=made))


def _epilogue(plan: Plan) -> str:
    if not lines(plan):
        return ""
    run = '"${RUN:-}"' if plan.run_dir is None else quote(plan.run_dir)
    mark = "END_OF_EPILOGUE"
    while mark in "\n".join(lines(plan)).splitlines():
        mark += "_"
    unless = "  ! comes_back || return 0\n" if plan.scheduler.comes_back else ""
    job = f"{JOB_ID}={plan.scheduler.job_id} {RESTART}={plan.scheduler.restart}"
    return "\n".join(
        [
            "# Runs once when the job has ended for good, and changes nothing of its result. By eval, so that a",
            "# mistake in these lines ends them alone.",
            f"IFS= read -r -d '' epilogue_lines << '{mark}' || true",
            *lines(plan),
            mark,
            *filter(None, [plan.scheduler.comes_back]),
            _EPILOGUE.replace("@UNLESS@\n", unless).replace("@RUN@", run).replace("@JOB@", job),
        ]
    )
