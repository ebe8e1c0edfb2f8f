"""A finished run as a run of MLflow: settings, metrics, curves, durations, the report.

Imports no TensorFlow, and MLflow only when it is asked for (`recall[train,mlflow]`).
"""

import contextlib
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.artifacts import records
from pipelines.tracking.run_facts import JOBS, RunFacts, read_run
from recall.errors import InputError
from serving.release import storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "recall"
"""Where `MLFLOW_EXPERIMENT_NAME` names no other."""
LOGGED_NAME = "mlflow.json"
"""In the folder of a run: as which run of MLflow it was logged last."""
_REPORT_FOLDERS = {"report.html": "", "report.json": JOBS["evaluate"], "config.json": JOBS["train"]}
_MAX_PARAMS, _MAX_METRICS = 100, 1000
"""Of one request (limits of MLflow's REST API)."""
_MAX_TEXT = 500

_log = logging.getLogger(__name__)


class MlflowLog:
    """A tracking server or store that has answered."""

    def __init__(self, uri: str, client: "MlflowClient", experiment_id: str):
        self._uri, self._client, self._experiment_id = uri, client, experiment_id

    @classmethod
    def open(cls, uri: str) -> "MlflowLog":
        """Finds the experiment, or makes it, so that a wrong address shows before the work.

        Args:
            uri: As MLflow takes it: `http://host:5000`, `sqlite:///mlflow.db`, `databricks`.

        Raises:
            InputError: MLflow is not installed, or does not answer there.
        """
        if importlib.util.find_spec("mlflow") is None:
            raise InputError("--mlflow needs MLflow: pip install 'recall[train,mlflow]'.")
        _prepare_environment()
        from mlflow import MlflowClient

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        try:
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "deleted":
                raise InputError(
                    f"the experiment {name!r} is deleted. Restore it, or name another with "
                    "MLFLOW_EXPERIMENT_NAME."
                )
            return cls(
                uri, client, found.experiment_id if found else client.create_experiment(name)
            )
        except Exception as error:  # Of MLflow, requests, SQLAlchemy: each has its own.
            raise InputError(f"MLflow at {_without_secrets(uri)}: {_first_line(error)}") from error

    def log(self, run_dir: str | Path, *, refused: str | None = None) -> str | None:
        """Logs a run, unless this evaluation of it is there already.

        Args:
            run_dir: Folder of the run.
            refused: Why it was not published; its status is then FAILED.

        Returns:
            The id of MLflow's run, None where there was nothing new.

        Raises:
            InputError: MLflow does not take it.
        """
        run_dir = Path(run_dir)
        facts = read_run(run_dir)
        evaluated = facts.jobs.get("evaluate", {}).get("finished")
        mark = {"uri": _without_secrets(self._uri), "evaluated": evaluated}
        if not facts.metrics or _read_mark(run_dir) == mark:
            return None
        try:
            run_id = self._write(facts, refused)
        except Exception as error:
            place = _without_secrets(self._uri)
            raise InputError(
                f"MLflow at {place} did not take the run: {_first_line(error)}"
            ) from error
        storage.write_json(run_dir / LOGGED_NAME, {**mark, "run_id": run_id})
        return run_id

    def _write(self, facts: RunFacts, refused: str | None) -> str:
        tags = {"mlflow.source.name": "recall run", **_tags(facts, refused)}
        run = self._client.create_run(self._experiment_id, run_name=facts.name, tags=tags)
        run_id = run.info.run_id
        try:
            self._send_all(run_id, facts)
        except Exception:
            with contextlib.suppress(Exception):
                self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FAILED" if refused else "FINISHED")
        return run_id

    def _send_all(self, run_id: str, facts: RunFacts) -> None:
        from mlflow.entities import Param

        params = [Param(name, _text(value)) for name, value in facts.settings.items()]
        self._send(run_id, "params", params, _MAX_PARAMS)
        self._send(run_id, "metrics", list(_metrics(facts)), _MAX_METRICS)
        for name, folder in _REPORT_FOLDERS.items():
            path = facts.directory / folder / name
            if path.exists():
                self._client.log_artifact(run_id, str(path))

    def _send(self, run_id: str, kind: str, values: list[Any], most: int) -> None:
        for start in range(0, len(values), most):
            self._client.log_batch(run_id, **{kind: values[start : start + most]})


