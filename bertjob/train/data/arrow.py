"""Arrow files, which Hugging Face's `datasets` writes, by pyarrow alone."""

from pathlib import Path
from typing import Any, Final

from bertjob.config import bounded
from bertjob.errors import DataError
from bertjob.train.data.mapped import note

STATE: Final = "state.json"
"""In a folder that `datasets` has saved: names the files that belong to it, beside caches that do not."""


def open_arrow(file: Path) -> list[Any]:
    """The record batches of an Arrow file, mapped into memory.

    Raises:
        DataError: pyarrow is not installed here, or the file cannot be read.
    """
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise DataError(f"{file}: an Arrow file needs pyarrow here: pip install 'bertjob[datasets]'") from None
    try:
        mapped = pyarrow.memory_map(str(file))
        note(file)
        try:
            return list(pyarrow.ipc.open_stream(mapped))
        except pyarrow.ArrowInvalid:
            reader = pyarrow.ipc.open_file(mapped)
            return [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file}: no Arrow file that can be read ({error})") from None


def dataset_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved data set, in order.

    Raises:
        DataError: there is none.
    """
    try:
        state = bounded.read_json(folder / STATE, bounded.CONFIG)
        return [folder / file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: no data set that `datasets` has saved: there is no {STATE}") from None
