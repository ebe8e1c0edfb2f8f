"""A SavedModel as a servable: its signatures run as they are."""

import functools
import logging
import os
import queue
import re
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from recall.errors import InputError
from serving.batching import arrays
from serving.batching.batcher import Batcher
from serving.batching.options import BatchingOptions
from serving.models.servable import Servable
from serving.monitoring.metrics import Metrics
from serving.protocol import signatures, tensors, warmup
from serving.protocol.status import Code, ServingError, invalid_argument
from serving.release import paths

_LOGGER = logging.getLogger(__name__)

_REFUSED = re.compile(r"assertion failed: \[([^\]]+)\]")


class SavedModelServable(Servable):
    """One version of an exported tower; see `servable.Servable`."""

    def __init__(
        self,
        name: str,
        version: int,
        saved_model_dir: str | os.PathLike,
        *,
        batching: BatchingOptions | None = None,
        metrics: Metrics | None = None,
    ):
        """Loads a SavedModel.

        Args:
            name: Name of the model.
            version: Version of the model.
            saved_model_dir: Folder that holds `saved_model.pb`.
            batching: How requests for `serving_default` share batches; None
                runs each alone. The first axis of all its inputs and outputs
                must be the batch.
            metrics: Told of runs and batches.

        Raises:
            InputError: The folder holds no SavedModel that can be loaded.
        """
        self.name = name
        self.version = version
        self._dir = Path(saved_model_dir)
        try:
            self.signature_defs = read_signature_defs(self._dir)
            with paths.without_pattern(self._dir) as folder:
                self._model = tf.saved_model.load(os.fspath(folder))
        except (OSError, ValueError, KeyError, DecodeError, tf.errors.OpError) as error:
            raise InputError(
                f"{self._dir} holds no SavedModel that can be loaded ({_first_line(error)}). "
                "Export it again with `recall export`."
            ) from error
        _destroy_tables_with(self, self._model)
        self._functions = dict(self._model.signatures)
        self._runnable = {n: d for n, d in self.signature_defs.items() if n in self._functions}
        self._metrics = metrics
        self.batcher = self._build_batcher(batching) if batching is not None else None

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature; a running step is not interrupted.

        Args:
            signature_name: "" for `serving_default`.
            inputs: By name; strings as `object` arrays of `bytes`.
            output_filter: Outputs wanted; none means all.
            timeout_s: Not looked at: the batcher knows the call it waits for.

        Raises:
            ServingError: The request does not fit the signature, the queue of
                batches is full, or the graph raised an error.
        """
        name = signature_name or signatures.DEFAULT_SIGNATURE
        signature = signatures.find_signature(self._runnable, name)
        complete = signatures.check_inputs(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        in_batches = self.batcher is not None and name == signatures.DEFAULT_SIGNATURE
        if in_batches and arrays.can_batch(complete):
            outputs = self.batcher.run(complete)
        else:
            outputs = self._run(name, complete)
        return {output: outputs[output] for output in selected}

    def _build_batcher(self, options: BatchingOptions) -> Batcher:
        run = functools.partial(self._run, signatures.DEFAULT_SIGNATURE)
        if self._metrics is None:
            return Batcher(run, options)
        return Batcher(run, options, functools.partial(self._metrics.count_batch, self.name))

    def _run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of a signature for checked inputs."""
        infos = self._runnable[name].inputs
        start_s = time.perf_counter()
        try:
            tensors_in = {n: tf.constant(a, dtype=infos[n].dtype) for n, a in inputs.items()}
            outputs = self._functions[name](**tensors_in)
            return {n: tensor.numpy() for n, tensor in outputs.items()}
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), _first_line(error)) from error
        finally:
            if self._metrics is not None:
                self._metrics.count_run(self.name, time.perf_counter() - start_s)

    def predict_default(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs `serving_default` and returns all outputs."""
        return self.predict(signatures.DEFAULT_SIGNATURE, inputs)

    def warm_up(self) -> None:
        """Runs every recorded request; one bad record fails the load.

        Raises:
            InputError: A record is damaged, of an unknown kind or refused by
                the model, or there are too many.
        """
        done = 0
        try:
            records = warmup.read_requests(self._dir)
            if len(records) > warmup.MAX_RECORDS:
                raise invalid_argument(f"more than {warmup.MAX_RECORDS} records")
            for record in records:
                self._replay(record)
                done += 1
        except (DecodeError, ServingError, tf.errors.OpError) as error:
            raise InputError(
                f"{self._dir / warmup.WARMUP_FILE}: the warm-up failed after {done} records "
                f"({_first_line(error)}). Export the model again with `recall export`."
            ) from error

    def _replay(self, record: prediction_log_pb2.PredictionLog) -> None:
        """Runs one warm-up record."""
        if record.WhichOneof("log_type") != "predict_log":
            raise ServingError(Code.UNIMPLEMENTED, "only Predict requests can be replayed")
        request = record.predict_log.request
        inputs = {name: tensors.to_numpy(proto, name) for name, proto in request.inputs.items()}
        self.predict(request.model_spec.signature_name, inputs, request.output_filter)


def _destroy_tables_with(owner: object, model: Any) -> None:
    """Frees the lookup tables of a loaded SavedModel once `owner` is collected.

    Variables go with the model. A table has a name in TensorFlow's resource manager,
    which keeps it until it is destroyed: the vocabulary of every version would stay.
    """
    handles = [
        child.resource_handle
        for child in tf.train.TrackableView(model).descendants()
        if isinstance(child, tf.saved_model.experimental.TrackableResource)
    ]
    _start_destroyer()
    weakref.finalize(owner, _LEFT_BEHIND.put, handles).atexit = False


_LEFT_BEHIND: queue.SimpleQueue[Sequence[tf.Tensor]] = queue.SimpleQueue()
"""Tables whose owner is gone. Python collects garbage in whatever thread makes the next object,
also in the middle of TensorFlow's own work: an operation run there waits for a lock which that
thread holds, for ever, or becomes part of a graph being traced. So the collector only puts
(which a SimpleQueue allows at any time), and a thread of its own runs the operations."""


@functools.cache
def _start_destroyer() -> threading.Thread:
    thread = threading.Thread(target=_destroy_left_behind, name="table-destroyer", daemon=True)
    thread.start()
    return thread


def _destroy_left_behind() -> None:
    while True:
        for handle in _LEFT_BEHIND.get():
            try:
                tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
            except tf.errors.OpError:
                _LOGGER.exception("A lookup table could not be freed")


def _first_line(error: Exception) -> str:
    """What went wrong; TensorFlow adds a dump of the graph below.

    What a graph itself refuses (`tf.debugging`) stands somewhere in that dump.
    """
    text = getattr(error, "message", None) or str(error)
    refused = _REFUSED.search(text)
    if refused is not None:
        return refused[1]
    return text.splitlines()[0] if text else type(error).__name__


def read_signature_defs(saved_model_dir: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures as written in `saved_model.pb`, for GetModelMetadata."""
    content = (saved_model_dir / "saved_model.pb").read_bytes()
    for meta_graph in saved_model_pb2.SavedModel.FromString(content).meta_graphs:
        if "serve" in meta_graph.meta_info_def.tags:
            return dict(meta_graph.signature_def)
    raise ValueError("no graph has the tag `serve`")
