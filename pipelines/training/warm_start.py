"""A training that begins with the model of an earlier one: yesterday's, on today's log."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.artifacts.trained_model import DAMAGED_CHECKPOINT, refuse_earlier
from pipelines.training import carried_rows
from pipelines.training.epochs.validation import Validation
from pipelines.training.epochs.weight_averaging import WeightAverage
from pipelines.training.job_state import CHECKPOINTS_NAME, PROGRESS, VALUE, JobState
from recall.config import ModelConfig, RecallConfig
from recall.errors import InputError
from recall.feature_columns.fitting import FittedColumn
from recall.models.dssrec import DSSRec
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.release import paths, storage

_NO_WEIGHTS = ("dropout_rate",)
"""Settings of the model that its weights do not depend on."""

_Carry = Callable[[np.ndarray], np.ndarray]


def find_earlier_model(run: str | Path) -> Path:
    """The model that `--warm_start` names: that of a run, or a folder of `recall train`.

    Raises:
        InputError: There is no finished model.
    """
    model_dir = RunPaths.under(run).model
    model_dir = model_dir if model_dir.is_dir() else Path(run)
    record = records.read_record(model_dir)
    if record is None or record.get("job") != "train":
        raise InputError(
            f"--warm_start={run} holds no finished model. Name the folder of a `recall run`, or "
            "of a `recall train`, that came to its end."
        )
    return model_dir


def check_warm_start(run: str | Path, config: RecallConfig, model_dir: Path) -> None:
    """Refuses an earlier model that a training cannot go on from.

    Args:
        run: Its folder, see `find_earlier_model`.
        config: Settings of the new training.
        model_dir: Folder that is to be written.

    Raises:
        InputError: There is no model, it is the one that is to be written, or other weights
            belong to its settings.
    """
    before_dir = find_earlier_model(run)
    if before_dir.resolve() == model_dir.resolve():
        raise InputError(
            f"--warm_start={run} is the model that is to be written. Choose another --output."
        )
    before_config = records.read_config(before_dir)
    before, now = before_config.model, config.model
    changed = [
        field.name
        for field in dataclasses.fields(ModelConfig)
        if field.name not in _NO_WEIGHTS and getattr(before, field.name) != getattr(now, field.name)
    ]
    if changed:
        old = [f"model.{name}={_show(getattr(before, name))}" for name in changed]
        new = [_show(getattr(now, name)) for name in changed]
        switches = " ".join(f"--set={setting}" for setting in old)
        raise InputError(
            f"--warm_start={run} was trained with {', '.join(old)}, this run has "
            f"{', '.join(new)}. Pass {switches}, or train from scratch without --warm_start."
        )
    for name in ("columns", "embedding_dim", "hidden_dim"):
        old, new = (getattr(of, name) for of in (before_config.features, config.features))
        if old != new:
            raise InputError(
                f"--warm_start={run} was trained with another features.{name}. Declare the same, "
                "or train from scratch without --warm_start."
            )


class WarmStart:
    """An earlier model, and the catalogue that it is to be trained on now.

    Attributes:
        first_step: Steps of the optimiser before those of this job; it goes on counting.
        epochs_before: Epochs that the averaged weights stand for before the first one.
        facts: What is carried over, as plain values.
    """

    epochs_before = 10

    def __init__(self, run: str | Path, vocabulary: ItemVocabulary):
        """Looks which items the model knows.

        Args:
            run: Its folder, as `check_warm_start` lets it pass.
            vocabulary: Today's catalogue.

        Raises:
            InputError: It knows none of them, it is of an earlier version that cannot be read any
                more, or the state of its training is damaged.
        """
        self._model_dir = find_earlier_model(run)
        self._before, self._now = records.read_vocabulary(self._model_dir), vocabulary
        refuse_earlier(self._model_dir, records.read_config(self._model_dir), self._before)
        self._items = carried_rows.match_items(self._before, vocabulary)
        num_carried = int((self._items >= FIRST_ITEM_ID).sum())
        if not num_carried:
            raise InputError(
                f"--warm_start={run} knows none of the {len(vocabulary)} items of this log. Write "
                "ids as in its log, or train from scratch without --warm_start."
            )
        with self._state() as reader:
            self.first_step = int(_read(reader, "optimizer_0"))
        self.facts = {
            "run": str(run),
            "first_step": self.first_step,
            "carried_items": num_carried,
            "new_items": len(vocabulary) - num_carried,
            "gone_items": len(self._before) - num_carried,
        }

    def apply(self, model: DSSRec, average: WeightAverage, state: JobState) -> None:
        """Gives the state of the new training the values that the earlier one ended with.

        Rows of items and of names of features follow these. New ones have a mean in
        weights and averages (`carried_rows`), and 0 in the moments of the optimiser. Clicks of
        a queue get their numbers of today, and those of items that are gone leave it.

        Args:
            model: Freshly built.
            average: Of its weights.
            state: Of the whole training.

        Raises:
            InputError: The earlier state is damaged.
        """
        carriers = self._carriers(model, average)
        with self._state() as reader:
            for name, variable in state.variables.items():
                if name.startswith(PROGRESS):
                    continue
                if variable is model.future_queue:
                    continue  # Empty at first, as every one is.
                if variable is model.click_queue:
                    if reader.has_tensor(name + VALUE):
                        variable.assign(self._carry_queue(_read(reader, name), variable.numpy()))
                    continue
                carry = carriers.get(variable.ref(), lambda value: value)
                variable.assign(carry(_read(reader, name)))

    def _carriers(self, model: DSSRec, average: WeightAverage) -> dict[Any, _Carry]:
        """Reference of a variable -> what makes its rows those of today."""
        tower = model.item_tower

        def carry_items(table: np.ndarray) -> np.ndarray:
            rows = carried_rows.carry(table, self._items)
            if tower.network is None:  # Else features stand for a new item, and its row is 0.
                carried_rows.fill_new_items(rows, self._items, self._now)
            return rows

        tables = [(tower.embeddings, self._items, carry_items)]
        tables += self._tables_of_values(model)
        carriers: dict[Any, _Carry] = {}
        for weight, sources, carry in tables:
            carriers[weight.ref()] = carriers[average.average_of(weight).ref()] = carry
            for moment in model.optimizer.moments_of(weight):
                carriers[moment.ref()] = functools.partial(carried_rows.carry, sources=sources)
        return carriers

    def _tables_of_values(self, model: DSSRec) -> Iterator[tuple[tf.Variable, np.ndarray, _Carry]]:
        """Tables of the values of features, whoever has them; their rows follow the values."""
        user_tower = model.user_tower
        networks = [model.item_tower.network]
        networks += [
            None if layer is None else layer.network
            for layer in (
                user_tower.user_features,
                user_tower.event_features,
                user_tower.request_features,
            )
        ]
        for network, before, now in zip(
            networks, _fitted_columns(self._before), _fitted_columns(self._now), strict=True
        ):
            if network is None:
                continue
            values = carried_rows.match_values(before, now)

            def carry_values(table: np.ndarray, values: np.ndarray = values) -> np.ndarray:
                rows = carried_rows.carry(table, values)
                carried_rows.fill_new_values(rows, values)
                return rows

            yield network.table, values, carry_values

    def _carry_queue(self, before: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """The clicks that are still items, newest first; fresh ids fill up the rest.

        Queues of one kind are not those of the other: they stay as they are.
        """
        if before.ndim != fresh.ndim:
            return fresh
        queues = [
            np.concatenate([carried_rows.carry_ids(clicks, self._items), ids])[: len(ids)]
            for clicks, ids in zip(np.atleast_2d(before), np.atleast_2d(fresh), strict=True)
        ]
        return np.reshape(queues, fresh.shape)

    @contextlib.contextmanager
    def _state(self) -> Iterator[Any]:
        """A reader of the state that the earlier training ended with."""
        with paths.without_pattern(self._model_dir) as root:
            try:
                yield tf.train.load_checkpoint(str(root / CHECKPOINTS_NAME))
            except DAMAGED_CHECKPOINT as error:
                raise InputError(
                    f"{self._model_dir}/{CHECKPOINTS_NAME} is damaged or missing: there is no "
                    "warm start from it. Train from scratch without --warm_start."
                ) from error


def open_warm_start(
    run: str | Path | None, config: RecallConfig, vocabulary: ItemVocabulary, model_dir: Path
) -> WarmStart | None:
    """The warm start that was asked for, None where none was; errors of `check_warm_start`."""
    if run is None:
        return None
    check_warm_start(run, config, model_dir)
    return WarmStart(run, vocabulary)


class WriteStart(tf.keras.callbacks.Callback):
    """Before the first epoch: says what was carried over, and how good it already is."""

    def __init__(self, start: WarmStart, validation: Validation, model_dir: Path):
        super().__init__()
        self._start, self._validation, self._model_dir = start, validation, model_dir

    def on_train_begin(self, logs=None):
        """Writes `warm_start.json`."""
        facts = self._start.facts | self._validation.measure()
        storage.write_json(self._model_dir / records.WARM_START_NAME, facts)
        logging.info(
            "Warm start from %(run)s: %(carried_items)d items keep their rows, %(new_items)d are "
            "new, %(gone_items)d are gone.",
            facts,
        )
        metric = self._validation.stopping_metric
        logging.info("Before the first epoch: %s %.4f.", metric, facts[f"val_{metric}"])


def _fitted_columns(vocabulary: ItemVocabulary) -> list[Sequence[FittedColumn]]:
    """What was learnt of the features of items, users, events and requests.

    Without words of items: they have a table of their own, whose rows stay where they are.
    """
    of_log = vocabulary.log_columns
    owned = [() if f is None else f.columns for f in (vocabulary.features, vocabulary.users)]
    owned[0] = [column for column in owned[0] if column.kind != "text"]
    return owned + [[c for c in of_log if c.column.owner == o] for o in ("event", "request")]


def _read(reader: Any, name: str) -> np.ndarray:
    """The value of a variable of a `JobState`."""
    return reader.get_tensor(name + VALUE)


def _show(value: Any) -> str:
    """A setting as `--set` takes it."""
    return json.dumps(value).strip('"')
