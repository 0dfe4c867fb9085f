"""BERT's or RoBERTa's tokenizer from a tokenizer.json or vocab.txt, by the `tokenizers` library alone.

Not by transformers: its version 5 takes ``BertTokenizer(vocab_file=…)`` without a word and then answers [UNK] to all.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from bertjob.config import bounded
from bertjob.errors import DataError
from bertjob.train.data.special_tokens import BERT, ROBERTA, MarkNames, marks_of
from bertjob.train.model.locate import vocabulary_file

_SETTINGS: Final = "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class BertTokenizer:
    """A tokenizer that neither cuts nor pads, and the ids of its marks.

    Attributes:
        tokenizer: the library's.
        cls: id of [CLS] or <s>, the first token of a sample.
        sep: id of [SEP] or </s>, which ends the question and the context.
        source: the vocabulary's file.
        marks: what its marks are called.
    """

    tokenizer: Tokenizer
    cls: int
    sep: int
    source: Path
    marks: MarkNames = BERT

    @property
    def sha256(self) -> str:
        """Of all that decides how text becomes tokens, in hex."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()

    @property
    def size(self) -> int:
        """Number of token ids, those included that a vocabulary with empty or equal lines leaves out."""
        return max(self.tokenizer.get_vocab().values()) + 1

    @property
    def byte_level(self) -> bool:
        """Whether its tokens are made of bytes, the space before a word being part of the word's first token."""
        parts = json.loads(self.tokenizer.to_str())["pre_tokenizer"] or {}
        return "ByteLevel" in {part["type"] for part in parts.get("pretokenizers", [parts]) if "type" in part}

    @property
    def separators(self) -> int:
        """Marks between a question and its context: two of RoBERTa's </s>, or one [SEP]."""
        return 2 if self.marks == ROBERTA else 1

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, and beside it the settings that transformers reads, into `folder`."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        settings = self.source.parent / _SETTINGS
        if settings.is_file():
            shutil.copyfile(settings, folder / _SETTINGS)
        else:
            (folder / _SETTINGS).write_text(json.dumps(self._described()) + "\n")

    def _described(self) -> dict[str, str]:
        """What transformers must know beside the tokenizer.json."""
        if self.marks == BERT:
            return {"tokenizer_class": "BertTokenizer"}
        pad, unknown, cls, sep, mask = self.marks
        names = {"pad_token": pad, "unk_token": unknown, "cls_token": cls, "sep_token": sep, "mask_token": mask}
        return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": cls, "eos_token": sep, **names}


def load_tokenizer(place: Path) -> BertTokenizer:
    """Read the tokenizer at `place`: a folder, a tokenizer.json or a vocab.txt.

    Raises:
        DataError: none there, or one that cannot be read or lacks BERT's and RoBERTa's marks.
    """
    file = vocabulary_file(place)
    try:
        is_json = file.suffix == ".json"
        tokenizer = Tokenizer.from_str(bounded.read_text(file, bounded.VOCABULARY)) if is_json else _word_piece(file)
    except DataError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{file}: no tokenizer that can be read ({error})") from None
    # A tokenizer.json may carry both from another use: MiniLM's cuts at 128 tokens and pads to 128.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    marks = marks_of(tokenizer.get_vocab())
    return BertTokenizer(tokenizer, _id(tokenizer, marks.cls, file), _id(tokenizer, marks.sep, file), file, marks)


def _id(tokenizer: Tokenizer, token: str, file: Path) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise DataError(f"{file}: has no token {token}, so it is neither BERT's nor RoBERTa's")
    return int(number)


def _word_piece(vocab: Path) -> Tokenizer:
    settings = _settings(vocab.parent)
    tokens = {
        token: number for number, token in enumerate(bounded.read_text(vocab, bounded.VOCABULARY).split("\n")) if token
    }
    unknown = str(settings.get("unk_token", "[UNK]"))
    if unknown not in tokens:
        raise DataError(f"{vocab}: has no token {unknown}, so it is no vocabulary of BERT's")
    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token=unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = _id(tokenizer, "[CLS]", vocab), _id(tokenizer, "[SEP]", vocab)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / _SETTINGS
    if not file.is_file():
        return {}
    settings = bounded.read_json(file, bounded.CONFIG)
    if not isinstance(settings, dict):
        raise DataError(f"{file}: must be a JSON object")
    return settings
