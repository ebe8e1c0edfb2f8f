"""The command `recall evaluate`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, progress_flags, settings
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Measures a model over the full catalogue and decides whether it may be published.",
    description="Writes report.json (recall, NDCG, diversity, beside the popularity and "
    "bigram baselines) and an empty file BLESSED or NOT_BLESSED. Settings are those of the "
    "model unless --config or --set says otherwise.",
    examples=(
        "evaluate --examples=runs/mine/examples --model=runs/mine/model "
        "--output=runs/mine/evaluation",
    ),
    flags={
        "examples": folders.EXAMPLES,
        "model": folders.MODEL,
        "output": folders.flag("Folder for the report.", store="update"),
        **settings.FLAGS,
        **folders.REPLACE,
        **progress_flags.FLAGS,
    },
    required=("examples", "model", "output"),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the report and shows it."""
    from pipelines.artifacts import records
    from pipelines.evaluation import blessing
    from pipelines.publishing import summary

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
