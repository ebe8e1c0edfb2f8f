"""The gRPC door: TF Serving's PredictionService and ModelService.

Translates messages and errors; knows nothing of recall.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    status_pb2,
)

from recall.errors import InputError
from serving.doors import model_status
from serving.doors.backend import Backend
from serving.grpc_door.predict_message import PredictMessage
from serving.models.servable import Servable
from serving.monitoring.metrics import GRPC_ENTRYPOINT
from serving.protocol import signatures, tensors
from serving.protocol.call import Call
from serving.protocol.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

PREDICTION = "tensorflow.serving.PredictionService"
MODELS = "tensorflow.serving.ModelService"

MAX_SMALL_BYTES = 1 << 20
"""Of any message but Predict's: a configuration of thousands of models."""

EXAMPLE_FACTOR = 16
"""Times the bytes of a `tf.Example` that parsing it takes: 24 and more for a value that has 2."""


@dataclasses.dataclass
class GrpcCall:
    """What a method needs to know of the call it answers.

    Attributes:
        call: Its deadline, and whether its client still waits.
        authorization: What the client sent to show that it may call.
        model: Filled in: the model that was asked for.
    """

    call: Call = dataclasses.field(default_factory=Call)
    authorization: str | None = None
    model: str = ""


class GrpcMethod(NamedTuple):
    """A method of a service.

    Attributes:
        service: Full name of the service.
        name: Of the method.
        answer: Serialised message and call -> serialised answer; raises any error.
        is_admitted: Whether `Admission` bounds it.
    """

    service: str
    name: str
    answer: Callable[[bytes, GrpcCall], bytes]
    is_admitted: bool


def status_of(error: BaseException) -> ServingError:
    """The code and text that a client gets for an error of any kind."""
    if isinstance(error, ServingError):
        return ServingError(error.code, error.message)
    if isinstance(error, InputError):
        return invalid_argument(str(error))
    _LOGGER.error("A gRPC call failed", exc_info=error)
    return ServingError(Code.INTERNAL, "Internal error; the server's log has the details.")


def _require_model_spec(request: Any, call: GrpcCall) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    call.model = request.model_spec.name
    return request.model_spec


def _version_choice(spec: model_pb2.ModelSpec) -> dict[str, Any]:
    """Arguments of `ModelServer.find` and `status` after the name."""
    choice = spec.WhichOneof("version_choice")
    return {
        "version": spec.version.value if choice == "version" else None,
        "label": spec.version_label if choice == "version_label" else None,
    }


