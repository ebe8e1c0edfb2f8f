"""Which examples of a file still count. Imports no TensorFlow."""

import os
import uuid
from pathlib import Path

import numpy as np

from recall.errors import InputError

_ENDING = ".kept.npy"


def read_kept(path: str | os.PathLike) -> np.ndarray | None:
    """`[num_examples]` bool of a file of examples, None where all of them count."""
    mask = Path(f"{path}{_ENDING}")
    if not mask.exists():
        return None
    try:
        return np.load(mask, allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{mask} is damaged. Copy it again, or make all examples again."
        ) from error


def write_kept(path: str | os.PathLike, kept: np.ndarray) -> None:
    """Says which examples of a file count, in a new file: the old one may have other links."""
    partial = Path(f"{path}.{uuid.uuid4().hex[:8]}.partial")
    with open(partial, "wb") as file:
        np.save(file, kept, allow_pickle=False)
    partial.replace(f"{path}{_ENDING}")


def remove(path: str | os.PathLike) -> None:
    """Removes a file of examples, and what says which of them count."""
    for one in (Path(path), Path(f"{path}{_ENDING}")):
        one.unlink(missing_ok=True)
