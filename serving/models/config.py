"""Which models are served, under which policy and labels: `ModelServerConfig`.

Read from a file at start and from HandleReloadConfigRequest later. The models
of the release may be listed too, by name: they take policy and labels from the
list, their folder is always the release's.
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2
from tensorflow_serving.config import model_server_config_pb2

from recall.errors import InputError
from serving.models.version_policy import ALL_VERSIONS, LATEST, VersionPolicy, specific_versions
from serving.protocol import text_config
from serving.release import paths

_PLATFORM = "tensorflow"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""Names that need no escaping in a URL and mean nothing to a file system."""


class ModelEntry(NamedTuple):
    """Policy and labels of one model, or of the release.

    Attributes:
        base_path: Folder whose integer-named folders are the versions.
        policy: Which of them are served.
        labels: Version by label.
    """

    base_path: Path
    policy: VersionPolicy
    labels: Mapping[str, int]


class ServerConfig(NamedTuple):
    """A whole configuration.

    Attributes:
        release: Policy and labels of the release; None leaves the defaults.
        models: The other models, by name.
    """

    release: ModelEntry | None
    models: Mapping[str, ModelEntry]


NO_MODELS = ServerConfig(None, {})


def read_models_config(path: str | os.PathLike, release_models: Collection[str]) -> ServerConfig:
    """Reads a `models.config` file.

    Args:
        path: The file.
        release_models: See `parse_config`.

    Raises:
        InputError: The file cannot be read or contradicts itself.
    """
    flag = "model_config_file"
    message = text_config.read_message(path, model_server_config_pb2.ModelServerConfig, flag)
    try:
        return parse_config(message, release_models)
    except InputError as error:
        raise InputError(f"--{flag}={path}: {error}") from error


def parse_config(
    message: model_server_config_pb2.ModelServerConfig, release_models: Collection[str]
) -> ServerConfig:
    """Checks a configuration.

    Args:
        message: What was read or sent.
        release_models: Names of the models that come from the release and change
            versions together.

    Raises:
        InputError: It is no list of models, or an entry is wrong.
    """
    if message.WhichOneof("config") != "model_config_list":
        raise InputError("Only a `model_config_list` is supported as configuration.")
    release, models = [], {}
    for config in message.model_config_list.config:
        entry = _parse_entry(config)
        if config.name in models or config.name in (name for name, _ in release):
            raise InputError(f"The model `{config.name}` is listed twice. Remove one entry.")
        if config.name in release_models:
            release.append((config.name, entry))
        else:
            models[config.name] = entry
    return ServerConfig(_agreed(release), models)


def _agreed(entries: list[tuple[str, ModelEntry]]) -> ModelEntry | None:
    """The one entry of the release, whose models only change together."""
    for name, entry in entries[1:]:
        first_name, first = entries[0]
        if (entry.policy, dict(entry.labels)) != (first.policy, dict(first.labels)):
            raise InputError(
                f"`{first_name}` and `{name}` belong to one release and change versions together. "
                "Give both the same policy and labels."
            )
    return entries[0][1] if entries else None


def _parse_entry(config: model_server_config_pb2.ModelConfig) -> ModelEntry:
    if not _NAME.fullmatch(config.name):
        raise InputError(
            f"{config.name[:80]!r} is no name of a model: use letters, digits, '_', '-' and '.'."
        )
    if config.model_platform not in ("", _PLATFORM):
        raise InputError(
            f"The model `{config.name}` has model_platform {config.model_platform!r}; only "
            f"{_PLATFORM!r} is served."
        )
    base_path = paths.to_local(config.base_path, "base_path")
    if not os.path.isabs(base_path):
        raise InputError(
            f"The base_path of the model `{config.name}` must be absolute, "
            f"received {config.base_path!r}."
        )
    labels = dict(config.version_labels)
    return ModelEntry(Path(base_path), _parse_policy(config), labels)


def _parse_policy(config: model_server_config_pb2.ModelConfig) -> VersionPolicy:
    policy: source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return ALL_VERSIONS
    if choice == "specific":
        if not policy.specific.versions:
            raise InputError(
                f"The model `{config.name}` asks for specific versions and names none."
            )
        return specific_versions(policy.specific.versions)
    if choice == "latest":
        return VersionPolicy(num_latest=policy.latest.num_versions or 1)
    return LATEST
