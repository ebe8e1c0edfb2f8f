import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.protocol import json_arrays
from serving.protocol.call import Call, answering
from serving.protocol.json_answers import encode_json
from serving.protocol.json_document import MAX_DEPTH, MAX_VALUES, parse_json, show
from serving.protocol.json_outputs import build_answer, flatten
from serving.protocol.json_tensors import parse_inputs
from serving.protocol.status import Code, ServingError
from serving.protocol.tensors import fill_proto


def _signature(defaults=None, **inputs):
    signature = meta_graph_pb2.SignatureDef()
    for name, dtype in inputs.items():
        signature.inputs[name].dtype = dtype
    for name, value in (defaults or {}).items():
        fill_proto(signature.defaults[name], value)
    return signature


_ONE = _signature(x=types_pb2.DT_FLOAT)
_TWO = _signature(x=types_pb2.DT_FLOAT, y=types_pb2.DT_STRING)


def _parse(document, signature):
    arrays, row_form, _ = parse_inputs(parse_json(json.dumps(document).encode()), signature)
    return {name: array.tolist() for name, array in arrays.items()}, row_form


def _error(function, *arguments):
    with pytest.raises(ServingError) as caught:
        function(*arguments)
    assert caught.value.code == Code.INVALID_ARGUMENT
    return caught.value.message


def test_row_form():
    assert _parse({"instances": [[1, 2.5], [3, 4]]}, _ONE) == ({"x": [[1, 2.5], [3, 4]]}, True)
    assert _parse({"instances": [1, 2]}, _ONE) == ({"x": [1, 2]}, True)
    rows = {"instances": [{"x": 1, "y": "a"}, {"x": 2, "y": {"b64": "/w=="}}]}
    assert _parse(rows, _TWO) == ({"x": [1, 2], "y": [b"a", b"\xff"]}, True)
    bytes_only = _signature(image_bytes=types_pb2.DT_STRING)
    assert _parse({"instances": [{"b64": "YQ=="}]}, bytes_only) == ({"image_bytes": [b"a"]}, True)


def test_column_form():
    assert _parse({"inputs": [[1, 2]]}, _ONE) == ({"x": [[1, 2]]}, False)
    assert _parse({"inputs": 7}, _ONE) == ({"x": 7}, False)
    assert _parse({"inputs": {}}, _signature()) == ({}, False)
    columns = {"inputs": {"x": [1, 2], "y": ["a", "ä"]}}
    assert _parse(columns, _TWO) == ({"x": [1, 2], "y": [b"a", "ä".encode()]}, False)


def test_inputs_with_a_default_may_be_left_out():
    signature = _signature({"y": np.array(["d"])}, x=types_pb2.DT_FLOAT, y=types_pb2.DT_STRING)
    assert _parse({"instances": [1]}, signature) == ({"x": [1]}, True)
    assert _parse({"instances": [{"x": 1}]}, signature) == ({"x": [1]}, True)
    assert _parse({"inputs": {"x": [1]}}, signature) == ({"x": [1]}, False)
    assert "keys must be equal to" in _error(
        _parse, {"instances": [{"x": 1}, {"x": 1, "y": "a"}]}, signature
    )


def test_not_a_number_and_infinities():
    document = parse_json(b'{"inputs": [NaN, Infinity, -Infinity]}')
    arrays = parse_inputs(document, _ONE).arrays
    np.testing.assert_array_equal(arrays["x"], np.array([np.nan, np.inf, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [1], "instances": [1]}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [[1, 2], [3]]}, "Encountered list at unexpected size: 1"),
        ({"instances": [[1], 2]}, "found at incorrect level"),
        ({"instances": [1, [2]]}, "Encountered list at unexpected level"),
        ({"instances": [1, {"x": 2}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"x": 2}, 1]}, "Expecting object but got list at item 1"),
        ({"instances": [{"z": 2}]}, "keys must be equal to: x"),
        ({"inputs": {"z": 1}}, "Missing named input: x"),
        ({"inputs": {"x": 1, "z": 1}}, "does not have named input: z"),
        ({"inputs": ["a"]}, 'JSON Value: "a" Type: String is not of expected type: float'),
        ({"inputs": [True]}, "Type: True"),
        ({"inputs": [None]}, "Type: Null"),
        ({"inputs": [1e39]}, "not of expected type: float"),
        ({"inputs": [2**24 + 1]}, "not of expected type: float"),
    ],
)
def test_errors(document, text):
    assert text in _error(_parse, document, _ONE)


