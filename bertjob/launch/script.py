"""The script of a plan: the same bytes for the same plan, quoted here and nowhere else.

It reads from top to bottom as a person would write it: what is asked of the scheduler, modules, environment, the run
directory, where the ranks meet, then launcher, engine and program, one layer a line, and what happens when they end.
What differs between schedulers comes from the plan's scheduler, a row of bertjob.launch.schedulers.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping

from bertjob.config.job import Job
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.site import Site
from bertjob.launch import script_exit
from bertjob.launch.argv import Word, exit_saying, fold, only_numbers, parse, quote
from bertjob.launch.container import presence
from bertjob.launch.environment import RANK, fabric
from bertjob.launch.input_paths import needs
from bertjob.launch.plan import Layer, Plan
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.rundir.job_log import refused_by_script
from bertjob.rundir.world import FORMER_LEASE, JOB_ID, NODE_ADDRESS, PLANNED_WORLD, RESTART, SECRET_FILE
from bertjob.text import counted

_CHOICE = r"""
# Below the ports that the kernel gives to outgoing connections, which may be taken at any moment; another one for
# each job and each of its starts; none that something listens at, be it at one address only.
read -r ephemeral _ < /proc/sys/net/ipv4/ip_local_port_range
((ephemeral > 20000)) || ephemeral=32768
taken() {
  for address in localhost "$MASTER_ADDR"; do
    timeout 2 bash -c ": < /dev/tcp/$address/$1" 2> /dev/null && return
  done
  return 1
}
MASTER_PORT=$((20000 + (NUMBER) % (ephemeral - 20000)))
while taken "$MASTER_PORT"; do MASTER_PORT=$((MASTER_PORT + 1)); done
""".strip()
_WIDTH = 112
_WAIT = r"""
while kill -0 "$launcher" 2> /dev/null; do wait "$launcher" || true; done
code=0
wait "$launcher" || code=$? # bash keeps the exit code of a process that has ended
""".strip()
"""Waits for the one process that holds the ranks."""
_START_GUARD = "guard &\nguard=$!"
_SECRET = rf"""
{refused_by_script("$RUN", '"$RUN/logs/.reserve"')}
# By this the ranks recognise each other. Only its owner can read it, and each start has another one; rank 0 removes it
# as soon as all have read it.
{SECRET_FILE}=$(LC_ALL=C mktemp "$RUN/logs/.secret-XXXXXXXX" 2>&1) || unwritable "${SECRET_FILE}"
@TRAP@
said=$(LC_ALL=C head -c 32 /dev/urandom 2>&1 > "${SECRET_FILE}") || unwritable "$said"
export {SECRET_FILE}
""".strip()


def _secret(plan: Plan) -> str:
    """Lines that make the secret, and take it away at the end."""
    return _SECRET.replace("@TRAP@", script_exit.trap(plan, f'rm -f "${SECRET_FILE}"'))


def port_choice(number: str) -> str:
    """Lines of bash that set MASTER_PORT.

    Args:
        number: arithmetic expression of bash that differs between the jobs that may share a node.
    """
    names = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", number))
    return "\n".join([*only_numbers(names), _CHOICE.replace("NUMBER", number)])


def script(plan: Plan) -> str:
    """The text of the job script, for sbatch, or for bash where there is no scheduler."""
    sections = [
        _head(plan),
        script_exit.definitions(plan, _by_hand(plan)),
        "\n".join(plan.scheduler.top(plan.job, plan.site, plan.options)),
        modules(plan.site),
        _environment(plan),
        _run_directory(plan),
        _meeting_point(plan),
        plan.files,
        presence(plan.engine, plan.scheduler),
        *_work(plan),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _head(plan: Plan) -> str:
    form, scheduler = plan.shape, plan.scheduler
    ranks = f"{counted(form.nodes, 'node')} x {counted(form.tasks_per_node, 'rank')}"
    made = f"Made by bertjob for site {plan.site.name}: {ranks}, launcher {form.launcher}, engine {form.engine}."
    lines = [
        "#!/bin/bash -l" if plan.site.login_shell else "#!/usr/bin/env bash",
        _comment(f"{plan.job.name}: {plan.job.description or plan.job.task}"),
        _comment(f"{made} Run it with {scheduler.submit_command}."),
        *scheduler.header(plan.job, plan.site, plan.run_dir, plan.options),
    ]
    return "\n".join(lines)


def modules(site: Site) -> str:
    """Lines that load the site's modules, and what the shell is to make of errors."""
    lines = [*(f"module load {quote(module)}" for module in site.modules), *site.setup]
    if not lines:
        return "set -euo pipefail"
    late = "set -uo pipefail # only now: the scripts behind these lines may read variables that are unset"
    return "\n".join(["set -e", *lines, late])


