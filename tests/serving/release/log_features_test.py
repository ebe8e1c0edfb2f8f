"""Features of clicks and of requests in an exported user tower: names, defaults, values."""

import json

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.fitting import FittedColumn
from recall.models.dssrec import DSSRec
from recall.towers import KnownBeside
from recall.vocabulary import ItemVocabulary
from serving.models.saved_model import SavedModelServable
from serving.protocol import warmup
from serving.protocol.signatures import EXAMPLE_SIGNATURE
from serving.release import warmup_requests
from serving.release.export import export_towers
from serving.servables.towers import PredictUserVectors
from serving.servables.user_context import UserContext

COLUMNS = [
    FittedColumn(FeatureColumn("device", "event", "categorical"), ("tv", "phone")),
    FittedColumn(FeatureColumn("paid", "event", "numeric"), mean=1.0, stddev=2.0),
    FittedColumn(FeatureColumn("when", "event", "timestamp", parts=("gap",))),
    FittedColumn(FeatureColumn("screen", "request", "categorical"), ("tv", "phone")),
    FittedColumn(FeatureColumn("asked", "request", "timestamp", parts=("gap", "hour"))),
]
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=3",
        "features.embedding_dim=4",
        "features.hidden_dim=6",
        f"features.columns={json.dumps([c.column.to_dict() for c in COLUMNS])}",
    ]
)
IDS = [f"i{n}" for n in range(9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def exported(folder):
    tf.keras.utils.set_random_seed(2)
    vocabulary = ItemVocabulary(IDS).with_log_columns(COLUMNS)
    model = DSSRec(CONFIG, vocabulary)
    model(np.array([[2]]))
    rng = np.random.default_rng(1)
    for layer in (model.user_tower.event_features, model.user_tower.request_features):
        for weight in layer.weights:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    export_towers(model.user_tower, model.item_tower, vocabulary, CONFIG, folder)
    servable = SavedModelServable("user_tower", 1, folder / "user_tower")
    servable.warm_up()
    return model, servable


def source_of(servable):
    return PredictUserVectors(servable.predict_default, 1, servable)


def expected(model, ids, clicks=None, request=None):
    """Vectors of a history whose values are given as slots and numbers."""
    arguments = {}
    if clicks is not None:
        slots, numbers = clicks
        arguments["events"] = Encoded(
            tf.constant([slots], tf.int32), tf.constant([numbers], tf.float32)
        )
    if request is not None:
        arguments["requests"] = Encoded(tf.constant([request], tf.int32), tf.zeros([1, 0]))
    return model.user_tower(np.array([ids]), known=KnownBeside(**arguments)).user_vectors[0]


def test_signatures_carry_them(exported):
    _, servable = exported
    signature = servable.signature_defs["with_context"]
    dtypes = {name: info.dtype for name, info in signature.inputs.items()}
    text, number, whole = 7, 1, 9  # DT_STRING, DT_FLOAT, DT_INT64
    assert dtypes == {
        "history_item_ids": text,
        "history_device": text,
        "history_paid": number,
        "history_timestamps": whole,
        "request_timestamp": whole,
        "screen": text,
    }
    ranks = {name: len(info.tensor_shape.dim) for name, info in signature.inputs.items()}
    assert ranks["history_device"] == ranks["history_paid"] == 2
    assert ranks["screen"] == 1


def test_values_by_hand(exported):
    model, servable = exported
    context = {
        "history_device": ["phone", "tv", None, "fridge"],
        "history_paid": [3, 5.0, 1, None],
        "history_timestamps": [7200, 7210, 7214, 7215],
        "request_timestamp": 10_815,
        "screen": "tv",
    }
    # `gone` is no item: the click after it follows that of i0.
    found = source_of(servable).compute([("i0", "gone", "i4", "i2")], contexts=[context])
    # Slots: device other 1, tv 2, phone 3; gaps 4 - 36: 14 s have four bits, 1 s has one.
    slots = [[3, 0], [0, 4 + 5], [1, 4 + 2]]
    numbers = [[1, 0], [0, 0], [0, 1]]
    # Of the request: screen 1 - 3, gaps 4 - 36 (3,600 s have twelve bits), hours 37 - 60.
    request = [2, 4 + 13, 37 + 3]
    wanted = expected(model, [2, 6, 4], (slots, numbers), request)
    np.testing.assert_allclose(found.user_vectors[0], wanted, rtol=1e-3, atol=1e-5)


def test_long_histories_keep_the_gap_to_a_click_that_is_cut(exported):
    model, servable = exported
    context = {
        "history_timestamps": [1, 2, 4, 8, 16],
        "history_device": [None, "tv", "tv", "phone", None],
        "request_timestamp": 0,
    }
    found = source_of(servable).compute([IDS[:5]], contexts=[context])
    slots = [[2, 4 + 3], [3, 4 + 4], [0, 4 + 5]]
    wanted = expected(model, [4, 5, 6], (slots, [[0, 1]] * 3), [0, 0, 0])
    np.testing.assert_allclose(found.user_vectors[0], wanted, rtol=1e-3, atol=1e-5)


def test_what_is_left_out_is_missing(exported):
    model, servable = exported
    source, histories = source_of(servable), [("i0", "i3"), ("i1",)]
    plain = source.compute(histories)
    np.testing.assert_allclose(plain.user_vectors[0], expected(model, [2, 5]), rtol=1e-3, atol=1e-5)
    nothing = source.compute(histories, contexts=[{"screen": ""}, None])
    np.testing.assert_allclose(nothing.user_vectors, plain.user_vectors, rtol=1e-4, atol=1e-6)
    one = source.compute(histories, contexts=[{"screen": "phone"}, None]).user_vectors
    np.testing.assert_allclose(one[1], plain.user_vectors[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        one[0], expected(model, [2, 5], request=[3, 0, 0]), rtol=1e-3, atol=1e-5
    )
    assert np.abs(one[0] - plain.user_vectors[0]).max() > 1e-3


def test_values_outside_of_the_vocabularies_are_counted(exported):
    histories = np.array([[b"i0", b"gone", b"i4"], [b"i1", b"", b""]], object)
    devices = np.array([[b"fridge", b"oven", b"tv"], [b"", b"", b""]], object)
    screens = np.array([b"watch", b"tv"], object)
    outputs = exported[1].predict(
        "with_context",
        {"history_item_ids": histories, "history_device": devices, "screen": screens},
    )
    # The oven is of no known click.
    assert outputs["num_unknown_values"].tolist() == [2, 0]
    device, paid, _ = outputs["click_value_counts"][0].tolist()
    assert (device, paid) == ([1, 1], [0, 0])
    assert outputs["request_value_counts"][:, 0].tolist() == [[0, 1], [1, 0]]


def test_empty_histories_and_examples(exported):
    model, servable = exported
    found = source_of(servable).compute([(), ("i2",)], contexts=[{"screen": "tv"}] * 2)
    np.testing.assert_allclose(
        found.user_vectors[1], expected(model, [4], request=[2, 0, 0]), rtol=1e-3, atol=1e-5
    )
    assert np.isfinite(found.user_vectors).all()
    features = {
        "history_item_ids": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"i2", b"i3"])),
        "history_device": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"tv", b"phone"])),
        "screen": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"tv"])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    serialized = np.array([example.SerializeToString()], object)
    outputs = servable.predict(EXAMPLE_SIGNATURE, {"examples": serialized})
    wanted = expected(model, [4, 5], ([[2, 0], [3, 0]], [[0, 1]] * 2), [2, 0, 0])
    np.testing.assert_allclose(outputs["user_vectors"][0], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (
            {"history_device": ["tv"]},
            r"`context.history_device` must be a list of as many values as the history has "
            r"clicks, 2, received 1: null where one is not known.",
        ),
        ({"history_paid": 3}, r"`context.history_paid` must be a list of as many values"),
        ({"history_paid": ["3", 1]}, r"`context.history_paid` must be a number, received '3'."),
        ({"device": "tv"}, r"`context` has 'device', .* It takes history_device, history_paid,"),
        ({"screen": "\ud800"}, r"`context.screen` is not valid Unicode\."),
        ({"screen": ["tv"]}, r"`context.screen` must be a text, received \['tv'\]"),
    ],
)
def test_mistakes_are_one_line(exported, context, text):
    with pytest.raises(InputError, match=text):
        source_of(exported[1]).compute([("i0", "i1")], contexts=[context])


