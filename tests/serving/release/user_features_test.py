"""A user tower with features of users: exported, served, asked for users without clicks."""

import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.item_features import ItemFeatures
from recall.models.dssrec import DSSRec
from recall.towers import KnownBeside
from recall.vocabulary import ItemVocabulary
from serving.api.recall_json import parse_request, request_to_json
from serving.api.recall_request import RecallRequest
from serving.api.recall_tensors import build_recall_inputs
from serving.models.saved_model import SavedModelServable
from serving.protocol.status import ServingError
from serving.release.export import export_towers
from serving.servables.recall_rows import parse_requests
from serving.servables.towers import PredictUserVectors

COLUMNS = [
    {"name": "country", "owner": "user", "kind": "categorical", "min_count": 1},
    {"name": "tags", "owner": "user", "kind": "categorical", "max_values": 3, "min_count": 1},
    {"name": "age", "owner": "user", "kind": "numeric"},
]
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=4",
        "features.hidden_dim=8",
        "features.embedding_dim=4",
        f"features.columns={json.dumps(COLUMNS)}",
    ]
)
USERS = pa.table(
    {
        "country": [["NL"], ["DE"], []],
        "tags": [["x", "y"], [], ["y"]],
        "age": pa.array([20.0, 40.0, None], pa.float32()),
    }
)
IDS = [f"i{n}" for n in range(9)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    tf.keras.utils.set_random_seed(2)
    users = ItemFeatures.fit(CONFIG.features.of("user"), USERS, np.ones(3))
    vocabulary = ItemVocabulary(IDS).with_users(users)
    model = DSSRec(CONFIG, vocabulary)
    model(np.array([[2]]))
    rng = np.random.default_rng(1)
    for weight in model.user_tower.user_features.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    folder = tmp_path_factory.mktemp("export")
    export_towers(model.user_tower, model.item_tower, vocabulary.without_examples(), CONFIG, folder)
    servable = SavedModelServable("user_tower", 1, folder / "user_tower")
    servable.warm_up()
    return model, servable


def expected(model, history_ids, row):
    """Vectors of a history behind the slot that is no click, of a row of `USERS` from 1."""
    ids = np.array([[1, *history_ids]])
    users = tf.fill(ids.shape, row)
    return model.user_tower(ids, known=KnownBeside(users=users)).user_vectors[0]


def source_of(servable):
    return PredictUserVectors(servable.predict_default, 1, servable)


def test_known_users_and_their_values_are_alike(exported):
    model, _ = exported
    encoded = model.user_tower.user_features.encoder.encode_items(
        ItemFeatures.fit(CONFIG.features.of("user"), USERS, np.ones(3))
    )
    by_value = model.user_tower(
        np.array([[1, 2]] * 3), known=KnownBeside(users=Encoded(*map(tf.constant, encoded)))
    ).user_vectors
    for row in (1, 2, 3):
        np.testing.assert_allclose(by_value[row - 1], expected(model, [2], row), atol=1e-5)


def test_contexts_are_values_of_the_users(exported):
    model, servable = exported
    contexts = [
        {"country": "NL", "tags": ["x", "y"], "age": 20},
        {"country": "DE", "age": 40.0},
        {"tags": "y"},
        None,
    ]
    histories = [("i0", "i3"), (), ("i1", "gone"), ("i2",)]
    found = source_of(servable).compute(histories, contexts=contexts)
    for row, ids in ((1, [2, 5]), (2, []), (3, [3])):
        np.testing.assert_allclose(
            found.user_vectors[row - 1], expected(model, ids, row), rtol=1e-3, atol=1e-5
        )
    np.testing.assert_allclose(found.user_vectors[3], expected(model, [4], 0), rtol=1e-3, atol=1e-5)
    assert found.is_of_somebody.tolist() == [True, True, True, True]
    assert found.num_known_values.tolist() == [4, 2, 1, 0]


def test_without_contexts_and_of_nobody(exported):
    model, servable = exported
    found = source_of(servable).compute([("i0",), ()])
    np.testing.assert_allclose(found.user_vectors[0], expected(model, [2], 0), rtol=1e-3, atol=1e-5)
    assert found.is_of_somebody.tolist() == [True, False]
    unknown = source_of(servable).compute([()], contexts=[{"country": "XX"}])
    assert unknown.is_of_somebody.tolist() == [False]


def test_long_histories_lose_the_first_slot(exported):
    model, servable = exported
    found = source_of(servable).compute([IDS[:6]], contexts=[{"country": "NL"}])
    encoder = model.user_tower.user_features.encoder
    inputs = {"country": ["NL"], "tags": np.zeros([1, 0], str), "age": [np.nan]}
    inputs = {n: tf.constant(v, encoder.input_specs()[n].dtype) for n, v in inputs.items()}
    users = encoder(inputs).encoded
    wanted = model.user_tower(np.array([[4, 5, 6, 7]]), known=KnownBeside(users=users)).user_vectors
    np.testing.assert_allclose(found.user_vectors, wanted, rtol=1e-3, atol=1e-5)


def test_unknown_values_are_counted(exported):
    _, servable = exported
    found = servable.predict(
        "with_context",
        {
            "history_item_ids": np.array([[b"i0"]] * 2, object),
            "country": np.array([b"XX", b"NL"], object),
            "tags": np.array([[b"x", b"q"], [b"", b""]], object),
        },
    )
    assert found["num_unknown_values"].tolist() == [2, 0]
    assert found["num_known_values"].tolist() == [1, 1]
    by_feature = found["value_counts"]
    assert by_feature.shape == (2, 3, 2)
    assert by_feature.sum(axis=1).tolist() == [[1, 2], [1, 0]]


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"shoe": 1}, "`context` has 'shoe', which this release does not take. It takes age"),
        ({"age": "old"}, "`context.age` must be a number, received 'old'"),
        ({"country": 1.5}, "`context.country` must be a text"),
        ({"history_timestamps": [1]}, "must be a list of as many times as the history has clicks"),
    ],
)
def test_contexts_that_do_not_fit(exported, context, message):
    with pytest.raises(InputError, match=message):
        source_of(exported[1]).compute([("i0", "i1")], contexts=[context])


