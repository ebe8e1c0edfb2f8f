"""The command `recall similar`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import beam_flags, inference_flags, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Writes for every item those like it, as Parquet.",
    description="Item-to-item lists: asks the newest release for the items nearest to each, as a "
    "server answers --similar_to. Flags it does not know go to Apache Beam.",
    examples=(
        "similar --release=runs/mine/serving --k=50 --output=similar_items",
        "similar --release=runs/mine/serving --items=items.csv --output=similar_items.parquet",
    ),
    flags={
        "release": inference_flags.RELEASE,
        "items": FlagSpec(
            help="Which items of the release: all, or a file (.csv, .parquet ...) with the item "
            "column.",
            value="all|FILE",
            kind="path",
            store="url",
            default=inference_flags.ALL,
            suggestions=(inference_flags.ALL,),
        ),
        "output": inference_flags.OUTPUT,
        "k": inference_flags.k_flag("Items for each item."),
        **{n: s for n, s in inference_flags.FILTERS.items() if n != "interest_weights"},
        "item_column": FlagSpec(
            help="Name of the item column of --items.", value="NAME", default="item_id"
        ),
        **inference_flags.RUNNING,
    },
    required=("release", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Writes the lists; says what it did."""
    beam_flags.check(beam_args)
    names = ("k", *(n for n in inference_flags.FILTERS if n != "interest_weights"))
    fields = dict(inference_flags.read_fields(values, names, "similar_to"))
    fields.pop("k", None)
    with progress_flags.loading():
        from serving import server_process

        server_process.prepare_products()
        from pipelines.inference import jobs, report_lines
        from pipelines.inference.answers import SimilarItems

    counts = jobs.write_similar_items(
        inference_flags.read_ids(values["items"].value, values.item_column),
        SimilarItems(values.k, fields),
        inference_flags.read_options(values, beam_args),
    )
    print(f"{values.output}: {report_lines.similar_line(counts)}")