def environment(job: Job, site: Site, exported: Mapping[str, Word]) -> list[str]:
    """Lines that export the variables of job and site, and take away what an enclosing launcher has left."""
    said = {name: value for name, value in exported.items() if name not in job.env_from}
    lines = [f"export {name}={quote(value)}" for name, value in said.items()]
    if (named := site.fabric.preset) and (first := next(iter(fabric(job, site)), None)):
        origin = f"# The fabric {named}: slurm/fabrics/{named}.yaml says who recommends each of these."
        lines.insert(list(said).index(first), origin)
    other_launcher = [
        "# Left by another launcher in the calling shell, these would give every rank the same place.",
        f"unset {' '.join(RANK)}",
    ]
    if job.env_from:
        lines += ["# From the shell that has submitted it (env_from): the values stand in no file."]
        lines += [
            f'[ -n "${{{name}:+set}}" ] || {exit_saying(f"{name} is not set in the shell that submits")}'
            for name in job.env_from
        ]
    return [*lines, *SCHEDULERS[site.scheduler].clear, *other_launcher]


def _environment(plan: Plan) -> str:
    return "\n".join([*environment(plan.job, plan.site, plan.environment), *_interface(plan)])


def _interface(plan: Plan) -> list[str]:
    """A wrong interface in one line: each launcher and library has another word for it, or many."""
    name = plan.site.fabric.interface
    if name is None or not plan.scheduler.queues:
        return []
    named = f"{name} (fabric.interface of site {plan.site.name})"
    return [
        f"[ -e {quote(f'/sys/class/net/{name}')} ] || {{",
        f'  echo "bertjob: $(hostname) has no network interface" {quote(named)} >&2',
        "  exit 1",
        "}",
    ]


def _run_directory(plan: Plan) -> str:
    made = ['"$RUN/logs"', *(quote(need.folder) for need in needs(plan.job) if need.written)]
    lines = [
        _chosen_run(plan) if plan.run_dir is None else f"RUN={quote(plan.run_dir)}",
        *(_runs(plan) if plan.engine != "none" else []),
        plan.scheduler.lease,
        f"mkdir -p {' '.join(made)}",
        f"[ -e \"$RUN/job.yaml\" ] || {_to_file(plan)} << 'END_OF_JOB'",
        plan.job_file.rstrip("\n"),
        "END_OF_JOB",
        *(_filed(plan) if plan.run_dir is None else plan.scheduler.record(plan.site.name)),
        'cd "$RUN"',
    ]
    return "\n".join(lines)


def _to_file(plan: Plan) -> str:
    write = 'cat > "$RUN/job.yaml"'
    return f"(umask 077 && {write})" if plan.private else write


def _runs(plan: Plan) -> list[str]:
    """The folder of the runs, for the mounts; a run directory that is chosen later may lie in one that is mounted."""
    mounted = [parse(mount.source) for mount in plan.site.mounts if mount.target in (None, mount.source)]
    if plan.run_dir is not None or not mounted:
        return ["RUNS=${RUN%/*}"]
    return [
        "RUNS=${RUN%/*} # what is mounted anyhow is not mounted twice: engines refuse that",
        *(f'[ ! "$RUNS" -ef {quote(folder)} ] || RUNS=$RUN' for folder in mounted),
    ]


