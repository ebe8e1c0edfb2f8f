"""The command `recall evaluate`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import folders, progress_flags, settings
from pipelines.commands.shared.flags import Command, FlagSpec, UsageError

COMMAND = Command(
    summary="Measures a model over the full catalogue and decides whether it may be published.",
    description="Writes report.json (recall, NDCG, diversity, beside the popularity and "
    "bigram baselines) and an empty file BLESSED or NOT_BLESSED. Settings are those of the "
    "model unless --config or --set says otherwise.",
    examples=(
        "evaluate --examples=runs/mine/examples --model=runs/mine/model "
        "--output=runs/mine/evaluation",
        "evaluate --examples=runs/mine/examples --lists=theirs.jsonl --output=runs/theirs",
    ),
    flags={
        "examples": folders.EXAMPLES,
        "model": folders.MODEL,
        "lists": FlagSpec(
            help="Instead of --model: lists of another system, measured by the same protocol. "
            "Parquet with the columns user_id and items (ids, best first), or lines of JSON with "
            "these keys; what `recall recommend` writes is one.",
            value="FILE",
            kind="path",
            store="read",
        ),
        "output": folders.flag("Folder for the report.", store="update"),
        **settings.FLAGS,
        **folders.REPLACE,
        **progress_flags.FLAGS,
    },
    required=("examples", "output"),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the report and shows it."""
    from pipelines.artifacts import records
    from pipelines.evaluation import blessing
    from pipelines.publishing import summary

    if (values.model is None) == (values.lists is None):
        raise UsageError("Give --model or --lists, one of the two.")
    if values.lists is not None:
        _measure_lists(values)
        return
    output_dir = folders.read_output(values, "evaluate")
    records.require(folders.require("examples", values.examples), "ingest")
    records.require(folders.require("model", values.model), "train")
    config = settings.read_over(values, values.model)
    with progress_flags.loading():
        from pipelines.evaluation import evaluate

    report = evaluate.run_evaluation(values.examples, values.model, output_dir, config)
    print(summary.results(report))
    if not report["blessing"]["blessed"]:
        print(f"Not blessed: {blessing.describe_refusal(report['blessing'])}.")


def _measure_lists(values: flags.FlagValues) -> None:
    """Writes the report of another system's lists and shows it."""
    from pipelines.artifacts import records
    from pipelines.publishing import summary

    records.require(folders.require("examples", values.examples), "ingest")
    config = settings.read(values)
    with progress_flags.loading():
        from pipelines.evaluation.external import given_lists

    output_dir = folders.read_output(values, records.LISTS_JOB)
    report = given_lists.run_list_evaluation(values.examples, values.lists, output_dir, config)
    print(summary.results(report))
    logging.info("Wrote %s. `recall compare` sets them beside runs.", f"{output_dir}/report.json")
