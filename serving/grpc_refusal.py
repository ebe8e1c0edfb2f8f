"""Refusals of a full server at the gRPC door, before anything is read."""

from collections.abc import Callable, Iterator

import grpc

from serving.backend import Backend

ENTRYPOINT = "GRPC"
"""TF Serving's label of this door's requests."""

_PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"


class EarlyRefusal(grpc.ServerInterceptor):
    """Refuses Predict calls of a full server before their message is read.

    It only looks: a call that it lets pass may still end before its handler is
    started, so that nothing would take it off the count.
    """

    def __init__(self, backend: Backend):
        self._backend = backend
        # As if requests were streams: those are not waited for.
        self._refusal = grpc.stream_unary_rpc_method_handler(self._refuse)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Chooses the handler of a call."""
        if self._backend.admission.is_full and handler_call_details.method == _PREDICT_METHOD:
            return self._refusal
        return continuation(handler_call_details)

    def _refuse(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
        self._backend.metrics.count_shed(ENTRYPOINT)
        error = self._backend.admission.full_error()
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message)
