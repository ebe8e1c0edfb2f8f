"""What TensorBoard gets: values by theme, all interests in one chart, the settings as text."""

import types

import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2

from pipelines.training.epochs import curves
from recall.config import RecallConfig


def read_events(folder):
    """(tag, step) -> value of all event files in a folder."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor).item()
    return found


def write(folder, num_interests):
    callback = curves.WriteCurves(folder, RecallConfig().override(["train.seed=17"]))
    tower = types.SimpleNamespace(num_interests=num_interests)
    callback.set_model(types.SimpleNamespace(user_tower=tower))
    callback.on_train_begin()
    values = {"loss": 6.5, "val_recall@50": 0.5, "gradient_1": 0.25, "val_interest_1": 0.125}
    callback.on_epoch_end(0, values | {"dead_prototypes": 3.0})
    callback.on_epoch_end(1, {"loss": 6.25})
    callback.on_train_end()
    return read_events(folder / "logs" / "training")


def test_values_by_theme(tmp_path):
    found = write(tmp_path, num_interests=2)
    assert {key: value for key, value in found.items() if key[1] > 0} == {
        ("loss/loss", 1): 6.5,
        ("loss/loss", 2): 6.25,
        ("validation/recall@50", 1): 0.5,
        ("interests_gradients/interest_1", 1): 0.25,
        ("interests_clicks/interest_1", 1): 0.125,
        ("prototypes/dead_prototypes", 1): 3.0,
    }


def test_settings_are_a_table(tmp_path):
    text = write(tmp_path, num_interests=2)["config", 0].decode()
    lines = text.splitlines()
    assert lines[:2] == ["| setting | value |", "|---|---|"]
    assert "| train.seed | `17` |" in lines
    assert "| evaluation.exclude_seen | `True` |" in lines
    assert all(line.count("|") == 3 for line in lines)


@pytest.mark.parametrize(("num_interests", "num_charts"), [(1, 1), (2, 3)])
def test_one_chart_for_all_interests(tmp_path, num_interests, num_charts):
    found = write(tmp_path, num_interests)
    layout = layout_pb2.Layout.FromString(found["custom_scalars__config__", 0])
    (category,) = layout.category
    assert len(category.chart) == num_charts
    assert category.chart[-1].multiline.tag == ["loss/.*"]
