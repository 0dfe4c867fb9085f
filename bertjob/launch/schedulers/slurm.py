"""Slurm in a script: its #SBATCH lines, the places where ranks meet and runs are filed, and the signals it sends.

The blocks are bash as it stands in the script; 85 is errors.REQUEUE_EXIT_CODE.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.argv import Word, fold, only_numbers, quote_directive, variable
from bertjob.launch.schedulers import slurm_environment
from bertjob.launch.schedulers.cut_off import NOTE
from bertjob.launch.schedulers.sbatch_options import HETEROGENEOUS
from bertjob.launch.schedulers.sbatch_words import Option
from bertjob.launch.schedulers.sbatch_words import options as parse
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import started_by_script
from bertjob.rundir.resume import elsewhere
from bertjob.rundir.submissions import Variables, appended_by_script
from bertjob.rundir.world import NODE_ADDRESS, SUBMITTED

_WIDTH = 112
_CORES = "SLURM_CPUS_PER_TASK"
CORES = variable(_CORES)
"""CPU cores of a rank."""
NODE_NAMES = 'scontrol show hostnames "$SLURM_JOB_NODELIST"'
"""Prints the job's nodes, one a line."""
_PREFIXES = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")
_ACCESS = ("SLURM_CONF", "SLURM_JWT", "SLURM_SACK_")
RESERVED = (*_PREFIXES, "SALLOC_", "SCONTROL_", "SINFO_", "SLURMD_", "SPANK_", "SRUN_", "_SLURM_")
"""Beginnings of names of Slurm's own variables: what it tells a job, and what its commands read (manuals, 24.05)."""


def leftover(name: str) -> bool:
    """Whether a variable belongs to an enclosing job, or quietly changes what Slurm's commands do.

    Those stay by which the commands find Slurm and prove who calls them (manuals, 24.05).
    """
    return name.startswith(_PREFIXES) and not name.startswith(_ACCESS)


