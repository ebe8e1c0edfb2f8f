"""The exported item tower of a model with features: names, types, defaults, values."""

import numpy as np
import pytest

from serving.models.saved_model import SavedModelServable
from serving.protocol import warmup
from serving.protocol.status import ServingError
from serving.release import export
from tests.serving.feature_release import CONFIG, VOCABULARY, build_towers

NEW_ITEMS = "embed_new_items"


@pytest.fixture(scope="module", name="exported")
def _exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    user_tower, item_tower = build_towers()
    manifest = export.export_towers(user_tower, item_tower, VOCABULARY, CONFIG, folder)
    return SavedModelServable("item_tower", 1, folder / "item_tower"), item_tower, manifest


def raw(rows):
    """Values of items as a caller sends them."""
    parts = [VOCABULARY.features.slice(row, row + 1) for row in rows]
    width = max(part["categories"].shape[1] for part in parts)
    filled = []
    for part in parts:
        missing = width - part["categories"].shape[1]
        padding = np.full([1, missing], b"", object)
        filled.append({**part, "categories": np.hstack([part["categories"], padding])})
    return {name: np.concatenate([part[name] for part in filled]) for name in filled[0]}


def test_the_signature_has_all_features_by_name_and_each_may_be_left_out(exported):
    signature = exported[0].signature_defs[NEW_ITEMS]

    shapes = {n: [d.size for d in i.tensor_shape.dim] for n, i in signature.inputs.items()}
    assert shapes == {
        "item_ids": [-1],
        "categories": [-1, -1],
        "brand": [-1],
        "price": [-1],
        "image": [-1, 2],
        "title_words": [-1],
    }
    assert sorted(signature.defaults) == sorted(shapes)
    assert sorted(signature.outputs) == [
        "fingerprint",
        "is_known",
        "item_vectors",
        "num_known",
        "num_unknown",
        "value_counts",
    ]
    assert sorted(exported[0].signature_defs["serving_default"].inputs) == ["item_ids"]


def test_known_ids_alone_and_with_their_own_features_are_the_tower_s(exported):
    servable, item_tower, _ = exported
    ids = np.array([b"i0", b"i5", b"i11"], object)
    expected = item_tower(np.array([2, 7, 13])).numpy()

    by_id = servable.predict("", {"item_ids": ids})
    alone = servable.predict(NEW_ITEMS, {"item_ids": ids})
    with_features = servable.predict(NEW_ITEMS, {"item_ids": ids, **raw([0, 5, 11])})
    for found in (by_id, alone, with_features):
        np.testing.assert_allclose(found["item_vectors"], expected, rtol=1e-4, atol=1e-5)
        assert found["is_known"].tolist() == [True] * 3
    assert alone["num_known"].tolist() == [0] * 3
    # i5 has two categories, i0 and... each: brand, price, image, five words and pairs.
    assert with_features["num_known"].tolist() == [1 + 3 + 5, 2 + 3 + 5, 2 + 3 + 5]


def test_a_new_item_is_what_its_features_say(exported):
    servable, item_tower, _ = exported
    given = raw([4])
    found = servable.predict(NEW_ITEMS, {"item_ids": np.array([b"new"], object), **given})
    expected = item_tower.call_features(item_tower.encoded_of(np.array([6])))

    np.testing.assert_allclose(found["item_vectors"], expected, rtol=1e-4, atol=1e-5)
    assert not found["is_known"][0]
    without_id = servable.predict(NEW_ITEMS, given)
    np.testing.assert_array_equal(without_id["item_vectors"], found["item_vectors"])
    # An item of the file that nobody clicked is just that.
    cold = servable.predict("", {"item_ids": np.array([b"i11"], object)})["item_vectors"]
    same = servable.predict(NEW_ITEMS, raw([11]))["item_vectors"]
    np.testing.assert_allclose(same, cold, rtol=1e-4, atol=1e-5)


def test_one_given_feature_changes_that_one_alone(exported):
    servable, item_tower, _ = exported
    inputs = {"item_ids": np.array([b"i4"], object), "price": np.array([9.0], np.float32)}
    found = servable.predict(NEW_ITEMS, inputs)["item_vectors"]
    known = item_tower.encoded_of(np.array([6]))
    numbers = known.numbers.numpy()
    price = VOCABULARY.features.columns[2]
    numbers[0, 0] = (9.0 - price.mean) / price.stddev
    expected = item_tower.call_features(known._replace(numbers=numbers), np.array([6]))

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_unknown_values_are_counted(exported):
    inputs = {
        "brand": np.array([b"acme", b"nobody's", b""], object),
        "categories": np.array([[b"pink", b"red"], [b"grey", b""], [b"", b""]], object),
    }
    found = exported[0].predict(NEW_ITEMS, inputs)
    assert found["num_known"].tolist() == [2, 0, 0]
    assert found["num_unknown"].tolist() == [1, 2, 0]
    # Of the columns in their order, the first two are the categories and the brand.
    counts = found["value_counts"]
    assert counts[:, 0].tolist() == [[1, 1], [0, 1], [0, 0]]
    assert counts[:, 1].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert not counts[:, 2:].any()


def test_inputs_of_different_rows_are_refused(exported):
    inputs = {"brand": np.array([b"a"], object), "price": np.array([1, 2, 3], np.float32)}
    with pytest.raises(ServingError, match="has not as many rows as other inputs"):
        exported[0].predict(NEW_ITEMS, inputs)
    with pytest.raises(ServingError, match=r"\[-1, 2\]"):
        exported[0].predict(NEW_ITEMS, {"image": np.zeros([1, 3], np.float32)})


def test_the_manifest_tells_what_is_declared_and_the_warm_up_uses_it(exported):
    servable, _, manifest = exported
    assert manifest["features"] == [c.to_dict() for c in CONFIG.features.columns]
    assert manifest["max_unknown_share"] == 0.25
    records = warmup.read_requests(servable._dir)
    names = [record.predict_log.request.model_spec.signature_name for record in records]
    assert names.count(NEW_ITEMS) == 3
    servable.warm_up()
