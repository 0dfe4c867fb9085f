"""What the lint says of job scripts: each rule alone, scripts of tutorials, and bertjob's own."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bertjob.cli.main import cli
from bertjob.lint.bash.parse import parse
from bertjob.lint.rules import RULES, check

FOLDER = Path(__file__).parent
EXAMPLES = sorted(Path(__file__).parents[2].glob("slurm/examples/*"))
NAMES = [rule.name for rule in RULES]


def rules_at(text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.rule) for finding in check(text)]


def names_in(text: str) -> set[str]:
    return {finding.rule for finding in check(text)}


def read(path: Path) -> str:
    return path.read_bytes().decode()


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bertjob = [sys.executable, "-c", "from bertjob.cli.main import main; main()"]
    return subprocess.run(
        [*bertjob, *words], capture_output=True, text=True, check=False, env=os.environ | environment, cwd=FOLDER
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_objects_to_its_bad_script_and_no_other_rule_does(name: str) -> None:
    assert names_in(read(FOLDER / f"bad/{name}.sbatch")) == {name}


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_has_nothing_against_its_good_script_and_no_other_rule_has(name: str) -> None:
    assert check(read(FOLDER / f"good/{name}.sbatch")) == ()


def test_every_script_belongs_to_a_rule() -> None:
    assert {path.stem for path in FOLDER.glob("*/*.sbatch")} == set(NAMES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_bertjobs_own_scripts_are_clean(path: Path) -> None:
    assert check(path.read_text()) == ()


SQUAD = """\
#!/bin/bash -l

#SBATCH --job-name=squad
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --constraint=gpu

module load sarus
module load OpenMPI/4.1.2

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

{start} sarus run {options}--mount=type=bind,source=$SCRATCH,destination=$SCRATCH \\
             nvcr.io/nvidia/pytorch:22.08-py3 \\
             bash -c '
             cd $SCRATCH/bert-demo;
             . deepspeed-env/bin/activate;
             python train.py'
