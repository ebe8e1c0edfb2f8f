"""From parsed flags to the function of each job, which is imported only then."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags, logging

from pipelines import artifacts, blessing, publish_flags, summary, table_flags
from pipelines.flags import UsageError
from recall.config import RecallConfig
from recall.errors import InputError
from serving.shards import Shard

Handler = Callable[[flags.FlagValues, Sequence[str]], None]


def load_config(path: str | None, assignments: Sequence[str]) -> RecallConfig:
    """The settings of --config with those of --set on top.

    Raises:
        InputError: The file cannot be read, or a setting is wrong.
    """
    return _file_config(path).override(assignments)


def _file_config(path: str | None) -> RecallConfig:
    if path is None:
        return RecallConfig()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot read --config={path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--config={path} is not a text file in UTF-8.") from error
    try:
        return RecallConfig.from_json(text)
    except InputError as error:
        raise InputError(f"--config={path}: {error}") from error


def _config(values: flags.FlagValues) -> RecallConfig:
    return load_config(values["config"].value, values["set"].value)


def _model_config(values: flags.FlagValues, artifact_dir: str) -> RecallConfig:
    """The settings an artifact was made with, unless --config names others."""
    if values["config"].value is not None:
        return _config(values)
    return artifacts.read_config(artifact_dir).override(values["set"].value)


def _require_folder(flag: str, path: str) -> str:
    if not Path(path).is_dir():
        raise InputError(f"--{flag}={path} is no folder. Name one that exists.")
    return path


def _output(values: flags.FlagValues, job: str) -> str:
    """The output folder, unless it holds something else than this job's artifact."""
    artifacts.check_output(values.output, job, overwrite=values.overwrite)
    return values.output


def _open_log(values: flags.FlagValues):
    """The source named by --events."""
    from pipelines import sources

    if values.data_dir and not values.events.startswith("tfds:"):
        raise UsageError(f"--data_dir is for tfds:NAME, not for --events={values.events}.")
    columns = sources.EventColumns(
        values.user_column, values.item_column, values.timestamp_column, values.split_column
    )
    return sources.open_events(
        values.events,
        columns,
        data_dir=values.data_dir,
        options=sources.ReadOptions(
            values.timestamp_unit, values.timestamp_format, values.null_markers
        ),
        text=table_flags.read_text_options(values),
        where=sources.parse_conditions(values.where),
    )


def _items_file(values: flags.FlagValues):
    """The file named by --items, None without one."""
    path = values["items"].value
    if path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise InputError(f"--items={path} is no file, or cannot be read. Check the path.")
    return table_flags.read_items_file(values, path)


def _check_beam_args(beam_args: Sequence[str]) -> None:
    """Fails early, also where the job that takes the flags is up to date.

    Raises:
        UsageError: Neither this command nor Beam knows a flag.
    """
    if not beam_args:
        return
    from pipelines import beam_runtime

    try:
        beam_runtime.build_options(beam_args)
    except InputError as error:
        raise UsageError(str(error).removesuffix(" See --help.")) from error


