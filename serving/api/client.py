"""A client of a running recall server, over gRPC or HTTP; `async_client` is for coroutines.

Imports neither TensorFlow nor NumPy: messages of TensorFlow Serving's protocol come from
`serving/protocol/predict_messages.proto`. gRPC and httpcore are imported when an
address needs them.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from serving.api import questions
from serving.api.caller import TIMEOUT_S, Caller, Vectors, request_of, wait_s
from serving.api.client_connections import open_connections
from serving.api.client_errors import CallError
from serving.api.item_changes import Acknowledgement, ItemUpsert
from serving.api.item_search import DEFAULT_FOUND, FoundItem
from serving.api.questions import HistoryVectors, ModelVersion, Question
from serving.api.recall_request import RECALL_MODEL, RecallRequest, RecallResponse
from serving.network.client_tls import NO_TLS, ClientTls

if TYPE_CHECKING:
    from typing_extensions import Unpack  # In `typing` from Python 3.11 on.

    from serving.api.caller import RequestFields

T = TypeVar("T")


class Client(Caller):
    """Asks a recall server; safe to use from several threads, connections are kept.

    Calls that change nothing are sent again where the server is not reached, stops, starts
    or is full (`RetryPolicy`); all attempts share the call's time. Every failure is a
    `CallError` of one line with the canonical status code.

    Example:
        with recall.Client("127.0.0.1:8500") as client:
            answer = client.recommend(["12", "57"], k=10, with_metadata=True)
            print([item.item_id for item in answer.items])
    """

    _connections: Any = None

    def recommend(
        self,
        history: Sequence[str] | None = None,
        k: int = 20,
        *,
        user_vectors: Vectors | None = None,
        timeout_s: float | None = None,
        **fields: "Unpack[RequestFields]",
    ) -> RecallResponse:
        """Items for one user.

        Args:
            history: Raw ids of the items the user clicked, oldest first. Unknown ids are
                passed over and counted (`num_unknown`); without a known one the answer is
                popular items (`is_fallback`).
            k: Items wanted.
            user_vectors: `[num_interests, dim]` numbers instead of a history: lists, as
                `user_vectors` gives them, or an array of NumPy.
            timeout_s: Longest wait, in seconds; None for the client's.
            **fields: Filters and more, see `RecallRequest`: `categories`, `exclude`,
                `max_per_category`, `merge`, `with_metadata` ...

        Raises:
            CallError: No server answers in time, or it refuses the request.
        """
        return self.ask(request_of(history, (), user_vectors, k, fields), timeout_s=timeout_s)

    def similar_items(
        self,
        item_ids: Sequence[str],
        k: int = 20,
        *,
        timeout_s: float | None = None,
        **fields: "Unpack[RequestFields]",
    ) -> RecallResponse:
        """Items like all of the given ones, which are left out; arguments as `recommend`."""
        return self.ask(request_of(None, item_ids, None, k, fields), timeout_s=timeout_s)

    def ask(self, request: RecallRequest, *, timeout_s: float | None = None) -> RecallResponse:
        """Answers a request that is made already; see `recommend`."""
        return self._ask(questions.recall(request), timeout_s)

    def user_vectors(
        self, histories: Sequence[Sequence[str]], *, timeout_s: float | None = None
    ) -> HistoryVectors:
        """User vectors of histories of raw item ids, oldest first, as lists."""
        return self._ask(questions.embed_histories(histories), timeout_s)

    def predict(
        self,
        model_name: str,
        inputs: Mapping[str, Any],
        *,
        signature_name: str = "",
        is_safe: bool = True,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Runs a signature of any model of the server, as TensorFlow Serving's Predict.

        Args:
            model_name: For example `item_tower`.
            inputs: By name: a value, nested lists, or an array of NumPy. Over gRPC, which is
                strict about types, floats of lists are float32 and integers int64; an
                array, also an `array.array`, keeps its own type.
            signature_name: "" for `serving_default`.
            is_safe: Whether the call changes nothing, so that it may be sent again.
            timeout_s: As `recommend`.

        Returns:
            Outputs by name, as nested lists; texts as bytes.

        Raises:
            CallError: As `recommend`.
        """
        question = questions.predict(model_name, signature_name, inputs, is_safe=is_safe)
        return self._ask(question, timeout_s)

    def search_items(
        self, query: str, k: int = DEFAULT_FOUND, *, timeout_s: float | None = None
    ) -> list[FoundItem]:
        """Items by a part of their title, or by their id, best first.

        Args:
            query: At most 256 characters.
            k: Items wanted, at most 100.
            timeout_s: As `recommend`.

        Raises:
            CallError: As `recommend`.
        """
        return self._ask(questions.find_items(query, k), timeout_s)

    def model_versions(
        self, model_name: str = RECALL_MODEL, *, timeout_s: float | None = None
    ) -> list[ModelVersion]:
        """The versions of a model and their states, newest first."""
        return self._ask(questions.model_versions(model_name), timeout_s)

    def model_metadata(
        self, model_name: str = RECALL_MODEL, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Signatures of a model with names, types and shapes of inputs and outputs."""
        return self._ask(questions.model_metadata(model_name), timeout_s)

    def upsert_items(
        self, items: Sequence[ItemUpsert], *, timeout_s: float | None = None
    ) -> Acknowledgement:
        """Adds or replaces at most 1,000 live items; needs the admin token. Sent once.

        Raises:
            CallError: As `recommend`. After `UNAVAILABLE` or `DEADLINE_EXCEEDED` the change may
                have been made all the same; the same call again does no harm.
        """
        return self._ask(questions.upsert_items(items), timeout_s)

    def delete_items(
        self, item_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> Acknowledgement:
        """Takes at most 1,000 items out of every answer; otherwise as `upsert_items`."""
        return self._ask(questions.delete_items(item_ids), timeout_s)

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        self._lock = threading.Lock()

    __init__.__doc__ = Caller.__init__.__doc__

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Question[T], timeout_s: float | None) -> T:
        timeout_s, attempts = self.begin(question, timeout_s)
        with self._lock:
            if self._connections is None:
                self._connections = open_connections(self._where)
            connections = self._connections
        while True:
            try:
                answer = connections.ask(question, attempts.time_left_s(), timeout_s)
            except CallError as error:
                time.sleep(wait_s(error, attempts))
            else:
                self._budget.earn()
                return answer


def query(
    server: str,
    request: RecallRequest,
    *,
    timeout_s: float = TIMEOUT_S,
    tls: ClientTls = NO_TLS,
) -> RecallResponse:
    """Asks a server once, over a connection of its own; see `Client.ask`."""
    with Client(server, timeout_s=timeout_s, tls=tls) as client:
        return client.ask(request)


def predict(
    server: str,
    model_name: str,
    signature_name: str,
    inputs: Mapping[str, Any],
    *,
    timeout_s: float = TIMEOUT_S,
    token: str | None = None,
    tls: ClientTls = NO_TLS,
) -> dict[str, Any]:
    """Runs a signature of a model once, over a connection of its own; see `Client.predict`.

    The call may change something, so it is sent once.
    """
    with Client(server, timeout_s=timeout_s, token=token, tls=tls) as client:
        return client.predict(model_name, inputs, signature_name=signature_name, is_safe=False)
