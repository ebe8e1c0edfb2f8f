"""The flags --config and --set, and the settings they make. Imports no TensorFlow."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from recall.config import RecallConfig
from recall.errors import InputError


def setting_names() -> tuple[str, ...]:
    """All settings as `section.key`, in their order."""
    return tuple(
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(RecallConfig)
        for field in dataclasses.fields(section.default_factory)
    )


FLAGS = {
    "config": FlagSpec(
        help="JSON file with settings; keys that are absent keep their default.",
        value="FILE",
        kind="path",
        store="read",
    ),
    "set": FlagSpec(
        help="One setting, for example train.batch_slots=512; wins over --config. Repeatable.",
        value="KEY=VALUE",
        default=(),
        kind="repeated",
        suggestions=tuple(f"{name}=" for name in setting_names()),
    ),
}


def read(values: flags.FlagValues) -> RecallConfig:
    """The settings of --config with those of --set on top.

    Raises:
        InputError: The file cannot be read, or a setting is wrong.
    """
    return load(values["config"].value, values["set"].value)


def read_over(values: flags.FlagValues, artifact_dir: str) -> RecallConfig:
    """The settings an artifact was made with, unless --config names others."""
    if values["config"].value is not None:
        return read(values)
    from pipelines.artifacts import records

    return records.read_config(artifact_dir).override(values["set"].value)


def load(path: str | None, assignments: Sequence[str]) -> RecallConfig:
    """The settings of a file, None for the defaults, with assignments on top.

    Raises:
        InputError: The file cannot be read, or a setting is wrong.
    """
    return _file_config(path).override(assignments)


def _file_config(path: str | None) -> RecallConfig:
    if path is None:
        return RecallConfig()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot read --config={path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config={path} is not a text file in UTF-8.") from error
    try:
        return RecallConfig.from_json(text)
    except InputError as error:
        raise InputError(f"--config={path}: {error}") from error