def directives(job: Job, site: Site, run_dir: str | None, options: Sequence[str]) -> list[str]:
    """The lines, comments between them. They must stand before the first command: sbatch ignores later ones silently.

    Args:
        job: the resolved job.
        site: where it runs.
        run_dir: absolute path of the run directory; None: the script makes one when it runs.
        options: further options of sbatch.
    """
    own, others = _with_gres(resources(job, site), options)
    return [
        *(f"#SBATCH {option}={quote_directive(value)}" for option, value in own),
        "# USR1 before the time limit is for this script; it may start again, and its log goes on.",
        f"#SBATCH --signal=B:USR1@{job.checkpoint.signal_seconds}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={quote_directive(_log(run_dir))}",
        *(f"#SBATCH {' '.join(map(quote_directive, option))}" for option in _options(others)),
        "",
        *only_numbers(["SLURM_RESTART_COUNT"]),
        started_by_script('"$SLURM_JOB_ID"', '"$((${SLURM_RESTART_COUNT:-0} + 1))"'),
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


def _with_gres(own: list[tuple[str, str]], others: Sequence[str]) -> tuple[list[tuple[str, str]], Sequence[str]]:
    """GPUs that are asked for by --gres, and other generic resources, in one option: the last one counts."""
    more = [option for option in parse(others) if option.name == "gres"]
    gpus = dict(own).get("--gres")
    if not more or gpus is None:
        return own, others
    joined = [(name, f"{gpus},{more[-1].value}" if name == "--gres" else value) for name, value in own]
    return joined, [word for option in parse(others) if option.name != "gres" for word in option.words]


def _log(run_dir: str | None) -> str:
    """Slurm opens the log before the script runs, so its folder must be there; ``%`` begins a pattern."""
    if run_dir is None:
        return "%x-%j.out"
    return str(RunDir(Path(run_dir.replace("%", "%%"))).log("%j"))


def _options(words: Sequence[str]) -> list[list[str]]:
    """Options as they are, each with the words that follow it: ``--mail-type END`` is one line."""
    lines: list[list[str]] = []
    for word in words:
        if lines and not word.startswith("-"):
            lines[-1].append(word)
        else:
            lines.append([word])
    return lines


def run_dir_problem(run_dir: str) -> str:
    """Why a job cannot have this run directory; empty when it can."""
    return "Slurm takes backslashes out of the path of the log" if "\\" in run_dir else ""


CLEAR = (
    "# Left by `sbatch --export=NONE`: srun and mpirun would start the ranks without this environment.",
    "unset SLURM_EXPORT_ENV",
)
"""Takes away what sbatch may leave in the environment."""


def inherited(job: Job, site: Site, options: Sequence[str]) -> list[str]:
    """Lines that unset what the job has from the shell that called sbatch, and that is not its own."""
    own = [*resources(job, site), ("--open-mode", "append")]
    asked = [Option(option.removeprefix("--"), value, ()) for option, value in own]
    return slurm_environment.inherited([*asked, *parse(options)])


def new_run(job_name: str) -> tuple[str, str]:
    """A comment on the run directory that a script makes, and its path."""
    why = "The job id stays the same over requeues, and so does the run directory."
    return why, f"$SLURM_SUBMIT_DIR/runs/{job_name}-$SLURM_JOB_ID"


_HETEROGENEOUS = rf"""
if [ -n "${{SLURM_HET_SIZE:-}}" ]; then # options of `sbatch SCRIPT` may make it one
  echo "{HETEROGENEOUS}" >&2
  exit 3
fi
""".strip()
_FIND = rf"""
# A job that submit has queued goes on in the run directory that was made for it, and one that Slurm starts again in
# that of its first start: neither makes one, nor takes another one that has the name by now.
if [ "${{{SUBMITTED}:-}}" = "$RUN" ]; then
  grep -qsE "\"job_id\":\"($SLURM_JOB_ID)?\"" "$RUN/lease.json"
else
  [ "${{SLURM_RESTART_COUNT:-0}}" -eq 0 ] || [ -e "$RUN/job.yaml" ]
fi || {{
  echo "bertjob: $RUN: {elsewhere()}" >&2
  trap - EXIT # it would write into what may be another's
  exit 1
}}
""".strip()
_TAKE = r"""
# One start at a time writes here, the one that the lease names. Whether another job is over, Slurm knows; where it
# does not answer, rank 0 watches whether somebody touches the lease.
former='' there=''
lease=$(cat "$RUN/lease.json" 2> /dev/null) || true
if [[ $lease =~ '"job_id":"'([0-9]*)'","restart":'[0-9]+',"nonce":"'([0-9a-f]+) ]]; then
  holder=${BASH_REMATCH[1]} former=${BASH_REMATCH[2]}
  # A folder that several clusters share: the number is one of the cluster that the lease names.
  if [[ $lease =~ '"cluster":"'([A-Za-z0-9_.-]+) ]]; then
    [ "${BASH_REMATCH[1]}" = "${SLURM_CLUSTER_NAME:-}" ] || there=${BASH_REMATCH[1]}
  fi
  if [ -n "$holder" ] && [ "$holder@$there" != "$SLURM_JOB_ID@" ]; then
    stands=$(squeue ${there:+"--clusters=$there"} --noheader --states=all --jobs="$holder" --format=%T 2>&1) ||
      [[ $stands == *"Invalid job id"* ]] || stands=''
    case $stands in
      *"Invalid job id"* | *COMPLETED | *CANCELLED | *FAIL* | *TIMEOUT | *PREEMPTED | *DEADLINE | *OUT_OF_MEMORY) ;;
      '' | *COMPLETING) former='' ;;
      *)
        echo "bertjob: $RUN: job $holder${there:+ on $there} is still ${stands,,} there; cancel it or wait for it" >&2
        exit 3
        ;;
    esac
  fi
fi
""".strip()
LEASE = f"{_HETEROGENEOUS}\n{_FIND}\n{_TAKE}"
"""Sees to it that a run directory has one job at a time, and that a requeued job finds its own."""


LINK_LOG = ('ln -sf "$(readlink "/proc/$$/fd/1")" "$RUN/logs/$SLURM_JOB_ID.out"',)
"""The log of a job that did not know its run directory, where ``bertjob logs`` looks for it."""


def record(site: str) -> list[str]:
    """What submit does as well: a person may sbatch a script by hand, also one that submit has made."""
    return appended_by_script(site, "slurm", _TOLD)


_TOLD = Variables(
    job_id="$SLURM_JOB_ID", cluster="$SLURM_CLUSTER_NAME", job_name="$SLURM_JOB_NAME", directory="$SLURM_SUBMIT_DIR"
)


def address(site: Site) -> list[str]:
    """Lines that set MASTER_ADDR."""
    lines = [
        "# The ranks meet on the first node. Not by `head -n 1`, whose closed pipe may end the script.",
        f"read -r MASTER_ADDR < <({NODE_NAMES})",
    ]
    if suffix := site.fabric.host_suffix:  # Slurm's address is not on the fabric
        return [*lines, f"MASTER_ADDR+={suffix} {NODE_ADDRESS}='' # its name on the fabric"]
    return [
        *lines,
        "# Slurm's own address of it, for nodes on which the name does not resolve.",
        f'{NODE_ADDRESS}=$(scontrol show node "$MASTER_ADDR" 2> /dev/null | grep -o "NodeAddr=[^ ]*") || true',
        f"{NODE_ADDRESS}=${{{NODE_ADDRESS}#*=}}",
    ]


JOB_ID = '"$SLURM_JOB_ID"'
RESTART = '"${SLURM_RESTART_COUNT:-0}"'
PORT_NUMBER = "SLURM_JOB_ID + 997 * ${SLURM_RESTART_COUNT:-0}"
"""Differs between the jobs that may share a node, and between the starts of one job."""


def on_each_node(program: str, lacking: str) -> str:
    """Lines that end the script where a node has no such program, naming the node."""
    return f"""\
# A node that lacks the engine is told by its name here; a launcher would only say that a rank has failed.
srun --mpi=none --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 /bin/sh -s {program} << 'END_OF_CHECK'
command -v "$1" > /dev/null && exit
echo "bertjob: $1: {lacking}, or leave the node out by --exclude" >&2
exit 127
END_OF_CHECK"""


def start_on_each_node(output: str) -> tuple[Word, ...]:
    """Options of srun for one process a node, which may fail by itself.

    Args:
        output: file for what it prints, in which ``%n`` becomes the number of the node.
    """
    nodes = "--ntasks=" + variable("SLURM_JOB_NUM_NODES")
    return nodes, "--ntasks-per-node=1", "--kill-on-bad-exit=0", f"--output={output}"


def one_process(tty: bool) -> tuple[Word, ...]:
    """Starts one process on the first node, beside whatever else the allocation runs."""
    words = ("srun", "--mpi=none", "--overlap", "--nodes=1", "--ntasks=1", "--cpus-per-task=" + CORES)
    return *words, *(("--pty",) if tty else ())


def allocation(job: Job, site: Site) -> str:
    """Lines by which a script that is outside of an allocation starts again in one."""
    own, others = _with_gres(resources(job, site), job.resources.sbatch)
    asked = [f"{option}={value}" for option, value in own]
    bash = ("bash", *(("-l",) if site.login_shell else ()))
    first, *more = fold(("salloc", *asked, *others, *bash), _WIDTH)
    return "\n".join(
        [
            "# Outside of an allocation it asks for one, in which it starts again.",
            'if [ -z "${SLURM_JOB_ID:-}" ]; then',
            " \\\n".join([f"  exec {first}", *(f"      {line}" for line in more)]) + ' "$0"',
            "fi",
            f'export {_CORES}="${{{_CORES}:-{job.resources.cpus_per_task}}}"',
        ]
    )


def shell_command(environment: Mapping[str, str]) -> str:
    """The command that a shell starts by."""
    return "srun" if "SLURM_JOB_ID" in environment else "salloc"


BEFORE_REQUEUE = rf"""
latest() {{ cat "$RUN/checkpoints/latest" 2> /dev/null || true; }}
state() {{ cat "$RUN/state.json" 2> /dev/null || true; }}
before=$(latest) state_before=$(state)
# The mark that `bertjob cancel` leaves before it sends TERM; one of an earlier start is void.
mark=$RUN/logs/$SLURM_JOB_ID.cancel
[ "${{SLURM_RESTART_COUNT:-0}}" -eq 0 ] || rm -f "$mark"
{NOTE}
""".strip()
"""Remembers checkpoint and state, so that the end can tell what this start has brought."""

SIGNALS = r"""
# USR1 comes before the time limit. TERM comes with `bertjob cancel`, but also with a requeue, a preemption and a node
# that goes down. Both reach the ranks as USR1, at which they write a checkpoint and end with 85; at TERM, srun and
# mpirun would kill them. bash runs a trap only between commands, hence & and wait. A trap here starts no process:
# scancel would end it with all others of this script.
signalled=''
trap 'signalled=yes; kill -USR1 "$launcher" 2> /dev/null || true' USR1 TERM
""".strip()
"""Hands signals of the scheduler on to the ranks."""

_ONE_START_MORE = r"""[[ $job == *" Restarts="* && $job != *" Restarts=${SLURM_RESTART_COUNT:-0} "* ]]"""
"""Whether Slurm has put the job back into its queue, by what scontrol shows as `job`."""
REQUEUE = r"""
# Has training stopped with more to do? Exit code 85 says so. But a launcher ends the last ranks once the first has
# ended, and may report what became of them, and torchrun makes a 1 of all codes: then the state that this start has
# left counts, if there was a signal or there is a new checkpoint. srun's TERM after a rank has failed is no reason, nor
# is the checkpoint that ranks write at it when torchrun was killed (137). Ranks that were cut off leave a note, as the
# launcher may have killed rank 0.
stopped() {
  [ "$code" -eq 85 ] && return
  cut_off && return
  [[ $(state) == *'"phase":"checkpointed"'* && $(state) != "$state_before" ]] || return
  [ -n "$signalled" ] || { [ "$code" -ne 137 ] && [ "$(latest)" != "$before" ]; }
}
# Is the job still this start? Once Slurm has requeued it, the same id is that of the next start, which this script must
# leave alone. Without an answer of Slurm nothing is done to the job.
current() {
  [[ $job == *JobState=RUNNING* && $job == *" Restarts=${SLURM_RESTART_COUNT:-0} "* ]]
}
# A job that Slurm has put back into its queue counts one start more. One that was cancelled or has reached its time
# limit does not, and is COMPLETING as well.
requeued() {
  @ONE_START_MORE@
}
# Where another job has taken the run directory over, what it holds is no longer this job's.
ours() {
  local lease
  lease=$(cat "$RUN/lease.json" 2> /dev/null) || return 0
  [[ $lease == *"\"job_id\":\"$SLURM_JOB_ID\""* ]] || return
  [[ $lease != *'"cluster":"'[A-Za-z0-9]* || $lease == *"\"cluster\":\"${SLURM_CLUSTER_NAME:-}\""* ]]
}
# A preempted job goes on whatever its code, because the TERM that announces preemption goes to the daemons of mpirun
# first.
unfinished() {
  ours && { stopped || [[ $job == *PreemptTime=2* ]]; }
}
if [ "$code" -ne 0 ]; then
  trap '' TERM # which a requeue sends to every process of this script, scontrol among them
  job=$(scontrol show job "$SLURM_JOB_ID" 2> /dev/null) || job=''
  now=$(latest)
  if [ -e "$mark" ]; then # a person's cancel, after which there was time for a checkpoint, is no failure
    if current && stopped; then scancel --state=RUNNING "$SLURM_JOB_ID" || true; fi
  elif unfinished; then
    if [ ! -e "$RUN/job.yaml" ]; then
      echo "bertjob: $RUN: the run directory was moved or removed, so the job is not started again" >&2
      exit 1
    fi
    if [ -n "$job" ] && ! current; then
      requeued &&
        echo "bertjob: Slurm has put the job back into its queue; the next start goes on from ${now:-the beginning}"
      exit "$code"
    fi
    limit=$(ulimit -S -t) # which the next start has as well
    if [ -z "$signalled" ] && ! cut_off && [ "$limit" != unlimited ]; then
      why="RLIMIT_CPU is $limit s of CPU time for a process (ulimit -t)"
      echo "bertjob: the ranks stopped with a checkpoint, as $why" >&2
      exit 1
    fi
    if [ "${SLURM_RESTART_COUNT:-0}" -ge 3 ] && [ "$now" = "$before" ]; then
      echo "bertjob: given up after $SLURM_RESTART_COUNT requeues, the last of them without a new checkpoint" >&2
      exit 1
    fi
    echo "bertjob: the next start goes on from ${now:-the beginning}"
    current && scontrol requeue "$SLURM_JOB_ID" && exit 0
    printf 'bertjob: it cannot be requeued; start it by: BERTJOB_RUN_DIR=%q sbatch %q\n' "$RUN" "$RUN/job.sbatch" >&2
  fi
fi
exit "$code"
""".strip().replace("@ONE_START_MORE@", _ONE_START_MORE)
"""Starts the job again where it left off; nobody sees the exit code of a start that is requeued."""


COMES_BACK = r"""
# Does Slurm start the job again? Then it counts one start more already; no answer is a no.
# shellcheck disable=SC2329 # the trap calls it
comes_back() {
  local job
  job=$(scontrol show job "$SLURM_JOB_ID" 2> /dev/null) || return
  @ONE_START_MORE@
}
""".strip().replace("@ONE_START_MORE@", _ONE_START_MORE)


def end(epilogue: bool) -> str:
    """The end of a script: not a start after which another one follows runs the epilogue.

    A cancelled job runs it first: scancel leaves the script KillWait seconds, 30 by default.
    """
    if not epilogue:
        return REQUEUE
    return (
        REQUEUE.replace("then scancel ", 'then epilogue "$code"; scancel ')
        .replace("    current && scontrol requeue", "    again=yes\n    current && scontrol requeue")
        .replace("    printf 'bertjob: it cannot", "    again=''\n    printf 'bertjob: it cannot")
    )
