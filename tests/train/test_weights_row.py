"""The rows of the formats of weights are true, and one more row is all that a new format takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import numpy as np
import pytest
import torch
from toy_weights import CONFIG, NAME, ROW, WEIGHTS
from transformers import BertConfig, BertForPreTraining

from bertjob.cluster.input_checks import check_inputs
from bertjob.config.job import CkptType, Job, Kind, Model, Norm, Train
from bertjob.config.registry.code import load_code
from bertjob.errors import PreflightError
from bertjob.estimate.job_files import sizes_of
from bertjob.formats.pretrained import FORMATS, HUB, Pretrained, recognise
from bertjob.launch.input_paths import needs
from bertjob.train.model.initialize import build
from bertjob.train.model.networks import FAMILIES

README = Path(__file__).resolve().parents[2] / "README.md"


def test_jobs_may_name_the_formats_of_the_table_and_no_others():
    assert set(get_args(CkptType)) == set(FORMATS)
    assert HUB in FORMATS
    table = re.findall(
        r"^\| `(\w+)` \| ", README.read_text().partition("| `ckpt_type` |")[2].partition("\n\n")[0], re.M
    )
    assert table == list(get_args(CkptType))


@pytest.mark.parametrize("name", FORMATS)
def test_the_reader_that_a_row_names_is_there(name):
    assert callable(load_code(FORMATS[name].read))


def test_each_kind_and_norm_that_a_job_may_name_is_one_network():
    offered = [(kind, family.norm) for family in FAMILIES.values() for kind in family.kinds]
    assert sorted(offered) == sorted((kind, norm) for kind in get_args(Kind) for norm in get_args(Norm))


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Path]:
    """A folder for a model in the new format, with its vocabulary."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join([*marks, *(f"word{number}" for number in range(35))]) + "\n")
    with patch.dict(FORMATS, {NAME: ROW, **FORMATS}, clear=True):  # before the one that takes any file
        yield tmp_path


def stock_in(folder: Path) -> BertForPreTraining:
    torch.manual_seed(1)
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertForPreTraining(BertConfig(intermediate_size=32, max_position_embeddings=32, **sizes))
    (folder / CONFIG).write_text(model.config.to_json_string())
    np.savez(folder / WEIGHTS, **{name: tensor.numpy() for name, tensor in model.state_dict().items()})
    return model


def job(init: Path, **model: object) -> Job:
    return Job(name="x", model=Model(init=str(init), dropout=0.0, **model), train=Train(max_seq_length=32))


@pytest.mark.parametrize("name", ["", WEIGHTS])
def test_a_new_format_is_recognised_and_read(toy, name):
    stock = stock_in(toy)
    assert recognise(toy / name) == Pretrained(NAME, toy, toy / WEIGHTS)
    check_inputs({"model.init": str(toy / name)}, job(toy / name))
    (need,) = needs(job(toy / name))
    assert need.folder == str(toy)
    model = build(job(toy / name), "masked and next")
    weights = model.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in stock.state_dict().items())


def test_an_estimate_takes_its_sizes_from_a_new_formats_config(toy):
    stock_in(toy)
    found = sizes_of(job(toy))
    assert (found.layers, found.hidden, found.ff) == (2, 16, 32)


def test_a_new_format_has_its_own_words_in_messages(toy):
    with pytest.raises(PreflightError, match=f"no model in numpy's layout; it should hold {CONFIG} and {WEIGHTS}"):
        check_inputs({"model.init": str(toy)}, job(toy, ckpt_type=NAME))
    stock_in(toy)
    with pytest.raises(PreflightError, match=r"is in numpy's layout, and model.ckpt_type is hf: say numpy"):
        check_inputs({"model.init": str(toy)}, job(toy, ckpt_type="hf"))
