"""A script for another engine: its container commands say the same, all other bytes stay."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bertjob.errors import PreflightError
from bertjob.launch.engines import ENGINES
from bertjob.lint.bash.parse import parse
from bertjob.port import port

NAMES = sorted(set(ENGINES) - {"none"})
EXAMPLES = sorted(Path(__file__).parents[2].glob("slurm/examples/*.sbatch"))
IMAGE = "nvcr.io/nvidia/pytorch:22.08-py3"
HEAD = "#!/bin/bash\n#SBATCH --nodes=2\n"
MOUNT = "--mount=type=bind,source=$SCRATCH,destination=/data"
SHARED = "--network=host --pid=host --ipc=host --uts=host"


def line(command: str, engine: str) -> str:
    """The last line of a script with one command, in the words of another engine."""
    text = port(HEAD + command + "\n", engine).text
    return text.replace(" \\\n    ", " ").rstrip("\n").rpartition("\n")[2]


def notes(command: str, engine: str) -> list[str]:
    return [note.text for note in port(HEAD + command + "\n", engine).notes]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("podman", f"podman run --rm --env-host {SHARED} --user=0:0 --entrypoint '' --workdir=/w {MOUNT} {IMAGE}"),
        (
            "podman-hpc",
            f"podman-hpc run --rm --env-host {SHARED} --user=0:0 --entrypoint '' --workdir=/w {MOUNT} {IMAGE}",
        ),
        ("apptainer", f"apptainer exec --pwd=/w --bind=$SCRATCH:/data docker://{IMAGE}"),
        ("singularity", f"singularity exec --pwd=/w --bind=$SCRATCH:/data docker://{IMAGE}"),
        ("shifter", f"shifter --image=docker:{IMAGE} --workdir=/w --volume=$SCRATCH:/data"),
        (
            "charliecloud",
            "ch-run --cd=/w --unset-env=PATH --unset-env=LD_LIBRARY_PATH --unset-env=LD_PRELOAD"
            " --unset-env=PYTHONHOME --unset-env=PYTHONPATH"
            " --set-env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --set-env"
            f" --bind=$SCRATCH:/data {IMAGE} --",
        ),
        (
            "pyxis",
            "'--container-image=nvcr.io#nvidia/pytorch:22.08-py3' --container-mounts=$SCRATCH:/data "
            "--container-workdir=/w --no-container-entrypoint",
        ),
        ("edf", '--environment="$SLURM_SUBMIT_DIR/environment-$SLURM_JOB_ID.toml"'),
    ],
)
def test_a_command_of_sarus_for_each_engine(engine: str, expected: str) -> None:
    command = f'srun -n 4 sarus run --entrypoint "" --workdir=/w {MOUNT} {IMAGE} python "$X" \'a b\' # why'
    assert line(command, engine) == f"srun -n 4 {expected} python \"$X\" 'a b' # why"


def test_the_file_of_the_container_engine_stands_before_its_command() -> None:
    ported = port(f"{HEAD}if true; then\n  srun sarus run -e A=1 {MOUNT},readonly {IMAGE} ls\nfi\n", "edf").text
    assert ported.startswith(
        HEAD + "cat > \"$SLURM_SUBMIT_DIR/environment-$SLURM_JOB_ID.toml\" << 'END_OF_FILE'\n"
        'image = "nvcr.io#nvidia/pytorch:22.08-py3"\nmounts = [\n  "${SCRATCH}:/data:ro",\n]\n'
        'entrypoint = false\n\n[env]\nA = "1"\nEND_OF_FILE\nif true; then\n'
    )


def test_commands_with_the_same_container_share_a_file() -> None:
    two = f"srun sarus run {IMAGE} ls\nsrun sarus run {IMAGE} pwd\nsrun sarus run ubuntu ls\n"
    text = port(HEAD + two, "edf").text
    assert text.count("cat > ") == 2
    assert text.count('environment-$SLURM_JOB_ID.toml" ls') == 1
    assert text.count('environment-$SLURM_JOB_ID.toml" pwd') == 1
    assert text.count('environment-$SLURM_JOB_ID-2.toml" ls') == 1


@pytest.mark.parametrize(
    "command",
    [
        f"podman run --rm --network=host -v $SCRATCH:/data:ro -w /w -e A=1 --entrypoint= {IMAGE} ls",
        f"docker run --mount type=bind,src=$SCRATCH,dst=/data,ro --workdir /w --env A=1 --entrypoint '' {IMAGE} ls",
        f"apptainer exec -B $SCRATCH:/data:ro --pwd /w --env A=1 docker://{IMAGE} ls",
        f"singularity exec --bind $SCRATCH:/data:ro --pwd=/w --env=A=1 docker://{IMAGE} ls",
        f"shifter --image=docker:{IMAGE} -V $SCRATCH:/data:ro --workdir=/w -e A=1 ls",
        f"ch-run -b $SCRATCH:/data --cd=/w --set-env=A=1 {IMAGE} -- ls",
    ],
)
def test_other_engines_commands_are_read(command: str) -> None:
    readonly = "" if command.startswith("ch-run") else ",readonly"
    expected = f"srun sarus run --entrypoint '' --workdir=/w {MOUNT}{readonly} --env=A=1 {IMAGE} ls"
    assert line(f"srun {command}", "sarus") == expected


def test_gpus_are_asked_for_where_the_job_or_the_old_engine_does() -> None:
    assert "--nv" in line(f"#SBATCH --gpus-per-node=4\nsarus run {IMAGE} ls", "apptainer")
    assert "--nv" in line(f"podman run --device nvidia.com/gpu=all {IMAGE} ls", "apptainer")
    assert "--rocm" in line(f"podman run --device /dev/kfd --device=/dev/dri {IMAGE} ls", "apptainer")
    assert "--nv" not in line(f"sarus run {IMAGE} ls", "apptainer")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("srun --gres=gpu:4 sarus run", "--nv"),
        ("srun -C gpu sarus run", "--nv"),
        ("srun --gpus-per-task=1 numactl -N 0 sarus run", "--nv"),
        ("#SBATCH -p gpu\nsrun sarus run", "--nv"),
        ("#SBATCH --tres-per-task=gres/gpu:1\nsrun sarus run", "--nv"),
        ("export CUDA_VISIBLE_DEVICES=0\nsarus run", "--nv"),
        ("ROCR_VISIBLE_DEVICES=0 shifter --image=x", "--rocm"),
        ("export CUDA_VISIBLE_DEVICES=\nsrun -p cpu --gpus=0 sarus run", ""),
    ],
)
def test_gpus_that_an_engine_shows_untold_are_asked_for_by_slurm_or_a_variable(command: str, option: str) -> None:
    command += "" if "--image" in command else f" {IMAGE}"
    written = line(f"{command} python t.py", "apptainer")
    assert [word for word in written.split() if word in {"--nv", "--rocm"}] == [option] * bool(option)
    assert any("shows GPUs untold" in note for note in notes(f"{command} ls", "apptainer")) == (not option)


@pytest.mark.parametrize(
    ("engine", "needed"),
    [
        ("apptainer", "add --nv to apptainer"),
        ("podman", "add --device nvidia.com/gpu=all to podman"),
        ("podman-hpc", "add --gpu to podman-hpc"),
        ("docker", "add --gpus all to docker"),
        ("pyxis", "export NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        ("shifter", ""),
    ],
)
def test_gpus_that_nobody_asks_for_are_said_with_what_shows_them(engine: str, needed: str) -> None:
    said = f"sarus shows GPUs untold, and none are asked for here: if the ranks use any, {needed}"
    assert [note for note in notes(f"srun sarus run {IMAGE} ls", engine) if "GPUs" in note] == [said] * bool(needed)
    assert not any("GPUs" in note for note in notes(f"srun podman run {IMAGE} ls", "apptainer"))


def test_an_image_in_a_variable_stays_one_with_the_scheme_of_the_engine() -> None:
    command = f"IMAGE={IMAGE}\nsrun sarus run $IMAGE ls"
    assert line(command, "apptainer") == "srun apptainer exec docker://$IMAGE ls"
    assert "'--container-image=nvcr.io#nvidia/pytorch:22.08-py3'" in line(command, "pyxis")
    assert any("$IMAGE must hold" in note for note in notes("srun sarus run $IMAGE ls", "apptainer"))


def test_what_cannot_be_carried_over_is_named_with_the_reason() -> None:
    said = notes(f"srun sarus run -t --mpi --ssh --annotation=com.example.hook=1 --env-file=x {IMAGE} ls", "apptainer")
    for start in ("-t is left out: a batch job", "--mpi is left out: it swaps", "--ssh is left out: it sets up"):
        assert any(note.startswith(start) for note in said), start
    assert "--annotation=com.example.hook=1 is left out: apptainer reads none" in said
    assert any(note.startswith("--env-file=x is left out") for note in said)


def test_an_option_is_explained_by_the_engine_that_it_belongs_to() -> None:
    assert [note for note in notes(f"srun docker run -m 4g --init {IMAGE} ls", "podman") if "left out" in note] == [
        "--init is left out: it has no counterpart that is sure",
        "-m=4g is left out: it has no counterpart that is sure",
    ]
    assert any(note.startswith("-m is left out: it swaps") for note in notes(f"sarus run -m {IMAGE} ls", "podman"))


def test_a_variable_that_is_empty_cannot_be_told_the_container_engine() -> None:
    command = f"srun sarus run -e A= -e B=1 {IMAGE} ls"
    assert "A is empty, and edf unsets such variables" in notes(command, "edf")
    assert not any("is empty" in note for note in notes(command, "podman"))


def test_annotations_go_to_engines_that_read_them() -> None:
    command = f"srun sarus run --annotation=com.example.hook=1 {IMAGE} ls"
    assert "--annotation=com.example.hook=1" in line(command, "podman")
    assert not any("annotation" in note for note in notes(command, "podman"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--mount=type=bind,source=$D/x,destination=$D/x", "--bind=$D/x:$D/x"),
        ("--mount=type=bind,source=$SCRATCH/a,destination=$SCRATCH,readonly", "--bind=$SCRATCH/a:$SCRATCH:ro"),
        ("-w $scratch/$user/run", "--pwd=$scratch/$user/run"),
    ],
)
def test_variables_in_one_word_stay_in_it(options: str, expected: str) -> None:
    command = f"srun sarus run {options} {IMAGE} ./a"
    assert line(command, "apptainer") == f"srun apptainer exec {expected} docker://{IMAGE} ./a"


def test_an_entry_point_stands_before_the_program_and_options_of_srun_with_srun() -> None:
    command = "srun -n 2 numactl -N 0 sarus run --entrypoint python -e A=$B ubuntu x.py"
    options = "--container-image=ubuntu --no-container-entrypoint"
    assert line(command, "pyxis") == f"srun -n 2 {options} numactl -N 0 env A=$B python x.py"


def test_what_is_no_container_command_stays() -> None:
    text = f"{HEAD}module load sarus\nsarus pull {IMAGE}\nsrun bash -c 'sarus run {IMAGE} ls'\npodman run x ls\n"
    ported = port(text, "podman")
    assert (ported.text, ported.commands) == (text, 0)
    assert [note.line for note in ported.notes] == [3, 4, 5]


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_bertjobs_own_scripts_stay_bash_in_every_engine(path: Path, engine: str) -> None:
    with contextlib.suppress(PreflightError):
        ported = port(path.read_text(), engine)
        assert parse(ported.text).wrong_at is None
        subprocess.run(["bash", "-n"], input=ported.text, text=True, check=True)


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if "END_OF_CHECK" in path.read_text()], ids=lambda path: path.stem
)
def test_bertjobs_own_check_of_the_nodes_asks_for_the_new_engine(path: Path) -> None:
    old = path.read_text()
    engine, program = ("charliecloud", "ch-run") if "sh -s apptainer" in old else ("apptainer", "apptainer")
    ported = port(old, engine)
    asked = [text.rpartition("sh -s ")[2] for text in ported.text.splitlines() if text.endswith("'END_OF_CHECK'")]
    assert asked == [f"{program} << 'END_OF_CHECK'"]
    assert any(note.text.startswith("the job still says engine: ") for note in ported.notes)
    assert not any("still looks for" in note.text for note in ported.notes)


def test_the_check_of_an_engine_that_is_part_of_srun_asks_srun() -> None:
    path = Path(__file__).parents[2] / "slurm/examples/generic-squad-2-sarus.sbatch"
    text = port(path.read_text(), "pyxis").text
    assert "[[ $(srun --help) == *--container-image* ]] || {" in text
    assert "END_OF_CHECK" not in text


def test_a_check_of_another_kind_is_named() -> None:
    check = "command -v sarus || exit 1\nsrun sh -s sarus < check.sh\n"
    ported = port(f"{HEAD}{check}srun -G 1 sarus run {IMAGE} ls\n", "podman")
    assert [(note.line, note.text) for note in ported.notes] == [
        (3, "this still looks for sarus, which may not be there (also line 4)"),
    ]
    assert check in ported.text


@pytest.mark.parametrize(
    "command",
    [
        'sarus run $OPTS $IMG "$@"',
        'sarus run "${OPTS[@]}" "$IMG"',
        'sarus run "${OPTS[@]}" ubuntu ls',
        "sarus run ${OPTS[*]} ubuntu ls",
        'sarus run "$@"',
        "sarus run $A $B ls",
        'OPTS="-e A=$A"\nsarus run $OPTS ubuntu ls',
        "apptainer exec $OPTS my.sif ls",
    ],
)
def test_options_in_a_variable_are_not_taken_for_the_image(command: str) -> None:
    with pytest.raises(PreflightError, match=r"line [34]: (a variable among the options of|\S+ may hold options or)"):
        port(f"{HEAD}{command}\n", "shifter")


@pytest.mark.parametrize(
    ("command", "image"),
    [
        ('sarus run $IMAGE "$@"', '$IMAGE "$@"'),
        ("sarus run $IMG $PROGRAM x", "$IMG $PROGRAM x"),
        ('sarus run "$A" $PROGRAM x', '"$A" $PROGRAM x'),
        ("sarus run $A ls", "$A ls"),
        ("A=$B:1\nsarus run $A $PROGRAM x", "$A $PROGRAM x"),
    ],
)
def test_an_image_in_a_variable_is_known_by_its_name_its_value_its_quotes_or_what_follows(
    command: str, image: str
) -> None:
    assert line(command, "apptainer") == f"apptainer exec {image}"


def test_an_image_that_only_the_old_engine_knows_is_named() -> None:
    said = "only sarus knows load/library/mine:1: bring it to apptainer under that name, or name one in a registry"
    assert said in notes("srun sarus run load/library/mine:1 ls", "apptainer")
    assert said in notes("I=load/library/mine:1\nsrun sarus run $I ls", "apptainer")
    assert any(note.startswith("only podman knows") for note in notes("podman run localhost/mine ls", "docker"))
    assert not any("knows" in note for note in notes("podman run localhost:5000/mine ls", "docker"))


def test_notes_that_say_the_same_are_one_with_all_lines() -> None:
    ported = port(HEAD + f"srun podman run -t {IMAGE} ls\n" * 3, "docker")
    daemon = "docker's daemon starts containers outside of the job: Slurm neither limits nor ends them"
    assert [(note.line, note.text) for note in ported.notes] == [
        (3, "-t is left out: a batch job has no terminal (also line 4, 5)"),
        (3, f"{daemon} (also line 4, 5)"),
    ]


HOSTILE = ["a b", "a'b", "$(touch x)", "*", "", 'say "hi"', "ü#!"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("engine", ["podman", "apptainer", "shifter", "charliecloud"])
def test_bash_hands_over_the_same_words_as_before(engine: str, value: str, tmp_path: Path) -> None:
    command = (
        'srun sarus run -e "A=$V" --env=B="$V"x --workdir="/w$V" --mount="type=bind,source=/s$V,destination=/d d" '
        f'--entrypoint "" {IMAGE} prog "$V" \'$V\' "$(echo "q $V")"'
    )
    text = f"{HEAD}srun() {{ printf '%s\\0' \"$@\"; }}\n{port(command, engine).text}\n"
    done = subprocess.run(
        ["bash", "-c", text], env=os.environ | {"V": value}, capture_output=True, cwd=tmp_path, check=True
    )
    words = done.stdout.decode().split("\0")[:-1]
    assert words[-4:] == ["prog", value, "$V", f"q {value}"]
    handed = "\n".join(words)
    for wanted in (f"A={value}", f"B={value}x", f"/w{value}", f"/s{value}", "/d d"):
        assert wanted in handed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "engine", "message"),
    [
        (
            f"mpirun -n 2 sarus run {IMAGE} ls",
            "pyxis",
            "line 3: pyxis is a part of srun, and this command is started by mpirun",
        ),
        (f"sarus run {IMAGE} ls", "edf", "line 3: edf is a part of srun, and this command is started by the shell"),
        (f"srun sarus run -w $(pwd) {IMAGE} ls", "edf", "line 3: the file of edf cannot hold $(pwd)"),
        (f"sarus run $OPTIONS -w /w {IMAGE} ls", "podman", "line 3: a variable among the options of sarus"),
        (
            f"sarus run --mount=type=bind,source=/a:b,destination=/c {IMAGE} ls",
            "shifter",
            "line 3: '/a:b': shifter separates",
        ),
        ("sarus run Ubuntu ls", "podman", "line 3: image 'Ubuntu'"),
        (
            f"sarus run --mount=type=tmpfs,destination=/c {IMAGE} ls",
            "podman",
            "line 3: 'type=tmpfs,destination=/c' is no bind",
        ),
        ("sarus run", "podman", "line 3: sarus is told no image"),
        ("podman run -v data:/d ubuntu ls", "sarus", "line 3: 'data' is no absolute path"),
        ("podman run -v ~/data:/d ubuntu ls", "sarus", "line 3: '~/data' is no absolute path"),
        ("podman run -v $MOUNT ubuntu ls", "sarus", "line 3: source and target cannot be told apart in '$MOUNT'"),
        ("if true", "podman", "line 3: this cannot be read as bash"),
        ("ls\r", "podman", "line 1: the script has DOS line ends"),
    ],
)
def test_what_cannot_be_ported_is_one_line(command: str, engine: str, message: str) -> None:
    with pytest.raises(PreflightError) as raised:
        port(HEAD + command + "\n", engine)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_script_in_another_language_is_refused_by_its_name() -> None:
    with pytest.raises(PreflightError, match="line 1: this is a script for python3, and only those for bash"):
        port("#!/usr/bin/env python3\n#SBATCH --nodes=2\nimport os\n", "podman")


PIECES = st.lists(
    st.sampled_from(
        [
            *("sarus run ", "podman run ", "apptainer exec ", "shifter ", "ch-run ", "srun ", "--mount=", "type=bind,"),
            *(
                "source=/a",
                ",destination=$B",
                "-v ",
                "/a:/b ",
                "-e ",
                "A=$B ",
                "--env=",
                "-w ",
                "ubuntu ",
                "$X ",
                '"',
                "'",
            ),
            *(
                "\n",
                "\\\n",
                "--image=docker:x ",
                "-- ",
                "ls ",
                "$(",
                ")",
                " ; ",
                "if ",
                "fi ",
                "<< E\n",
                "E\n",
                "-it ",
                "é ",
            ),
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), PIECES), st.sampled_from(NAMES))
@example("sarus run -e ubuntu ls", "podman")
@example("srun sarus run --env=A ubuntu ls", "edf")
def test_any_text_is_ported_or_refused(text: str, engine: str) -> None:
    try:
        ported = port(text, engine)
    except PreflightError:
        return
    if not ported.commands:
        assert ported.text == text


def command(*words: str) -> subprocess.CompletedProcess[str]:
    bertjob = [sys.executable, "-c", "from bertjob.cli.main import main; main()"]
    return subprocess.run([*bertjob, "port", *words], capture_output=True, text=True, check=False)


def test_the_command_prints_the_script_and_says_what_was_lost(tmp_path: Path) -> None:
    script, made = tmp_path / "a.sbatch", tmp_path / "b.sbatch"
    script.write_text(f"{HEAD}srun sarus run --mpi {IMAGE} ls\n")
    done = command(str(script), "--to", "podman")
    assert done.returncode == 0
    assert done.stdout == port(script.read_text(), "podman").text
    assert done.stderr.splitlines()[0].startswith(f"{script}:3: --mpi is left out: ")
    assert done.stderr.splitlines()[-1] == "1 command rewritten for podman"
    to_file = command(str(script), "--to", "podman", "-o", str(made))
    assert (to_file.stdout, made.read_text()) == (f"{made}\n", done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("missing.sbatch", "--to", "podman"), 2, "bertjob: missing.sbatch: No such file or directory\n"),
        (
            ("missing.sbatch", "--to", "podmann"),
            2,
            "bertjob: --to: there is no engine 'podmann': did you mean 'podman'?\n",
        ),
    ],
)
def test_the_command_fails_in_one_line(words: tuple[str, ...], code: int, said: str) -> None:
    done = command(*words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("#SBATCH -N1\n#SBATCH hetjob\n#SBATCH -N2\nsrun sarus run a:1 python a.py\n", 3),
        ("#SBATCH -N1\n#SBATCH packjob\n#SBATCH -N2\nsrun sarus run a:1 python a.py\n", 3),
        ("srun -n1 sarus run a:1 python a.py : -n1 sarus run a:1 python b.py\n", 2),
    ],
)
def test_a_heterogeneous_job_is_refused_as_such(text: str, line: int) -> None:
    with pytest.raises(PreflightError, match=f"^line {line}: this is a heterogeneous job"):
        port(f"#!/bin/bash\n{text}", "podman")
