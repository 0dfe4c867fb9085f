import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjob.config.job import Job
from bertjob.config.load import build_job, dump, load_job, load_site, read_job, read_job_file
from bertjob.config.search import names
from bertjob.config.site import Site
from bertjob.config.validate import build
from bertjob.config.yaml import read_tree
from bertjob.errors import SpecError


@pytest.fixture
def job_file(tmp_path):
    def write(text, name="my.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def refusal(call, *arguments):
    with pytest.raises(SpecError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", sorted(names("job")))
def test_every_shipped_job_loads_and_is_named_as_its_file(name):
    job = load_job(name).value
    assert job.name == name
    assert job.description


@pytest.mark.parametrize("name", sorted(names("site")))
def test_every_shipped_site_loads_and_is_named_as_its_file(name):
    site = load_site(name).value
    assert site.name == name
    assert site.description


def test_the_squad_job_is_the_tutorials_recipe():
    job = load_job("squad").value
    assert (job.train.global_batch, job.train.micro_batch, job.train.epochs) == (24, 3, 2)
    assert (job.train.max_seq_length, job.train.doc_stride, job.train.max_query_length) == (384, 128, 64)
    assert (job.optimizer.lr, job.optimizer.weight_decay) == (3e-5, 0)
    assert (job.schedule.warmup_proportion, job.model.dropout) == (0.1, 0.1)
    assert (job.evaluation.n_best, job.evaluation.max_answer_length) == (20, 30)


def test_each_value_says_where_it_came_from(job_file):
    path = job_file("base: squad\nname: mine\ntrain:\n  epochs: 3\n")
    loaded = build_job(read_job_file(path), ["optimizer.lr=4e-5"], {"resources.nodes": ("--nodes", 8)})
    assert loaded.value.train.epochs == 3
    assert loaded.value.train.global_batch == 24
    assert loaded.value.optimizer.lr == 4e-5
    assert loaded.value.resources.nodes == 8
    assert str(loaded.origins["train.epochs"]) == f"{path}:4"
    assert str(loaded.origins["train.global_batch"]).endswith("jobs/squad.yaml:19")
    assert str(loaded.origins["optimizer.lr"]) == "--set optimizer.lr=4e-5"
    assert str(loaded.origins["resources.nodes"]) == "--nodes"
    assert "train.log_every" not in loaded.origins


def test_an_unknown_key_names_the_nearest_with_file_and_line(job_file):
    path = job_file("name: mine\ntrain:\n  epochs: 1\n  golbal_batch: 8\n")
    assert refusal(load_job, path) == (
        f"{path}:4: unknown key 'train.golbal_batch': did you mean 'train.global_batch'?"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: mine\ntrain: 3\n", ":2: train: keys with values are wanted, got '3'"),
        ("name: mine\ntrain:\n  epochs: two\n", ":3: train.epochs: a number greater than 0 is wanted, got 'two'"),
        ("name: mine\nbackend: deepsped\n", ":2: backend: 'deepsped' is none of torch, deepspeed"),
        ("name: mine\nresources: {time: soon}\n", ":2: resources.time: 'soon' is no walltime"),
        ("train: {epochs: 1}\n", ":1: the key 'name' is missing"),
        ("name: mine\nname: yours\n", ":2: the key 'name' is there twice (first in line 1)"),
        ("name: [mine\n", "not YAML"),
        ("name: mine\n---\nname: yours\n", "not YAML"),
        ("name: &a {x: *a}\n", "aliases or nesting without end"),
        ("- a\n- b\n", ":1: the file: keys with values are wanted, got a list"),
        ("name: mine\n<<: {seed: 1}\n", ":2: merge keys (<<) are not read here"),
        ("name: mine\nbase: nowhere\n", ":2: base: there is no job 'nowhere'"),
        (
            "name: ../../etc\n",
            ":1: name: text of letters, digits, '.', '_' and '-' that begins with a letter or digit is wanted",
        ),
        ("name: mine\nenv: [A]\n", ":2: env: keys with values are wanted, got a list"),
        ("name: mine\noptimizer: {betas: [0.9]}\n", ":2: optimizer.betas: a list of 2 values is wanted, got 1"),
        ('name: mine\ndata: {train: "a\\nb"}\n', ":2: data.train: text of one line is wanted"),
    ],
)
def test_wrong_files_are_refused_in_one_line_with_their_place(job_file, text, words):
    path = job_file(text)
    message = refusal(load_job, path)
    assert message.startswith(path)
    assert words in message


def test_bases_in_a_circle_are_refused(job_file):
    job_file("base: ./b.yaml\nname: a\n", "a.yaml")
    path = job_file("base: ./a.yaml\nname: b\n", "b.yaml")
    assert "circle" in refusal(load_job, path)


def test_aliases_that_multiply_are_refused(job_file):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "without end" in refusal(load_job, job_file("\n".join(lines)))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.epochs", "write it as --set key.path=value"),
        ("train..epochs=1", "is no key"),
        ("=1", "is no key"),
        ("train.epoch=1", "did you mean 'train.epochs'?"),
        ("epochs=3", "unknown key 'epochs': did you mean 'train.epochs'?"),
        ("train.n_best=3", "did you mean 'evaluation.n_best'?"),
        ("micro_batch=3", "did you mean 'train.micro_batch' or 'evaluation.micro_batch'?"),
        (
            "train.global_batch=100000000000000001",
            "train.global_batch: a whole number from 1 to 2147483647 is wanted, got '1000",
        ),
        ("train={epochs: ", "--set train={epochs: : not YAML: "),
        ("optimizer.betas=[0,x]", "--set optimizer.betas=[0,x]: optimizer.betas[1]: a number of at least 0 and less"),
        ("train.micro_batch=0", "train.micro_batch: a whole number of at least 1 is wanted, got '0'"),
        ("schedule.decay_rate=0", "a number greater than 0 and of at most 1 is wanted, got '0'"),
        (f"name={'x' * 65}", "name: text of at most 64 characters is wanted, got 'xxx"),
        ("mpi=yes", "mpi: true or false is wanted, got 'yes'"),
        ("train.epochs=", "train.epochs: a number greater than 0 is wanted, got nothing"),
        ("optimizer.lr=1e999", "is too large"),
    ],
)
def test_wrong_settings_are_refused(setting, words):
    assert words in refusal(load_job, "squad", [setting])


