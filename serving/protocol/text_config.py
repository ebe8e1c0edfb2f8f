"""TF Serving's configuration files: protocol messages as text.

The stubs of tensorflow-serving-api lack two of the messages, so that they are
described here, field by field as in TF Serving's own `session_bundle_config`
and `monitoring_config`.
"""

import os
from pathlib import Path
from typing import TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers

from recall.errors import InputError

_PACKAGE = "tensorflow.serving"
_FIELD = descriptor_pb2.FieldDescriptorProto

_AnyMessage = TypeVar("_AnyMessage", bound=message.Message)


def _add_message(file: descriptor_pb2.FileDescriptorProto, name: str, fields: tuple) -> None:
    """Adds a message; a field is (number, name, type), where a text names a message."""
    described = file.message_type.add(name=name)
    for number, field_name, kind in fields:
        is_message = isinstance(kind, str)
        field = described.field.add(
            name=field_name,
            number=number,
            type=_FIELD.TYPE_MESSAGE if is_message else kind,
            label=_FIELD.LABEL_REPEATED
            if field_name == "allowed_batch_sizes"
            else _FIELD.LABEL_OPTIONAL,
        )
        if is_message:
            field.type_name = kind


def _build_classes() -> tuple[type[message.Message], type[message.Message]]:
    """Classes of both messages, in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="recall/tf_serving_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers.DESCRIPTOR.name],
    )
    number, text = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
    _add_message(
        file,
        "BatchingParameters",
        (
            (1, "max_batch_size", number),
            (2, "batch_timeout_micros", number),
            (3, "max_enqueued_batches", number),
            (4, "num_batch_threads", number),
            (5, "thread_pool_name", text),
            (6, "allowed_batch_sizes", _FIELD.TYPE_INT64),
            (7, "pad_variable_length_inputs", _FIELD.TYPE_BOOL),
        ),
    )
    _add_message(
        file, "PrometheusConfig", ((1, "enable", _FIELD.TYPE_BOOL), (2, "path", _FIELD.TYPE_STRING))
    )
    _add_message(
        file, "MonitoringConfig", ((1, "prometheus_config", f".{_PACKAGE}.PrometheusConfig"),)
    )
    pool.AddSerializedFile(file.SerializeToString())
    return tuple(
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("BatchingParameters", "MonitoringConfig")
    )


BatchingParameters, MonitoringConfig = _build_classes()


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
        raise InputError(
            f"--{flag}={path} is no {kind.DESCRIPTOR.name} in text form: line {error}."
        ) from error
