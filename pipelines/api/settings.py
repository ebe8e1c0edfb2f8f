"""Settings as callers give them, and the flags they become. Imports no TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.api import paths
from recall.config import RecallConfig
from recall.errors import InputError

if TYPE_CHECKING:
    ConfigLike = RecallConfig | Mapping | Sequence[str] | str | os.PathLike | None
    """Whatever `read` takes."""


def read(config: "ConfigLike") -> RecallConfig:
    """Settings from any of their forms.

    Args:
        config: A `RecallConfig`; a dict, `{"train": {"max_epochs": 5}}` or
            `{"train.max_epochs": 5}`; a list, `["train.max_epochs=5"]`; the path of a JSON
            file; or None for the defaults.

    Raises:
        InputError: A setting is unknown or wrong, or the file cannot be read.
    """
    if config is None:
        return RecallConfig()
    if isinstance(config, RecallConfig):
        return config
    if isinstance(config, Mapping):
        return RecallConfig.from_dict(_nested(config))
    if isinstance(config, str | os.PathLike):
        if isinstance(config, str) and "=" in config:
            raise InputError(f"Give a list of settings: config=[{config!r}].")
        path = paths.read("config", config)
        try:
            return RecallConfig.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(f"Cannot read the settings {config}: {reason}.") from error
    return RecallConfig().override(config)


def _nested(values: Mapping) -> dict:
    """`{"train.max_epochs": 5}` as `{"train": {"max_epochs": 5}}`, and both in one."""
    nested: dict = {}
    for name, value in values.items():
        section, dot, key = str(name).partition(".")
        if dot:
            nested.setdefault(section, {})[key] = value
        elif isinstance(value, Mapping):
            nested.setdefault(section, {}).update(value)
        else:
            nested[section] = value
    return nested
