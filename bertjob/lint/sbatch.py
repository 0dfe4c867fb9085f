"""The options of sbatch and srun (Slurm 22.05 to 25.05, uenv, and the plugins of the engines that bertjob knows)."""

from collections.abc import Iterator

from bertjob.launch.engines import ENGINES

_BOTH_WITH_VALUE = """
    account acctg-freq bb bbf begin bcast-exclude clusters cluster-constraint comment constraint container
    container-id context core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency
    chdir distribution error exclude export extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node
    gpus-per-socket gpus-per-task gres gres-flags hint input job-name licenses mail-type mail-user mcs-label mem
    mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu
    ntasks-per-node ntasks-per-socket ntasks-per-tres output open-mode partition power prefer priority profile qos
    reservation segment signal sockets-per-node switches thread-spec threads-per-core time time-min tmp tasks-per-node
    tres-bind tres-per-task uid wckey uenv view
"""
_BOTH_WITHOUT = """
    contiguous exclusive help hold get-user-env nice no-kill overcommit oversubscribe propagate quiet reboot requeue
    spread-job spread-segments stepmgr usage use-min-nodes verbose version oom-kill-step consolidate-segments
"""
_SBATCH = (
    "array batch export-file ignore-pbs kill-on-invalid-dep no-requeue parsable test-only wait wait-all-nodes wrap"
)
_SBATCH_WITH_VALUE = frozenset({"array", "batch", "export-file", "kill-on-invalid-dep", "wait-all-nodes", "wrap"})
_SRUN_WITH_VALUE = """
    cpu-bind epilog het-group jobid mpi prolog relative slurmd-debug task-epilog task-prolog threads accel-bind
"""
_SHORT_NAMES = """
    A=account B=extra-node-info C=constraint D=chdir E=preserve-env F=nodefile G=gpus H=hold I=immediate J=job-name
    K=kill-on-bad-exit L=licenses M=clusters N=nodes O=overcommit Q=quiet S=core-spec T=threads V=version W=wait
    X=disable-status Z=no-allocate a=array b=begin c=cpus-per-task d=dependency e=error h=help i=input k=no-kill l=label
    m=distribution n=ntasks o=output p=partition q=qos r=relative s=oversubscribe t=time u=unbuffered v=verbose
    w=nodelist x=exclude
"""
_SHORT = dict(pair.split("=") for pair in _SHORT_NAMES.split())
_SHORT_OF_SRUN = frozenset("IKXETZlru")
_ALIASES = {"tasks-per-node": "ntasks-per-node"}
"""Names that sbatch and srun know and their manuals do not."""
_OF_SLURM = frozenset((_BOTH_WITH_VALUE + _BOTH_WITHOUT + _SBATCH).split())
_SRUN_SHORT_WITH_VALUE = frozenset(
    f"-{short}"
    for short, long in _SHORT.items()
    if long in {*_BOTH_WITH_VALUE.split(), *_SRUN_WITH_VALUE.split(), "wait"} and short != "a"
)
_VALUED = frozenset(_BOTH_WITH_VALUE.split()) | _SBATCH_WITH_VALUE


def names() -> frozenset[str]:
    """Long names of sbatch's options, without the dashes."""
    return _OF_SLURM.union(*(row.slurm_options.valued | row.slurm_options.flags for row in ENGINES.values()))


def srun_with_value() -> frozenset[str]:
    """Options of srun that take the next word, where it is not joined to them."""
    long_names = frozenset((_BOTH_WITH_VALUE + _SRUN_WITH_VALUE).split()) | _of_plugins_with_value()
    return _SRUN_SHORT_WITH_VALUE | {f"--{name}" for name in long_names}


def _of_plugins_with_value() -> frozenset[str]:
    return frozenset[str]().union(*(row.slurm_options.valued for row in ENGINES.values()))


def long_name(name: str) -> str | None:
    """The long name of an option of sbatch, without dashes; None for one that sbatch does not know.

    Args:
        name: ``-N``, ``--nodes``, a long one cut short as getopt allows: ``--ntasks-per-n``, or ``hetjob``, which ends
            the options of one component of a heterogeneous job.
    """
    if name == "hetjob":
        return name
    if not name.startswith("--"):
        return None if name[1:] in _SHORT_OF_SRUN else _SHORT.get(name[1:])
    bare, every = name[2:], names()
    cut = (known for known in sorted(every) if bare and known.startswith(bare))
    known = bare if bare in every else next(cut, None)
    return _ALIASES.get(known, known) if known else None


def srun_name(name: str) -> str:
    """The long name of an option of srun with its dashes; a name that is not known stays."""
    if name.startswith("--"):
        return f"--{_ALIASES.get(name[2:], name[2:])}"
    return f"--{_SHORT[name[1:]]}" if name[1:] in _SHORT else name


def options(words: list[str]) -> Iterator[tuple[str, str | None]]:
    """Names and values of sbatch's options in the words of an ``#SBATCH`` line."""
    valued = _VALUED | _of_plugins_with_value()
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, joined, value = word.partition("=")
            wants = not joined and long_name(name) in valued
            yield name, value if joined else next(rest, None) if wants else None
        elif word.startswith("-") and len(word) > 1:
            name, value = word[:2], word[2:]
            wants = long_name(name) in valued
            yield name, value.removeprefix("=") or (next(rest, None) if wants else None)
        else:
            yield word, None
