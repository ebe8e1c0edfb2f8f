"""The pipeline: from a log to a published release, as TFX runs and records it.

`build_pipeline` gives it to any runner of TFX, `run` runs it here. Both need an
environment with TFX (`make tfx-install`, docs/tfx.md).
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.reporting import report
from pipelines.sources.items import ItemsFile
from pipelines.tfx import components
from pipelines.tfx.log_spec import LogSpec, items_to_json
from recall.config import RecallConfig
from serving.release import storage

NAME = "recall"
_METADATA = "metadata.db"
_ARTIFACTS = "artifacts"


class Inputs(NamedTuple):
    """What a pipeline reads.

    Attributes:
        log: The log.
        items_file: The items file, None where there is none.
        schema: File with the schema of the events (`schema.pbtxt`) that the log
            must keep to; None infers one of the log itself.
        max_bad_rows: Bad rows of the log that are skipped.
        warm_start: Folder of an earlier run whose training this one goes on from.
    """

    log: LogSpec
    items_file: ItemsFile | None = None
    schema: str | None = None
    max_bad_rows: int = 0
    warm_start: str | None = None


class Publication(NamedTuple):
    """Where and how releases are published.

    Attributes:
        serving_dir: Folder of the releases.
        keep: Versions that stay, None for all.
        allow_loss: Whether a release may lack much of the newest one.
    """

    serving_dir: str
    keep: int | None = None
    allow_loss: bool = False


class PipelineResult(NamedTuple):
    """What a run of the pipeline left.

    Attributes:
        evaluation_dir: Folder of the evaluation.
        report: The run as a page.
        version: The published version, None where the model was not blessed.
    """

    evaluation_dir: Path
    report: Path
    version: int | None


def build_pipeline(
    inputs: Inputs,
    publication: Publication,
    config: RecallConfig,
    pipeline_root: str | Path,
    *,
    metadata_path: str | Path | None = None,
    beam_args: Sequence[str] = (),
) -> tfx.dsl.Pipeline:
    """Describes the pipeline.

    Args:
        inputs: What it reads.
        publication: What becomes of a blessed model.
        config: Settings of all jobs.
        pipeline_root: Folder of the artifacts.
        metadata_path: SQLite file of ML Metadata; None leaves the store to the runner.
        beam_args: Flags for Beam, for StatisticsGen and `build_sequences`.

    Returns:
        The pipeline, of nine components.

    Raises:
        InputError: The log or the items file cannot be read.
    """
    before = _data_components(inputs, config, beam_args)
    after = _model_components(before[-1].outputs["examples"], inputs, publication, config)
    connection = None
    if metadata_path is not None:
        connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(metadata_path)
        )
    return tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(pipeline_root),
        components=[*before, *after],
        enable_cache=True,
        metadata_connection_config=connection,
        beam_pipeline_args=list(beam_args),
    )


def _data_components(
    inputs: Inputs, config: RecallConfig, beam_args: Sequence[str]
) -> list[BaseComponent]:
    """From the log to sequences, which the last one makes."""
    example_gen = components.read_events_of_log(
        log=inputs.log.to_json(),
        fingerprint=inputs.log.open().fingerprint(),
        with_split=int(config.ingest.protocol == "provided"),
        max_bad_rows=inputs.max_bad_rows,
        versions=_versions(),
    ).with_id("ExampleGen")
    events = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=events)
    schema_gen = _schema_gen(inputs, statistics_gen)
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    items_file = inputs.items_file
    sequences = components.build_sequences(
        events=events,
        anomalies=validator.outputs["anomalies"],
        schema=schema_gen.outputs["schema"],
        items=items_to_json(items_file),
        items_fingerprint="" if items_file is None else items_file.fingerprint(),
        beam_args="\n".join(beam_args),
        config=config.to_json(),
        versions=_versions(),
    ).with_id("Sequences")
    return [example_gen, statistics_gen, schema_gen, validator, sequences]


def _model_components(
    examples: tfx.types.BaseChannel, inputs: Inputs, publication: Publication, config: RecallConfig
) -> list[BaseComponent]:
    """From sequences to a published release."""
    settings = {"config": config.to_json(), "versions": _versions()}
    trainer = tfx.components.Trainer(
        run_fn="pipelines.tfx_trainer.run_fn",
        examples=examples,
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["valid"]),
        custom_config={
            "config": config.to_dict(),
            "warm_start": inputs.warm_start,
            "versions": settings["versions"],
        },
    )
    model = {"examples": examples, "model_run": trainer.outputs["model_run"]}
    evaluator = components.judge_model(**model, **settings).with_id("Evaluator")
    index = components.index_items(**model, **settings).with_id("ItemIndex")
    pusher = components.push_release(
        **model,
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        index=index.outputs["index"],
        serving_dir=str(Path(publication.serving_dir).absolute()),
        described_ns=time.time_ns(),
        keep=publication.keep or 0,
        allow_loss=int(publication.allow_loss),
        versions=settings["versions"],
    ).with_id("Pusher")
    return [trainer, evaluator, index, pusher]


def run(
    inputs: Inputs,
    output_dir: str | Path,
    config: RecallConfig,
    *,
    publication: Publication | None = None,
    beam_args: Sequence[str] = (),
) -> PipelineResult:
    """Runs the pipeline in this process, with its metadata in a file of the folder.

    Args:
        inputs: What it reads.
        output_dir: Folder for artifacts and metadata.
        config: Settings of all jobs.
        publication: Where releases go; None means `serving/` in the folder.
        beam_args: Flags for Beam.

    Returns:
        What the run left; of components whose inputs have not changed, what an earlier one left.

    Raises:
        InputError: The input is bad, breaks its schema, or the index is not good enough.
    """
    folder = Path(output_dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = build_pipeline(
        inputs,
        publication or Publication(str(RunPaths.under(folder).serving)),
        config,
        folder / _ARTIFACTS,
        metadata_path=folder / _METADATA,
        beam_args=beam_args,
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)
    return _find_result(MetadataStore(pipeline.metadata_connection_config))


def _versions() -> str:
    """What software there is, as JSON; an upgrade makes all artifacts again."""
    versions = records.build_record(NAME, {}, {})["versions"]
    return json.dumps({**versions, "tfx": tfx.__version__}, sort_keys=True)


def _schema_gen(inputs: Inputs, statistics_gen: tfx.components.StatisticsGen) -> BaseComponent:
    """The schema of the user, else one that is inferred."""
    if inputs.schema is None:
        return tfx.components.SchemaGen(statistics=statistics_gen.outputs["statistics"])
    return components.import_schema(
        schema_file=inputs.schema, fingerprint=storage.sha256_of_file(inputs.schema)
    ).with_id("SchemaGen")


def _find_result(store: MetadataStore) -> PipelineResult:
    """What the latest run left, also where its components took earlier outputs."""
    evaluation = _latest_output(store, components.judge_model, "evaluation")
    pushed = _latest_output(store, components.push_release, "pushed_model")
    version = pushed.custom_properties["pushed_version"].string_value
    return PipelineResult(
        Path(evaluation.uri),
        Path(pushed.uri) / report.HTML_NAME,
        int(version) if version else None,
    )


def _latest_output(
    store: MetadataStore, function: Callable, name: str
) -> metadata_store_pb2.Artifact:
    """The output `name` of the latest execution of a component."""
    executions = store.get_executions_by_type(f"{function.__module__}.{function.__name__}")
    latest = max(executions, key=lambda execution: execution.id)
    (artifact_id,) = (
        event.artifact_id
        for event in store.get_events_by_execution_ids([latest.id])
        if event.type == metadata_store_pb2.Event.OUTPUT and event.path.steps[0].key == name
    )
    (artifact,) = store.get_artifacts_by_id([artifact_id])
    return artifact
