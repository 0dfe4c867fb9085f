"""A small byte-level vocabulary as RoBERTa's tokenizer.json has it."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from bertjob.train.data.special_tokens import ROBERTA


def byte_level(folder: Path, texts: Iterable[str], size: int = 400) -> Path:
    """Train it on `texts` and write tokenizer.json into `folder`; where it is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = [ROBERTA.cls, ROBERTA.pad, ROBERTA.sep, ROBERTA.unknown, AddedToken(ROBERTA.mask, lstrip=True)]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing((ROBERTA.sep, 2), (ROBERTA.cls, 0), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
