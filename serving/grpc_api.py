"""The gRPC door: TF Serving's PredictionService and ModelService.

Translates messages and errors; knows nothing of recall.
"""

import functools
import logging
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    status_pb2,
)

from recall.errors import InputError
from serving import model_config, signatures, tensors
from serving.backend import Backend
from serving.call import Call
from serving.grpc_refusal import ENTRYPOINT, EarlyRefusal
from serving.model_server import ModelServer
from serving.servable import Servable
from serving.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

SPARE_THREADS = 8
"""Beyond those of admitted requests: they refuse the excess and answer health checks
at once, where a full pool would let them wait."""

MAX_MESSAGE_BYTES = 64 << 20
"""As large as the largest tensor `tensors.to_numpy` accepts."""

SIGNATURE_DEF_FIELD = "signature_def"


def build_grpc_server(backend: Backend) -> grpc.Server:
    """A gRPC server with both services, not yet bound to a port.

    Ports are not shared: without the option, two servers on one port would
    both start and take turns.
    """
    num_threads = backend.admission.max_in_flight + SPARE_THREADS
    server = grpc.server(
        futures.ThreadPoolExecutor(num_threads, thread_name_prefix="grpc"),
        interceptors=[EarlyRefusal(backend)],
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(backend), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(backend), server)
    return server


def _translate_errors(method: Callable) -> Callable:
    """Turns exceptions of a method into gRPC status codes."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except ServingError as error:
            code, message = error.code, error.message
        except InputError as error:
            code, message = Code.INVALID_ARGUMENT, str(error)
        except Exception:
            _LOGGER.exception("%s failed", method.__name__)
            code, message = Code.INTERNAL, "Internal error; the server's log has the details."
        return context.abort(grpc.StatusCode[code.name], message)

    return call


def _require_model_spec(request: Any) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _version_choice(spec: model_pb2.ModelSpec) -> dict[str, Any]:
    """Arguments of `ModelServer.find` and `status` after the name."""
    choice = spec.WhichOneof("version_choice")
    return {
        "version": spec.version.value if choice == "version" else None,
        "label": spec.version_label if choice == "version_label" else None,
    }


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; the other methods need `tf.Example` models."""

    def __init__(self, backend: Backend):
        self._backend = backend

    @_translate_errors
    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature of a model."""
        backend, name, call = self._backend, request.model_spec.name, _call_of(context)
        with (
            backend.admitted(ENTRYPOINT),
            backend.answering(call, name, "Predict", ENTRYPOINT),
        ):
            spec = _require_model_spec(request)
            with backend.model_server.use(spec.name, **_version_choice(spec)) as servable:
                backend.check_admin(servable, spec.signature_name, _authorization(context))
                return self._predict(request, servable, call)

    def _predict(
        self, request: predict_pb2.PredictRequest, servable: Servable, call: Call
    ) -> predict_pb2.PredictResponse:
        """Runs a signature of a servable that is in use."""
        signature_name = request.model_spec.signature_name
        signatures.find_signature(servable.signature_defs, signature_name)
        inputs = {name: tensors.to_numpy(proto, name) for name, proto in request.inputs.items()}
        outputs = servable.predict(
            signature_name, inputs, request.output_filter, timeout_s=call.time_left_s()
        )
        self._backend.metrics.count_answers(outputs)
        response = predict_pb2.PredictResponse()
        _fill_effective_spec(
            response.model_spec, servable, signature_name or signatures.DEFAULT_SIGNATURE
        )
        for name, array in outputs.items():
            tensors.fill_proto(response.outputs[name], array)
        return response

    @_translate_errors
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes the signatures of a model."""
        spec = _require_model_spec(request)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF_FIELD:
                raise invalid_argument(f"Metadata field {field} is not supported")
        with self._backend.model_server.use(spec.name, **_version_choice(spec)) as servable:
            return build_metadata(servable)

    @_translate_errors
    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Not offered: the models here have no class outputs."""
        raise _not_offered("Classify")

    @_translate_errors
    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Not offered: the models here have no regression outputs."""
        raise _not_offered("Regress")

    @_translate_errors
    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Not offered: it combines Classify and Regress."""
        raise _not_offered("MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, backend: Backend):
        self._backend = backend

    @_translate_errors
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """States of one or all versions of a model."""
        spec = _require_model_spec(request)
        return build_status(self._backend.model_server, spec.name, **_version_choice(spec))

    @_translate_errors
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Puts another list of models in the place of the present one."""
        self._backend.admin.check(_authorization(context))
        self._backend.reload(model_config.parse_config(request.config))
        return model_management_pb2.ReloadConfigResponse(
            status=status_pb2.StatusProto(error_code=Code.OK)
        )


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
    _fill_effective_spec(response.model_spec, servable)
    response.metadata[SIGNATURE_DEF_FIELD].Pack(signature_def_map)
    return response


def _fill_effective_spec(
    spec: model_pb2.ModelSpec, servable: Servable, signature_name: str = ""
) -> None:
    """Says which version answered, whatever the request asked for."""
    spec.name = servable.name
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _authorization(context: grpc.ServicerContext) -> str | None:
    """What the client sent to show that it may call."""
    for key, value in context.invocation_metadata():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return None


def _call_of(context: grpc.ServicerContext) -> Call:
    """The call with the client's deadline, cancelled when the client is gone."""
    call = Call(context.time_remaining())
    if not context.add_callback(call.cancel):
        call.cancel()
    return call


def _not_offered(method: str) -> ServingError:
    return ServingError(Code.UNIMPLEMENTED, f"{method} is not offered; use Predict.")
