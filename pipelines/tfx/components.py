"""The jobs as TFX components; each calls the function that its command calls.

Parameters are texts, because TFX stores them. `versions`, of the software, changes
no result by itself: TFX takes a component's earlier outputs when inputs and
parameters are the same, and an upgrade has to make new ones.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tfx import v1 as tfx
from tfx.v1.dsl.components import InputArtifact, OutputArtifact, Parameter, component
from tfx.v1.types.standard_artifacts import (
    ExampleAnomalies,
    Examples,
    ModelBlessing,
    ModelEvaluation,
    ModelRun,
    PushedModel,
    Schema,
)

from pipelines.artifacts.records import RunPaths
from pipelines.evaluation import blessing as verdicts
from pipelines.evaluation import evaluate
from pipelines.ingestion import ingest
from pipelines.ingestion.schema import SCHEMA_NAME
from pipelines.publishing import index as index_job
from pipelines.publishing import push
from pipelines.reporting import report as run_report
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.event_columns import NO_TIME, EventColumns
from pipelines.tfx import anomalies as log_anomalies
from pipelines.tfx import event_examples, reading_facts
from pipelines.tfx.log_spec import LogSpec, items_from_json
from recall.config import RecallConfig

LOG_SPLIT = "log"
"""The one split of the events: users are split by `build_sequences`."""

SEQUENCE_SPLITS = ingest.WRITTEN_SPLITS

MODEL, EXPORT = "model", "export"
"""Folders that `run_fn` makes in the artifact `model_run`."""

_PARQUET = "events.parquet"
_LOG_NAME, _FACTS_NAME = "log", "facts"
"""Custom properties of the events: what the user called the log, and what was found in it."""


class IndexArtifact(tfx.dsl.Artifact):
    """The searchable index of a release; see `serving/index/bundle.py`."""

    TYPE_NAME = "RecallIndexBundle"


@component
def read_events_of_log(
    examples: OutputArtifact[Examples],
    log: Parameter[str],
    fingerprint: Parameter[str],
    with_split: Parameter[int],
    max_bad_rows: Parameter[int],
    versions: Parameter[str],
) -> None:
    """ExampleGen: one `tf.Example` per event of a log, in the order of the log.

    Args:
        examples: The events, split `log`.
        log: `LogSpec` as JSON.
        fingerprint: Changes with the content of the log, and with it the outputs.
        with_split: 1 reads the log's split column.
        max_bad_rows: Bad rows that are skipped.
        versions: Of the software.
    """
    del fingerprint, versions
    source = LogSpec.from_json(log).open()
    source.use_split = bool(with_split)
    split_dir = Path(examples.uri) / f"Split-{LOG_SPLIT}"
    number = event_examples.write_events(source, split_dir, max_bad_rows)
    _set_splits(examples, [LOG_SPLIT])
    examples.set_string_custom_property(_LOG_NAME, source.spec)
    examples.set_int_custom_property("events", number)
    examples.set_string_custom_property(_FACTS_NAME, reading_facts.collect(source))


@component
def import_schema(
    schema: OutputArtifact[Schema],
    schema_file: Parameter[str],
    fingerprint: Parameter[str],
) -> None:
    """SchemaGen with a schema that somebody wrote.

    TFX's ImportSchemaGen knows the path alone: with a cache it never reads an edited file.

    Args:
        schema: Gets the file as `schema.pbtxt`.
        schema_file: The file.
        fingerprint: Changes with its content.
    """
    del fingerprint
    shutil.copy(schema_file, Path(schema.uri) / SCHEMA_NAME)


@component
def build_sequences(
    events: InputArtifact[Examples],
    anomalies: InputArtifact[ExampleAnomalies],
    schema: InputArtifact[Schema],
    examples: OutputArtifact[Examples],
    items: Parameter[str],
    items_fingerprint: Parameter[str],
    config: Parameter[str],
    beam_args: Parameter[str],
    versions: Parameter[str],
) -> None:
    """`recall ingest` of validated events: training windows and held-out users.

    Args:
        events: Of `read_events_of_log`.
        anomalies: Of ExampleValidator; one of severity ERROR stops the run.
        schema: What it was validated against.
        examples: The artifact of `recall ingest`.
        items: `ItemsFile` as JSON, "" without one.
        items_fingerprint: Changes with the content of the items file.
        config: Settings as JSON.
        beam_args: Flags for Beam, a line each.
        versions: Of the software.
    """
    del items_fingerprint, versions
    log_anomalies.require_none(Path(anomalies.uri) / f"Split-{LOG_SPLIT}", schema.uri)
    with tempfile.TemporaryDirectory(prefix="recall-") as folder:
        path = Path(folder) / _PARQUET
        columns = event_examples.events_to_parquet(
            Path(events.uri) / f"Split-{LOG_SPLIT}", path
        ).names
        has_time = event_examples.TIMESTAMP in columns
        source = LogSpec(
            str(path),
            EventColumns(timestamp=event_examples.TIMESTAMP if has_time else NO_TIME),
            # What is an id was decided when the log was read.
            options=ReadOptions(timestamp_unit="us" if has_time else "auto", null_markers="ids"),
        ).open()
        source.spec = source.name = events.get_string_custom_property(_LOG_NAME)
        ingest.run_ingest(
            source,
            items_from_json(items),
            examples.uri,
            RecallConfig.from_json(config),
            beam_args=beam_args.split("\n") if beam_args else (),
        )
    facts = events.get_string_custom_property(_FACTS_NAME)
    reading_facts.put_into_report(examples.uri, facts)
    _set_splits(examples, SEQUENCE_SPLITS)


@component
def judge_model(
    examples: InputArtifact[Examples],
    model_run: InputArtifact[ModelRun],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    config: Parameter[str],
    versions: Parameter[str],
) -> None:
    """Evaluator: `recall evaluate` over the full catalogue, and the blessing it ends in.

    Args:
        examples: Of `build_sequences`.
        model_run: Of the Trainer.
        evaluation: The artifact of `recall evaluate`.
        blessing: TFX's word for it: the file and the properties that its Pusher and
            `LatestBlessedModelStrategy` look at.
        config: Settings as JSON.
        versions: Of the software.
    """
    del versions
    report = evaluate.run_evaluation(
        examples.uri,
        Path(model_run.uri) / MODEL,
        evaluation.uri,
        RecallConfig.from_json(config),
    )
    is_blessed = report["blessing"]["blessed"]
    verdicts.write_verdict(blessing.uri, is_blessed)
    blessing.set_int_custom_property("blessed", int(is_blessed))
    blessing.set_string_custom_property("current_model", model_run.uri)
    blessing.set_int_custom_property("current_model_id", model_run.id)


@component
def index_items(
    examples: InputArtifact[Examples],
    model_run: InputArtifact[ModelRun],
    index: OutputArtifact[IndexArtifact],
    config: Parameter[str],
    versions: Parameter[str],
) -> None:
    """`recall index` of the exported item tower.

    Args:
        examples: Of `build_sequences`.
        model_run: Of the Trainer.
        index: The artifact of `recall index`.
        config: Settings as JSON.
        versions: Of the software.
    """
    del versions
    index_job.run_index(
        Path(model_run.uri) / EXPORT, examples.uri, index.uri, RecallConfig.from_json(config)
    )


@component
def push_release(
    examples: InputArtifact[Examples],
    model_run: InputArtifact[ModelRun],
    evaluation: InputArtifact[ModelEvaluation],
    blessing: InputArtifact[ModelBlessing],
    index: InputArtifact[IndexArtifact],
    pushed_model: OutputArtifact[PushedModel],
    serving_dir: Parameter[str],
    described_ns: Parameter[int],
    keep: Parameter[int],
    allow_loss: Parameter[int],
    versions: Parameter[str],
) -> None:
    """Pusher: a blessed release becomes a version, whole or not at all.

    TFX's own Pusher copies one SavedModel; a release is both towers and the index.

    Args:
        examples: Of `build_sequences`.
        model_run: Of the Trainer.
        evaluation: Of `judge_model`.
        blessing: Of `judge_model`; without it nothing is pushed.
        index: Of `index_items`.
        pushed_model: Gets the report, and the properties of TFX's Pusher.
        serving_dir: Folder of the releases.
        described_ns: When the pipeline was described, so that this always runs: an earlier
            push does not say that its version is still there, and the newest.
        keep: Versions that stay, 0 for all.
        allow_loss: 1 publishes a release that lacks much of the newest one.
        versions: Of the software.
    """
    del versions, described_ns
    model_run_dir, report_dir = Path(model_run.uri), Path(pushed_model.uri)
    is_blessed = blessing.get_int_custom_property("blessed") == 1
    pushed_model.set_int_custom_property("pushed", 0)
    with tempfile.TemporaryDirectory(prefix="recall-") as folder:
        # The report is called by the name of its folder.
        run_dir = Path(folder) / Path(serving_dir).absolute().parent.name
        run_dir.mkdir(exist_ok=True)
        run = RunPaths.under(run_dir)
        for link, target in (
            (run.examples, examples.uri),
            (run.model, model_run_dir / MODEL),
            (run.export, model_run_dir / EXPORT),
            (run.index, index.uri),
        ):
            link.symlink_to(Path(target).absolute(), target_is_directory=True)
        shutil.copytree(evaluation.uri, run.evaluation)
        evaluate.add_index_report(run.evaluation, index_job.read_report(run.index))
        run_report.write_report(run_dir, output=report_dir / run_report.HTML_NAME)
        if not is_blessed:
            return
        version = push.published_version(run_dir, serving_dir)
        if version is None:
            version = push.run_push(
                run_dir, serving_dir, keep=keep or None, allow_loss=bool(allow_loss)
            )
    pushed_model.set_int_custom_property("pushed", 1)
    pushed_model.set_string_custom_property("pushed_destination", serving_dir)
    pushed_model.set_string_custom_property("pushed_version", str(version))


def _set_splits(examples: Examples, names: Sequence[str]) -> None:
    """Says what lies below `Split-...`."""
    examples.split_names = json.dumps(list(names))
