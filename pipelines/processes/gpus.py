"""The GPUs of this machine, without a word to TensorFlow, which would take memory of them."""

import itertools
import os
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"


def find(devices: Path = Path("/dev")) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` can be for one GPU each; [] where there is none.

    Args:
        devices: Folder of the devices; a test has one of its own.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        ids = [one.strip() for one in named.split(",")]
        # CUDA reads as far as the first that names none.
        return list(itertools.takewhile(lambda one: one not in ("", "-1"), ids))
    found = [path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*")]
    return sorted(found, key=int)