def _ingest(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    config = _config(values)
    _check_beam_args(beam_args)
    source, items_file = _open_log(values), _items_file(values)
    from pipelines import ingest

    ingest.run_ingest(
        source,
        items_file,
        values.output,
        config,
        max_bad_rows=values.max_bad_rows,
        beam_args=beam_args,
        overwrite=values.overwrite,
    )
    logging.info("Wrote %s", values.output)


def _train(values: flags.FlagValues, _: Sequence[str]) -> None:
    config = _config(values)
    artifacts.require(_require_folder("examples", values.examples), "ingest")
    from pipelines import trainer

    trainer.train_and_evaluate(config, values.examples, values.output, overwrite=values.overwrite)
    logging.info("Wrote %s", values.output)


def _evaluate(values: flags.FlagValues, _: Sequence[str]) -> None:
    output_dir = _output(values, "evaluate")
    artifacts.require(_require_folder("examples", values.examples), "ingest")
    artifacts.require(_require_folder("model", values.model), "train")
    config = _model_config(values, values.model)
    from pipelines import evaluate

    report = evaluate.run_evaluation(values.examples, values.model, output_dir, config)
    print(summary.results(report))
    if not report["blessing"]["blessed"]:
        print(f"Not blessed: {blessing.describe_refusal(report['blessing'])}.")


def _export(values: flags.FlagValues, _: Sequence[str]) -> None:
    output_dir = _output(values, "export")
    artifacts.require(_require_folder("model", values.model), "train")
    from pipelines import export

    export.run_export(values.model, output_dir)
    logging.info("Wrote %s", output_dir)


def _index(values: flags.FlagValues, _: Sequence[str]) -> None:
    config, output_dir = _config(values), _output(values, "index")
    artifacts.require(_require_folder("export", values.export), "export")
    artifacts.require(_require_folder("examples", values.examples), "ingest")
    if values.evaluation:
        artifacts.require(_require_folder("evaluation", values.evaluation), "evaluate")
    shard = None if values.shard is None else Shard.parse(values.shard)
    from pipelines import index

    report = index.run_index(values.export, values.examples, output_dir, config, shard)
    if values.evaluation:
        from pipelines import evaluate

        evaluate.add_index_report(values.evaluation, report)
    logging.info("Wrote %s: %s", output_dir, summary.index_line(report))


def _push(values: flags.FlagValues, _: Sequence[str]) -> None:
    keep = publish_flags.read_keep(values)
    run_dir = _require_folder("run", values["run"].value)
    serving_dir = values.serving or os.path.join(run_dir, "serving")
    from pipelines import push

    version = push.run_push(
        run_dir, serving_dir, values["index"].value, keep=keep, allow_loss=values.allow_loss
    )
    print(f"Published version {version} in {serving_dir}")


def _run(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    config, keep = _config(values), publish_flags.read_keep(values)
    _check_beam_args(beam_args)
    source, items_file = _open_log(values), _items_file(values)
    from pipelines import run

    result = run.run(
        source,
        items_file,
        values.output,
        config,
        max_bad_rows=values.max_bad_rows,
        overwrite=values.overwrite,
        beam_args=beam_args,
        keep=keep,
        allow_loss=values.allow_loss,
    )
    print(f"\nVersion {result.version} is published. Next:")
    print(f"  {summary.next_command(values.output)}")


def _serve(values: flags.FlagValues, _: Sequence[str]) -> None:
    release_dir = _require_folder("release", values.release)
    from pipelines import console_log, serve_flags
    from serving import server

    options = serve_flags.read_options(values)
    if values.log_format == "json":
        console_log.write_json()
    server.serve(release_dir, options)


def _query(values: flags.FlagValues, _: Sequence[str]) -> None:
    from pipelines import query, tls_flags
    from serving import client, door_address

    request = query.build_request(
        {name: values[name].value for name in query.REQUEST_FLAGS if values[name].present}
    )
    tls = tls_flags.read_client_tls(values, "", "server")
    server = door_address.check(values.server)
    answer = client.query(server, request, timeout_s=values.timeout_s, tls=tls)
    sys.stdout.write(query.format_answer(answer))


def _items(values: flags.FlagValues, _: Sequence[str]) -> None:
    if not values.upsert and not values["delete"].value:
        raise UsageError("recall items: give --upsert=FILE or --delete=IDS.")
    from pipelines import change_items, tls_flags
    from serving import door_address

    sent = change_items.change_items(
        door_address.check(values.server),
        table_flags.read_items_file(values, values.upsert),
        values["delete"].value,
        token_file=values.admin_token_file,
        tls=tls_flags.read_client_tls(values, "", "server"),
        timeout_s=values.timeout_s,
    )
    print(sent)


def _synthesize(values: flags.FlagValues, _: Sequence[str]) -> None:
    from pipelines import synthesize, synthesize_flags
    from pipelines.synthetic_config import SyntheticConfig

    names = synthesize_flags.planted_world()
    config = SyntheticConfig.from_text(",".join(f"{name}={values[name].value}" for name in names))
    synthesize.run_synthesize(
        values.output, config, file_format=values.format, overwrite=values.overwrite
    )


def _demo(values: flags.FlagValues, _: Sequence[str]) -> None:
    run_dir = _require_folder("run", values["run"].value)
    from pipelines import demo

    sys.stdout.write(demo.show_run(run_dir, num_users=values.users, k=values.k))


HANDLERS: dict[str, Handler] = {
    "run": _run,
    "ingest": _ingest,
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "index": _index,
    "push": _push,
    "serve": _serve,
    "query": _query,
    "items": _items,
    "synthesize": _synthesize,
    "demo": _demo,
}
