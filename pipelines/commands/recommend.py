"""The command `recall recommend`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import beam_flags, inference_flags, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Writes recommendations for many users, as Parquet.",
    description="Asks the newest release for each user's items, as a server would answer: items "
    "with scores, the interest that found each and the clicked item nearest to it. Users are those "
    "of a log, or of a file that has a history for each. Flags it does not know (for example "
    "--runner=FlinkRunner) go to Apache Beam.",
    examples=(
        "recommend --release=runs/mine/serving --events=events.csv.gz --k=200 --output=recs",
        "recommend --release=runs/mine/serving --events=events.csv.gz --users=users.csv "
        "--output=recs.parquet",
        "recommend --release=runs/mine/serving --users=histories.jsonl --output=recs.parquet",
    ),
    flags={
        "release": inference_flags.RELEASE,
        "events": inference_flags.EVENTS,
        "users": inference_flags.USERS,
        "history_column": inference_flags.HISTORIES,
        "output": inference_flags.OUTPUT,
        "k": inference_flags.k_flag("Items for each user."),
        "exclude_seen": FlagSpec(
            help="Leaves out items of the user's history; --noexclude_seen recalls them too.",
            value="",
            default=True,
            kind="boolean",
        ),
        **inference_flags.FILTERS_BESIDE_A_LOG,
        "unknown_users": FlagSpec(
            help="What becomes of users none of whose clicks is of an item of the release: "
            "popular gives them popular items, skip leaves them out. Both count them.",
            value="CHOICE",
            default="popular",
            choices=inference_flags.UNKNOWN_USERS,
        ),
        "reasons": FlagSpec(
            help="Writes beside each item the clicked one that is nearest to it; --noreasons "
            "saves the time.",
            value="",
            default=True,
            kind="boolean",
        ),
        **inference_flags.READING,
        **inference_flags.RUNNING,
    },
    required=("release", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Writes the recommendations; says what it did."""
    inference_flags.check_users(values)
    beam_flags.check(beam_args)
    names = ("k", *inference_flags.FILTERS_BESIDE_A_LOG)
    fields = dict(inference_flags.read_fields(values, names, "history"))
    fields.pop("k", None)
    fields["include_seen"] = not values.exclude_seen
    with progress_flags.loading():
        from serving import server_process

        server_process.prepare_products()
        from pipelines.inference import jobs, report_lines
        from pipelines.inference.answers import RecommendUsers

        users = inference_flags.read_users(values)
    skip = values.unknown_users == "skip"
    with inference_flags.naming_items_where():
        counts = jobs.write_recommendations(
            users,
            RecommendUsers(values.k, fields, skip, values.reasons),
            inference_flags.read_options(values, beam_args),
        )
    print(f"{values.output}: {report_lines.recommend_line(counts, skip_unknown=skip)}")
