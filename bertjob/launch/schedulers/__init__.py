"""Schedulers, the pure half: what each one means for plans and for the text of scripts.

A new scheduler is one module of functions and text here, one row of `SCHEDULERS`, and the half that acts, in
bertjob.cluster.scheduler.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from bertjob.config.job import Job, Launcher, Resources
from bertjob.config.site import Site
from bertjob.launch.argv import Word
from bertjob.launch.schedulers import cut_off, no_scheduler, sbatch_options, slurm, slurm_requirements
from bertjob.launch.schedulers.slurm_requirements import Combined


class Scheduler(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. Text is bash; lines are lines of the script."""

    # Facts
    where: str
    """The place of its jobs in messages, e.g. ``under Slurm``."""
    queues: bool
    """Jobs have ids and wait in a queue for nodes; otherwise they are processes of this machine that start at once."""
    has_walltime: bool
    """It ends jobs at their time limit."""
    has_srun: bool
    """Its jobs can call Slurm's srun, as some engines and MPICH's hydra do."""
    inherits_environment: bool
    """Jobs start with the environment of the shell that submits them."""
    leftover: Callable[[str], bool]
    """Whether an environment variable of this name belongs to a job, or changes what the scheduler's commands do."""
    reserved: tuple[str, ...]
    """Beginnings of names of variables that no job may set, anywhere: its own, and those of its commands."""
    launcher: Launcher
    """What starts one process anywhere, without MPI."""
    submit_command: str
    """What a person calls to start a script."""
    cancel_command: str
    """What a person calls to cancel jobs, given their ids."""

    # What is asked of it
    combined: Callable[[Resources, Site, Mapping[str, str], str], Combined]
    """The site's defaults under what the shell's variables say under the job, with lines on what was replaced.

    Raises PreflightError where the site's rules do not let the job have it.
    """
    allocation_variables: str
    """Beginning of the names of variables by which its command for shells takes its options."""
    job_variables: str
    """The same of its command for jobs."""

    # Options passed through to it (resources.sbatch)
    option_problems: Callable[[Sequence[str]], Iterable[str]]
    """One line for each option that would break the plan, or that changes what submitting means."""
    environment_problem: Callable[[Mapping[str, str]], str]
    """The variable that changes what submitting means, and what to do in its place; empty where there is none."""
    has_option: Callable[[Sequence[str], str, str], bool]
    """Whether an option is among the words, by its long or short name as Slurm and bertjob have it."""
    closes_environment: Callable[[Sequence[str]], str]
    """The option that keeps variables of the submitting shell from the job; empty where there is none."""
    names_nodes: Callable[[Sequence[str]], bool]
    """Whether the options name the nodes to run on."""
    excluding: Callable[[Sequence[str], Iterable[str]], tuple[str, ...]]
    """The options that leave nodes out, beside those that other options exclude already."""
    after: Callable[[Sequence[str], str, str], tuple[str, ...]]
    """Options by which a job, beside its own, starts when another one has succeeded, and not if it failed.

    Given its own options, the other job's id, and the name of the cluster that has it; empty where that is not known.
    """

    # The script, from its top to its end
    header: Callable[[Job, Site, str | None, Sequence[str]], Iterable[str]]
    """Lines that ask for the resources of a job, with further options of the scheduler.

    The run directory is None where the script makes one.
    """
    top: Callable[[Job, Site, Sequence[str]], Iterable[str]]
    """The first lines, given further options: early signals, variables of the shell that mislead its commands."""
    clear: tuple[str, ...]
    """Lines that take away what it leaves in the environment."""
    new_run: Callable[[str], tuple[str, str]]
    """A comment on the run directory that the script makes for a job of this name, and its path."""
    link_log: tuple[str, ...]
    """Lines that show the log of a job that did not know its run directory, where the others' are."""
    record: Callable[[str], Iterable[str]]
    """Lines that file a job, given the name of the site, unless submit has done so."""
    lease: str
    """Lines that end the script where another job is at work in the run directory, or it is gone.

    They set `former` to the nonce of a holder of its lease that is over, or has started this script.
    """
    run_dir_problem: Callable[[str], str]
    """Why a job cannot have this run directory; empty when it can."""
    address: Callable[[Site], Iterable[str]]
    """Lines that set MASTER_ADDR, where the ranks meet."""
    port_number: str
    """Arithmetic expression that differs between jobs and starts that may share a node."""
    job_id: str
    """The job's id, as a word."""
    restart: str
    """How often the scheduler had started the job before, as a word."""
    cores: Callable[[int], Word]
    """The CPU cores of a rank, given those that the job asks for."""
    on_each_node: Callable[[str, str], str] | None
    """Lines that end the script where a node lacks a program, given its name and the complaint; None: there is one."""
    before: str
    """Lines in front of the launcher."""
    guard: str
    """Defines `guard`, which runs beside the process `launcher` and ends it where ranks are cut off, and `unguard`.

    For launchers that would wait for ever; empty where no ranks can be cut off.
    """
    signals: str
    """Traps that hand signals on to the process `launcher`."""
    ranks: str
    """Waits for the processes `ranks`, with traps for signals; empty where no script starts ranks itself."""
    comes_back: str
    """Defines `comes_back`, which says whether the job starts again though its script ends; empty where none does."""
    end: Callable[[bool], str]
    """The end of the script, which knows the exit code as `code`, given whether there is a function `epilogue`."""

    # Shells, and proofs of a launch
    allocation: Callable[[Job, Site], str]
    """Lines by which the script of a shell gets its nodes."""
    one_process: Callable[[bool], tuple[Word, ...]]
    """Words that start one process on the first node, with a terminal or without."""
    shell_command: Callable[[Mapping[str, str]], str]
    """The command that a shell starts by in an environment; empty where it needs none."""
    node_names: str
    """Prints the job's nodes, one a line; empty where there is this machine only."""
    start_on_each_node: Callable[[str], tuple[Word, ...]]
    """Options of `launcher` for one process a node, given the file of its output, where ``%n`` is the node's number."""