class PredictionService:
    """Predict and GetModelMetadata; the other methods need `tf.Example` models."""

    def __init__(self, backend: Backend):
        self._backend = backend

    def Predict(self, message: PredictMessage, call: GrpcCall) -> predict_pb2.PredictResponse:
        """Runs a signature of a model.

        Raises:
            ServingError: The request is refused; before anything of it is decoded where its
                names, types, shapes or sizes are wrong.
        """
        spec = message.model_spec
        call.model = "" if spec is None else spec.name
        with self._backend.counted_answer(call.call, call.model, "Predict", GRPC_ENTRYPOINT):
            if spec is None:
                raise invalid_argument("Missing ModelSpec")
            with self._backend.model_server.use(spec.name, **_version_choice(spec)) as servable:
                self._backend.check_admin(servable, spec.signature_name, call.authorization)
                return self._predict(message, servable, call.call)

    def _predict(
        self, message: PredictMessage, servable: Servable, call: Call
    ) -> predict_pb2.PredictResponse:
        """Runs a signature of a servable that is in use."""
        signature_name = message.model_spec.signature_name
        with self._backend.budget.held(self._check(message, servable, signature_name)):
            request = message.parse()
            inputs = {name: tensors.to_numpy(p, name) for name, p in request.inputs.items()}
            call.check()  # Large ones take their time.
            outputs = servable.predict(
                signature_name, inputs, request.output_filter, timeout_s=call.time_left_s()
            )
        response = predict_pb2.PredictResponse()
        model_status.fill_effective_spec(
            response.model_spec, servable, signature_name or signatures.DEFAULT_SIGNATURE
        )
        for name, array in outputs.items():
            tensors.fill_proto(response.outputs[name], array)
        return response

    def _check(self, message: PredictMessage, servable: Servable, signature_name: str) -> int:
        """Bytes that the inputs of a message will take.

        Raises:
            ServingError: They are none that the signature takes, or too large.
        """
        signature = signatures.find_signature(servable.signature_defs, signature_name)
        signatures.check_names(signature, message.names)
        max_bytes = self._backend.budget.max_request_bytes
        headers = {name: message.read_header(name, max_bytes) for name in message.names}
        signatures.check_types(signature, {n: (h.dtype, h.shape) for n, h in headers.items()})
        servable.check_shapes(signature_name, {name: h.shape for name, h in headers.items()})
        factor = EXAMPLE_FACTOR if signature_name == signatures.EXAMPLE_SIGNATURE else 0
        return sum(header.memory + factor * header.num_bytes for header in headers.values())

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, call: GrpcCall
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes the signatures of a model."""
        spec = _require_model_spec(request, call)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != model_status.SIGNATURE_DEF_FIELD:
                raise invalid_argument(f"Metadata field {field} is not supported")
        with self._backend.model_server.use(spec.name, **_version_choice(spec)) as servable:
            return model_status.build_metadata(servable)


class ModelService:
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, backend: Backend):
        self._backend = backend

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, call: GrpcCall
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """States of one or all versions of a model."""
        spec = _require_model_spec(request, call)
        return model_status.build_status(
            self._backend.model_server, spec.name, **_version_choice(spec)
        )

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, call: GrpcCall
    ) -> model_management_pb2.ReloadConfigResponse:
        """Puts another list of models in the place of the present one."""
        self._backend.admin.check(call.authorization)
        self._backend.reload(request.config)
        return model_management_pb2.ReloadConfigResponse(
            status=status_pb2.StatusProto(error_code=Code.OK)
        )


def build_methods(backend: Backend) -> list[GrpcMethod]:
    """All methods of both services, from bytes to bytes."""
    prediction, models = PredictionService(backend), ModelService(backend)
    predict = functools.partial(_answer, PredictMessage, prediction.Predict)
    small = (
        (PREDICTION, prediction.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest),
        (MODELS, models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest),
        (MODELS, models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest),
    )
    answers = [
        (service, method.__name__, functools.partial(_answer, _parser_of(message_type), method))
        for service, method, message_type in small
    ]
    # The models here have no outputs of classes or of regressions.
    refusals = [
        (PREDICTION, name, functools.partial(_refuse, name))
        for name in ("Classify", "Regress", "MultiInference")
    ]
    return [
        GrpcMethod(PREDICTION, "Predict", predict, is_admitted=True),
        *(GrpcMethod(*method, is_admitted=False) for method in (*answers, *refusals)),
    ]


def _answer(parse: Callable, method: Callable, content: bytes, call: GrpcCall) -> bytes:
    return method(parse(content), call).SerializeToString()


def _refuse(name: str, content: bytes, call: GrpcCall) -> bytes:
    raise ServingError(Code.UNIMPLEMENTED, f"{name} is not offered; use Predict.")


def _parser_of(message_type: type[Message]) -> Callable[[bytes], Message]:
    def parse(content: bytes) -> Message:
        if len(content) > MAX_SMALL_BYTES:
            raise invalid_argument(f"Such a message has at most {MAX_SMALL_BYTES} bytes.")
        try:
            return message_type.FromString(content)
        except DecodeError as error:
            name = message_type.DESCRIPTOR.name
            raise invalid_argument(f"The message is no {name}.") from error

    return parse
