"""What both doors say about models: states of versions, and signatures."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from serving.models.model_server import ModelServer
from serving.models.servable import Servable

SIGNATURE_DEF_FIELD = "signature_def"


def build_status(
    model_server: ModelServer, name: str, version: int | None = None, label: str | None = None
) -> get_model_status_pb2.GetModelStatusResponse:
    """The message both doors answer status requests with.

    Raises:
        ServingError: There is no such model, version or label.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in model_server.status(name, version, label):
        entry = response.model_version_status.add(version=status.version, state=status.state)
        entry.status.error_code = status.code
        entry.status.error_message = status.message
    return response


def build_metadata(servable: Servable) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The message both doors answer metadata requests with."""
    signature_def_map = get_model_metadata_pb2.SignatureDefMap()
    for name, signature_def in servable.signature_defs.items():
        signature_def_map.signature_def[name].CopyFrom(signature_def)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    fill_effective_spec(response.model_spec, servable)
    response.metadata[SIGNATURE_DEF_FIELD].Pack(signature_def_map)
    return response


def fill_effective_spec(
    spec: model_pb2.ModelSpec, servable: Servable, signature_name: str = ""
) -> None:
    """Says which version answered, whatever the request asked for."""
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def metadata_json(servable: Servable) -> dict[str, Any]:
    """The metadata message with its `Any` unpacked, as TF Serving writes it."""
    response = build_metadata(servable)
    packed = response.metadata[SIGNATURE_DEF_FIELD]
    signature_def_map = get_model_metadata_pb2.SignatureDefMap()
    packed.Unpack(signature_def_map)
    return {
        "model_spec": to_dict(response.model_spec),
        "metadata": {SIGNATURE_DEF_FIELD: to_dict(signature_def_map)},
    }


def to_dict(message: Message) -> dict[str, Any]:
    """A message as JSON, in the names of its fields."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
