"""The table of rules, and the check of a text by all of them.

A new rule is one function from `Script` to places, one row of `RULES`, and a script that it objects to with one that
it does not in tests/lint.
"""

import re
from collections.abc import Iterator

from bertjob.lint.bash.parse import parse
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.rules import directives, exit_codes, launch_commands, rank_variables, variables
from bertjob.lint.rules.finding import Finding, Found, Rule

_IGNORE = re.compile(r"#\s*bertjob:\s*ignore=([\w,\s-]+?)\s*$")


def _syntax(script: Script) -> Iterator[Found]:
    if script.wrong_at is not None:
        yield Found(script.wrong_at, "this cannot be read as bash")


def _crlf(script: Script) -> Iterator[Found]:
    line = next((number for number, text in enumerate(script.lines, start=1) if text.endswith("\r")), None)
    if line is not None:
        yield Found(line, "the line ends in a carriage return: sbatch refuses scripts with DOS line ends")


RULES = (
    Rule("syntax", "error", "text that is not bash", "see what `bash -n` says", _syntax),
    Rule("crlf", "error", "DOS line ends", "run `dos2unix` on the file", _crlf),
    Rule("no-shebang", "error", "no #! line", "begin with #!/usr/bin/env bash", directives.no_shebang),
    Rule(
        "other-language",
        "warning",
        "a script that is not for a shell",
        "start steps in a bash script to have them judged as well",
        directives.other_language,
    ),
    Rule(
        "late-directive",
        "error",
        "#SBATCH that sbatch does not read",
        "move it above the first command, to the beginning of its line",
        directives.late_directive,
    ),
    Rule(
        "spaced-directive",
        "warning",
        "# SBATCH that sbatch takes for a comment",
        "write #SBATCH, or ##SBATCH to switch it off",
        directives.spaced_directive,
    ),
    Rule(
        "unknown-option",
        "error",
        "#SBATCH option that sbatch does not have",
        "correct it, or silence this where a plugin of the site brings the option",
        directives.unknown_option,
    ),
    Rule(
        "export-none",
        "error",
        "--export=NONE that also empties the steps' environment",
        "add `unset SLURM_EXPORT_ENV` before the first step",
        directives.export_none,
    ),
    Rule("lost-log", "warning", "--requeue without append", "add #SBATCH --open-mode=append", directives.log_is_lost),
    Rule(
        "late-log-folder",
        "warning",
        "log folder made by the script itself",
        "make the folder before sbatch",
        directives.late_log_folder,
    ),
    Rule(
        "requeue-refused",
        "error",
        "scontrol requeue with --no-requeue",
        "say #SBATCH --requeue",
        directives.requeue_refused,
    ),
    Rule(
        "rank-in-batch-shell",
        "error",
        "rank variables expanded before there are ranks",
        "let the step expand it: srun bash -c '… $SLURM_PROCID …' in single quotes",
        rank_variables.rank_in_batch_shell,
    ),
    Rule(
        "slurm-rank-under-mpirun",
        "error",
        "Slurm's rank variables under mpirun",
        "read OMPI_COMM_WORLD_RANK, _LOCAL_RANK and _SIZE (MPICH: PMI_RANK, MPI_LOCALRANKID, PMI_SIZE)",
        rank_variables.slurm_rank_under_mpirun,
    ),
    Rule(
        "master-address",
        "error",
        "an address that differs from node to node",
        'set it in the batch shell: MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        rank_variables.master_address,
    ),
    Rule(
        "ephemeral-port",
        "error",
        "a port that outgoing connections may hold",
        "take one below it: MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))",
        rank_variables.ephemeral_port,
    ),
    Rule(
        "fixed-port",
        "warning",
        "a port that every job takes",
        "make it from the job's number: MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000)), or ask for --exclusive",
        rank_variables.fixed_port,
    ),
    Rule(
        "cpus-per-task",
        "error",
        "CPUs that srun does not take from sbatch",
        "add --cpus-per-task=$SLURM_CPUS_PER_TASK to srun, or export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK",
        launch_commands.cpus_per_task,
    ),
    Rule(
        "kill-on-bad-exit",
        "warning",
        "srun of a training that outlives a dead rank",
        "add --kill-on-bad-exit=1 to srun",
        launch_commands.kill_on_bad_exit,
    ),
    Rule(
        "srun-open-mpi",
        "warning",
        "srun of an Open MPI program without PMIx",
        "add --mpi=pmix where `srun --mpi=list` has it, or start it by mpirun; of no concern if nothing calls MPI_Init",
        launch_commands.srun_open_mpi,
    ),
    Rule(
        "mpirun-in-step",
        "error",
        "mpirun inside an srun step",
        "call mpirun from the batch shell, or srun with --overlap",
        launch_commands.mpirun_in_step,
    ),
    Rule(
        "mpirun-without-n",
        "warning",
        "mpirun that counts by itself",
        'add -n "$SLURM_NTASKS"',
        launch_commands.mpirun_without_n,
    ),
    Rule(
        "mpirun-binding",
        "warning",
        "threads on the one core that mpirun gives a rank",
        "add --bind-to none",
        launch_commands.mpirun_binding,
    ),
    Rule(
        "mpirun-dialect",
        "error",
        "options of the other family of MPI",
        "ranks a node: -npernode N (Open MPI 4), --map-by ppr:N:node (Open MPI 5), -ppn N (MPICH, MVAPICH, Intel); "
        "variables: -x NAME, or -genv NAME VALUE",
        launch_commands.mpirun_dialect,
    ),
    Rule(
        "mpirun-as-root",
        "warning",
        "Open MPI's mpirun as root",
        "set OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1, or run as a user",
        launch_commands.mpirun_as_root,
    ),
    Rule(
        "deepspeed-launcher",
        "warning",
        "DeepSpeed's launcher over several nodes",
        "start the ranks by srun or mpirun and set RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
        launch_commands.deepspeed_launcher,
    ),
    Rule(
        "torchrun-on-one-node",
        "error",
        "torchrun for several nodes in the batch shell",
        "let srun start it on each node: srun --ntasks-per-node=1 --kill-on-bad-exit=1 torchrun …",
        launch_commands.torchrun_on_one_node,
    ),
    Rule("tty-in-batch", "error", "a terminal in a batch job", "leave the option out", launch_commands.tty_in_batch),
    Rule(
        "mount-source",
        "error",
        "a mount that the engine cannot make",
        "mount an absolute path without commas, or the folder above it",
        launch_commands.mount_source,
    ),
    Rule(
        "signal-to-nobody",
        "error",
        "--signal that nobody hears",
        "for a trap in this script say --signal=B:USR1@120 and trap USR1; for the ranks of srun steps leave B: out",
        exit_codes.signal_to_nobody,
    ),
    Rule(
        "trap-without-signal",
        "warning",
        "a trap for a signal that nobody sends",
        "ask for it: #SBATCH --signal=B:USR1@120",
        exit_codes.trap_without_signal,
    ),
    Rule(
        "foreground-launcher",
        "error",
        "a trap that runs too late",
        "start the launcher with & and wait for its process: srun … & wait $!",
        exit_codes.foreground_launcher,
    ),
    Rule("no-wait", "error", "a launcher nobody waits for", "end with wait $!", exit_codes.no_wait),
    Rule(
        "lost-exit-code",
        "warning",
        "a failed training that Slurm calls COMPLETED",
        "set -eo pipefail, or end with the exit code of the training: wait $! or exit $code",
        exit_codes.lost_exit_code,
    ),
    Rule(
        "unread-variable",
        "warning",
        "set and never read",
        "export it if a program shall read it, or delete it",
        variables.unread_variable,
    ),
    Rule(
        "unset-variable", "warning", "read and never set", "set it, or say ${NAME:-default}", variables.unset_variable
    ),
    Rule(
        "misspelt-variable",
        "warning",
        "a name of Slurm, NCCL, UCX or Open MPI that is nearly right",
        "correct the name",
        variables.misspelt_variable,
    ),
)
"""Every rule; what cannot be read comes first."""