"""
"""The script of the Sarus and Slurm tutorial, in short."""


def test_the_sarus_tutorial_leaves_count_and_cores_to_mpirun() -> None:
    text = SQUAD.format(start="mpirun", options="--tty ")
    assert rules_at(text) == [(14, "mpirun-without-n"), (14, "mpirun-binding")]


@pytest.mark.parametrize(
    ("start", "refused"),
    [("mpirun -n 2 --bind-to none", 0), ("srun -K --pty", 0), ("srun -K", 1), ("", 1), ("mpiexec.hydra -n 2", 1)],
)
def test_a_terminal_is_refused_but_where_the_launcher_makes_one(start: str, refused: int) -> None:
    found = check(f"#!/bin/bash\n#SBATCH --nodes=2\n{start} sarus run --tty ubuntu:24.04 ls\n")
    assert sum("--tty" in finding.reason for finding in found) == refused


def test_the_sarus_tutorial_without_them_is_clean() -> None:
    assert check(SQUAD.format(start="mpirun -n $SLURM_NTASKS --bind-to none", options="")) == ()


@pytest.mark.parametrize(
    ("asked", "words", "where"),
    [
        ("--nodes=2 --cpus-per-task=4", "-n 2 -x A", "one core"),
        ("--nodes=4 --cpus-per-task=4", "-n 4 -x A", "one socket"),
        ("--nodes=2 --ntasks-per-node=4 --cpus-per-task=4", "-n 8 -x A", ""),
        ("--nodes=2", "-n 2 -x A", ""),
        ("--nodes=2 --cpus-per-task=4", "-n 2", ""),  # of MPICH, for all that is said
        ("--nodes=2 --cpus-per-task=4", "-n 2 --mca hwloc_base_binding_policy none", ""),
        ("--nodes=2 --cpus-per-task=4", "-n 2 -x A --rankfile r", ""),
    ],
)
def test_threads_of_a_rank_need_more_than_the_core_that_open_mpi_gives_it(asked: str, words: str, where: str) -> None:
    found = check(f"#!/bin/bash\n#SBATCH {asked}\nmpirun {words} ./solver\n")
    assert [finding.rule for finding in found] == ["mpirun-binding"] * bool(where)
    assert all(where in finding.reason for finding in found)


def test_the_way_that_the_sarus_tutorial_says_crashes_is_found() -> None:
    text = SQUAD.format(start="srun", options="")
    assert names_in(text) == {"srun-open-mpi", "cpus-per-task", "kill-on-bad-exit"}


@pytest.mark.parametrize(
    ("module", "placement", "expected"),
    [
        ("mvapich2-gdr", "-ppn", set()),
        ("openmpi/4.1", "-ppn", {"mpirun-dialect"}),
        ("openmpi/4.1", "-npernode", set()),
        ("mvapich2-gdr", "-npernode", {"mpirun-dialect"}),
    ],
)
def test_each_of_the_onebit_tutorials_two_lines_needs_its_own_mpi(
    module: str, placement: str, expected: set[str]
) -> None:
    head = f"#!/bin/bash\n#SBATCH --nodes=4\nmodule load {module}\n"
    assert names_in(f"{head}mpirun -np 16 {placement} 4 -hostfile hosts bash mpi_run_squad.sh\n") == expected


HEAD = "#!/bin/bash\n#SBATCH --nodes=2\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("env RANK=$SLURM_PROCID srun -K python t.py\n", {"rank-in-batch-shell"}),
        ("srun -K torchrun --node_rank=${SLURM_NODEID} t.py\n", {"rank-in-batch-shell"}),
        ("cat > r.sh << EOF\nRANK=$SLURM_PROCID\nEOF\n", {"rank-in-batch-shell"}),
        ("cat > r.sh << 'EOF'\nRANK=$SLURM_PROCID\nEOF\n", set()),
        ("srun -K bash << 'EOF'\nRANK=$SLURM_PROCID python t.py\nEOF\n", set()),
        ('if [ "$SLURM_PROCID" = 0 ]; then echo hi; fi\n', set()),
        ("# srun --node_rank $SLURM_PROCID\nsrun -K python t.py\n", set()),
        ("srun -K python t.py --master_port=29500\n", {"fixed-port"}),
        ('L="torchrun --nnodes 2 --master_port 29500"\nsrun -K $L t.py\n', {"fixed-port"}),
        ("srun -K torchrun --rdzv-endpoint=$HOST:40000 t.py\n", {"ephemeral-port"}),
        ("MASTER_PORT=${MASTER_PORT:-29500}\nexport MASTER_PORT\n", {"fixed-port"}),
        ("mpirun -n 2 -x MASTER_PORT=33000 ./a.out\n", {"ephemeral-port"}),
        ("srun -K --export=ALL,MASTER_PORT=33000 python t.py\n", {"ephemeral-port"}),
        ("srun -K torchrun --rdzv_endpoint=localhost:$((20000 + SLURM_JOB_ID % 9))  t.py\n", {"master-address"}),
        ("srun -K python t.py --log $SCRATCH/$SLURM_PROCID.log\n", {"rank-in-batch-shell"}),
        ("srun -K python t.py --log $SCRATCH/$SLURM_PROCID/log\n", {"rank-in-batch-shell"}),
        ("OUT=$SCRATCH/$SLURM_JOB_ID/x\n", {"unread-variable"}),
        ("srun -K sarus run --mount=type=bind,source=$A/a,destination=$A/a -t x python t.py\n", {"tty-in-batch"}),
        ("time srun python t.py\n", {"kill-on-bad-exit"}),
        ("timeout -s TERM 60 numactl -N 0 srun python3.11 -u t.py\n", {"kill-on-bad-exit"}),
        ("srun $OPTIONS python t.py\n", set()),
        ("SLURM_KILL_BAD_EXIT=1 srun python t.py\n", set()),
        ("srun python -m venv env\nsrun pip install x\n", set()),
        ("x=$(srun -N1 -n1 hostname)\necho $x\n", set()),
        ("srun --mpi=none python -m mpi4py t.py\n", {"srun-open-mpi", "kill-on-bad-exit"}),
        ("srun -K podman run --rm x mpirun -n 4 python t.py\n", {"mpirun-in-step", "mpirun-as-root"}),
        ("srun -K sarus run --tty x python t.py\n", {"tty-in-batch"}),
        ("srun -n 1 --pty sarus run --tty x python t.py\n", set()),
        ("srun -K -n 2 --pty sarus run --tty x python t.py\n", {"tty-in-batch"}),
        ("mpirun -n 2 --bind-to none sarus run --tty x python t.py\n", set()),
        ("mpirun -n 2 --bind-to none --mca orte_io_nopty 1 sarus run --tty x python t.py\n", {"tty-in-batch"}),
        ("docker run -t --rm ubuntu ls\n", {"tty-in-batch"}),
        ("docker run --rm ubuntu ls -t\n", set()),
        ("a=$(date) b=$(hostname)\necho $a $b\n", set()),
        ("a=$(date) b=$(hostname)\necho $a\n", {"unread-variable"}),
        ("a=1 b=$(hostname) srun -N1 -n1 hostname\necho $a\n", {"unset-variable"}),
        ("srun ray start --block &\nsleep 9\npython -u t.py || exit 1\n", set()),
        ("srun ray start --block &\nsleep infinity\n", set()),
        ("f() { ./long; }\nsrun ray start --block &\nf\n", set()),
        ("./long\nsrun ray start --block &\nsleep 9\n", {"no-wait"}),
        ("f() { ./long; }\nsrun ray start --block &\ntrap - TERM\n./other &\n", {"no-wait"}),
        ("set -o pipefail\nsrun -K python t.py |& tee log\n", set()),
        ("srun -K python t.py | tee log\n", {"lost-exit-code"}),
        ("srun -K python t.py | tee log\nexit ${PIPESTATUS[0]}\n", set()),
        ("srun -K python t.py &\nwait\n", {"lost-exit-code"}),
        ("python t.py\ndate\n", {"lost-exit-code"}),
        ("srun -K python t.py && echo done\n", set()),
        ("f() { srun -K python t.py; }\nf\n", set()),
        ("source ./settings.sh\nDATA=1\nsrun -K python t.py\n", set()),
        (". env/bin/activate\nDATA=1\nsrun -K python t.py\n", {"unread-variable"}),
        ("export SLURM_CPU_BIND=none NCCL_NEW_THING_OF_NEXT_YEAR=1\nsrun -K python t.py\n", set()),
        ("torchrun --nnodes $SLURM_NNODES t.py\n", {"torchrun-on-one-node"}),
        ("python -m torch.distributed.run --nnodes 1:4 t.py\n", set()),
        ("sarus run x bash -c 'python3 -u -m torch.distributed.run --nnodes=4 t.py'\n", {"torchrun-on-one-node"}),
        ("mpirun -n 2 -npernode 1 torchrun --nnodes=2 t.py\n", set()),
        ("f() { torchrun --nnodes=2 t.py; }\nexport -f f\nsrun -K bash -c f\n", set()),
        ("srun -K bash -c 'torchrun --nnodes=2 t.py'\n", set()),
        ("## SBATCH --time=5\nsrun -K python t.py\n", {"spaced-directive"}),
        ("srun -K python t.py\n# SBATCH --time=5\n", set()),
        ("trap 'touch stop' USR1\n(sleep 60; kill -USR1 $$) &\nsrun -K python t.py & wait $!\n", set()),
        ('srun "${OPTIONS[@]}" python t.py\n', set()),
        ("for host in a b; do echo $host; done\nread -r x y\necho $x $y $z\n", {"unset-variable"}),
    ],
)
def test_what_a_line_shows(body: str, expected: set[str]) -> None:
    assert names_in(HEAD + body) == expected


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        ("export MASTER_PORT=$(( ($RANDOM % 10000) + 40000 ))", "40000-49999"),
        ("export MASTER_PORT=$((10000 + ($SLURM_JOB_ID % 50000)))", "10000-59999"),
        ("export MASTER_PORT=$((20000 + ($SLURM_JOB_ID % 10000)))", ""),
        ("export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10 * 100 + SLURM_ARRAY_TASK_ID))", ""),
        ("export MASTER_PORT=$((40000 + SLURM_ARRAY_TASK_ID))", "40000"),
        ("export MASTER_PORT=$[10000 + RANDOM / 2]", ""),
        ("export MASTER_PORT=$((10000 + 10#${SLURM_JOB_ID: -4}))", ""),
        ("export MASTER_PORT=$(shuf -i 49152-65535 -n 1)", "49152-65535"),
        ("export MASTER_PORT=`shuf -n1 -i 49152-65535`", "49152-65535"),
        ("export MASTER_PORT=$(shuf -i 61000-65535 -n 1)", ""),
        ("export MASTER_PORT=$(seq 20000 33000 | shuf | head -n 1)", "20000-33000"),
        ("export MASTER_PORT=$(expr 40000 + $(echo -n $SLURM_JOBID | tail -c 4))", "40000-49999"),
        ("export MASTER_PORT=$(expr 10000 + $(echo -n $SLURM_JOBID | tail -c 4))", ""),
        ('export MASTER_PORT=$(echo "40000 + $SLURM_JOBID % 100" | bc)', "40000-40099"),
        ("export MASTER_PORT=${MASTER_PORT:-$((40000 + RANDOM % 9))}", "40000-40008"),
        ("export MASTER_PORT=$(python -c 'import free; print(free.port())')", ""),
        ("srun -K torchrun --master_port=$((RANDOM + 30000)) t.py", "30000-62767"),
        ("srun -K --export=ALL,MASTER_PORT=$((RANDOM + 9)),B=1 t.py", "9-32776"),
        ("let MASTER_PORT=40000+SLURM_JOB_ID%1000", "40000-40999"),
        ("PORT=50001; srun -K torchrun --rdzv-endpoint $(hostname):$PORT t.py", "50001"),
        ("PORT=50001; PORT=20000; srun -K torchrun --rdzv-endpoint $(hostname):$PORT t.py", ""),
        ('srun -K python t.py --dist-url "tcp://$MASTER:45678"', "45678"),
        ("srun -K python t.py --init_method=tcp://$MASTER:${PORT:-45678}", "45678"),
    ],
)
def test_all_that_a_port_may_be_is_told_from_its_text(line: str, ports: str) -> None:
    found = check(f"{HEAD}#SBATCH --exclusive\n{line}\n")
    said = [finding.reason.split()[1] for finding in found if finding.rule == "ephemeral-port"]
    assert said == [ports] * bool(ports)


def test_a_port_in_a_variable_is_named_where_the_variable_gets_it() -> None:
    text = f"{HEAD}PORT=50001\nexport MASTER_PORT=$PORT\nsrun -K torchrun --rdzv-endpoint=$HOST:$PORT t.py\n"
    assert rules_at(text) == [(3, "ephemeral-port")]
    assert rules_at(text.replace("50001", "29500")) == [(3, "fixed-port")]


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        ("--tasks-per-node=1", "srun python t.py\n", set()),
        ("--tasks-per-node 2", "srun python t.py\n", {"kill-on-bad-exit"}),
        ("--nodes=2 --tasks-per-node=2", "srun -K --tasks-per-node 1 python t.py\n", set()),
        ("--context=a --ntasks-per-tres=2", "srun -K python t.py\n", set()),
        ("--nodes=1\n#SBATCH hetjob\n#SBATCH --nodes=4", "srun python t.py\n", set()),
        ("--nodes=4\n#SBATCH HetJob\n#SBATCH --nodes=1", "srun python t.py\n", {"kill-on-bad-exit"}),
        ("packjob", "srun -K python t.py\n", set()),
        ("--nodes=1\n#SBATCH hetjob\n#SBATCH --node-count=4", "srun python t.py\n", {"unknown-option"}),
        ("het", "srun -K python t.py\n", {"unknown-option"}),
    ],
)
def test_what_sbatch_takes_beyond_its_manual(head: str, body: str, expected: set[str]) -> None:
    assert names_in(f"#!/bin/bash\n#SBATCH {head}\n{body}") == expected


@pytest.mark.parametrize(
    "first", ["/bin/tcsh", "/usr/bin/env python3", "/usr/bin/env -S A=1 python3 -u", "/opt/julia -O"]
)
def test_of_another_language_only_the_head_is_judged(first: str) -> None:
    head = f"#!{first}\n#SBATCH --nodes=2 --signal=USR1@9 --cpus-per-task=4\n"
    rest = "if ($A == b) then\n  print(f'{1}'\nendif\n#SBATCH -t 1\nMASTER_PORT=40000\n"
    assert rules_at(head + rest) == [(3, "other-language")]
    assert rules_at(f"{head}#SBATCH --node=2 --nonsense\n\n{rest}") == [(3, "unknown-option"), (5, "other-language")]
    assert check(f"{head}# bertjob: ignore=other-language\n{rest}") == ()
    assert rules_at(head) == [(3, "other-language")]


@pytest.mark.parametrize("first", ["/bin/sh -l", "/usr/bin/env -S bash -e", "/usr/bin/bash", " /bin/zsh"])
def test_a_shell_is_no_other_language(first: str) -> None:
    assert rules_at(f"#!{first}\n#SBATCH --nodes=2\nif true\n") == [(3, "syntax")]


WORD = st.lists(st.sampled_from(["$A", "$SLURM_PROCID", "$1", "$(b $A/$B/x)", *"/.-:,=_x"]), min_size=1).map("".join)


@settings(max_examples=200, deadline=None)
@given(WORD, st.sampled_from(["srun a W y", "O=W", "export O=W P=1", "W x > $A/$B/y", "[ -d W ] && a W"]))
@example("$A/$B/x", "[ -d W ] && a W")
def test_a_word_is_read_as_one_with_braces_is(word: str, line: str) -> None:
    text = line.replace("W", word)
    assert without_braces(re.sub(r"\$([A-Za-z_]\w*|\d)", r"${\1}", text)) == without_braces(text)


def without_braces(text: str) -> list[object]:
    script = parse(text)
    words = [[word.value for word in command.words] for command in script.commands]
    values = [(one.name, one.value.value if one.value else None) for one in script.assignments]
    found = [str(value).replace("{", "").replace("}", "") for value in (words, values)]
    return [script.wrong_at, *found, sorted(read.name for read in script.reads)]


@pytest.mark.parametrize(
    ("signal", "body", "expected"),
    [
        ("USR1@90", "srun -K python t.py\n", set()),
        ("USR1@90", "mpirun -n 2 python t.py\n", {"signal-to-nobody"}),
        ("USR1@90", "python t.py\n", {"signal-to-nobody"}),
        ("B:USR1@90", "srun -K python t.py\n", {"signal-to-nobody"}),
        ("B:10@90", "trap 'kill %1' SIGUSR1\nsrun -K python t.py & wait $!\n", set()),
        ("B:USR1@90", ". ./setup.sh\nrequeue_job func_trap USR1\nsrun -K python t.py & wait $!\n", set()),
        ("USR1@90", "source ./steps.sh\nrun_all\n", set()),
        ("B:USR1@90", ". env/bin/activate\nsrun -K python t.py\n", {"signal-to-nobody"}),
        ("USR1@90", ". ./setup.sh\ntrap 'kill %1' USR1\nsrun -K python t.py & wait $!\n", {"signal-to-nobody"}),
        ("B:USR1@90", "trap '' USR1\nsrun -K python t.py\n", {"signal-to-nobody"}),
    ],
)
def test_who_hears_a_signal(signal: str, body: str, expected: set[str]) -> None:
    assert names_in(f"{HEAD}#SBATCH --signal={signal}\n{body}") == expected


def test_a_finding_names_the_line_in_a_script_inside_a_command() -> None:
    assert rules_at(f"{HEAD}srun -K bash -c '\n  cd x\n  mpirun -n 2 ./a.out\n'\n") == [(5, "mpirun-in-step")]


@pytest.mark.parametrize(
    "text",
    [
        "srun python t.py # bertjob: ignore=kill-on-bad-exit\n",
        "srun python t.py # why not; bertjob: ignore=kill-on-bad-exit,lost-exit-code\n",
        "# bertjob: ignore=kill-on-bad-exit\nsrun python t.py\n",
        "srun \\\n  python t.py # bertjob: ignore=kill-on-bad-exit\n",
    ],
)
def test_a_comment_silences_a_rule(text: str) -> None:
    if "why not" in text:
        text = text.replace("# why not; ", "# ")
    assert check(HEAD + text) == ()
    assert names_in(HEAD + text.replace("ignore=kill", "ignore=no")) == {"kill-on-bad-exit"}


def test_text_that_is_not_bash_is_said_alone_unless_it_is_silenced() -> None:
    text = f"{HEAD}export MASTER_PORT=29500\necho $(( \n"
    assert names_in(text) == {"syntax"}
    line = check(text)[0].line
    lines = text.split("\n")
    lines.insert(line - 1, "# bertjob: ignore=syntax")
    assert "syntax" not in names_in("\n".join(lines))


SHELL = st.lists(
    st.sampled_from(
        [
            *("srun ", "mpirun -n ", "sarus run ", "--mount=", "-c", "'", '"', "$(", ")", "${", "}", "$SLURM_PROCID"),
            *(
                "\n",
                "#SBATCH --",
                "nodes=2",
                "trap ",
                "USR1",
                " & ",
                "wait",
                "<< EOF\n",
                "EOF\n",
                "\\",
                "|",
                "=",
                "((",
                "`",
            ),
            *(
                "bash -c ",
                "export ",
                "A",
                "-t ",
                "[[ ",
                "]]",
                ";",
                "if ",
                "then",
                "fi",
                "é",
                "\r\n",
                "\0",
                "# bertjob: ignore=",
            ),
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), SHELL))
@example("(" * 5000)
@example("$(" * 3000)
@example("")
@example("#SBATCH --output='\n")
@example('srun bash -c "srun bash -c \'srun bash -c \\"x\\"\'"')
def test_any_text_has_an_answer(text: str) -> None:
    count = text.count("\n") + 1
    assert all(1 <= finding.line <= count for finding in check(text))


def test_a_finding_is_one_line_and_errors_are_exit_code_1() -> None:
    done = command("lint", "bad/no-wait.sbatch", "good/no-wait.sbatch")
    assert done.returncode == 1
    assert done.stdout.startswith("bad/no-wait.sbatch:4: error no-wait: the script ends at once")
    assert done.stdout.endswith("; end with wait $!\n")
    assert done.stdout.count("\n") == 1
    assert done.stderr == f"{len(RULES)} rules, 2 scripts: 1 error, 0 warnings\n"


def test_warnings_are_exit_code_0() -> None:
    done = command("lint", "bad/fixed-port.sbatch")
    assert (done.returncode, done.stdout.count("warning fixed-port")) == (0, 1)


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b" in command("lint", "bad/no-wait.sbatch", FORCE_COLOR="1", TERM="xterm").stdout
    assert "\x1b" not in command("lint", "bad/no-wait.sbatch").stdout
    assert "\x1b" not in command("lint", "bad/no-wait.sbatch", NO_COLOR="1", TERM="xterm").stdout


def on_a_terminal(width: int, *words: str) -> list[str]:
    """The lines on a terminal of so many columns."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, width))
    bertjob = [sys.executable, "-c", "from bertjob.cli.main import main; main()", *words]
    environment = os.environ | {"TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        bertjob, stdin=follower, stdout=follower, stderr=subprocess.DEVNULL, env=environment, cwd=FOLDER
    ) as child:
        os.close(follower)
        written = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal that nobody writes to so
            while data := os.read(leader, 65536):
                written += data
        child.wait()
    os.close(leader)
    return re.sub(r"\x1b\[[\d;]*m", "", written.decode()).splitlines()


