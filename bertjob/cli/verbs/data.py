"""``bertjob data``: bring data sets, prepare a corpus, or say what a file holds."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bertjob.cli import options
from bertjob.cli.options import json_option
from bertjob.text import counted

_UNITS = {
    **dict.fromkeys(("mean_context", "longest_context", "longest_question", "longest_answer"), " characters"),
    "unigram_entropy": " nats a token",
}
_FEW = "another --validation, or are the documents not parted by an empty line (with --split-sentences by two)?"


@click.group("data")
def verb() -> None:
    """Fetch or prepare data, or say what is in a file."""


@verb.command("fetch")
@click.argument("name", metavar="NAME", shell_complete=options.complete_data_sets)
@click.option("--to", default="data", show_default=True, metavar="DIR", help="Folder for the files.")
def fetch_command(name: str, to: str) -> None:
    """Download the official files of a data set (squad) and check their sha256.

    Files that are there and right are kept. Compute nodes have no network: run this on a login node.
    """
    from bertjob.cli.progress import show_download
    from bertjob.cluster.datasets import fetch

    for path in fetch(name, Path(to), show_download):
        click.echo(str(path))


@verb.command("info")
@click.argument("path", metavar="FILE.json|FOLDER")
@click.option("--check", is_flag=True, help="Of a prepared corpus: compare its shards with their sha256.")
@json_option
def info_command(path: str, check: bool, as_json: bool) -> None:
    """Say what a SQuAD file or a prepared corpus holds.

    Of SQuAD: articles, paragraphs, questions, answers, lengths; `demo` is the training part of the set that bertjob
    makes itself. Of a folder of `bertjob data prepare`: documents, sentences, tokens, and the entropy of single
    tokens, below which the loss of masked tokens falls when a model learns more than how frequent they are.
    """
    facts = _facts(path, check)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for name, value in facts.items():
            click.echo(f"{name.replace('_', ' '):<32} {value:>12,}{_UNITS.get(name, '')}")


def _facts(path: str, check: bool) -> Mapping[str, Any]:
    if Path(path).is_dir():
        from bertjob.cluster.training import describe as describe_corpus

        return describe_corpus(path, check=check)
    if check:
        raise click.UsageError(
            f"--check: {path} is no prepared corpus; only these have checksums", click.get_current_context()
        )
    from bertjob.formats.squad import describe, load

    return describe(load(path, "train"))


@verb.command("prepare")
@click.argument("corpora", metavar="CORPUS...", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder for the shards: new, or of the same preparation.")
@click.option("--vocab", metavar="FILE", help="vocab.txt, tokenizer.json, or a folder with one.")
@click.option(
    "--train-vocab", type=click.IntRange(min=100), metavar="N", help="Train a vocabulary of N tokens instead."
)
@click.option("--split-sentences", is_flag=True, help="Running prose; two empty lines stand between documents.")
@click.option(
    "--validation",
    type=click.FloatRange(0, 1),
    default=0.005,
    show_default=True,
    metavar="SHARE",
    help="Share of the documents that is held back, chosen by their text.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Processes that make shards (default: one a core)."
)
@json_option
def prepare_command(
    corpora: tuple[str, ...],
    out: str,
    vocab: str | None,
    train_vocab: int | None,
    split_sentences: bool,
    validation: float,
    workers: int | None,
    as_json: bool,
) -> None:
    """Turn text into shards of tokens for pre-training.

    CORPUS is a file or a folder: text with one sentence a line and an empty line between documents, or .jsonl with
    the key text; .gz, .xz and .zst are unpacked. What was interrupted goes on when the same command is given again.
    """
    if (vocab is None) == (train_vocab is None):
        raise click.UsageError("say either --vocab or --train-vocab", click.get_current_context())
    from bertjob.cli.progress import showing_preparation
    from bertjob.cluster.training import prepare
    from bertjob.rundir.messages import Preparation

    request = Preparation(
        corpora,
        out,
        vocab,
        train_vocab,
        split_sentences,
        validation,
        workers or len(os.sched_getaffinity(0)),
    )
    with showing_preparation() as show:
        made = prepare(request, show)
    if as_json:
        import msgspec

        click.echo(json.dumps({"folder": out, **msgspec.to_builtins(made)}))
        return
    for part, size in (("train", made.train), ("validation", made.validation)):
        print("  ".join([f"{part:<10}", *(f"{count:,} {what}" for what, count in size.items())]), file=sys.stderr)
    shards = counted(made.shards, "shard")
    print(f"{shards}, a vocabulary of {made.vocabulary_size:,} tokens", file=sys.stderr)
    for size, what in ((made.train, "to train on"), (made.validation, "to evaluate on")):
        if not size["documents"]:
            print(f"no document is {what}: {_FEW}", file=sys.stderr)
    click.echo(out)
