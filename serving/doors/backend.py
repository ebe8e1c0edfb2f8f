"""What both doors share: models, counters, admission, the admin token, the reload."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from recall.errors import InputError
from serving.api.item_changes import ITEMS_MODEL
from serving.api.item_search import ServedItems
from serving.api.recall_request import RECALL_MODEL, RecallRequest, RecallResponse
from serving.api.recaller import Recaller
from serving.doors.admin import AdminGuard
from serving.doors.admission import Admission
from serving.doors.byte_budget import ByteBudget
from serving.doors.heartbeat import Heartbeat
from serving.models.model_server import ModelServer
from serving.models.servable import Servable
from serving.monitoring.access_log import RequestLog
from serving.monitoring.metrics import UNKNOWN_MODEL, Metrics
from serving.protocol.call import Call, answering
from serving.protocol.signatures import DEFAULT_SIGNATURE
from serving.protocol.status import Code, ServingError


class RecallModel(Servable, Protocol):
    """The model `recall`, as the doors know it.

    Attributes:
        service: What answers.
    """

    service: Recaller

    def recall(
        self, requests: Sequence[RecallRequest], *, timeout_s: float | None = None
    ) -> list[RecallResponse]:
        """Answers and counts; see `Recaller`."""

    def probe(self) -> None:
        """Answers one request the way of all others, and drops the answer."""


class ItemsModel(Servable, Protocol):
    """The model `items`, as the doors know it.

    Attributes:
        live_items: What changes and finds items.
    """

    live_items: ServedItems


def _cannot_reload(config: ModelServerConfig) -> None:
    raise ServingError(Code.UNIMPLEMENTED, "This server's models cannot be reloaded.")


@dataclasses.dataclass
class Backend:
    """One server behind its doors.

    Attributes:
        model_server: The models.
        metrics: Counts requests.
        admission: Bounds the requests in work.
        budget: Bounds the bytes of the requests in work.
        admin: Guards calls that change what is served.
        requests: Gets a record of every request of both doors.
        heartbeat: Knows whether requests are answered.
        reload: Puts another configuration in the place of the present one.
    """

    model_server: ModelServer
    metrics: Metrics = dataclasses.field(default_factory=Metrics)
    admission: Admission = dataclasses.field(default_factory=Admission)
    budget: ByteBudget = dataclasses.field(default_factory=ByteBudget)
    admin: AdminGuard = dataclasses.field(default_factory=lambda: AdminGuard(None))
    requests: RequestLog = dataclasses.field(default_factory=RequestLog)
    heartbeat: Heartbeat = dataclasses.field(init=False)
    reload: Callable[[ModelServerConfig], None] = _cannot_reload

    def __post_init__(self):
        self.heartbeat = Heartbeat(self._probe)
        for name, documentation, value in (
            ("requests_in_flight", "Requests in work now.", lambda: self.admission.in_flight),
            ("request_bytes", "Memory held for requests now.", lambda: self.budget.used),
            (
                "seconds_since_answer",
                "Time since a request was last known to be answered.",
                lambda: self.heartbeat.silent_s,
            ),
        ):
            self.metrics.watch(f"recall_{name}", documentation, value)

    def is_ready(self) -> bool:
        """Whether every model is available, no shutdown began, and requests are answered."""
        return self.model_server.is_ready() and self.heartbeat.is_alive

    def _probe(self) -> None:
        """A request of our own; admission is passed by, which is full under mere overload."""
        with self.use_recall() as model:
            model.probe()

    def use_recall(self) -> contextlib.AbstractContextManager[RecallModel]:
        """The model `recall`, which is not unloaded in the block.

        A configuration cannot give its name to another model, nor that of the items.

        Raises:
            ServingError: It is not loaded.
        """
        recall = self.model_server.use(RECALL_MODEL)
        return cast("contextlib.AbstractContextManager[RecallModel]", recall)

    def use_items(self) -> contextlib.AbstractContextManager[ItemsModel]:
        """As `use_recall`, the model `items`."""
        items = self.model_server.use(ITEMS_MODEL)
        return cast("contextlib.AbstractContextManager[ItemsModel]", items)

    @contextlib.contextmanager
    def counted_answer(
        self, call: Call, model_name: str, api: str, entrypoint: str
    ) -> Iterator[None]:
        """Answers and counts one request of a model in the block."""
        start_s = time.perf_counter()
        code = Code.OK
        try:
            with answering(call):
                call.check()
                yield
            self.heartbeat.count_answer()
        except ServingError as error:
            code = error.code
            raise
        except InputError:
            code = Code.INVALID_ARGUMENT
            raise
        except Exception:
            code = Code.INTERNAL
            raise
        finally:
            label = model_name if self.model_server.knows(model_name) else UNKNOWN_MODEL
            seconds = time.perf_counter() - start_s
            self.metrics.count_request(label, api, entrypoint, code, seconds)

    @contextlib.contextmanager
    def shedding(self, entrypoint: str) -> Iterator[None]:
        """Counts a request that is refused in the block because there is no room for it."""
        try:
            yield
        except ServingError as error:
            if error.code is Code.RESOURCE_EXHAUSTED:
                self.metrics.count_shed(entrypoint)
            raise

    @contextlib.contextmanager
    def admitted(self, entrypoint: str, admission: Admission | None = None) -> Iterator[None]:
        """Works on a request in the block, unless the server is full.

        Args:
            entrypoint: Of the metrics.
            admission: Of calls with a bound of their own; None takes that of requests.

        Raises:
            ServingError: RESOURCE_EXHAUSTED.
        """
        admission = admission or self.admission
        with self.shedding(entrypoint):
            admission.enter()
        try:
            yield
        finally:
            admission.leave()

    def needs_admin(self, servable: Servable, signature_name: str) -> bool:
        """Whether a signature changes something, so that its callers need the admin token."""
        return (signature_name or DEFAULT_SIGNATURE) in servable.admin_signatures

    def check_admin(
        self, servable: Servable, signature_name: str, authorization: str | None
    ) -> None:
        """Asks for the admin token where a signature changes something.

        Raises:
            ServingError: The call does not bear it; see `AdminGuard.check`.
        """
        if self.needs_admin(servable, signature_name):
            self.admin.check(authorization)
