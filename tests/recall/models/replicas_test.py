"""The model under a strategy of several devices: two logical ones of the processor."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SCRIPT = """
import recall
import tensorflow as tf
from recall.config import RecallConfig
from recall.models.dssrec import DSSRec
from recall.optimizers import RowwiseAdam
from recall.vocabulary import ItemVocabulary

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
config = RecallConfig().override(
    ["model.dim=8", "model.num_blocks=1", "model.feed_forward_dim=8", "model.extractor={extractor}"]
)
with strategy.scope():
    model = DSSRec(config, ItemVocabulary(["a", "b", "c"]))
    model.compile(optimizer=RowwiseAdam())
    vectors = model(tf.constant([[2, 3], [4, 0]], tf.int64))
    model.optimizer.build(model.trainable_variables)
print(strategy.num_replicas_in_sync, vectors.shape[0], len(model.trainable_variables) > 5)
"""


@pytest.mark.parametrize("extractor", ["dssrec", "last_state", "self_attentive"])
def test_the_model_can_be_built_on_two_devices(extractor):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{extractor}", extractor)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == ["2", "2", "True"]
