"""The options of sbatch and srun by name (Slurm 22.05 to 25.05), and how the words of a command line are read."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

_WITH_VALUE = """
    account acctg-freq bb bbf begin bcast-exclude clusters cluster-constraint comment constraint container
    container-id context core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency
    chdir distribution error exclude export extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node
    gpus-per-socket gpus-per-task gres gres-flags hint input job-name licenses mail-type mail-user mcs-label mem
    mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu
    ntasks-per-node ntasks-per-socket ntasks-per-tres output open-mode partition power prefer priority profile qos
    reservation segment signal sockets-per-node switches thread-spec threads-per-core time time-min tmp tasks-per-node
    tres-bind tres-per-task uid wckey uenv view
"""
_WITHOUT = """
    contiguous exclusive help hold get-user-env nice no-kill overcommit oversubscribe propagate quiet reboot requeue
    spread-job spread-segments stepmgr usage use-min-nodes verbose version oom-kill-step consolidate-segments
"""
_SHORT = """
    A=account B=extra-node-info C=constraint D=chdir E=preserve-env F=nodefile G=gpus H=hold I=immediate J=job-name
    K=kill-on-bad-exit L=licenses M=clusters N=nodes O=overcommit Q=quiet S=core-spec T=threads V=version W=wait
    X=disable-status Z=no-allocate a=array b=begin c=cpus-per-task d=dependency e=error h=help i=input k=no-kill l=label
    m=distribution n=ntasks o=output p=partition q=qos r=relative s=oversubscribe t=time u=unbuffered v=verbose
    w=nodelist x=exclude
"""
_SBATCH_WITH_VALUE = frozenset({"array", "batch", "export-file", "kill-on-invalid-dep", "wait-all-nodes", "wrap"})

WITH_VALUE = frozenset(_WITH_VALUE.split())
"""Options of both that take a value, uenv's among them."""
WITHOUT = frozenset(_WITHOUT.split())
"""Options of both that take none, or may do without."""
OPTIONAL = frozenset({"exclusive", "get-user-env", "nice", "no-kill", "propagate"})
"""Those of them that may do without (slurm_opt.c of 22.05: optional_argument)."""
SBATCH = _SBATCH_WITH_VALUE | {"ignore-pbs", "no-requeue", "parsable", "test-only", "wait"}
"""Options of sbatch alone."""
SBATCH_VALUED = WITH_VALUE | _SBATCH_WITH_VALUE
"""Options that sbatch gives the next word, where it is not joined to them."""
SHORT = dict(pair.split("=") for pair in _SHORT.split())
"""Long names by letter, those of srun alone included."""
SHORT_OF_SRUN = frozenset("IKXETZlru")
ALIASES = {"tasks-per-node": "ntasks-per-node"}
"""Names that sbatch and srun know and their manuals do not."""
_KNOWN = WITH_VALUE | WITHOUT | SBATCH
_FLAGS = frozenset("HOQVWhksv")
"""Short options that take no value, or may do without: others may follow in the same word."""


class Option(msgspec.Struct, frozen=True):
    """An option among words.

    Attributes:
        name: long name without dashes; as it stands where sbatch does not have it.
        value: its value; empty without one.
        words: the words that it was read from.
    """

    name: str
    value: str
    words: tuple[str, ...]


def long_name(name: str, known: frozenset[str] = _KNOWN) -> str | None:
    """The long name of an option of sbatch, without dashes; None for one that sbatch does not know.

    Args:
        name: ``-N``, ``--nodes``, or a long one cut short as getopt allows: ``--ntasks-per-n``.
        known: long names.
    """
    if not name.startswith("--"):
        return None if name[1:] in SHORT_OF_SRUN else SHORT.get(name[1:])
    bare = name[2:]
    cut = (one for one in sorted(known) if bare and one.startswith(bare))
    found = bare if bare in known else next(cut, None)
    return ALIASES.get(found, found) if found else None


def options(words: Iterable[str]) -> list[Option]:
    """The options of words, each with its value, be it in the same word or in the next: ``-C x``, ``-Cx``, ``-HC x``.

    Words that follow where no value is due stay with the option before them, as they are.
    """
    return list(_options(list(words)))


def _options(words: Sequence[str]) -> Iterator[Option]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        following = []
        while rest and not rest[0].startswith("-"):
            following.append(rest.pop(0))
        *flags, (name, joined) = _parts(word)
        yield from (Option(flag, "", (f"--{flag}",)) for flag, _ in flags)
        value = joined or " ".join(following)
        own = (word,) if not flags else (f"--{name}={joined}" if joined else f"--{name}",)
        yield Option(name, value, (*own, *following))


def _parts(word: str) -> list[tuple[str, str]]:
    """Names and joined values of one word; several where letters of flags stand in front."""
    if word.startswith("--"):
        long, _, value = word.partition("=")
        return [(long_name(long) or long.removeprefix("--"), value)]
    found: list[tuple[str, str]] = []
    for place, letter in enumerate(word[1:], start=2):
        name = long_name(f"-{letter}")
        if name is None or not word.startswith("-"):
            break
        if letter not in _FLAGS:
            return [*found, (name, word[place:])]
        found.append((name, ""))
    return found or [(word, "")]
