"""An engine that does not exist, in the form in which a new one comes: one module with its function, and its row.

tests/test_new_engine.py puts it into the table, and also into a copy of bertjob as CONTRIBUTING says.
"""

from bertjob.launch.argv import Word
from bertjob.launch.engines.command_line import CommandLine, options
from bertjob.launch.engines.references import REFERENCE
from bertjob.launch.engines.types import Command, Container, Engine, ImageFolder, Images, Limits, Order, Untold


def toy(container: Container) -> tuple[Word, ...]:
    """Toybox start."""
    return (
        *("toybox", "start", *(("--gpu",) if container.gpus else ())),
        "--dir=" + container.workdir,
        *("--share=" + bind.source + ":" + bind.target for bind in container.binds),
        *("--set=" + setting for setting in container.settings),
        *container.args,
        container.image,
    )


def _pull(order: Order) -> tuple[Command, ...]:
    return (("toybox", "fetch", order.ref), ("toytool", "unpack", order.ref))


ROW = Engine(
    command=toy,
    note="toybox shows the folders that are shared.",
    program="toybox",
    images=Images(
        build="builds no images: buy them",
        pull=_pull,
        load=lambda order: (("toybox", "take", order.archive),),
        list=lambda order: (("toybox", "shelf"),),
        digest=lambda order: (("toybox", "mark", order.ref),),
        loaded=lambda ref: f"toys/{ref}",
        local_prefix="toys/",
        here_only=("--no-shopping",),
        tools={"toytool": ("about",)},
    ),
    takes=(REFERENCE,),
    cli=CommandLine(
        valued=options("--dir --share --set --colour"),
        roles={"--dir": "workdir", "--share": "volume", "--set": "environment", "--gpu": "gpus", "-T": "tty"},
        verbs={"start": True},
        aliases=("toychest",),
        dropped={"--colour": "only toys have one"},
        tty_in_batch="-T plays with it",
    ),
    untold=Untold(entry_point=True, image_workdir=True, gpus=True, root=True),
    limits=Limits(gpu_vendors=frozenset({"nvidia"}), separators={"+": "toys"}, annotations=False, reserved=("/toys",)),
    passes_open_files=False,
    version=("version",),
    setup="export TOYS=all",
    folder_image=ImageFolder(files=("/lid",), shown=("/tmp",)),
)
