"""What ExampleValidator found, as the line that stops a run. Imports no TensorFlow and no TFX."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2

from recall.errors import InputError

_FILE_NAME = "SchemaDiff.pb"
_SHOWN = 5
"""Anomalies told of in the line; the file has all."""


def require_none(split_dir: str | Path, schema_dir: str | Path) -> None:
    """Refuses a log that breaks its schema.

    Args:
        split_dir: Folder of the split in ExampleValidator's artifact.
        schema_dir: Folder of the schema, for the message.

    Raises:
        InputError: There is an anomaly of severity ERROR, or the file is missing.
    """
    path = Path(split_dir) / _FILE_NAME
    try:
        found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    lines = [
        f"{name}: {info.description.rstrip('.') or info.short_description}"
        for name, info in sorted(found.anomaly_info.items())
        if info.severity == anomalies_pb2.AnomalyInfo.ERROR
    ]
    lines += [
        reason.description.rstrip(".")
        for reason in found.dataset_anomaly_info.reason
        if found.dataset_anomaly_info.severity == anomalies_pb2.AnomalyInfo.ERROR
    ]
    if lines:
        more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        raise InputError(
            f"The log breaks its schema ({'; '.join(lines[:_SHOWN])}{more}). Nothing was trained. "
            f"Mend the log, or the schema in {schema_dir}; {path} has the details."
        )
