"""A user tower that looks at times: what its signatures take, and what they answer without."""

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.models.dssrec import DSSRec
from recall.towers import KnownBeside
from recall.vocabulary import ItemVocabulary
from serving.models.saved_model import SavedModelServable
from serving.protocol.status import ServingError
from serving.release.export import export_towers

IDS = [f"i{n}" for n in range(12)]
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=4",
        "model.time_bias=true",
    ]
)
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    tf.keras.utils.set_random_seed(2)
    model = DSSRec(CONFIG, ItemVocabulary(IDS))
    model(np.array([[2]]))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "time_bias" in weight.name or "gaps" in weight.name:
            weight.assign(rng.normal(size=weight.shape))
    folder = tmp_path_factory.mktemp("export")
    export_towers(model.user_tower, model.item_tower, ItemVocabulary(IDS), CONFIG, folder)
    servable = SavedModelServable("user_tower", 1, folder / "user_tower")
    servable.warm_up()
    return model, servable


def texts(*rows):
    return np.array([[text.encode() for text in row] for row in rows], object)


def test_times_are_those_of_known_clicks_and_of_the_request(exported):
    model, servable = exported
    ids = texts(["i0", "gone", "i3", "i5", "", ""], ["i1", "i2", "i3", "i4", "i5", "i6"])
    times = NOW + np.array([[1, 5, 60, 61, 0, 0], [1, 2, 3, 4, 900, 90_000]])
    times[0, 4:] = 0
    request = np.array([NOW + 4000, 0])
    found = servable.predict(
        "with_context",
        {"history_item_ids": ids, "history_timestamps": times, "request_timestamp": request},
    )
    # Unknown ids are left out, of longer histories the latest four stay; without a time of the
    # request it is that of the last click.
    dense = np.array([[2, 5, 7, 0], [5, 6, 7, 8]])
    pairs = NOW + np.array(
        [[[1, 60], [60, 61], [61, 4000], [0, 0]], [[3, 4], [4, 900], [900, 90_000], [90_000] * 2]]
    )
    pairs[0, 3] = 0
    expected = model.user_tower(dense, known=KnownBeside(times=tf.constant(pairs))).user_vectors
    np.testing.assert_allclose(found["user_vectors"], expected, rtol=1e-4, atol=1e-6)
    assert found["num_known"].tolist() == [3, 6]
    assert found["num_unknown"].tolist() == [1, 0]


def test_without_times_both_signatures_answer_alike(exported):
    model, servable = exported
    inputs = {"history_item_ids": texts(["i0", "i3"])}
    expected = model.user_tower(np.array([[2, 5]])).user_vectors
    for signature in ("", "with_context"):
        found = servable.predict(signature, inputs)["user_vectors"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    some = servable.predict(
        "with_context", inputs | {"history_timestamps": np.array([[NOW, NOW + 9]])}
    )
    assert np.abs(some["user_vectors"] - expected).max() > 1e-3


def test_examples_bring_times_or_none(exported):
    _, servable = exported
    ids = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"i0", b"i3"]))
    times = tf.train.Feature(int64_list=tf.train.Int64List(value=[NOW, NOW + 9]))
    rows = [{"history_item_ids": ids}, {"history_item_ids": ids, "history_timestamps": times}]
    serialized = [
        tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString()
        for row in rows
    ]
    (example_signature,) = {*servable.signature_defs} - {
        "serving_default",
        "with_context",
        "__saved_model_init_op",
    }
    found = servable.predict(example_signature, {"examples": np.array(serialized, object)})
    context = {
        "history_item_ids": texts(["i0", "i3"], ["i0", "i3"]),
        "history_timestamps": np.array([[0, 0], [NOW, NOW + 9]]),
    }
    expected = servable.predict("with_context", context)
    np.testing.assert_allclose(
        found["user_vectors"], expected["user_vectors"], rtol=1e-4, atol=1e-6
    )


def test_the_metadata_name_types_and_defaults(exported):
    signature = exported[1].signature_defs["with_context"]
    assert set(signature.inputs) == {"history_item_ids", "history_timestamps", "request_timestamp"}
    assert set(signature.defaults) == {"history_timestamps", "request_timestamp"}
    assert signature.inputs["history_timestamps"].dtype == tf.int64.as_datatype_enum


def test_inputs_of_other_rows_are_refused(exported):
    with pytest.raises(ServingError, match="has not as many rows as the history"):
        exported[1].predict(
            "with_context",
            {"history_item_ids": texts(["i0"]), "request_timestamp": np.array([1, 2])},
        )


def test_a_model_without_times_has_the_signatures_it_had(tmp_path):
    config = CONFIG.override(["model.time_bias=false"])
    model = DSSRec(config, ItemVocabulary(IDS))
    model(np.array([[2]]))
    export_towers(model.user_tower, model.item_tower, ItemVocabulary(IDS), config, tmp_path)
    servable = SavedModelServable("user_tower", 1, tmp_path / "user_tower")
    assert "with_context" not in servable.signature_defs