def logging_run(uri: str | None, run_dir: str | Path, job: Callable[[], Any]) -> Any:
    """Calls `job` and logs what it left in `run_dir`, also an evaluation that was refused.

    A tracking server that fails after the work was done costs a warning, not the run.

    Args:
        uri: Of MLflow; None logs nothing.
        run_dir: Folder of the run.
        job: Makes the run.

    Raises:
        InputError: MLflow does not answer before the work, or `job` raises it.
    """
    if uri is None:
        return job()
    log, before = MlflowLog.open(uri), _evaluation(run_dir)
    try:
        result = job()
    except InputError as error:
        if _evaluation(run_dir) != before:
            _log_after(log, run_dir, str(error))
        raise
    _log_after(log, run_dir, None)
    return result


def _evaluation(run_dir: str | Path) -> str | None:
    """When the evaluation of a run ended."""
    return records.read_made(Path(run_dir) / JOBS["evaluate"]).get("finished")


def _log_after(log: MlflowLog, run_dir: str | Path, refused: str | None) -> None:
    try:
        run_id = log.log(run_dir, refused=refused)
    except InputError as error:
        _log.warning("%s", error)
    else:
        if run_id is not None:
            _log.info("Logged to MLflow as run %s.", run_id)


def _prepare_environment() -> None:
    """What MLflow reads as it is imported: no statistics to its makers, no lines of its own."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)


def _metrics(facts: RunFacts) -> Iterator[Any]:
    """Metrics of the evaluation, of every epoch, and what the jobs took."""
    from mlflow.entities import Metric

    now_ms = int(1000 * time.time())
    for name, value in facts.metrics.items():
        yield Metric(_metric_name(name), value, now_ms, 0)
    for epoch in records.read_training_log(facts.directory / JOBS["train"]):
        for name, value in epoch.items():
            if name != "epoch":
                yield Metric(f"epoch.{_metric_name(name)}", value, now_ms, int(epoch["epoch"]))
    for job, made in facts.jobs.items():
        for name in ("duration_s", "cpu_s", "peak_memory_bytes"):
            if made.get(name) is not None:
                yield Metric(f"{job}.{name}", made[name], now_ms, 0)


def _metric_name(name: str) -> str:
    """A name that MLflow allows.

    >>> _metric_name("test.recall@10")
    'test.recall_at_10'
    """
    return name.replace("@", "_at_")


def _tags(facts: RunFacts, refused: str | None) -> dict[str, str]:
    tags = {
        "mlflow.source.git.commit": facts.commit,
        "recall.folder": str(facts.directory.resolve()),
        "recall.log": facts.log,
        "recall.blessed": None if facts.blessed is None else str(facts.blessed).lower(),
        "recall.refused": refused,
        **{f"recall.input.{name}": checksum for name, checksum in facts.inputs.items()},
        **{f"recall.version.{name}": version for name, version in facts.versions.items()},
    }
    return {name: _text(text) for name, text in tags.items() if text is not None}


def _text(value: Any) -> str:
    return str(value)[:_MAX_TEXT]


def _read_mark(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / LOGGED_NAME
    if not path.exists():
        return None
    return {key: value for key, value in storage.read_json(path).items() if key != "run_id"}


def _without_secrets(uri: str) -> str:
    """An address without the name and password in it.

    >>> _without_secrets("https://me:secret@example.com/a")
    'https://example.com/a'
    """
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def _first_line(error: Exception) -> str:
    """
    >>> _first_line(ValueError("Not there.\\nMore."))
    'Not there.'
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
