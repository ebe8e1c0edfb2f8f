"""What settings of the loss make of the kinds of events, and what is read of examples."""

import json

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingestion.encoding import number_lists
from pipelines.ingestion.examples import write_records
from pipelines.training.example_columns import choose_columns
from pipelines.training.input_pipeline import read_training_data
from pipelines.training.packed_input import PackedExamples
from pipelines.training.placement.input_share import InputShare
from recall.config import RecallConfig
from recall.errors import InputError
from recall.features import SHOWN, TARGET_WEIGHTS, ReadColumns

WINDOWS = [
    # items, kinds, weights, shown before the second event, the third, ...
    ([2, 3, 4], [1, 2, 1], [1.0, 0.5, 3.0], [[7, 8], []]),
    ([5, 6], [2, 1], [1.0, 2.0], [[]]),
    ([9, 3, 2], [1, 1, 2], [1.0, 1.0, 1.0], [[], [4]]),
]
KINDS = {"buy": 5, "view": 3}


def write_examples(folder, event_columns):
    (folder / "Split-train").mkdir()
    name = "examples-00004-00000-of-00001.tfrecord.gz"
    lengths = np.array([len(window[0]) for window in WINDOWS])
    stops = np.cumsum(lengths)
    starts = stops - lengths
    events = [
        np.concatenate([np.asarray(window[column]) for window in WINDOWS]) for column in range(3)
    ]
    shown = [items for window in WINDOWS for items in window[3]]
    counts = np.array([len(items) for items in shown])
    of_targets = np.cumsum(lengths - 1)
    ends = np.concatenate([[0], np.cumsum(counts)])[of_targets]
    write_records(
        {folder / "Split-train" / name: len(WINDOWS)},
        {
            "item_ids": number_lists.Numbers.of(events[0]).ranges(starts, stops),
            "event_kinds": number_lists.Numbers.of(events[1]).ranges(starts, stops),
            "event_weights": number_lists.Floats.of(events[2]).ranges(starts, stops),
            "shown_counts": number_lists.Numbers.of(counts).ranges(
                of_targets - lengths + 1, of_targets
            ),
            "shown_ids": number_lists.Numbers.of(
                np.array([item for items in shown for item in items])
            ).ranges(np.concatenate([[0], ends[:-1]]), ends),
        },
    )
    statistics = {"splits": {"train": {"files": {name: len(WINDOWS)}}}}
    (folder / "statistics.json").write_text(json.dumps(statistics | event_columns))
    return folder


@pytest.fixture
def examples_dir(tmp_path):
    columns = {"kinds": KINDS, "weights": True, "shown": 3}
    return write_examples(tmp_path, {"event_columns": columns})


def config_of(*assignments):
    return RecallConfig().override(["train.max_epochs=1", "train.jit_compile=false", *assignments])


def expected(kind_weights):
    """Items of a window -> weights of its targets, and what was shown before each."""
    found = {}
    for items, kinds, weights, shown in WINDOWS:
        factors = [weight * kind_weights[kind] for kind, weight in zip(kinds, weights, strict=True)]
        found[tuple(items)] = (factors[1:], shown)
    return found


def test_padded_batches(examples_dir):
    config = config_of('loss.event_weights={"view": 0.1}')
    data = read_training_data(examples_dir, config)
    assert data.has_weights
    (batch,) = data.dataset
    found = {}
    for items, weights, shown in zip(
        batch.item_ids.numpy(),
        batch.columns[TARGET_WEIGHTS].numpy(),
        batch.columns[SHOWN].numpy(),
        strict=True,
    ):
        size = int((items > 0).sum())
        assert not weights[size - 1 :].any()
        assert not shown[size - 1 :].any()
        lists = [of_event[of_event > 0].tolist() for of_event in shown[: size - 1]]
        found[tuple(items[:size])] = (weights[: size - 1].tolist(), lists)
    for items, (weights, shown) in expected({1: 1.0, 2: 0.1}).items():
        np.testing.assert_allclose(found[items][0], weights, rtol=1e-6)
        assert found[items][1] == shown


