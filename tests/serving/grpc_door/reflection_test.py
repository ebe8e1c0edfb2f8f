"""What a tool without any generated code finds out and can do: as `grpcurl` does."""

import importlib
import subprocess
import sys
import threading

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from serving.grpc_door.reflection import _SERVICES, build_pool
from tests.serving.server_process import ROOT

PROGRAM = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_serving", "serving", "recall"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    for service in sorted(database.get_services()):
        for method in pool.FindServiceByName(service).methods:
            print(method.full_name, method.input_type.full_name, method.output_type.full_name)
    predict = pool.FindMethodByName("tensorflow.serving.PredictionService.Predict")
    request = message_factory.GetMessageClass(predict.input_type)()
    request.model_spec.name = "recall"
    tensor = request.inputs["history_item_ids"]
    tensor.dtype = pool.FindEnumTypeByName("tensorflow.DataType").values_by_name["DT_STRING"].number
    tensor.tensor_shape.dim.add(size=1)
    tensor.tensor_shape.dim.add(size=2)
    tensor.string_val.extend([b"i3", b"i7"])
    call = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(predict.output_type).FromString,
    )
    print(b" ".join(call(request, timeout=30).outputs["item_ids"].string_val[:5]).decode())
"""


def test_a_tool_without_generated_code_describes_and_calls(recall_server, catalogue):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, recall_server.grpc_address],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    *described, answer = result.stdout.splitlines()
    health, prediction = "grpc.health.v1", "tensorflow.serving"
    assert [line for line in described if "reflection" not in line] == [
        f"{health}.Health.Check {health}.HealthCheckRequest {health}.HealthCheckResponse",
        f"{health}.Health.Watch {health}.HealthCheckRequest {health}.HealthCheckResponse",
        f"{prediction}.ModelService.GetModelStatus {prediction}.GetModelStatusRequest "
        f"{prediction}.GetModelStatusResponse",
        f"{prediction}.ModelService.HandleReloadConfigRequest {prediction}.ReloadConfigRequest "
        f"{prediction}.ReloadConfigResponse",
        f"{prediction}.PredictionService.Classify {prediction}.ClassificationRequest "
        f"{prediction}.ClassificationResponse",
        f"{prediction}.PredictionService.Regress {prediction}.RegressionRequest "
        f"{prediction}.RegressionResponse",
        f"{prediction}.PredictionService.Predict {prediction}.PredictRequest "
        f"{prediction}.PredictResponse",
        f"{prediction}.PredictionService.MultiInference {prediction}.MultiInferenceRequest "
        f"{prediction}.MultiInferenceResponse",
        f"{prediction}.PredictionService.GetModelMetadata {prediction}.GetModelMetadataRequest "
        f"{prediction}.GetModelMetadataResponse",
    ]
    expected = catalogue.expected(["i3", "i7"], 5, removed=["i3", "i7"])
    assert answer.split() == [item for item, _ in expected]


def test_a_stream_without_a_question_ends(recall_server, monkeypatch):
    door, ended = recall_server._doors.grpc, threading.Event()
    inbox = next(inbox for inbox in door._inboxes if inbox is not door._inbox)
    monkeypatch.setattr(inbox, "_timeout_s", 0.2)
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        describe = channel.stream_stream(f"/{reflection.SERVICE_NAME}/ServerReflectionInfo")
        stream = describe(iter(ended.wait, True), timeout=60)
        assert stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        ended.set()


@pytest.mark.parametrize("service", sorted(_SERVICES))
def test_methods_and_paths_are_those_of_the_stubs(service):
    """The generated stubs, which import no module that fails, know the names."""
    stubs = {
        "tensorflow.serving.PredictionService": ("prediction_service", "PredictionServiceStub"),
        "tensorflow.serving.ModelService": ("model_service", "ModelServiceStub"),
    }
    module, stub = stubs[service]
    paths: list[str] = []

    class Recorder:
        def unary_unary(self, path, *_, **__):
            paths.append(path)

    generated = importlib.import_module(f"tensorflow_serving.apis.{module}_pb2_grpc")
    getattr(generated, stub)(Recorder())
    described = build_pool().FindServiceByName(service).methods
    assert sorted(paths) == sorted(f"/{service}/{method.name}" for method in described)
