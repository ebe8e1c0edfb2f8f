"""`Run`: what a finished run can do for a caller, and `load`, which opens one.

Jobs run in a process of their own (`jobs`); recommendations come from the release, opened in
this one.
"""

import functools
import html
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.api import held_out_users, log_jobs, paths, settings, tables
from pipelines.api.recommender import Recommender
from pipelines.api.stored_users import StoredUser, StoredUsers
from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.processes import jobs
from pipelines.publishing import push
from recall.config import RecallConfig
from recall.errors import InputError
from serving.api.request_fields import Kind, read_value
from serving.release import release as releases
from serving.release import storage, store_fetch
from serving.retrieval.user_vectors import UserVectors
from serving.stores import urls

if TYPE_CHECKING:
    from pipelines.api.settings import ConfigLike
    from pipelines.api.tables import Table

TRAINING_LOG = "training_log.jsonl"
_SHOWN_METRICS = ("recall@10", "ndcg@10", "recall@50")


class Run(Recommender):
    """A finished run: its numbers, and recommendations of its release.

    Attributes:
        path: The folder that `recall.fit` or `recall run` wrote.
        serving_dir: Its folder of releases.
    """

    def __init__(self, path: str | os.PathLike):
        """Names a run.

        Raises:
            InputError: The folder is no run.
        """
        self.path = paths.read("path", path)
        self._paths = RunPaths.under(self.path)
        super().__init__(self._paths.serving)
        if records.read_record(self._paths.examples) is None:
            raise InputError(
                f"{self.path} is no run: it has no finished examples/. Give the folder that "
                "recall.fit or `recall run` wrote."
            )

    @property
    def config(self) -> RecallConfig:
        """All settings it was trained with."""
        records.require(self._paths.model, "train")
        return records.read_config(self._paths.model)

    @property
    def metrics(self) -> "Table":
        """The numbers of evaluation/report.json.

        Returns:
            A row per metric, with the columns `metric`, `validation` and `test` (the model),
            `standard_error` (of `test`, over users; empty where there is none), `popularity` and
            `bigram` (the baselines on the test users).

        Raises:
            InputError: The run was not evaluated.
        """
        records.require(self._paths.evaluation, "evaluate")
        report = storage.read_json(self._paths.evaluation / records.REPORT_NAME)
        sections = {name: report[name] for name in ("validation", "test")} | report["baselines"]
        names = [name for name, value in report["test"].items() if not isinstance(value, dict)]
        errors = report["test"]["standard_errors"]
        columns: dict[str, list[Any]] = {"metric": names}
        for name, section in sections.items():
            columns[name] = [_number(section.get(metric)) for metric in names]
            if name == "test":
                columns["standard_error"] = [_number(errors.get(metric)) for metric in names]
        return tables.to_table(columns)

    @property
    def history(self) -> "Table":
        """A row per epoch: `epoch`, `seconds`, losses, and validation metrics (`val_...`).

        Raises:
            InputError: The run was not trained.
        """
        path = self._paths.model / TRAINING_LOG
        if not path.exists():
            raise InputError(f"{self.path} has no training log. Run recall.fit again.")
        rows = records.read_training_log(self._paths.model)
        names = dict.fromkeys(name for row in rows for name in row)
        return tables.to_table({name: [row.get(name) for row in rows] for name in names})

    @property
    def user_ids(self) -> list[str]:
        """Raw ids of the users that `recommend` knows."""
        return self._users.user_ids

    def evaluate(
        self, events: Any, *, config: "ConfigLike" = None, show: bool = False, **reading: Any
    ) -> "Table":
        """Judges the run's model on the users of another log, held out as in the run.

        Clicks on items that the model does not know count as missed. Users are told by their
        clicks alone: a warning says so where the model knows more of them.

        Args:
            events: As `recall.fit`; a later time, other users ...
            config: Settings of the section `ingest` for it; None takes the run's.
            show: Whether progress is shown.
            **reading: How the log is read, as `recall.fit`.

        Returns:
            A row per metric with the columns `metric`, `test` and `standard_error`.

        Raises:
            InputError: The log cannot be read, no user has enough events, or the model knows
                none of its items.
        """
        run_config, vectors = self.config, self.item_vectors()
        given = settings.read(config or run_config)
        # Vectors of items are those of the release; what else is read of them needs their files.
        of_log = RecallConfig(ingest=given.ingest).override(
            [f"model.max_history_length={given.model.max_history_length}"]
        )
        _warn_of_what_is_known(run_config)
        vocabulary = records.read_vocabulary(self._paths.examples)
        row_of = {item_id: row for row, item_id in enumerate(vectors.item_ids)}
        rows = [row_of[item_id] for item_id in vocabulary.item_ids]
        with tempfile.TemporaryDirectory(prefix="recall-evaluate-") as folder:
            examples_dir = Path(folder) / "examples"
            log_jobs.ingest(events, examples_dir, of_log, show=show, **reading)
            clicked = records.read_vocabulary(examples_dir).item_ids
            if not row_of.keys() & set(clicked):
                raise InputError(
                    f"The model knows none of the {len(clicked)} items of the events, first "
                    f"{clicked[0]!r}. Are they in the column that item_column names?"
                )
            section = held_out_users.judge(
                examples_dir,
                vocabulary,
                self._vectors_of,
                vectors.vectors[rows],
                run_config.evaluation,
                run_config.model.max_history_length,
            )
        errors = section["standard_errors"]
        names = [name for name, value in section.items() if not isinstance(value, dict)]
        return tables.to_table(
            {
                "metric": names,
                "test": [_number(section[name]) for name in names],
                "standard_error": [_number(errors.get(name)) for name in names],
            }
        )

    def report(self, compare: "Run | str | os.PathLike | None" = None) -> "Report":
        """Writes report.html into the run's folder: data, curves, metrics, interests, users.

        Args:
            compare: Another run, set beside this one.

        Raises:
            InputError: A folder is no run.
        """
        words = ["report", f"--run={self.path}"]
        if compare is not None:
            other = compare.path if isinstance(compare, Run) else paths.read("compare", compare)
            words.append(f"--compare={other}")
        jobs.run(words, show=False)
        return Report(self.path / "report.html")

    def publish(
        self, serving_dir: str | os.PathLike, *, keep: int | None = None, allow_loss: bool = False
    ) -> int:
        """Publishes the run's release into another folder, as a new version; as `recall push`.

        Args:
            serving_dir: Folder of releases that servers watch, or the URL of one in an object
                store, as `s3://bucket/serving`.
            keep: Versions that stay, the new one among them; None keeps all.
            allow_loss: Whether a release is published that lacks most of the items of the
                newest one there.

        Returns:
            The version.

        Raises:
            InputError: The model is not blessed, or the folder cannot be written.
        """
        folder = (
            urls.parse(serving_dir, "`serving_dir`")
            if urls.is_url(serving_dir)
            else paths.read("serving_dir", serving_dir)
        )
        if keep is not None:
            keep = read_value("keep", Kind.INTEGER, keep)
        return push.run_push(self.path, folder, keep=keep, allow_loss=allow_loss)

    @functools.cached_property
    def _users(self) -> StoredUsers:
        return StoredUsers(self._paths.examples)

    def _vectors_of(self, histories: list[tuple[str, ...]]) -> UserVectors:
        return self._local.user_vectors([StoredUser(history) for history in histories])

    def _read_users(self, user_ids: list[str]) -> list[StoredUser]:
        return self._users.read(user_ids, self._local.wanted)

    def _headline(self) -> dict[str, float]:
        """A few numbers of the test users, {} before the evaluation."""
        path = self._paths.evaluation / records.REPORT_NAME
        test = storage.read_json(path)["test"] if path.exists() else {}
        return {name: test[name] for name in _SHOWN_METRICS if name in test}

    def __repr__(self) -> str:
        numbers = [f"{name} {value:.4f}" for name, value in self._headline().items()]
        versions = releases.complete_versions(self.serving_dir)
        numbers.append(f"version {versions[-1]}" if versions else "not published")
        return f"Run({str(self.path)!r}, {', '.join(numbers)})"

    def _repr_html_(self) -> str:
        rows = {"folder": str(self.path)}
        rows |= {name: f"{value:.4f}" for name, value in self._headline().items()}
        versions = releases.complete_versions(self.serving_dir)
        rows["release"] = f"version {versions[-1]}" if versions else "not published"
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in rows.items()
        )
        return f"<table><caption>recall run</caption>{cells}</table>"


