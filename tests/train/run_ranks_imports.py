"""What the server of run_ranks imports before it forks the first rank; heavy, and for that server only."""

import tempfile

import deepspeed  # noqa: F401
import run_ranks  # noqa: F401
import tensorboard.summary.writer.record_writer  # noqa: F401
from transformers import BertConfig, BertModel

import bertjob.train.backends.deepspeed
import bertjob.train.backends.torch
import bertjob.train.main  # noqa: F401

# transformers spends a second of each process that saves a model on a table of all its models.
with tempfile.TemporaryDirectory() as folder:
    tiny = BertConfig(vocab_size=1, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=2)
    BertModel(tiny).save_pretrained(folder)
