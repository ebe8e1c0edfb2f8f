"""What a job reads of events beside their items: what examples have and settings ask for."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.artifacts import records
from pipelines.artifacts.event_columns import ColumnsFound
from recall.config import RecallConfig
from recall.errors import InputError
from recall.features import ReadColumns
from recall.settings.ingest import IMPRESSION
from recall.settings.loss import LossConfig


def choose_columns(examples_dir: str | Path, config: RecallConfig) -> ReadColumns:
    """The columns to read.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        config: Its section `loss` says what kinds of events count.

    Raises:
        InputError: A setting names a kind of events that the examples lack, or leaves no target.
    """
    found = ColumnsFound.read(examples_dir)
    _check_names(config.loss, found.kinds, examples_dir)
    weights = [config.loss.weight_of(kind) for kind in found.kinds]
    clicks = [kind for kind in found.kinds if kind != IMPRESSION]
    if clicks and max(map(config.loss.weight_of, clicks)) == 0:
        raise InputError(
            "loss.event_weights and loss.target_kinds leave no click that counts: all of "
            f"{', '.join(clicks)} count 0."
        )
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


def _check_names(loss: LossConfig, kinds: Sequence[str], examples_dir: str | Path) -> None:
    settings = {"event_weights": loss.event_weights, "target_kinds": loss.target_kinds}
    for setting, names in settings.items():
        unknown = [name for name in names if name not in kinds]
        if unknown and not kinds:
            raise InputError(
                f"loss.{setting} names kinds of events, but {examples_dir} was made without any. "
                "Ingest the log with --event_type_column."
            )
        if IMPRESSION in names:
            raise InputError(
                f"loss.{setting} names {IMPRESSION!r}, but items that were only shown are no "
                "targets: they are negatives of the click that follows. Leave it out."
            )
        if unknown:
            raise InputError(
                f"loss.{setting} names {unknown[0]!r}, but the events are of the kinds "
                f"{', '.join(kind for kind in kinds if kind != IMPRESSION)}."
            )
