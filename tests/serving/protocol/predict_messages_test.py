"""The messages of clients are TensorFlow's and TensorFlow Serving's: the same numbers and bytes."""

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from serving.protocol import predict_messages_pb2 as ours
from serving.protocol import tensors

TWINS = [
    (ours.TensorProto, tensor_pb2.TensorProto),
    (ours.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (ours.TensorShapeProto.Dim, tensor_shape_pb2.TensorShapeProto.Dim),
    (ours.ModelSpec, model_pb2.ModelSpec),
    (ours.PredictRequest, predict_pb2.PredictRequest),
    (ours.PredictResponse, predict_pb2.PredictResponse),
    (ours.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (ours.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (ours.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (ours.StatusProto, type(get_model_status_pb2.ModelVersionStatus().status)),
    (ours.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (ours.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (ours.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (ours.SignatureDef, meta_graph_pb2.SignatureDef),
    (ours.TensorInfo, meta_graph_pb2.TensorInfo),
]
"""Every message of ours, and the one it stands for."""

VARINT = {FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_INT32}
"""What an enumeration is on the wire; `error_code` is one of another package there."""


def test_every_message_has_its_twin():
    file = ours.DESCRIPTOR.message_types_by_name
    assert {m.DESCRIPTOR.name for m, _ in TWINS} - {"Dim"} == set(file)


@pytest.mark.parametrize(("mine", "theirs"), TWINS, ids=lambda m: m.DESCRIPTOR.name)
def test_fields_have_the_same_numbers_and_types(mine, theirs):
    for name, field in mine.DESCRIPTOR.fields_by_name.items():
        twin = theirs.DESCRIPTOR.fields_by_name[name]
        assert field.number == twin.number
        assert field.is_repeated == twin.is_repeated
        assert field.type == twin.type or {field.type, twin.type} <= VARINT
        oneofs = [f.containing_oneof and f.containing_oneof.name for f in (field, twin)]
        assert oneofs[0] in (None, oneofs[1])  # One that we leave out changes no byte.
        if field.message_type is not None:
            assert field.message_type.name == twin.message_type.name


def test_enumerations():
    theirs = dict(types_pb2.DataType.items())
    assert dict(ours.DataType.items()) == {n: v for n, v in theirs.items() if v < 100}
    states = get_model_status_pb2.ModelVersionStatus.State
    assert dict(ours.ModelVersionStatus.State.items()) == dict(states.items())


def test_a_request_is_read_by_tensorflow_serving_s_own_class():
    request = ours.PredictRequest(model_spec={"name": "m", "signature_name": "s"})
    request.model_spec.version.value = 7
    tensors.fill_proto(request.inputs["x"], np.array([[1.5, 2.0]], np.float32))
    tensors.fill_proto(request.inputs["ids"], np.array([b"a", "ä".encode()], object))
    read = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (read.model_spec.name, read.model_spec.signature_name) == ("m", "s")
    assert read.model_spec.version.value == 7
    assert read.inputs["x"].dtype == types_pb2.DT_FLOAT
    assert list(read.inputs["x"].float_val) == [1.5, 2.0]
    assert [d.size for d in read.inputs["x"].tensor_shape.dim] == [1, 2]
    assert list(read.inputs["ids"].string_val) == [b"a", "ä".encode()]