def check(text: str) -> tuple[Finding, ...]:
    """All findings in a job script, by line.

    Where the text is not bash only that is said, since the other rules would judge what they misread; with
    ``# bertjob: ignore=syntax`` there, they judge the rest.

    Args:
        text: the script.
    """
    script = parse(text)
    findings = [
        Finding(found.line, rule.severity, rule.name, found.reason, rule.remedy)
        for rule in RULES
        for found in rule.find(script)
    ]
    kept = [finding for finding in findings if finding.rule not in _ignored(script.lines, finding.line)]
    unread = [finding for finding in kept if finding.rule in {"syntax", "crlf"}]
    return tuple(sorted(unread or kept, key=lambda finding: finding.line))


def _ignored(lines: tuple[str, ...], number: int) -> set[str]:
    """The rules silenced at a line: at its end, at the end of the lines that continue it, or in the line above."""
    at = number - 1
    here = [lines[at]] if at < len(lines) else []
    while at + 1 < len(lines) and lines[at].endswith("\\"):
        at += 1
        here.append(lines[at])
    above = lines[number - 2].strip() if number > 1 else ""
    comments = [
        _IGNORE.search(text) for text in (*here, above if above.startswith("#") and "SBATCH" not in above else "")
    ]
    return {name.strip() for match in comments if match for name in match[1].split(",")}
