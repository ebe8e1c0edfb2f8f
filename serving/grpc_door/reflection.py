"""gRPC's reflection service: tools like `grpcurl` find out by it what a server offers.

Tools ask for the file that defines a service, with all files it needs. The one of
TF Serving's PredictionService cannot be had from tensorflow-serving-api 2.20, whose
module of it fails under protobuf 6; so the services are described here, and the
messages by the modules that work.
"""

from collections.abc import Iterator

import grpc
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.doors.admission import Admission
from serving.grpc_door.api import MODELS, PREDICTION
from serving.grpc_door.inbox import Inbox
from serving.grpc_door.server import GrpcServer, abort
from serving.protocol.status import ServingError

MAX_STREAMS = 16
"""Streams of questions at a time; people and tools ask, for a second.
`GrpcServer` has threads for them."""

IDLE_S = 30.0
"""A stream ends when no question comes for so long."""

_MAX_QUESTION_BYTES = 4096

_PACKAGE = "tensorflow.serving"
_SERVICES = {
    PREDICTION: {
        "Classify": (classification_pb2, "ClassificationRequest", "ClassificationResponse"),
        "Regress": (regression_pb2, "RegressionRequest", "RegressionResponse"),
        "Predict": (predict_pb2, "PredictRequest", "PredictResponse"),
        "MultiInference": (inference_pb2, "MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": (
            get_model_metadata_pb2,
            "GetModelMetadataRequest",
            "GetModelMetadataResponse",
        ),
    },
    MODELS: {
        "GetModelStatus": (get_model_status_pb2, "GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": (
            model_management_pb2,
            "ReloadConfigRequest",
            "ReloadConfigResponse",
        ),
    },
}
"""Module, request and response of every method: prediction_service.proto and
model_service.proto of github.com/tensorflow/serving."""

_FILES = {PREDICTION: "prediction_service", MODELS: "model_service"}


def build_pool() -> descriptor_pool.DescriptorPool:
    """Descriptors of all services of the door.

    A pool of its own: in the default one they would be in the way of the modules of
    tensorflow-serving-api, should these be imported.
    """
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        _add(pool, file, added)
    for service, methods in _SERVICES.items():
        for module, _, _ in methods.values():
            _add(pool, module.DESCRIPTOR, added)
        pool.Add(_describe(service))
    return pool


def _add(
    pool: descriptor_pool.DescriptorPool, file: descriptor.FileDescriptor, added: set[str]
) -> None:
    """A file, after all that it needs."""
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, added)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    pool.Add(proto)


def _describe(service: str) -> descriptor_pb2.FileDescriptorProto:
    """The file that defines a service of TF Serving."""
    methods = _SERVICES[service]
    file = descriptor_pb2.FileDescriptorProto(
        name=f"tensorflow_serving/apis/{_FILES[service]}.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module, _, _ in methods.values()],
    )
    described = file.service.add(name=service.rpartition(".")[2])
    for name, (_, request, response) in methods.items():
        described.method.add(
            name=name, input_type=f".{_PACKAGE}.{request}", output_type=f".{_PACKAGE}.{response}"
        )
    return file


class Reflection:
    """Answers streams of questions, for few clients at a time."""

    def __init__(self, server: GrpcServer):
        """Adds the service to a server that is not yet started."""
        names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        self._servicer = reflection.ReflectionServicer(names, pool=build_pool())
        self._admission = Admission(MAX_STREAMS)
        self._inbox = Inbox(max_reading=MAX_STREAMS, timeout_s=IDLE_S)
        server.watch(self._inbox)
        handler = grpc.stream_stream_rpc_method_handler(
            self._answer,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        server.add_handlers(reflection.SERVICE_NAME, {"ServerReflectionInfo": handler})

    def _answer(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[reflection_pb2.ServerReflectionResponse]:
        try:
            self._admission.enter()
        except ServingError as error:
            abort(context, error)
        try:
            questions = self._questions(requests, context)
            yield from self._servicer.ServerReflectionInfo(questions, context)
        finally:
            self._admission.leave()

    def _questions(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[reflection_pb2.ServerReflectionRequest]:
        """What the client asks; ends with its silence."""
        while True:
            try:
                message = self._inbox.read_next(requests, context)
            except ServingError as error:
                abort(context, error)
            if message is None:
                return
            if len(message) > _MAX_QUESTION_BYTES:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Too long a question.")
            try:
                question = reflection_pb2.ServerReflectionRequest.FromString(message)
            except DecodeError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "No ServerReflectionRequest.")
            yield question
