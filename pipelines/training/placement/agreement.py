"""Whether the processes of a job were started alike: else they would train different models."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.training.placement import strategies
from pipelines.training.placement.strategies import Placement
from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.train import TrainConfig

_DIGITS = 12
"""Hexadecimal ones of a checksum, 48 bits: a float64 of an exchange holds 53."""


def open_placement(config: RecallConfig, record: Mapping[str, Any]) -> Placement:
    """The placement of processes that are going to train the same model.

    Args:
        config: All settings.
        record: What makes the model, as `records.build_record` has it.

    Raises:
        InputError: `train.strategy` is impossible here, or the processes differ.
    """
    placement = strategies.open_placement(config)
    with strategies.losing_no_peer():
        # Other versions may have other settings, and an exchange needs as many everywhere.
        versions = json.dumps(record["versions"], sort_keys=True)
        _require(placement, {"the versions of recall and its packages": versions})
        _require(placement, dict(_facts(record)))
    return placement


def require_state(placement: Placement, done: tuple[int, int]) -> None:
    """Refuses processes that go on from different states: they see different folders.

    Args:
        placement: Of the job.
        done: Epochs, and steps of the next one, that the state of this process has.

    Raises:
        InputError: They differ.
    """
    _require(placement, {"the state of the training in --output": str(done)})


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What must be the same, by names that are the same everywhere -> as text."""
    settings, inputs = record["settings"], record["inputs"]
    for section in ("model", "loss", "train"):
        for name, value in settings[section].items():
            if section != "train" or name not in TrainConfig.OF_THE_JOB:
                yield f"{section}.{name}", json.dumps(value, sort_keys=True)
    yield "the section features", json.dumps(settings.get("features"), sort_keys=True)
    yield "evaluation.exclude_seen", json.dumps(settings["exclude_seen"])
    yield "the examples", inputs["examples"]
    yield "the model of --warm_start", inputs.get("warm_start", "")


def _require(placement: Placement, facts: Mapping[str, str]) -> None:
    """Refuses processes that differ, all of them; they wait for each other here.

    Those that one process has started on its host have had the same command.

    Raises:
        InputError: They differ.
    """
    if placement.name != "multi_worker" or placement.cluster.is_of_one_host:
        return
    own = {name: _checksum(text) for name, text in facts.items()}
    of_chief = placement.from_chief(own)
    differ = placement.sum_of_all({name: float(own[name] != of_chief[name]) for name in own})
    found = [name for name, number in differ.items() if number]
    if found:
        raise InputError(
            f"The processes of the job differ in {', '.join(found)}. Give all of them the same "
            "command, and folders on a file system that they share."
        )


def _checksum(text: str) -> float:
    return float(int(hashlib.sha256(text.encode()).hexdigest()[:_DIGITS], 16))
