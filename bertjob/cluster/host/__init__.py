"""Facts about the machine that one stands on, each asked once with a short timeout; never raises.

The scheduler describes itself, `programs` finds what is installed, `filesystem` looks at folders and network. Parsers
are pure functions of the text that the real commands print.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from bertjob.cluster.host import filesystem, programs
from bertjob.cluster.host.filesystem import Places
from bertjob.cluster.host.programs import Programs
from bertjob.cluster.scheduler_answers import SchedulerFacts
from bertjob.config.site import Site


class Machine(msgspec.Struct, frozen=True):
    """All that was asked."""

    scheduler: SchedulerFacts = SchedulerFacts()
    programs: Programs = Programs()
    places: Places = Places()


def look(
    site: Site, folders: Mapping[str, str], leftovers: tuple[str, ...] = (), options: Sequence[str] = ()
) -> Machine:
    """Ask everything at the same time; takes as long as the slowest answer, a few seconds at most.

    Args:
        site: whose modules are loaded before programs are asked, and whether there is a scheduler at all.
        folders: absolute paths by what they are for.
        leftovers: names of environment variables to report.
        options: further options of the scheduler, which may name another cluster.
    """
    from bertjob.cluster.scheduler import CLIENTS  # with the index of runs, which plans need not

    with ThreadPoolExecutor() as pool:
        scheduler = pool.submit(CLIENTS[site.scheduler].facts, options)
        installed = pool.submit(programs.look, site)
        around = pool.submit(filesystem.look, folders, leftovers)
        return Machine(scheduler.result(), installed.result(), around.result())
