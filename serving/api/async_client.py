"""A client of a running recall server for coroutines; see `client`.

Imports neither TensorFlow nor NumPy.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from serving.api import questions
from serving.api.caller import Caller, Vectors, request_of, wait_s
from serving.api.client_connections import open_async
from serving.api.client_errors import CallError
from serving.api.item_changes import Acknowledgement, ItemUpsert
from serving.api.item_search import DEFAULT_FOUND, FoundItem
from serving.api.questions import HistoryVectors, ModelVersion, Question
from serving.api.recall_request import RECALL_MODEL, RecallRequest, RecallResponse

if TYPE_CHECKING:
    from typing_extensions import Unpack  # In `typing` from Python 3.11 on.

    from serving.api.caller import RequestFields

T = TypeVar("T")


class AsyncClient(Caller):
    """`Client` for coroutines; all calls of one object belong to one event loop.

    Example:
        async with recall.AsyncClient("http://127.0.0.1:8501") as client:
            answers = await asyncio.gather(*(client.recommend(h) for h in histories))
    """

    _connections: Any = None

    async def recommend(
        self,
        history: Sequence[str] | None = None,
        k: int = 20,
        *,
        user_vectors: Vectors | None = None,
        timeout_s: float | None = None,
        **fields: "Unpack[RequestFields]",
    ) -> RecallResponse:
        """See `Client.recommend`."""
        return await self.ask(request_of(history, (), user_vectors, k, fields), timeout_s=timeout_s)

    async def similar_items(
        self,
        item_ids: Sequence[str],
        k: int = 20,
        *,
        timeout_s: float | None = None,
        **fields: "Unpack[RequestFields]",
    ) -> RecallResponse:
        """See `Client.similar_items`."""
        return await self.ask(request_of(None, item_ids, None, k, fields), timeout_s=timeout_s)

    async def ask(
        self, request: RecallRequest, *, timeout_s: float | None = None
    ) -> RecallResponse:
        """See `Client.ask`."""
        return await self._ask(questions.recall(request), timeout_s)

    async def user_vectors(
        self, histories: Sequence[Sequence[str]], *, timeout_s: float | None = None
    ) -> HistoryVectors:
        """See `Client.user_vectors`."""
        return await self._ask(questions.embed_histories(histories), timeout_s)

    async def predict(
        self,
        model_name: str,
        inputs: Mapping[str, Any],
        *,
        signature_name: str = "",
        is_safe: bool = True,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """See `Client.predict`."""
        question = questions.predict(model_name, signature_name, inputs, is_safe=is_safe)
        return await self._ask(question, timeout_s)

    async def search_items(
        self, query: str, k: int = DEFAULT_FOUND, *, timeout_s: float | None = None
    ) -> list[FoundItem]:
        """See `Client.search_items`."""
        return await self._ask(questions.find_items(query, k), timeout_s)

    async def model_versions(
        self, model_name: str = RECALL_MODEL, *, timeout_s: float | None = None
    ) -> list[ModelVersion]:
        """See `Client.model_versions`."""
        return await self._ask(questions.model_versions(model_name), timeout_s)

    async def model_metadata(
        self, model_name: str = RECALL_MODEL, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """See `Client.model_metadata`."""
        return await self._ask(questions.model_metadata(model_name), timeout_s)

    async def upsert_items(
        self, items: Sequence[ItemUpsert], *, timeout_s: float | None = None
    ) -> Acknowledgement:
        """See `Client.upsert_items`."""
        return await self._ask(questions.upsert_items(items), timeout_s)

    async def delete_items(
        self, item_ids: Sequence[str], *, timeout_s: float | None = None
    ) -> Acknowledgement:
        """See `Client.delete_items`."""
        return await self._ask(questions.delete_items(item_ids), timeout_s)

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, question: Question[T], timeout_s: float | None) -> T:
        timeout_s, attempts = self.begin(question, timeout_s)
        if self._connections is None:
            self._connections = open_async(self._where)
        connections = self._connections
        while True:
            try:
                answer = await connections.ask(question, attempts.time_left_s(), timeout_s)
            except CallError as error:
                await asyncio.sleep(wait_s(error, attempts))
            else:
                self._budget.earn()
                return answer
