"""Whether two records are of the same result. Imports no TensorFlow."""

import json
from collections.abc import Mapping
from typing import Any

from recall.settings.train import TrainConfig


def are_same(record: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the jobs of two records make the same, however they run.

    A training that was broken off on four GPUs goes on with one, and a finished one is not done
    again: `TrainConfig.OF_THE_JOB` has the settings that may differ.
    """
    return _what_counts(record) == _what_counts(other)


def _what_counts(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it is read again, without those settings."""
    plain = json.loads(json.dumps(record))
    for name in TrainConfig.OF_THE_JOB:
        plain.get("settings", {}).get("train", {}).pop(name, None)
    return plain