def test_times_are_taken_by_a_release_that_does_not_look_at_them(exported):
    source = source_of(exported[1])
    with_times = source.compute([("i0",)], contexts=[{"history_timestamps": [5]}])
    np.testing.assert_array_equal(with_times.user_vectors, source.compute([("i0",)]).user_vectors)


def test_requests_carry_contexts_through_both_doors():
    context = {"country": "NL", "tags": ["x"], "age": 20}
    request = RecallRequest(history=("i0",), context=context)
    document = json.loads(json.dumps(request_to_json(request)))
    assert parse_request(document).context == context
    name, inputs = build_recall_inputs(request)
    assert json.loads(inputs["context"].values[0]) == context
    arrays = {
        "history_item_ids": np.array([[b"i0"], [b"i1"]], object),
        "context": np.array([json.dumps(context).encode(), b""], object),
    }
    one, other = parse_requests(name, arrays, 8)
    assert (one.context, other.context) == (context, None)
    with pytest.raises(ServingError, match="`context` is not valid JSON"):
        parse_requests(name, arrays | {"context": np.array([b"{", b""], object)}, 8)
    for field, text in (
        ("context", rb'{"country": "\ud800"}'),  # Half a pair, which UTF-8 cannot hold.
        ("where", rb'{"shop": ["\ud83d"]}'),
    ):
        with pytest.raises(ServingError, match=f"`{field}` is not valid JSON: .*surrogates"):
            parse_requests(name, arrays | {field: np.array([text, b""], object)}, 8)
    whole = arrays | {"context": np.array([rb'{"country": "\ud83d\ude00"}', b""], object)}
    assert parse_requests(name, whole, 8)[0].context == {"country": "\N{GRINNING FACE}"}
    with pytest.raises(ServingError, match="`context` must be an object"):
        parse_request({"history": [], "context": ["NL"]})
