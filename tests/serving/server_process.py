"""A recall server in a process of its own, and a client that keeps its channel."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest, RecallResponse
from serving.protocol import tensors
from tests.serving.grpc_requests import build_request

ROOT = Path(__file__).parents[2]

_PROGRAM = """
import sys
from serving.server import serve
{setup}
serve(sys.argv[1], grpc_port=0, http_port=0, **{options!r})
"""

_START_S = 120.0
"""Longest wait for a server; a busy machine takes ten times as long as an idle one."""


class ServerProcess:
    """One process on free ports of 127.0.0.1.

    Attributes:
        grpc_address: `host:port`.
        http_address: `host:port`.
        log: File of what it says on stderr.
        seconds_to_ready: From the start of the process until it serves.
    """

    def __init__(
        self,
        serving_dir: Path,
        log: Path,
        *,
        setup: str = "",
        options: Mapping[str, Any] | None = None,
        root: Path = ROOT,
    ):
        """Starts a server and waits until it serves.

        Args:
            serving_dir: Folder of releases.
            log: File for its stderr.
            setup: Python that runs before it starts.
            options: Of `ServerOptions`, plain values.
            root: The checkout whose server it is.
        """
        program = _PROGRAM.format(setup=setup, options=dict(options or {}))
        started_s = time.monotonic()
        self.log = log
        with open(log, "w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, str(serving_dir)],
                cwd=root,
                env={"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ | {"PYTHONPATH": str(root)},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        line = self._process.stdout.readline()
        self.seconds_to_ready = time.monotonic() - started_s
        if not line.startswith("serving "):
            self.kill()
            raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
        self.grpc_address, self.http_address = (word.split("=")[1] for word in line.split()[1:3])

    def terminate(self) -> None:
        """Asks it to stop, as a container's runtime does."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit code."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """Ends it at once (kill -9)."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def resident_mb(self) -> float:
        """Memory it holds now, in MiB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def num_threads(self) -> int:
        """Threads it has now."""
        return len(os.listdir(f"/proc/{self._process.pid}/task"))

    def num_descriptors(self) -> int:
        """Files, sockets and pipes it holds open now."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> str:
        """Body of a page at the HTTP door."""
        with urllib.request.urlopen(f"http://{self.http_address}{path}", timeout=30) as answer:
            return answer.read().decode()

    def post(self, path: str, document: Any, **headers: str) -> tuple[int, Any]:
        """Status and document of an answer, also of a refusal."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"http://{self.http_address}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def open_client(self) -> "Client":
        """A client of its gRPC door."""
        return Client(self.grpc_address)


class Client(contextlib.AbstractContextManager):
    """Asks one server over one connection; close it. Safe to use from several threads."""

    def __init__(self, address: str):
        # A channel of its own: channels to one address share connections otherwise.
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __exit__(self, *exception: object) -> None:
        self._channel.close()

    def predict(
        self,
        name: str,
        signature: str,
        inputs: Mapping[str, Any],
        timeout_s: float | None = 60.0,
    ) -> dict[str, np.ndarray]:
        """Outputs of a signature by name; None sets no deadline."""
        message = build_message(name, signature, inputs)
        answer = self.prediction.Predict(message, timeout=timeout_s)
        return {key: tensors.to_numpy(proto, key) for key, proto in answer.outputs.items()}

    def recall(self, request: RecallRequest, timeout_s: float | None = 60.0) -> RecallResponse:
        """The items of one user."""
        signature, inputs = recall_tensors.build_recall_inputs(request)
        outputs = self.predict("recall", signature, inputs, timeout_s)
        return recall_tensors.parse_outputs({n: array.tolist() for n, array in outputs.items()})

    def states(self, name: str = "recall") -> dict[int, Any]:
        """State and error of every version of a model."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        answer = self.models.GetModelStatus(request, timeout=60)
        return {
            status.version: (status.state, status.status.error_message)
            for status in answer.model_version_status
        }

    def wait_for_state(self, version: int, state: int, timeout_s: float = 120.0) -> str:
        """Waits until a version of the recall model is in a state; returns its error text."""
        deadline_s = time.monotonic() + timeout_s
        while (found := self.states().get(version, (None, "")))[0] != state:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"version {version} is {found}, not {state}")
            time.sleep(0.01)
        return found[1]


def build_message(
    name: str, signature: str, inputs: Mapping[str, Any]
) -> predict_pb2.PredictRequest:
    """A Predict request."""
    return build_request(name, inputs, signature=signature)
