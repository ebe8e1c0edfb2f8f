"""The GPUs of this machine, without a word to TensorFlow, which would take memory of them."""

import itertools
import os
import re
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"

_NAME = re.compile(r"\d+|(GPU|MIG)-.+")
"""A number, or a UUID as `nvidia-smi -L` has them, perhaps shortened."""


def find(devices: Path = Path("/dev")) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` can be for one GPU each; [] where there is none.

    Args:
        devices: Folder of the devices; a test has one of its own.
    """
    number = sum(1 for _ in devices.glob("nvidia[0-9]*"))
    named = os.environ.get(VARIABLE)
    if named is None:
        # CUDA counts those that it sees: a container with /dev/nvidia2 and 3 has 0 and 1.
        return [str(one) for one in range(number)]

    def is_gpu(name: str) -> bool:
        # Some hosts have GPUs without such files (WSL): nobody knows how many.
        return bool(_NAME.fullmatch(name)) and not (
            name.isdecimal() and number and int(name) >= number
        )

    # CUDA reads as far as the first that names none.
    return list(itertools.takewhile(is_gpu, map(str.strip, named.split(","))))
