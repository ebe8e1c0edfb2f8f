"""Curves for TensorBoard: scalars by theme, one chart of all interests, the settings as text.

Tags that share a theme, as `validation/ndcg@10`, stand together on the page.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar

from recall.config import RecallConfig

LOGS_NAME, RUN_NAME = "logs", "training"
"""Folder of a model that TensorBoard reads, and the one in it: what it calls a run."""

LOSSES, VALIDATION = "loss", "validation"
CLICKS, GRADIENTS = "interests_clicks", "interests_gradients"
PROTOTYPES = "prototypes"

_THEMES = (
    (re.compile(r"val_interest_(\d+)"), CLICKS, "interest_"),
    (re.compile(r"gradient_(\d+)"), GRADIENTS, "interest_"),
    (re.compile(r"(prototype_perplexity|dead_prototypes)"), PROTOTYPES, ""),
    (re.compile(r"val_(.+)"), VALIDATION, ""),
)
"""Names of an epoch's logs that are no losses."""


def tag_of(name: str) -> str:
    """The tag of one value of an epoch.

    >>> tag_of("seq2seq"), tag_of("val_ndcg@10")
    ('loss/seq2seq', 'validation/ndcg@10')
    >>> tag_of("val_interest_0"), tag_of("gradient_1")
    ('interests_clicks/interest_0', 'interests_gradients/interest_1')
    """
    for pattern, theme, prefix in _THEMES:
        match = pattern.fullmatch(name)
        if match:
            return f"{theme}/{prefix}{match[1]}"
    return f"{LOSSES}/{name}"


class WriteCurves(tf.keras.callbacks.Callback):
    """Writes the values of every epoch, and at the start the settings."""

    def __init__(self, model_dir: Path, config: RecallConfig):
        super().__init__()
        self._folder, self._config = Path(model_dir) / LOGS_NAME / RUN_NAME, config
        self._writer = None

    def on_train_begin(self, logs=None):
        """Opens the file; a resumed job adds one of its own."""
        self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default():
            tf.summary.text("config", settings_table(self._config), step=0)
            layout = custom_scalar.pb(_layout(self.model.user_tower.num_interests))
            tf.summary.experimental.write_raw_pb(layout.SerializeToString(), step=0)

    def on_epoch_end(self, epoch, logs=None):
        """Writes what the other callbacks put into `logs`."""
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                tf.summary.scalar(tag_of(name), float(value), step=epoch + 1)
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the file."""
        self._writer.close()


def settings_table(config: RecallConfig) -> str:
    """All settings as a Markdown table."""
    rows = [
        f"| {section}.{key} | `{value}` |"
        for section, values in config.to_dict().items()
        for key, value in (values.items() if isinstance(values, Mapping) else [("", values)])
    ]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _layout(num_interests: int) -> layout_pb2.Layout:
    """The page `Custom scalars`: all interests in one chart, not one chart each."""
    charts = [_chart("losses", LOSSES)]
    if num_interests > 1:
        charts = [
            _chart("share of the validation clicks, by interest", CLICKS),
            _chart("share of the gradients, by interest", GRADIENTS),
            *charts,
        ]
    return layout_pb2.Layout(category=[layout_pb2.Category(title="training", chart=charts)])


def _chart(title: str, theme: str) -> layout_pb2.Chart:
    return layout_pb2.Chart(
        title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"{theme}/.*"])
    )
