"""Tensors of any kind: what does not fit is the caller's error, nothing else."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from recall.errors import InputError
from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from serving.protocol.status import Code, ServingError
from serving.protocol.tensors import numpy_dtype, to_numpy
from serving.retrieval.service import RecallService
from serving.servables import recall_rows
from serving.servables.recall_servable import RecallServable
from tests.serving.grpc_requests import build_request
from tests.serving.recall_reference import Shop

SHOP = Shop(60)
SERVABLE = RecallServable(RecallService(SHOP, SHOP.catalogue()), 8)

TEXTS = st.sampled_from([b"", b"n1", b"n2", b"n59", b"half", b"quota", b"unheard", b"\xff", b"n\0"])
NUMBERS = {
    "f": st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e38, float("nan"), float("inf")]),
    "i": st.integers(-2, 9) | st.sampled_from([2**31 - 1, -(2**31)]),
    "b": st.booleans(),
}


@st.composite
def tensors_of(draw, spec):
    """A tensor of the right type and of a shape that is mostly right."""
    shape = [draw(st.integers(0, 3)) for _ in spec.shape or range(draw(st.integers(0, 1)))]
    if spec.field.name == "user_vectors" and draw(st.integers(0, 3)):
        shape[2] = 4
    size = int(np.prod(shape))
    dtype = numpy_dtype(spec.dtype)
    elements = TEXTS if dtype.kind == "O" else NUMBERS[dtype.kind]
    values = draw(st.lists(elements, min_size=size, max_size=size))
    array = np.empty(size, dtype=dtype)
    array[:] = values
    return array.reshape(shape)


@pytest.mark.parametrize("signature_name", recall_tensors.INPUTS)
def test_any_tensors(signature_name):
    specs = recall_tensors.INPUTS[signature_name]
    subject = recall_tensors.subject_input(signature_name)
    answers = []

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def check(data):
        names = data.draw(st.sets(st.sampled_from(sorted(specs)), max_size=4)) | {subject}
        inputs = {name: data.draw(tensors_of(specs[name]), label=name) for name in sorted(names)}
        try:
            outputs = SERVABLE.predict(signature_name, inputs)
        except InputError:
            return
        except ServingError as error:
            if error.code not in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION):
                raise
            return
        answers.append(outputs)
        assert {len(array) for array in outputs.values()} == {len(inputs[subject])}
        assert np.isfinite(outputs["scores"]).all()

    check()
    assert len(answers) > 20


def test_inputs_built_from_a_request_are_parsed_back():
    request = RecallRequest(
        user_vectors=np.ones((2, 4), np.float32),
        fingerprint="f",
        k=7,
        exclude=("a", "b"),
        allow=("é",),
        deny=("c",),
        categories=("x", "y"),
        exclude_categories=("z",),
        max_per_category=3,
        interest_weights=(0.5, 2.0),
        merge="quota",
        diversity_weight=0.25,
        leaves_to_search=4,
        reorder=5,
        exact=True,
        with_metadata=True,
        with_interests=True,
    )
    name, inputs = recall_tensors.build_recall_inputs(request)
    message = build_request("recall", inputs)
    arrays = {key: to_numpy(proto) for key, proto in message.inputs.items()}
    (parsed,) = recall_rows.parse_requests(name, arrays, 10)
    for spec in recall_tensors.INPUTS[name].values():
        field = spec.field.name
        np.testing.assert_array_equal(getattr(parsed, field), getattr(request, field))


def test_one_row_for_a_batch_is_one_row_for_each():
    histories = np.array([[b"n1"], [b"n2"], [b"n3"]], object)
    one = {"history_item_ids": histories, "deny_item_ids": np.array([[b"n10", b"n37"]], object)}
    each = {**one, "deny_item_ids": np.repeat(one["deny_item_ids"], 3, axis=0)}
    none = {**one, "deny_item_ids": np.empty((0, 0), object)}
    first, second = SERVABLE.predict("", one), SERVABLE.predict("", each)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert not np.isin([b"n10", b"n37"], first["item_ids"]).any()
    assert np.isin([b"n10", b"n37"], SERVABLE.predict("", none)["item_ids"]).any()


def test_titles_and_categories_are_sent_to_who_asks():
    histories = {"history_item_ids": np.array([[b"n1"], [b"n2"]], object)}
    plain = SERVABLE.predict("", {**histories, "k": np.array(3, np.int32)})
    assert not {"titles", "categories"} & plain.keys()
    asked = {**histories, "k": np.array(3, np.int32), "with_metadata": np.array([False, True])}
    outputs = SERVABLE.predict("", asked)
    assert outputs.keys() == plain.keys() | {"titles", "categories"}
    for name, array in plain.items():
        np.testing.assert_array_equal(outputs[name], array)
    assert outputs["titles"].tolist() == [[b""] * 3] * 2  # The shop has no titles.
    assert (outputs["categories"][0] == b"").all()
    for item_id, names in zip(outputs["item_ids"][1], outputs["categories"][1], strict=True):
        expected = SHOP.categories[SHOP.row_of(item_id.decode())]
        assert [name.decode() for name in names if name] == list(expected)
    filtered = SERVABLE.predict("", {**asked, "with_metadata": np.array(False)}, ["titles"])
    assert {name: array.tolist() for name, array in filtered.items()} == {"titles": [[b""] * 3] * 2}


def test_weights_of_the_interests_are_sent_to_who_asks():
    histories = {"history_item_ids": np.array([[b"n1"], [b"n2"], [b"unheard"]], object)}
    plain = SERVABLE.predict("", histories)
    assert "interest_weights" not in plain
    asked = {**histories, "with_interests": np.array([False, True, True])}
    outputs = SERVABLE.predict("", asked)
    assert outputs.keys() == plain.keys() | {"interest_weights"}
    # As `Shop` has them; nothing is known of the last history.
    assert outputs["interest_weights"].tolist() == [[0.0] * 3, [0.5, 0.25, 0.25], [0.0] * 3]
    filtered = SERVABLE.predict("", histories, ["interest_weights"])
    assert {name: array.shape for name, array in filtered.items()} == {"interest_weights": (3, 0)}


def test_names_of_no_category_are_sent_where_there_are_any():
    histories = {"history_item_ids": np.array([[b"n1"], [b"n2"]], object)}
    known = {**histories, "categories": np.array([[b"half"]], object)}
    assert "unknown_categories" not in SERVABLE.predict("", known)
    names = np.array([[b"half", b"Half", b"x", b"x"], [b"half", b"", b"", b""]], object)
    outputs = SERVABLE.predict("", {**histories, "exclude_categories": names})
    assert outputs["unknown_categories"].tolist() == [[b"Half", b"x"], [b"", b""]]
    filtered = SERVABLE.predict("", known, ["unknown_categories"])
    assert {name: array.shape for name, array in filtered.items()} == {"unknown_categories": (2, 0)}


def test_vectors_of_items():
    item_ids = np.array([b"n2", b"unheard", b"", b"n2"], object)
    outputs = SERVABLE.predict("item_vectors", {"item_ids": item_ids})
    np.testing.assert_array_equal(outputs["is_known"], [True, False, False, True])
    nothing = np.zeros(4, np.float32)
    expected = [SHOP.vectors[2], nothing, nothing, SHOP.vectors[2]]
    np.testing.assert_array_equal(outputs["item_vectors"], expected)
    assert outputs["fingerprint"].tolist() == [b"f"] * 4
    with pytest.raises(ServingError, match="item_ids holds a text that is not valid UTF-8"):
        SERVABLE.predict("item_vectors", {"item_ids": np.array([b"\xff"], object)})
