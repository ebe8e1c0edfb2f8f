"""The exported SavedModels against the towers they were made from."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from recall.config import RecallConfig
from recall.item_tower import ItemTower
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.protocol import warmup
from serving.release import export, manifest

LENGTH, INTERESTS, DIM = 4, 3, 8
ITEM_IDS = ["7", "12", "tab\tid", " space ", "ünï", "0", "-1", "[UNK]", "a,b", "\u2028"]
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "num_interests": INTERESTS,
            "dim": DIM,
            "max_history_length": LENGTH,
            "num_blocks": 1,
            "num_heads": 2,
            "feed_forward_dim": 8,
        }
    }
)


def make_towers(config=CONFIG, item_ids=ITEM_IDS):
    tf.keras.utils.set_random_seed(3)
    vocabulary = ItemVocabulary(item_ids)
    item_tower = ItemTower(config.model, vocabulary)
    return UserTower(config.model, item_tower), item_tower, vocabulary


@pytest.fixture(scope="module")
def towers():
    return make_towers()


@pytest.fixture(scope="module")
def user_vectors_of(towers):
    """Dense histories -> user vectors of the tower in memory, traced once: it is called often."""
    signature = [tf.TensorSpec([None, None], tf.int64)]
    return tf.function(lambda history_ids: towers[0](history_ids).user_vectors, signature)


@pytest.fixture(scope="module")
def export_dir(towers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export.export_towers(*towers, CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def user_model(export_dir):
    return tf.saved_model.load(str(export_dir / "user_tower"))


@pytest.fixture(scope="module")
def item_model(export_dir):
    return tf.saved_model.load(str(export_dir / "item_tower"))


def embed(user_model, histories):
    """Outputs for a batch of raw histories padded by hand to one width."""
    signature = user_model.signatures["serving_default"]
    outputs = signature(history_item_ids=tf.constant(histories, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}


def example(feature, values):
    encoded = tf.train.BytesList(value=[value.encode() for value in values])
    features = tf.train.Features(feature={feature: tf.train.Feature(bytes_list=encoded)})
    return tf.train.Example(features=features).SerializeToString()


def dense(raw_ids):
    """Dense ids by the rule of the vocabulary: row + 2."""
    return [ITEM_IDS.index(raw) + 2 for raw in raw_ids]


class TestSignatures:
    """Clients rely on these; a change here is a change of the published API."""

    def described(self, model):
        described = {}
        for name, function in model.signatures.items():
            inputs = function.structured_input_signature[1]
            described[name] = [
                {k: (v.dtype.name, v.shape.as_list()) for k, v in specs.items()}
                for specs in (inputs, function.structured_outputs)
            ]
        return described

    def test_user_tower(self, user_model):
        outputs = {
            "user_vectors": ("float32", [None, INTERESTS, DIM]),
            "interest_weights": ("float32", [None, INTERESTS]),
            "num_known": ("int32", [None]),
            "num_unknown": ("int32", [None]),
            "fingerprint": ("string", [None]),
        }
        assert self.described(user_model) == {
            "serving_default": [{"history_item_ids": ("string", [None, None])}, outputs],
            "serving_tf_example": [{"examples": ("string", [None])}, outputs],
        }

    def test_item_tower(self, item_model):
        outputs = {
            "item_vectors": ("float32", [None, DIM]),
            "is_known": ("bool", [None]),
            "fingerprint": ("string", [None]),
        }
        assert self.described(item_model) == {
            "serving_default": [{"item_ids": ("string", [None])}, outputs],
            "serving_tf_example": [{"examples": ("string", [None])}, outputs],
        }


class TestUserTower:
    def test_equals_the_tower_in_memory(self, towers, user_model):
        outputs = embed(user_model, [["7", "ünï", "a,b"], ["\u2028", "", ""]])
        expected = towers[0](tf.constant([[2, 6, 10], [11, 0, 0]], tf.int64))
        np.testing.assert_allclose(outputs["user_vectors"], expected.user_vectors, atol=1e-6)
        np.testing.assert_allclose(
            outputs["interest_weights"], expected.interest_weights, atol=1e-6
        )

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.lists(st.sampled_from([*ITEM_IDS, "", "zebra"]) | st.text(max_size=3), max_size=9),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_history(self, user_vectors_of, user_model, histories):
        width = max(len(history) for history in histories)
        encoded = [[h.encode("utf-8", "replace") for h in row] for row in histories]
        padded = np.full((len(histories), width), b"", object)
        for row, history in enumerate(encoded):
            padded[row, : len(history)] = history
        outputs = embed(user_model, padded)
        for row, history in enumerate(histories):
            known = [raw for raw in history if raw in ITEM_IDS]
            assert outputs["num_known"][row] == len(known)
            assert outputs["num_unknown"][row] == len([h for h in history if h]) - len(known)
            if known:
                expected = user_vectors_of(tf.constant([dense(known[-LENGTH:])], tf.int64))
                np.testing.assert_allclose(outputs["user_vectors"][row], expected[0], atol=1e-5)

    @pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0), (2, 1)])
    def test_nothing_known(self, user_model, shape):
        outputs = embed(user_model, np.full(shape, "", object))
        assert outputs["user_vectors"].shape == (shape[0], INTERESTS, DIM)
        assert np.isfinite(outputs["user_vectors"]).all()
        assert outputs["num_known"].tolist() == [0] * shape[0]
        assert outputs["fingerprint"].shape == (shape[0],)

    def test_examples_equal_columns(self, user_model):
        histories = [["7", "zebra", "12"], [], ["0", "0", "0", "0", "-1", "[UNK]"]]
        columns = embed(user_model, [history + [""] * (6 - len(history)) for history in histories])
        examples = [example("history_item_ids", history) for history in histories]
        examples[1] = b""  # No feature at all.
        outputs = user_model.signatures["serving_tf_example"](examples=tf.constant(examples))
        for name, expected in columns.items():
            if expected.dtype == np.float32:
                np.testing.assert_allclose(outputs[name], expected, atol=1e-6)
            else:
                np.testing.assert_array_equal(outputs[name], expected)

    def test_same_answer_every_time(self, user_model):
        first, second = (embed(user_model, [["7", "12", "0"]]) for _ in range(2))
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name])


class TestItemTower:
    def test_equals_the_tower_in_memory(self, towers, item_model):
        raw_ids = [*ITEM_IDS, "zebra", ""]
        outputs = item_model.signatures["serving_default"](item_ids=tf.constant(raw_ids))
        expected = towers[1](tf.constant([*range(2, 12), 1, 1], tf.int64))
        np.testing.assert_allclose(outputs["item_vectors"], expected, atol=1e-6)
        assert outputs["is_known"].numpy().tolist() == [True] * 10 + [False] * 2

    def test_examples_equal_columns(self, item_model):
        examples = [example("item_id", ["12"]), example("item_id", ["zebra"]), b""]
        outputs = item_model.signatures["serving_tf_example"](examples=tf.constant(examples))
        columns = item_model.signatures["serving_default"](
            item_ids=tf.constant(["12", "zebra", ""])
        )
        np.testing.assert_allclose(outputs["item_vectors"], columns["item_vectors"], atol=1e-6)
        assert outputs["is_known"].numpy().tolist() == [True, False, False]

    def test_no_items(self, item_model):
        outputs = item_model.signatures["serving_default"](item_ids=tf.constant([], tf.string))
        assert outputs["item_vectors"].shape == (0, DIM)


def op_names(model):
    names = set()
    for function in model.signatures.values():
        graph = function.graph.as_graph_def()
        names |= {node.op for node in graph.node}
        names |= {node.op for body in graph.library.function for node in body.node_def}
    return names


def test_only_standard_ops(user_model, item_model):
    # `tf.raw_ops` holds the ops of the TensorFlow runtime, none of a loaded library.
    names = op_names(user_model) | op_names(item_model)
    assert "LookupTableFindV2" in names
    assert [name for name in names if name not in dir(tf.raw_ops)] == []
    assert not {name for name in names if "PyFunc" in name}


@pytest.mark.parametrize("tower", ["user_tower", "item_tower"])
def test_every_warmup_record_runs(export_dir, user_model, item_model, tower):
    model = {"user_tower": user_model, "item_tower": item_model}[tower]
    records = warmup.read_requests(export_dir / tower)
    assert 0 < len(records) <= 1000
    seen = set()
    for record in records:
        request = record.predict_log.request
        assert request.model_spec.name == tower
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        outputs = model.signatures[request.model_spec.signature_name](**inputs)
        known = outputs["num_known"] if tower == "user_tower" else outputs["is_known"]
        assert np.all(known.numpy())
        seen.add((request.model_spec.signature_name, known.shape[0]))
    assert seen == {(s, b) for s in ("serving_default", "serving_tf_example") for b in (1, 8, 32)}


def test_manifest(export_dir, user_model):
    values = manifest.read(export_dir)
    manifest.verify(export_dir, values)
    fingerprint = values["fingerprint"]
    assert len(fingerprint) == 16
    assert int(fingerprint, 16) >= 0
    assert embed(user_model, [["7"], [""]])["fingerprint"].tolist() == [fingerprint.encode()] * 2
    described = {k: values[k] for k in ("dim", "num_interests", "max_history_length", "num_items")}
    assert described == {"dim": 8, "num_interests": 3, "max_history_length": 4, "num_items": 10}
    assert values["similarity"] == "cosine"


def test_vocabulary_is_an_asset(export_dir):
    assert sorted(path.name for path in export_dir.iterdir()) == [
        "item_tower",
        "manifest.json",
        "user_tower",
    ]
    for tower in ("user_tower", "item_tower"):
        assert [path.name for path in (export_dir / tower / "assets").iterdir()] == [
            "vocabulary.txt"
        ]


FRESH_PROCESS = """
import sys
import numpy as np, tensorflow as tf
user, item = (tf.saved_model.load(f"{sys.argv[1]}/{t}") for t in ("user_tower", "item_tower"))
np.savez(
    sys.argv[2],
    users=user.signatures["serving_default"](history_item_ids=tf.constant(
        [["12", "a,b"], ["0", ""]]))["user_vectors"],
    items=item.signatures["serving_default"](item_ids=tf.constant(["12", "0"]))["item_vectors"],
)
assert "recall" not in sys.modules
"""


def test_same_vectors_in_a_fresh_process(towers, export_dir, tmp_path):
    # A moved copy, so that nothing can be read from where the export was made.
    moved = tmp_path / "moved"
    subprocess.run(["cp", "-r", str(export_dir), str(moved)], check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(moved), str(tmp_path / "out.npz")],
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    fresh = np.load(tmp_path / "out.npz")
    users = towers[0](tf.constant([[3, 10], [7, 0]], tf.int64)).user_vectors
    np.testing.assert_allclose(fresh["users"], users, atol=1e-6)
    np.testing.assert_allclose(fresh["items"], towers[1](tf.constant([3, 7], tf.int64)), atol=1e-6)


class TestFingerprint:
    def test_same_towers_same_fingerprint(self, towers):
        fingerprints = {export.compute_fingerprint(*towers, CONFIG) for _ in range(2)}
        assert len(fingerprints) == 1

    def test_any_change_changes_it(self):
        user_tower, item_tower, vocabulary = make_towers()
        user_tower(tf.constant([[2]], tf.int64))
        before = export.compute_fingerprint(user_tower, item_tower, vocabulary, CONFIG)
        renamed = ItemVocabulary(["renamed", *ITEM_IDS[1:]])
        assert export.compute_fingerprint(user_tower, item_tower, renamed, CONFIG) != before
        for weight in (user_tower.weights[-1], item_tower.weights[0]):
            original = weight.numpy()
            changed = original.copy()
            changed.flat[0] += 1e-3
            weight.assign(changed)
            assert export.compute_fingerprint(user_tower, item_tower, vocabulary, CONFIG) != before
            weight.assign(original)
        assert export.compute_fingerprint(user_tower, item_tower, vocabulary, CONFIG) == before