SCHEDULERS: Mapping[str, Scheduler] = {
    "slurm": Scheduler(
        where="under Slurm",
        queues=True,
        has_walltime=True,
        has_srun=True,
        inherits_environment=True,
        leftover=slurm.leftover,
        reserved=slurm.RESERVED,
        launcher="srun",
        submit_command="sbatch",
        cancel_command="scancel",
        combined=slurm_requirements.combined,
        allocation_variables="SALLOC_",
        job_variables="SBATCH_",
        option_problems=sbatch_options.option_problems,
        environment_problem=sbatch_options.environment_problem,
        has_option=sbatch_options.has_option,
        closes_environment=sbatch_options.closes_environment,
        names_nodes=sbatch_options.names_nodes,
        excluding=sbatch_options.excluding,
        after=sbatch_options.after,
        header=slurm.directives,
        top=slurm.inherited,
        clear=slurm.CLEAR,
        new_run=slurm.new_run,
        link_log=slurm.LINK_LOG,
        record=slurm.record,
        lease=slurm.LEASE,
        run_dir_problem=slurm.run_dir_problem,
        address=slurm.address,
        port_number=slurm.PORT_NUMBER,
        job_id=slurm.JOB_ID,
        restart=slurm.RESTART,
        cores=lambda cores: slurm.CORES,
        on_each_node=slurm.on_each_node,
        before=slurm.BEFORE_REQUEUE,
        guard=cut_off.GUARD,
        signals=slurm.SIGNALS,
        ranks="",
        comes_back=slurm.COMES_BACK,
        end=slurm.end,
        allocation=slurm.allocation,
        one_process=slurm.one_process,
        shell_command=slurm.shell_command,
        node_names=slurm.NODE_NAMES,
        start_on_each_node=slurm.start_on_each_node,
    ),
    "none": Scheduler(
        where="without a scheduler",
        queues=False,
        has_walltime=False,
        has_srun=False,
        inherits_environment=False,
        leftover=no_scheduler.never,
        reserved=(),
        launcher="local",
        submit_command="bash",
        cancel_command="kill",
        combined=no_scheduler.combined,
        allocation_variables="",
        job_variables="",
        option_problems=no_scheduler.nothing,
        environment_problem=lambda environment: "",
        has_option=no_scheduler.never,
        closes_environment=lambda words: "",
        names_nodes=no_scheduler.never,
        excluding=no_scheduler.nothing,
        after=no_scheduler.nothing,
        header=no_scheduler.nothing,
        top=no_scheduler.top,
        clear=(),
        new_run=no_scheduler.new_run,
        link_log=(),
        record=no_scheduler.nothing,
        lease=no_scheduler.LEASE,
        run_dir_problem=lambda run_dir: "",
        address=no_scheduler.address,
        port_number=no_scheduler.PORT_NUMBER,
        job_id=no_scheduler.JOB_ID,
        restart="0",
        cores=str,
        on_each_node=None,
        before=no_scheduler.BEFORE,
        guard=cut_off.GUARD_HERE,
        signals=no_scheduler.SIGNALS,
        ranks=no_scheduler.WAIT_FOR_RANKS,
        comes_back="",
        end=lambda epilogue: no_scheduler.EXIT,
        allocation=lambda job, site: "",
        one_process=no_scheduler.nothing,
        shell_command=lambda environment: "",
        node_names="",
        start_on_each_node=no_scheduler.nothing,
    ),
}
"""By the names that a site file may say; see `config.site.Site.scheduler`."""