def test_errors_of_several_inputs():
    assert "expecting list of objects" in _error(_parse, {"instances": [1]}, _TWO)
    assert "expecting an object" in _error(_parse, {"inputs": [1]}, _TWO)
    assert "Unable to base64 decode" in _error(
        _parse, {"inputs": {"x": 1, "y": {"b64": "!"}}}, _TWO
    )


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (types_pb2.DT_INT32, 2**31),
        (types_pb2.DT_INT32, 1.0),
        (types_pb2.DT_UINT8, -1),
        (types_pb2.DT_INT64, 2**63),
        (types_pb2.DT_BOOL, 1),
        (types_pb2.DT_STRING, 1),
    ],
)
def test_values_of_a_wrong_type(dtype, value):
    assert "not of expected type" in _error(_parse, {"inputs": [value]}, _signature(x=dtype))


def test_depth_limit():
    def nested(depth):
        return b'{"inputs":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert parse_json(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 1000, 200_000):
        assert "nested deeper than" in _error(parse_json, nested(depth))
    assert "nested deeper than" in _error(parse_json, b'{"a":' * 100_000)
    assert parse_json(b'{"a": "' + b"[" * 1000 + b'\\"[[", "b": []}')


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"[1]", b"1", b"{'a': 1}", b'{"a": "\\ud800"}', b'{"a": "\xff"}']
)
def test_not_a_json_object(body):
    assert _error(parse_json, body).startswith("JSON ")


def test_answers():
    outputs = {"a": np.array([[0.2], [3.0]], np.float32), "b": np.array([b"x", b"\xff"], object)}
    assert build_answer(outputs, row_form=True) == {
        "predictions": [{"a": [0.2], "b": "x"}, {"a": [3.0], "b": {"b64": "/w=="}}]
    }
    assert build_answer(outputs, row_form=False) == {
        "outputs": {"a": [[0.2], [3.0]], "b": ["x", {"b64": "/w=="}]}
    }
    one = {"n": np.array([1, 2], np.int64)}
    assert build_answer(one, row_form=True) == {"predictions": [1, 2]}
    assert build_answer(one, row_form=False) == {"outputs": [1, 2]}
    assert build_answer({"x_bytes": np.array([b"a"], object)}, row_form=True) == {
        "predictions": [{"b64": "YQ=="}]
    }


def test_row_form_is_refused_before_a_run_that_gives_no_rows():
    signature = _signature(x=types_pb2.DT_FLOAT)
    signature.outputs["of unknown shape"].dtype = types_pb2.DT_INT64
    signature.outputs["of unknown rank"].tensor_shape.unknown_rank = True
    signature.outputs["rows"].tensor_shape.dim.add(size=-1)
    assert _parse({"instances": [1]}, signature) == ({"x": [1]}, True)
    signature.outputs["one value"].tensor_shape.SetInParent()
    text = "Tensor name: one value has no shape information"
    assert text in _error(_parse, {"instances": [1]}, signature)
    assert _parse({"inputs": [1]}, signature) == ({"x": [1]}, False)


def test_row_form_needs_one_batch_size():
    assert "has no shape information" in _error(build_answer, {"a": np.array(1)}, True)
    outputs = {"a": np.zeros(2), "b": np.zeros(3)}
    assert "inconsistent batch size" in _error(build_answer, outputs, True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyb64"), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(value=_JSON, key=st.sampled_from(["instances", "inputs"]), two=st.booleans())
def test_any_json_is_parsed_or_refused(value, key, two):
    try:
        _parse({key: value}, _TWO if two else _ONE)
    except ServingError as error:
        assert error.code == Code.INVALID_ARGUMENT  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_parsed_or_refused(body):
    try:
        parse_json(body)
    except ServingError as error:
        assert error.code == Code.INVALID_ARGUMENT  # noqa: PT017


# Values instead of columns of one value


def _column_signature():
    signature = _signature(x=types_pb2.DT_FLOAT, w=types_pb2.DT_INT32)
    for size in (-1, 1):
        signature.inputs["x"].tensor_shape.dim.add(size=size)
        signature.outputs["y"].tensor_shape.dim.add(size=size)
    fill_proto(signature.defaults["w"], np.zeros(1, np.int32))
    signature.outputs["z"].tensor_shape.dim.add(size=-1)
    return signature


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [2.0, 3.0]},
        {"inputs": [2.0, 3.0]},
        {"instances": [{"x": 2.0}, {"x": 3.0}]},
        {"inputs": {"x": [2.0, 3.0]}},
    ],
)
def test_values_for_a_column_of_one_value(document):
    signature = _column_signature()
    parsed = parse_inputs(document, signature)
    assert parsed.arrays["x"].tolist() == [[2.0], [3.0]]
    assert parsed.is_flat
    outputs = {"y": np.array([[3.0], [3.5]], np.float32), "z": np.array([1, 2])}
    flat = flatten(outputs, signature)
    assert build_answer(flat, True) == {"predictions": [{"y": 3.0, "z": 1}, {"y": 3.5, "z": 2}]}


