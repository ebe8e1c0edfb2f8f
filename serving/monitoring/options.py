"""Where metrics are shown, as TF Serving's `MonitoringConfig` says. Imports no TensorFlow."""

import os
from typing import NamedTuple

from recall.errors import InputError
from serving.protocol import text_config
from serving.protocol.tf_serving_config_pb2 import MonitoringConfig

DEFAULT_PATH = "/monitoring/prometheus/metrics"


class MonitoringOptions(NamedTuple):
    """Where metrics are shown.

    Attributes:
        path: Path at the HTTP door; None shows none.
    """

    path: str | None = DEFAULT_PATH


DEFAULT_MONITORING = MonitoringOptions()


def read_monitoring_options(path: str | os.PathLike) -> MonitoringOptions:
    """Reads a `MonitoringConfig` file.

    Raises:
        InputError: The file cannot be read, or the path is none.
    """
    flag = "monitoring_config_file"
    message = text_config.read_message(path, MonitoringConfig, flag)
    if not message.prometheus_config.enable:
        return MonitoringOptions(None)
    shown_at = message.prometheus_config.path or DEFAULT_PATH
    if not shown_at.startswith("/") or shown_at.startswith("/v1/") or "{" in shown_at:
        raise InputError(
            f"--{flag}={path}: `path` must start with '/', not with '/v1/', and have no '{{', "
            f"received {shown_at!r}."
        )
    return MonitoringOptions(shown_at)
