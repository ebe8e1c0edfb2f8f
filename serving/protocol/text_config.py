"""TF Serving's configuration files: protocol messages as text.

The messages are those of tensorflow-serving-api, and of `tf_serving_config.proto`
the two that it lacks.
"""

import os
from pathlib import Path
from typing import TypeVar

from google.protobuf import message, text_format

from recall.errors import InputError
from serving.protocol import tf_serving_config_pb2

_OUR_PACKAGE = f"{tf_serving_config_pb2.DESCRIPTOR.package}."
_TF_SERVING_PACKAGE = "tensorflow.serving."
"""What users know the messages by; errors say it."""

_AnyMessage = TypeVar("_AnyMessage", bound=message.Message)


def read_message(path: str | os.PathLike, kind: type[_AnyMessage], flag: str) -> _AnyMessage:
    """Reads a message in text form.

    Args:
        path: The file.
        kind: Class of the message.
        flag: Name of the flag that gave the path, for the error text.

    Raises:
        InputError: The file cannot be read, or is no such message.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), kind())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"Cannot read --{flag}={path}: {reason}.") from error
    except text_format.ParseError as error:
        reason = str(error).replace(_OUR_PACKAGE, _TF_SERVING_PACKAGE)
        raise InputError(
            f"--{flag}={path} is no {kind.DESCRIPTOR.name} in text form: line {reason}."
        ) from error