def test_a_file_in_the_working_directory_is_proposed_for_its_name(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("base: squad\n")
    (tmp_path / "base.yml").write_text("name: base\n")
    monkeypatch.chdir(tmp_path)
    assert refusal(load_job, "mine") == "there is no job 'mine': did you mean ./mine.yaml?"
    assert refusal(load_site, "mine") == "there is no site 'mine': did you mean ./mine.yaml?"
    (tmp_path / "mine.yaml").write_text("base: base\n")
    assert refusal(load_job, "./mine.yaml").endswith("base: there is no job 'base': did you mean ./base.yml?")
    assert "known: " in refusal(load_job, "x" * 300)


@pytest.mark.parametrize("path", ["a'; echo foo", "with space", "@x", "*star", "a: b # c", "$(touch x)", "ünï"])
def test_settings_take_any_file_name(path):
    assert load_job("squad", [f"data.train={path}"]).value.data.train == path


def test_scalars_mean_what_they_look_like(job_file):
    path = job_file(
        "name: 7\nresources: {time: 00:20:00, partition: no}\noptimizer: {lr: 3e-5}\nenv: {A: 1, B: 0x10}\n"
    )
    job = load_job(path).value
    assert (job.name, job.resources.time, job.resources.partition) == ("7", "00:20:00", "no")
    assert job.optimizer.lr == 3e-5
    assert job.env == {"A": "1", "B": "0x10"}


def test_a_dumped_job_is_read_back_as_it_was(tmp_path):
    job = load_job("squad", ["optimizer.max_grad_norm=null", "checkpoint.every_minutes=null", "env.A='0'"]).value
    assert job.optimizer.max_grad_norm is None
    (tmp_path / "job.yaml").write_text(dump(job))
    assert read_job(tmp_path / "job.yaml") == job


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known = st.sampled_from(list(Job.__struct_fields__))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(known, anything, max_size=6), st.sampled_from([Job, Site]))
def test_no_yaml_value_ends_in_a_traceback(value, kind):
    text = yaml.safe_dump(value, allow_unicode=True)
    try:
        built = build(read_tree(text, "fuzz.yaml"), kind)
    except SpecError as error:
        assert str(error).startswith("fuzz.yaml")  # noqa: PT017
    else:
        assert isinstance(built, kind)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_no_text_ends_in_a_traceback(text):
    try:
        build(read_tree(text, "fuzz.yaml"), Job)
    except SpecError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(("text", "value"), [("400", 400), ("auto", "auto"), ("null", None)])
def test_a_key_may_take_a_number_or_a_word(text: str, value: object) -> None:
    assert load_job("squad", [f"optimizer.freeze_step={text}"]).value.optimizer.freeze_step == value


@pytest.mark.parametrize("text", ["0", "never", "1.5"])
def test_a_key_that_takes_a_number_or_a_word_takes_nothing_else(text: str) -> None:
    with pytest.raises(SpecError, match=f"freeze_step: a whole number of at least 1 or auto is wanted, got '{text}'"):
        load_job("squad", [f"optimizer.freeze_step={text}"])