class Report:
    """The report of a run; a notebook shows it.

    Attributes:
        path: The file, which opens in any browser.
    """

    def __init__(self, path: Path):
        self.path = path

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r})"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:640px;border:0"></iframe>'


def load(path: str | os.PathLike) -> Recommender:
    """Opens a run, or a folder of releases.

    Args:
        path: The folder that `recall.fit` or `recall run` wrote, or a folder that was
            published to, also in an object store: `s3://bucket/serving`.

    Returns:
        A `Run` or, of releases alone, a `Recommender`, which has no metrics and knows no users.

    Raises:
        InputError: It is neither.
    """
    if urls.is_url(path):
        return Recommender(store_fetch.fetch_newest(paths.read_releases("path", path)))
    folder = paths.read("path", path)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give that of a run or of its releases.")
    if (folder / RunPaths._fields[0]).is_dir():
        return Run(folder)
    if any((folder / part).is_dir() for part in releases.PARTS):
        releases.latest_release(folder)
        return Recommender(folder)
    raise InputError(
        f"{folder} is no run and holds no release. Give the folder that recall.fit or `recall run` "
        "wrote, or one that was published to."
    )


def _warn_of_what_is_known(config: RecallConfig) -> None:
    """Warns where a model looks at more of users than what they clicked."""
    names = [column.name for column in config.features.of("user", "event", "request")]
    names += ["times of clicks"] * config.model.time_bias
    if names:
        warnings.warn(
            f"Users are judged by their clicks alone: the model also looks at {', '.join(names)}.",
            stacklevel=3,
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