@pytest.mark.parametrize("words", [("lint", "--rules"), ("lint", "bad/mpirun-dialect.sbatch")])
def test_lines_break_between_words_on_a_terminal(words: tuple[str, ...]) -> None:
    narrow, wide = on_a_terminal(80, *words), on_a_terminal(1000, *words)
    assert len(narrow) > len(wide)
    assert max(map(len, narrow)) <= 80
    assert sorted(" ".join(narrow).split()) == sorted(" ".join(wide).split())


def test_a_script_can_come_from_standard_input() -> None:
    bertjob = [sys.executable, "-c", "from bertjob.cli.main import main; main()", "lint", "-"]
    text = read(FOLDER / "bad/no-wait.sbatch")
    done = subprocess.run(bertjob, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.partition(" ")[0]) == (1, "-:4:")


def test_json_is_one_document() -> None:
    done = command("lint", "--json", "bad/no-wait.sbatch")
    (found,) = json.loads(done.stdout)
    assert found["file"] == "bad/no-wait.sbatch"
    assert (found["line"], found["severity"], found["rule"]) == (4, "error", "no-wait")


def test_the_rules_can_be_listed() -> None:
    listed = CliRunner().invoke(cli, ["lint", "--rules"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == NAMES
    as_json = json.loads(CliRunner().invoke(cli, ["lint", "--rules", "--json"]).stdout)
    assert [rule["name"] for rule in as_json] == NAMES


@pytest.mark.parametrize("file", ["missing.sbatch", ".", "binary.sbatch"])
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2(file: str, tmp_path: Path) -> None:
    (tmp_path / "binary.sbatch").write_bytes(b"#!/bin/bash\n\xff\xfe")
    done = command("lint", str(tmp_path / file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["lint", "--help"], ["port", "--help"], ["script", "squad", "--nodes", "2"]])
def test_only_a_script_that_is_read_loads_the_grammar(words: list[str]) -> None:
    code = f"import sys; from bertjob.cli.main import cli; cli.main({words!r}, standalone_mode=False)"
    loaded = "print(*[name for name in sys.modules if name.startswith('tree_sitter')])"
    done = subprocess.run([sys.executable, "-c", f"{code}; {loaded}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_without_a_file_the_usage_is_said() -> None:
    done = command("lint")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
