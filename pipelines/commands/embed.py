"""The command `recall embed`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import beam_flags, inference_flags, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec, UsageError

COMMAND = Command(
    summary="Writes the vectors of users or of items, as Parquet.",
    description="With --events the interests of every user of a log, with --users alone those of "
    "a file of histories, with --items the vectors of items, all of the newest release. An item's "
    "score for a user is its largest inner product with one of the user's vectors. Flags it does "
    "not know go to Apache Beam.",
    examples=(
        "embed --release=runs/mine/serving --events=events.csv.gz --output=user_vectors",
        "embed --release=runs/mine/serving --items=all --output=item_vectors.parquet",
    ),
    flags={
        "release": inference_flags.RELEASE,
        "events": inference_flags.EVENTS,
        "users": inference_flags.USERS,
        "history_column": inference_flags.HISTORIES,
        "items": FlagSpec(
            help="Instead of --events: items of the release, all, or a file (.csv, .parquet ...) "
            "with the item column.",
            value="all|FILE",
            kind="path",
            store="url",
            suggestions=(inference_flags.ALL,),
        ),
        "output": inference_flags.OUTPUT,
        "unknown_users": FlagSpec(
            help="What becomes of users none of whose clicks is of an item of the release: "
            "empty gives them what the tower makes of an empty history, skip leaves them out. "
            "Both count them.",
            value="CHOICE",
            default="skip",
            choices=("empty", "skip"),
        ),
        **inference_flags.READING,
        **inference_flags.RUNNING,
    },
    required=("release", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Writes the vectors; says what it did."""
    items = values["items"].value
    is_about_users = values.events is not None or values["users"].present
    if is_about_users == (items is not None):
        raise UsageError(
            "Give --events=LOG, --users=FILE with histories or --items=all, one of them."
        )
    for name in ("unknown_users", "history_column"):
        if items is not None and values[name].present:
            raise UsageError(f"--{name} has no meaning with --items.")
    if items is None:
        inference_flags.check_users(values)
    beam_flags.check(beam_args)
    with progress_flags.loading():
        from serving import server_process

        server_process.prepare_products()
        from pipelines.inference import jobs, report_lines
        from pipelines.inference.answers import EmbedItems, EmbedUsers

        options = inference_flags.read_options(values, beam_args)
    if items is not None:
        chosen = inference_flags.read_ids(items, values.item_column)
        line = report_lines.embed_items_line(jobs.write_item_vectors(chosen, EmbedItems(), options))
    else:
        skip = values.unknown_users == "skip"
        counts = jobs.write_user_vectors(
            inference_flags.read_users(values), EmbedUsers(skip), options
        )
        line = report_lines.embed_users_line(counts, skip_unknown=skip)
    print(f"{values.output}: {line}")
