"""The export job on a trained model's folder."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records, trained_model
from pipelines.publishing import export
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.release import manifest

CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "extractor": "last_state",
            "dim": 4,
            "max_history_length": 3,
            "num_blocks": 1,
            "num_heads": 1,
            "feed_forward_dim": 4,
        }
    }
)
VOCABULARY = ItemVocabulary(["a", "b", "c"], [3, 2, 1])


def make_model_dir(model_dir, vocabulary=VOCABULARY):
    """A folder as `recall train` leaves it, with weights nobody trained."""
    tf.keras.utils.set_random_seed(1)
    model = trained_model.build_model(CONFIG, vocabulary)
    tf.train.Checkpoint(model=model).save(str(model_dir / "best" / "ckpt"))
    records.write_config(model_dir, CONFIG)
    records.write_vocabulary(model_dir, vocabulary)
    records.write_record(model_dir, records.build_record("train", {}, {}))
    return model


def test_exports_the_best_checkpoint(tmp_path):
    model = make_model_dir(tmp_path / "model")
    values = export.run_export(tmp_path / "model", tmp_path / "export")
    assert values == manifest.read(tmp_path / "export")
    manifest.verify(tmp_path / "export", values)
    assert values["num_items"] == 3
    assert records.read_vocabulary(tmp_path / "export").item_ids == ("a", "b", "c")
    record = export.export_record(tmp_path / "model")
    assert records.is_current(tmp_path / "export", record)
    user_tower = tf.saved_model.load(str(tmp_path / "export" / "user_tower"))
    outputs = user_tower.signatures["serving_default"](history_item_ids=tf.constant([["c", "a"]]))
    expected = model.user_tower(tf.constant([[4, 2]], tf.int64)).user_vectors
    np.testing.assert_allclose(outputs["user_vectors"], expected, atol=1e-6)


def test_failed_export_keeps_the_old_one(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("the disk is full")

    make_model_dir(tmp_path / "model")
    # The last step of an export, when the SavedModels are written.
    monkeypatch.setattr(manifest, "seal", fail)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "old").touch()
    with pytest.raises(OSError, match="the disk is full"):
        export.run_export(tmp_path / "model", tmp_path / "export")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "model"]
    assert [path.name for path in (tmp_path / "export").iterdir()] == ["old"]


def test_no_model(tmp_path):
    with pytest.raises(InputError, match="Run `recall train` first"):
        export.run_export(tmp_path, tmp_path / "export")
