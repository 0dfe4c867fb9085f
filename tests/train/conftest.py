"""What the tests of the training share: real SQuAD, MiniLM's tokenizer, a small set of questions, a tiny model."""

from pathlib import Path

import pytest

from bertjob.config.job import Data, Job, Model, Train
from bertjob.formats.squad import SquadSet, load
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.model.locate import model_folder
from bertjob.train.tasks.squad.features import Features, Settings, make_features


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """MiniLM's folder, from the package of the extra `demo`."""
    return model_folder(Job(name="x", model=Model(init="demo")))


@pytest.fixture(scope="session")
def vocab(demo_model: Path) -> str:
    """Its vocabulary's file, as the command line is told of it."""
    return str(demo_model / "vocab.txt")


@pytest.fixture(scope="session")
def tokenizer(demo_model: Path) -> BertTokenizer:
    """MiniLM's, which is that of bert-base-uncased."""
    return load_tokenizer(demo_model)


@pytest.fixture(scope="session")
def demo_dev() -> SquadSet:
    """The demo set's dev part."""
    return load("demo", "dev")


@pytest.fixture(scope="session")
def demo_features(demo_dev: SquadSet, tokenizer: BertTokenizer) -> Features:
    """Its samples, with windows so short that many contexts need several."""
    return make_features(demo_dev, tokenizer, Settings(96, 32, 24))


@pytest.fixture(scope="session")
def tiny_job(demo_model: Path) -> Job:
    """A BERT of two narrow layers on the demo set."""
    return Job(
        name="tiny",
        model=Model(init="random", vocab=str(demo_model), layers=2, hidden=32, heads=2, dropout=0.0),
        data=Data(train="demo", dev="demo"),
        train=Train(global_batch=12, micro_batch=3, max_seq_length=128, doc_stride=48, max_query_length=32),
    )