def test_values_are_read_as_those_of_files_are(exported):
    """White space around names, truth values, and numbers that are names."""
    context = UserContext(exported[1].signature_defs["with_context"])
    inputs = context.build(
        [("i0", "i1", "i2"), ("i0",)],
        [
            {"history_device": [" tv ", True, 7], "history_paid": [True, False, 2]},
            {"screen": False},
        ],
    )
    assert inputs["history_device"].tolist() == [[b"tv", b"true", b"7"], [b"", b"", b""]]
    np.testing.assert_array_equal(inputs["history_paid"][0], [1, 0, 2])
    assert inputs["screen"].tolist() == [b"", b"false"]


@pytest.mark.parametrize("number", [10**400, 1e39, float("nan"), -float("inf")])
def test_numbers_beyond_all_bounds_are_refused(exported, number):
    context = UserContext(exported[1].signature_defs["with_context"])
    with pytest.raises(InputError, match=r"`context.history_paid` must be a number, received"):
        context.build([("i0",)], [{"history_paid": [number]}])
    with pytest.raises(InputError, match=r"`context.request_timestamp` must be whole seconds"):
        context.build([("i0",)], [{"request_timestamp": number}])


def test_the_warm_up_says_something_of_everything(exported, folder):
    """A known name, a number and a time in every row, as many as the history has clicks."""
    requests = warmup.read_requests(folder / "user_tower")
    found = [r.predict_log.request for r in requests]
    found = [r for r in found if r.model_spec.signature_name == "with_context"]
    assert len(found) == len(warmup_requests.BATCH_SIZES)
    for request, size in zip(found, warmup_requests.BATCH_SIZES, strict=True):
        values = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        assert set(values) == set(exported[1].signature_defs["with_context"].inputs)
        assert values["history_device"].tolist() == [[b"tv"] * 3] * size
        assert values["history_paid"].tolist() == [[1.0] * 3] * size
        assert values["screen"].tolist() == [b"tv"] * size
        assert (values["history_timestamps"] > 0).all()
        assert values["history_timestamps"].shape == (size, 3)
        assert values["request_timestamp"].shape == (size,)


def test_each_request_has_a_time_of_its_own(exported):
    """Whether others of a batch say when they were made changes nothing."""
    context = UserContext(exported[1].signature_defs["with_context"], clock=lambda: 1000.0)
    inputs = context.build(
        [("i0",), ("i0",), ("i0",), ("i0",)],
        [
            {"history_timestamps": [5]},
            {"history_timestamps": [5], "request_timestamp": 7},
            {"request_timestamp": 8},
            None,
        ],
    )
    assert inputs["request_timestamp"].tolist() == [1000, 7, 8, 0]
