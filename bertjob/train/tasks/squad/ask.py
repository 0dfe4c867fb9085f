"""Ask a run's newest model: ``python -m bertjob.train.tasks.squad.ask RUN [--start N --count N | --question Q …]``.

Prints a JSON object a line: an Answer of bertjob.rundir.messages for each question, and an AnsweringProgress with each
step before them. What is wrong goes to stderr in one line, with exit code 1.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import torch
from torch import nn

from bertjob.config.job import Job
from bertjob.config.load import read_job
from bertjob.errors import BertjobError, DataError
from bertjob.formats.squad import Paragraph, Question, SquadSet, load, read_bytes
from bertjob.rundir.directory import RunDir
from bertjob.rundir.messages import Answer, AnsweringProgress, line
from bertjob.rundir.world import World
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.model.locate import tokenizer_folder
from bertjob.train.tasks.squad.evaluate import Dev, answer
from bertjob.train.tasks.squad.features import Settings, make_features


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer what the command line asks; the exit code."""
    parser = argparse.ArgumentParser(prog="bertjob.train.tasks.squad.ask", description="Ask a run's newest model.")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--start", type=int, default=0, help="first question of the dev set")
    parser.add_argument("--count", type=int, default=3, help="how many of them")
    parser.add_argument("--question", help="a question of your own")
    parser.add_argument(
        "--context-file", type=Path, help="text file with the paragraph that holds its answer; - is stdin"
    )
    options = parser.parse_args(arguments)
    if (options.question is None) != (options.context_file is None):
        parser.error("--question and --context-file go together")
    try:
        run_dir = RunDir(options.run)
        job = read_job(run_dir.job)
        if options.question is not None:
            data = one_question(options.question, options.context_file)
        else:
            data = dev_questions(job, options.start, options.count)
        for found in ask(trained(job, run_dir), data, _say):
            _say(found)
    except BertjobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def trained(job: Job, run_dir: RunDir) -> Job:
    """The same job, with the run's newest model in place of its first weights.

    Raises:
        DataError: the run has no model yet.
    """
    folder = run_dir.model
    if not folder.is_dir() and run_dir.latest.is_file():
        folder = run_dir.checkpoints / run_dir.latest.read_text().strip() / "model"
    if not folder.is_dir():
        raise DataError(f"{run_dir.path}: no model yet, neither a finished one nor a checkpoint's")
    model = msgspec.structs.replace(job.model, init=str(folder.resolve()), ckpt_type=None, vocab=None)
    return msgspec.structs.replace(job, model=model)


def dev_questions(job: Job, start: int, count: int) -> SquadSet:
    """Questions `start` … `start + count - 1` of the job's dev set, with their paragraphs.

    Raises:
        DataError: there is no dev set, or it has no such questions.
    """
    if job.data.dev is None:
        raise DataError(f"job {job.name} has no data.dev: ask a question of your own")
    data = load(job.data.dev, "dev")
    questions = data.questions[max(start, 0) : max(start, 0) + count]
    if not questions:
        raise DataError(f"{data.name} has {len(data.questions)} questions, counted from 0: none from {start} on")
    kept = sorted({question.paragraph for question in questions})
    return SquadSet(
        data.name,
        data.sha256,
        tuple(data.paragraphs[paragraph] for paragraph in kept),
        tuple(msgspec.structs.replace(question, paragraph=kept.index(question.paragraph)) for question in questions),
    )


def one_question(text: str, context_file: Path) -> SquadSet:
    """A question of one's own on the text of a file, or of standard input where that is ``-``.

    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    here = str(context_file) == "-"
    name = "standard input" if here else str(context_file)
    try:
        context = (sys.stdin.buffer.read() if here else read_bytes(context_file)).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise DataError(f"{name}: not UTF-8 text") from None
    if not context:
        raise DataError(f"{name}: holds no text")
    return SquadSet(name, "", (Paragraph(context, ""),), (Question("", text, (), 0),))


def ask(
    job: Job, data: SquadSet, show: Callable[[AnsweringProgress], object] = lambda progress: None
) -> Iterator[Answer]:
    """Answer all questions of `data` by the model of `job`.

    Args:
        job: names the model.
        data: the questions.
        show: is called with each step forward.
    """
    tokenizer = load_tokenizer(tokenizer_folder(job))
    dev = Dev(data, make_features(data, tokenizer, Settings.of(job.train)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: nn.Module = build_question_answering(job)

    def step(read: int, samples: int) -> None:
        show(AnsweringProgress(read, samples))

    answers = answer(model.to(device), dev, job, device, World(0, 1, 0, 1, "no launcher"), step)
    for index, question in enumerate(data.questions):
        best = answers[index][0]
        yield Answer(
            question=question.text,
            context=data.paragraphs[question.paragraph].context,
            answer=best.text,
            start=best.start,
            end=best.end,
            probability=best.probability,
            id=question.id,
            gold=tuple(right.text for right in question.answers),
        )


def _say(message: Answer | AnsweringProgress) -> None:
    print(line(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
