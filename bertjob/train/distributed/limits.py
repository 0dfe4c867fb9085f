"""What the operating system allows a rank."""

import resource

from bertjob.errors import WorldError


def allow_connections(ranks: int) -> None:
    """Let this process have as many open files as `ranks` ranks that talk to each other need.

    Rank 0 has three for each: two of tables of the store, one of gloo's group; with GPUs there is a second group. The
    usual limit of 1,024, which Slurm takes on from the shell that submits, ends at some 300 ranks.

    Raises:
        WorldError: the hard limit is too low for them, which only the site can raise.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed, wanted = 3 * ranks + 64, 4 * ranks + 256  # with what libraries, shards and logs have open
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else hard
    if most < needed:
        raise WorldError(
            f"{ranks} ranks need {needed} open files a process, and the hard limit here is {hard} (ulimit -Hn):"
            " the site must raise it"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), hard))