def _chosen_run(plan: Plan) -> str:
    why, _ = plan.scheduler.new_run(plan.job.name)
    return f"{_comment(f'{why} BERTJOB_RUN_DIR=/path goes on in an old one.')}\nRUN={_by_hand(plan)}"


def _by_hand(plan: Plan) -> str:
    """The run directory that a script makes, as a word."""
    return f"${{BERTJOB_RUN_DIR:-{plan.scheduler.new_run(plan.job.name)[1]}}}"


def _filed(plan: Plan) -> list[str]:
    """What submit does beforehand: a copy of the script, and what the scheduler's jobs are found by."""
    filed = [script_exit.FILE] if script_exit.files_itself(plan) else []
    copy = 'install -m 600 "$0" "$RUN/job.sbatch"' if plan.private else 'cp "$0" "$RUN/job.sbatch"'
    return [
        f'[ -e "$RUN/job.sbatch" ] || {copy}',
        *filed,
        'echo "bertjob: run directory $RUN" || true',
    ]


def _meeting_point(plan: Plan) -> str:
    scheduler = plan.scheduler
    lines = [
        *scheduler.address(plan.site),
        port_choice(scheduler.port_number),
        f"export MASTER_ADDR MASTER_PORT {NODE_ADDRESS}",
        "# Each rank reads its place inside the step, and stops when its world is not the planned one.",
        f"export {PLANNED_WORLD}={plan.world_size} {JOB_ID}={scheduler.job_id}",
        f'export {RESTART}={scheduler.restart} {FORMER_LEASE}="$former"',
    ]
    return "\n".join(lines)


def _work(plan: Plan) -> list[str]:
    """Sections that start the ranks, wait for them and end."""
    scheduler, launcher = plan.scheduler, plan.layers[0]
    end = scheduler.end(bool(script_exit.lines(plan)))
    if launcher.words:
        guard = scheduler.guard if LAUNCHERS[plan.shape.launcher].family else ""
        start, wait = (f"{_launch(plan)}\n{_START_GUARD}", f"{_WAIT}\nunguard") if guard else (_launch(plan), _WAIT)
        return [scheduler.before, _secret(plan), guard, start, f"{scheduler.signals}\n{wait}", end]
    return [scheduler.before, _secret(plan), _ranks(plan), scheduler.ranks, end]


def _ranks(plan: Plan) -> str:
    size = plan.world_size
    place = " ".join(f"{name}={value}" for name, value in zip(RANK, ("$rank", "$rank", size, size), strict=True))
    ranks = f"""
ranks=()
for ((rank = 0; rank < {size}; rank++)); do
  (
    trap '' USR1 USR2 QUIT ALRM XCPU # until it listens
    {place} exec \\
{textwrap.indent(command(plan.layers), "      ")}
  ) &
  ranks+=("$!")
done
"""
    return _notes(plan) + ranks.rstrip("\n")


def _launch(plan: Plan) -> str:
    return f"{_notes(plan)}\n{command(plan.layers)} &\nlauncher=$!"


def _notes(plan: Plan) -> str:
    return "\n".join(_comment(line) for layer in plan.layers for line in layer.note.splitlines())


def command(layers: Iterable[Layer]) -> str:
    """The command, a layer a line, each deeper than the one around it."""
    lines: list[str] = []
    for depth, words in enumerate(layer.words for layer in layers if layer.words):
        first, *more = fold(words, _WIDTH)
        lines += ["  " * depth + first, *("  " * depth + "    " + line for line in more)]
    return " \\\n".join(lines)


def _comment(text: str) -> str:
    """Comment lines, whatever the text holds: a newline in it would end the comment."""
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, _WIDTH + 6))