def test_packed_batches(examples_dir):
    config = config_of('loss.target_kinds=["view"]', "train.batch_slots=16")
    examples = PackedExamples(examples_dir, config)
    data = examples.stream()
    assert data.has_weights
    (batch,) = data.dataset
    assert batch.columns[SHOWN].shape[-1] == 2
    slots = [
        np.reshape(tensor.numpy(), [-1, *tensor.shape[3:]])
        for tensor in (batch.history_ids, batch.positive_ids, *batch.columns.values())
    ]
    found = {}
    for history, positive, *columns in zip(*slots, strict=True):
        if history:
            found[history, positive] = dict(zip(batch.columns, columns, strict=True))
        else:
            assert not any(np.any(column) for column in columns)
    for items, (weights, shown) in expected({1: 0.0, 2: 1.0}).items():
        for at, (weight, of_event) in enumerate(zip(weights, shown, strict=True)):
            slot = found[items[at], items[at + 1]]
            assert slot[TARGET_WEIGHTS] == np.float32(weight)
            assert [item for item in slot[SHOWN].tolist() if item] == of_event


def test_parts_of_replicas_have_their_columns(examples_dir):
    share = InputShare(num_replicas=4, replicas=range(4))
    batches = list(read_training_data(examples_dir, config_of(), share=share).dataset)
    assert len(batches) == 4
    total = sum(float(tf.reduce_sum(batch.columns[TARGET_WEIGHTS])) for batch in batches)
    assert total == 0.5 + 3 + 2 + 1 + 1
    assert sum(int(tf.math.count_nonzero(batch.columns[SHOWN])) for batch in batches) == 3


def test_nothing_is_read_that_is_not_needed(tmp_path):
    write_examples(tmp_path, {})
    assert choose_columns(tmp_path, RecallConfig()) == ReadColumns()
    data = read_training_data(tmp_path, config_of())
    assert not data.has_weights
    (batch,) = data.dataset
    assert batch.columns == {}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            'loss.event_weights={"sale": 2}',
            "names 'sale', but the events are of the kinds buy, view",
        ),
        ('loss.target_kinds=["sale"]', "loss.target_kinds names 'sale'"),
        ('train.stopping_kinds=["sale"]', "train.stopping_kinds names 'sale'"),
        (
            'evaluation.thresholds=["test.ndcg@10[sale] > 0"]',
            "evaluation.thresholds names 'sale', but the events are of the kinds buy, view",
        ),
        ('loss.event_weights={"buy": 0, "view": 0}', "leave no click that counts"),
    ],
)
def test_settings_that_do_not_fit_the_log(examples_dir, setting, message):
    with pytest.raises(InputError, match=message):
        choose_columns(examples_dir, RecallConfig().override([setting]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('loss.target_kinds=["buy", "impression"]', "target_kinds names 'impression', but items"),
        ('loss.event_weights={"impression": 0.1}', "event_weights names 'impression', but items"),
        (
            'loss.event_weights={"buy": 0, "view": 0}',
            "no click that counts: all of buy, view count",
        ),
        ('loss.event_weights={"sale": 2}', r"of the kinds buy, view\.$"),
    ],
)
def test_impressions_are_no_targets(tmp_path, setting, message):
    columns = {"kinds": KINDS | {"impression": 9}, "shown": 3}
    write_examples(tmp_path, {"event_columns": columns})
    with pytest.raises(InputError, match=message):
        choose_columns(tmp_path, RecallConfig().override([setting]))


def test_settings_of_kinds_without_kinds(tmp_path):
    write_examples(tmp_path, {})
    with pytest.raises(InputError, match="Ingest the log with --event_type_column"):
        choose_columns(tmp_path, RecallConfig().override(['loss.event_weights={"buy": 2}']))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loss.event_weights=3", "`loss.event_weights` must be an object"),
        ('loss.event_weights={"buy": "much"}', "`loss.event_weights.buy` must be of type float"),
        ('loss.event_weights={"buy": -1}', "`loss.event_weights.buy` must be >= 0"),
        ('loss.target_kinds="buy"', "`loss.target_kinds` must be a list"),
        ("ingest.max_impressions=0", "`ingest.max_impressions` must be >= 1"),
    ],
)
def test_values_that_are_none(setting, message):
    with pytest.raises(InputError, match=message):
        RecallConfig().override([setting])


def test_the_settings_go_through_json():
    config = RecallConfig().override(['loss.event_weights={"buy": 2}', 'loss.target_kinds=["buy"]'])
    again = RecallConfig.from_json(config.to_json())
    assert again.loss.event_weights == {"buy": 2.0}
    assert again.loss.target_kinds == ("buy",)
    assert again.loss.weight_of("buy") == 2
    assert again.loss.weight_of("view") == 0
