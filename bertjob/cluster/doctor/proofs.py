"""Launch proofs: which combinations of scheduler, image, engine and launcher have worked at a site, and bad nodes.

One small file in the user's state directory. Like the index it need not be right: without it, submit only says less.
"""

import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from bertjob.cluster.runs.index import state_folder
from bertjob.rundir import atomic
from bertjob.rundir.proof import Proof
from bertjob.text import counted, reason

_log = logging.getLogger(__name__)

BAD_FOR_S = 7 * 86400
"""A node that failed is left out for a week; by then most sites have repaired it."""


class Combination(msgspec.Struct, frozen=True):
    """What a proof is about: change one of these and another one is needed.

    Attributes:
        site: name of the site.
        version: of the scheduler; empty without one.
        engine: container engine.
        image: digest of the image, or its name where the engine tells no digest; empty without a container.
        launcher: what starts the ranks, e.g. ``openmpi``, ``srun --mpi=pmix``.
    """

    site: str
    version: str = msgspec.field(name="slurm")  # as the file has called it from the beginning
    engine: str
    image: str
    launcher: str

    def __str__(self) -> str:
        short = f"{self.image[:19]}…" if self.image.startswith("sha256:") else self.image
        image = f" with {short}" if short else ""
        return f"{self.launcher} and engine {self.engine}{image}"


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that worked.

    Attributes:
        combination: what it is about.
        proof: what the ranks saw.
        run_dir: where its logs are, as long as nobody removes them.
    """

    combination: Combination
    proof: Proof
    run_dir: str

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d", time.localtime(self.proof.time))
        ranks, speed = len(self.proof.ranks), self.proof.bandwidth
        fast = "" if speed is None else f", all-reduce {speed / 1e9:.2f} GB/s"
        return f"{day}: {ranks} ranks on {counted(len(self.proof.hosts), 'node')}, {self.proof.transport}{fast}"


class BadNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that failed a proof; it may be good for another engine."""

    name: str
    site: str
    engine: str
    reason: str
    time: float
    """Seconds since the epoch."""


class Book(msgspec.Struct, frozen=True):
    """All proofs and bad nodes of this user."""

    proofs: tuple[Proved, ...] = ()
    bad_nodes: tuple[BadNode, ...] = ()

    def proof(self, combination: Combination) -> Proved | None:
        """The proof of a combination."""
        return next((proof for proof in self.proofs if proof.combination == combination), None)

    def bad(self, site: str, engine: str) -> tuple[BadNode, ...]:
        """Nodes to leave out at a site, of jobs with an engine."""
        return tuple(node for node in self.bad_nodes if (node.site, node.engine) == (site, engine))

    def with_proof(self, proved: Proved) -> "Book":
        """With a proof in place of the one before, and without the nodes that have worked in it."""
        about = proved.combination
        others = tuple(other for other in self.proofs if other.combination != about)
        return Book(
            (*others, proved),
            tuple(
                node
                for node in self.bad_nodes
                if (node.site, node.engine) != (about.site, about.engine) or node.name not in proved.proof.hosts
            ),
        )

    def without_proof(self, combination: Combination) -> "Book":
        """Without the proof of a combination that does not work any more."""
        return Book(tuple(proof for proof in self.proofs if proof.combination != combination), self.bad_nodes)

    def with_bad(self, nodes: Iterable[BadNode]) -> "Book":
        """With more bad nodes, each in place of what was said of it before."""
        said = {(node.name, node.site, node.engine): node for node in (*self.bad_nodes, *nodes)}
        return Book(self.proofs, tuple(said.values()))

    def without_bad(self, site: str) -> "Book":
        """With no bad nodes at a site."""
        return Book(self.proofs, tuple(node for node in self.bad_nodes if node.site != site))


def read(now: float | None = None) -> Book:
    """The book, without the bad nodes whose time is over; an empty one where there is none that can be read."""
    try:
        book = msgspec.json.decode((state_folder() / "proofs.json").read_bytes(), type=Book)
    except (OSError, msgspec.DecodeError):
        return Book()
    oldest = (time.time() if now is None else now) - BAD_FOR_S
    return Book(book.proofs, tuple(node for node in book.bad_nodes if node.time > oldest))


def change(how: Callable[[Book], Book]) -> Book:
    """Read the book, change it and replace the file; where nothing can be written, there is one warning."""
    book = how(read())
    path = state_folder() / "proofs.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, book)
    except OSError as error:
        _log.warning("%s: the launch proof cannot be kept: %s", path, reason(error))
    return book
