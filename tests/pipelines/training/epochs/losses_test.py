"""Mean losses of an epoch; a loss that is no number is in `trainer_test`."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from pipelines.training.epochs.losses import MeanLosses, StopOnNan, StopWithoutTargets
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig
from recall.errors import InputError


def test_the_logged_loss_is_the_mean_over_the_epoch():
    callback, logs = MeanLosses(), {"loss": 7.0, "other": 1.0}
    for _ in range(2):  # An epoch starts anew.
        callback.on_epoch_begin(0)
        for step, loss in enumerate([1.0, 3.0, 8.0]):
            callback.on_train_batch_end(step, {"loss": loss})
        callback.on_epoch_end(0, logs)

    assert logs == {"loss": 4.0, "other": 1.0}


def test_a_loss_that_is_no_number_is_one_line_with_several_replicas_too():
    """Whose variables are several."""
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = tf.keras.Model()
        model.optimizer = tf.keras.optimizers.legacy.SGD()
        model.optimizer.iterations.assign(7)
    callback = StopOnNan()
    callback.set_model(model)

    callback.on_train_batch_end(6, {"loss": 2.0})
    with pytest.raises(InputError, match=r"The training loss became nan at step 7\. Lower `train"):
        callback.on_epoch_end(0, {"loss": float("nan")})


QUICK = [
    "model.extractor=last_state",
    "model.dim=8",
    "model.num_blocks=1",
    "model.num_heads=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=7",
    "loss.seq2seq_weight=0",
    "train.jit_compile=false",
    "train.max_epochs=1",
]


def write_log(path, kinds, weight):
    """Twenty users who walk along a ring of twenty items, an event of each kind."""
    rows = [
        f"u{user},i{(user + step) % 20},{step},{kind},{weight}"
        for user in range(20)
        for step, kind in enumerate(kinds)
    ]
    path.write_text("\n".join(["user_id,item_id,timestamp,event,weight", *rows]) + "\n")
    return str(path)


@pytest.fixture
def eager():
    """Saves compiling, which takes longer than these jobs."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.*tf.data functions")
@pytest.mark.parametrize(
    ("weight", "setting"),
    [
        (1, 'loss.target_kinds=["refund"]'),  # All of them are held out.
        (0, "loss.target_kinds=[]"),
    ],
)
def test_a_log_without_a_click_that_counts(tmp_path, weight, setting):
    path = write_log(tmp_path / "log.csv", ["view"] * 5 + ["refund"] * 2, weight)
    config = RecallConfig().override([*QUICK, setting])
    columns = EventColumns(event_type="event", weight="weight")
    ingest.run_ingest(open_events(path, columns), None, tmp_path / "examples", config)
    with pytest.raises(InputError, match="No click of the training part counts"):
        train_and_evaluate(config, tmp_path / "examples", tmp_path / "model")
    assert not (tmp_path / "model" / "artifact.json").exists()


def test_few_clicks_that_count_are_enough():
    StopWithoutTargets().on_epoch_end(0, {"loss": 0.1, "seq2item": float(np.float32(1e-30))})
