"""Variables that a job inherits from the shell that called sbatch, and that are not of this job.

sbatch hands on its environment, also under ``--export=NONE`` all that begins with SLURM_, and Slurm sets its own
variables over it: 33 in a plain job of 22.05. What an enclosing job or step has left stays, and srun obeys it as if it
were an option. Measured on 22.05.8: of 100 variables that its srun reads, 93 pass from a shell into a job; from inside
salloc SLURM_MEM_PER_CPU, SLURM_HINT, SLURM_DISTRIBUTION and SLURM_THREADS_PER_CORE do, from inside srun also
SLURM_CPU_BIND*, SLURM_STEP* and SRUN_DEBUG, from inside a job what its own options have set.
"""

import textwrap
from collections.abc import Iterable
from itertools import chain

from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.launch.schedulers.sbatch_words import Option

_WIDTH = 108
_INPUT = """
    ACC* ARBITRARY_NODELIST BCAST* BURST_BUFFER CLUSTERS CLUSTER_CONSTRAINT COMPRESS CONSTRAINT CONTAINER* CORE_SPEC
    CPUS_PER_GPU CPU_BIND* CPU_FREQ_REQ DELAY_BOOT DEPENDENCY DISABLE_STATUS DIST* EPILOG EXACT EXCLUSIVE EXIT_* GPUS
    GPUS_PER_* GPU_* GRES* HINT HOSTFILE IMMEDIATE KILL_BAD_EXIT LABELIO MEM_BIND* NCORES_PER_SOCKET NETWORK NO_KILL
    NSOCKETS_PER_NODE NTASKS_PER_[!N]* OPEN_MODE OVER* PARTITION POWER PROFILE PROLOG QOS REMOTE_CWD REQ_SWITCH
    RESERVATION RESV_PORTS SEGMENT_SIZE SEND_LIBS SIGNAL SPREAD_* SRUN_* STD*MODE TASK_EPILOG TASK_PROLOG TEST_EXEC
    THREAD* TIMELIMIT TIME_FORMAT TRES_* UNBUFFEREDIO USE_MIN_NODES WAIT* WCKEY WHOLE WORKING_DIR
"""
"""What srun reads as options (its manuals and opt.c, 22.05 to 25.05) or scontrol's output depends on, as patterns of
bash without the SLURM_. Not what Slurm sets in each job: SLURM_NTASKS, SLURM_NTASKS_PER_NODE, SLURM_JOB_NAME."""
_OF_STEPS = "LAUNCH_NODE_IPADDR MEM_PER_* MPI_TYPE PMI* SRUN_COMM_* SRUN_DEBUG STEPID STEP_*"
"""What no person has set, or what changes nothing here: not reported. Slurm sets SLURM_MEM_PER_* also from a default of
the partition; a step without it gets the memory of its job all the same (measured with CR_Core_Memory)."""

_SET_FOR = {
    "cpu-freq": ("CPU_FREQ_REQ",),
    "distribution": ("DISTRIBUTION", "DIST_PLANESIZE"),
    "hint": ("HINT", "THREADS_PER_CORE"),
    "mem": ("MEM_PER_NODE",),
    "mem-bind": ("MEM_BIND*",),
}
_SET_BY_NAME = """
    acctg-freq container cpus-per-gpu gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task mem-per-cpu
    mem-per-gpu network ntasks-per-core ntasks-per-gpu ntasks-per-socket ntasks-per-tres open-mode overcommit profile
    threads-per-core tres-per-task
"""
"""Options that sbatch also puts into the environment, over what was there (manual of sbatch, and measured)."""

_OF_SLURM = ("HYDRA_BOOTSTRAP", "HYDRA_LAUNCHER_EXTRA_ARGS", "OMPI_MCA_plm_slurm_args", "PRTE_MCA_plm_slurm_args")
"""What Slurm sets for mpirun and mpiexec in each job, from 23.11 on (src/common/env.c)."""


def inherited(options: Iterable[Option]) -> list[str]:
    """Lines that unset what is not of this job, and say what that was.

    Args:
        options: those of the #SBATCH lines, which sbatch has set by itself.
    """
    asked = dict.fromkeys(chain.from_iterable(_set_for(option.name) for option in options))
    return [
        "# sbatch hands on what an enclosing job or step has left in its shell, and srun would obey it: another job's",
        "# memory, binding or hint. Slurm sets none of these for this job, or the options above ask for them.",
        "left=''",
        "for name in ${!SLURM_@} ${!SRUN_@}; do",
        "  case ${name#SLURM_} in",
        *_arm(asked, ";; # asked for above"),
        *_arm(_OF_STEPS.split(), 'unset "$name" ;;'),
        *_arm((name for name in _INPUT.split() if name not in asked), ""),
        '      printf -v left "%s %s=%q" "$left" "$name" "${!name}"',
        '      unset "$name"',
        "      ;;",
        "  esac",
        "done",
        '[ -z "$left" ] || echo "bertjob: unset, as no #SBATCH line asks for it:$left" >&2',
        *_mpi(),
    ]


def _set_for(option: str) -> tuple[str, ...]:
    by_name = (option.replace("-", "_").upper(),) if option in _SET_BY_NAME.split() else ()
    return _SET_FOR.get(option, by_name)


def _mpi() -> list[str]:
    """A user may set variables of MPI libraries; those of a rank come from an mpirun or srun around the shell."""
    rows = [row for row in LAUNCHERS.values() if row.family is not None]
    ranks = dict.fromkeys(name for row in rows for name in row.rank_variables.per_rank)
    prefixes = dict.fromkeys(prefix for row in rows for prefix in row.leftovers)
    return [
        "# Left to a rank by the mpirun or srun around that shell: an MPI that reads them takes itself for that rank.",
        f'if [ -n "{"".join(f"${{{name}:-}}" for name in ranks)}" ]; then',
        f"  for name in {' '.join(f'${{!{prefix}@}}' for prefix in prefixes)}; do",
        "    case $name in",
        f"      {' | '.join(_OF_SLURM)}) ;;",
        '      *) unset "$name" ;;',
        "    esac",
        "  done",
        "fi",
    ]


def _arm(patterns: Iterable[str], action: str) -> list[str]:
    """One arm of the case; none without patterns."""
    text = " ".join(f"{pattern}~|" for pattern in patterns).removesuffix("~|")  # no line begins with the bar
    lines = [line.replace("~", " ") for line in textwrap.wrap(text, _WIDTH - 6, break_on_hyphens=False)]
    return [f"    {line} \\" for line in lines[:-1]] + [f"    {line}) {action}".rstrip() for line in lines[-1:]]