def test_columns_stay_columns():
    parsed = parse_inputs({"instances": [[2.0], [3.0]]}, _column_signature())
    assert parsed.arrays["x"].tolist() == [[2.0], [3.0]]
    assert not parsed.is_flat


# Bounds of cost


def _list_of(unit, count):
    return b'{"x": [' + b",".join([unit] * count) + b"]}"


def test_as_many_values_as_allowed():
    assert len(parse_json(_list_of(b"1", MAX_VALUES + 1))["x"]) == MAX_VALUES + 1
    assert len(parse_json(_list_of(b"[]", MAX_VALUES - 2))["x"]) == MAX_VALUES - 2
    text = f"more than {MAX_VALUES} values"
    for unit in (b"1", b"null", b'""', b"0.5"):
        assert text in _error(parse_json, _list_of(unit, MAX_VALUES + 2))
    for unit in (b"[]", b'{"a":1}'):  # Two more brackets are those around the list.
        assert text in _error(parse_json, _list_of(unit, MAX_VALUES - 1))


def test_a_long_text_is_one_value():
    text = "x" * (MAX_VALUES * 4)
    assert parse_json(json.dumps({"x": text}).encode()) == {"x": text}


def test_brackets_in_texts_are_no_nesting():
    assert parse_json(b'{"x": "' + b"[" * 1000 + b'"}') == {"x": "[" * 1000}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\uD83D\uDE00\u0041", "\U0001f600A"),
        (rb"\\ud83d", "\\ud83d"),
    ],
)
def test_escaped_pairs(text, value):
    assert parse_json(b'{"x": "' + text + b'"}') == {"x": value}


@pytest.mark.parametrize("text", [rb"\ud83d", rb"\ude00", rb"\ud83dx\ude00", rb"\ude00\ud83d"])
def test_halves_of_pairs(text):
    assert "JSON Parse error" in _error(parse_json, b'{"x": "' + text + b'"}')


def test_the_deadline_is_looked_at_while_decoding():
    with answering(Call(timeout_s=0.0)), pytest.raises(ServingError) as error:
        parse_json(b'{"x": 1}')
    assert error.value.code == Code.DEADLINE_EXCEEDED


def test_values_are_shown_cut():
    assert (
        show({"x": list(range(1_000_000))})
        == '{"x": [' + ", ".join(map(str, range(31)))[:93] + "..."
    )
    assert show([1.5, None]) == "[1.5, null]"


@pytest.mark.parametrize(
    ("value", "shape", "dtype", "expected"),
    [
        ([[1, 2], [3, 4]], (2, 2), np.int32, [[1, 2], [3, 4]]),
        ([0.5, float("inf")], (2,), np.float32, [0.5, float("inf")]),
        ([True, False], (2,), np.bool_, [True, False]),
        (["a", "\u00e9"], (2,), object, [b"a", b"\xc3\xa9"]),
        ([[1, 2], [3]], (2, 2), np.int32, None),
        ([1, 2.0], (2,), np.int32, None),
        ([1, True], (2,), np.int32, None),
        ([1 << 31], (1,), np.int32, None),
        ([1e39], (1,), np.float32, None),
        ([{"b64": "aQ=="}], (1,), object, None),
        (5, (), np.int32, None),
    ],
)
def test_arrays_of_lists(value, shape, dtype, expected):
    array = json_arrays.from_lists(value, shape, dtype)
    assert (array is None) == (expected is None)
    if expected is not None:
        assert array.dtype == dtype
        assert array.tolist() == expected


def test_floats_in_pieces():
    array = np.full((3, 10_000), 0.2, np.float32)
    assert set(json_arrays.shortest_floats(array).reshape(-1)) == {0.2}
    assert json_arrays.shortest_floats(array).shape == (3, 10_000)
    assert json_arrays.shortest_floats(np.zeros((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"a": []},
        {"a": [1]},
        {"a": list(range(2500))},
        {"a": [[1, 2], [3, 4]], "b": "x"},
        {"a": [{"x": [1]}, {"x": []}], "b": [None, True, "\u00e9"]},
        {"a": [[], [1]], "b": {"c": [1, 2]}},
        {"a": [float("nan"), float("-inf"), 1e300, 0.1]},
    ],
)
def test_answers_in_pieces_are_those_in_one(document):
    assert encode_json(document).decode() == json.dumps(document, ensure_ascii=False)
