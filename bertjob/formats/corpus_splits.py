"""Names in a folder where Hugging Face's `datasets` has saved several data sets together (a DatasetDict)."""

from typing import Final

SPLITS: Final = "dataset_dict.json"
"""Beside the data sets, each in a folder of its own."""
TRAIN: Final = "train"
VALIDATION: Final = "validation"
"""The ones that pre-training takes; where there is no validation, it holds back some of the other."""
