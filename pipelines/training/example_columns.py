"""What a job reads of events beside their items: what examples have and settings ask for."""

from pathlib import Path

from pipelines.artifacts import records
from pipelines.artifacts.event_columns import ColumnsFound, check_kinds
from recall.config import RecallConfig
from recall.errors import InputError
from recall.features import ReadColumns


def choose_columns(examples_dir: str | Path, config: RecallConfig) -> ReadColumns:
    """The columns to read.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        config: Its sections `loss` and `train` say what kinds of events count.

    Raises:
        InputError: A setting names a kind of events that the examples lack, or leaves no target.
    """
    found = ColumnsFound.read(examples_dir)
    check_kinds(config, found.kinds, f"{examples_dir} was made without any")
    weights = [config.loss.weight_of(kind) for kind in found.kinds]
    is_needed = any(weight != 1 for weight in weights)
    kind_weights = (1.0, *weights) if is_needed else ()
    if config.model.time_bias and not found.times:
        raise InputError(
            f"model.time_bias needs the times of events, and {examples_dir} was made without them. "
            "Give --set=model.time_bias=true to `recall ingest` too."
        )
    has_users = bool(config.features.of("user"))
    if has_users and not found.users:
        raise InputError(
            f"features.columns declares features of users, and {examples_dir} was made without "
            "them. Ingest the log with the same settings and --users."
        )
    times, log_columns = config.model.time_bias, records.read_log_columns(examples_dir)
    return ReadColumns(
        kind_weights, found.weights, bool(found.shown), times, has_users, log_columns
    )
