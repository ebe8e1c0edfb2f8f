"""The sub-commands of `recall`: what each is for and the flags it takes.

Imports none of the jobs and no TensorFlow.
"""

from pipelines import (
    items_flags,
    log_flags,
    publish_flags,
    serve_flags,
    synthesize_flags,
    tls_flags,
)
from pipelines.flags import Command, FlagSpec

_CONFIG = {
    "config": FlagSpec(
        help="JSON file with settings; keys that are absent keep their default.",
        value="FILE",
        kind="path",
    ),
    "set": FlagSpec(
        help="One setting, for example train.batch_slots=512; wins over --config. Repeatable.",
        value="KEY=VALUE",
        default=(),
        kind="repeated",
    ),
}
_OVERWRITE = {
    "overwrite": FlagSpec(
        help="Replaces an artifact of other inputs or of another job in --output.",
        value="",
        default=False,
        kind="boolean",
    )
}
_REPLACE = {
    "overwrite": FlagSpec(
        help="Replaces another job's artifact in --output; one of this job is always replaced.",
        value="",
        default=False,
        kind="boolean",
    )
}


def _folder(text: str) -> FlagSpec:
    return FlagSpec(help=text, value="DIR", kind="path")


_EXAMPLES_DIR = _folder("Folder written by `recall ingest`.")
_MODEL_DIR = _folder("Folder written by `recall train`.")
_EXPORT_DIR = _folder("Folder written by `recall export`.")

COMMANDS: dict[str, Command] = {
    "run": Command(
        summary="Runs all jobs: from a log to a published release.",
        description="Chains ingest, train, evaluate, export, index and push in one folder. Jobs "
        "whose inputs and settings have not changed are skipped, so the same command resumes "
        "after a failure. Flags it does not know (for example --runner=FlinkRunner) go to Apache "
        "Beam.",
        examples=(
            "run --events=events.csv.gz --items=items.csv.gz --output=runs/mine",
            "run --events=events.csv.gz --output=runs/mine --config=my.json "
            "--set=train.batch_slots=512",
            "run --events=synthetic:users=2000,items=500 --output=runs/try",
        ),
        flags={
            **log_flags.EVENTS,
            "output": _folder("Folder of the run; created when it does not exist."),
            **_CONFIG,
            **log_flags.READING,
            "overwrite": FlagSpec(
                help="Replaces the artifacts in --output when they were made from another log. "
                "Published releases stay.",
                value="",
                default=False,
                kind="boolean",
            ),
            **publish_flags.FLAGS,
        },
        required=("events", "output"),
        beam_flags=True,
    ),
    "ingest": Command(
        summary="Turns a log into training examples, a vocabulary and statistics.",
        description="Reads the log with Apache Beam, orders and splits every user's events and "
        "writes TFRecord files, vocabulary.parquet, schema.pbtxt, statistics.json and a report. "
        "Flags it does not know (for example --runner=FlinkRunner) go to Apache Beam.",
        examples=(
            "ingest --events=events.csv.gz --items=items.csv.gz --output=runs/mine/examples",
        ),
        flags={
            **log_flags.EVENTS,
            "output": _folder("Folder for the examples."),
            **_CONFIG,
            **log_flags.READING,
            **_OVERWRITE,
        },
        required=("events", "output"),
        beam_flags=True,
    ),
    "train": Command(
        summary="Trains the two towers on the examples.",
        description="Trains until validation NDCG@10 stops improving and keeps the best "
        "checkpoint. The same command continues an interrupted training.",
        examples=(
            "train --examples=runs/mine/examples --output=runs/mine/model --set=train.max_epochs=20",
        ),
        flags={
            "examples": _EXAMPLES_DIR,
            "output": _folder("Folder for the model."),
            **_CONFIG,
            **_OVERWRITE,
        },
        required=("examples", "output"),
    ),
    "evaluate": Command(
        summary="Measures a model over the full catalogue and decides whether it may be published.",
        description="Writes report.json (recall, NDCG, diversity, beside the popularity and "
        "bigram baselines) and an empty file BLESSED or NOT_BLESSED. Settings are those of the "
        "model unless --config or --set says otherwise.",
        examples=(
            "evaluate --examples=runs/mine/examples --model=runs/mine/model "
            "--output=runs/mine/evaluation",
        ),
        flags={
            "examples": _EXAMPLES_DIR,
            "model": _MODEL_DIR,
            "output": _folder("Folder for the report."),
            **_CONFIG,
            **_REPLACE,
        },
        required=("examples", "model", "output"),
    ),
    "export": Command(
        summary="Writes the towers as SavedModels for TensorFlow Serving.",
        description="Writes user_tower and item_tower: raw string ids in, vectors out, with "
        "signatures and warm-up requests.",
        examples=("export --model=runs/mine/model --output=runs/mine/export",),
        flags={
            "model": _MODEL_DIR,
            "output": _folder("Folder for the SavedModels."),
            **_REPLACE,
        },
        required=("model", "output"),
    ),
    "index": Command(
        summary="Builds the nearest-neighbour index of all items.",
        description="Embeds the catalogue with the exported item tower, builds a ScaNN index (or "
        "an exact one for a small catalogue), measures it against exact search and seals it with "
        "checksums.",
        examples=(
            "index --export=runs/mine/export --examples=runs/mine/examples --output=runs/mine/index",
        ),
        flags={
            "export": _EXPORT_DIR,
            "examples": _EXAMPLES_DIR,
            "output": _folder("Folder for the index."),
            "evaluation": _folder(
                "Folder written by `recall evaluate`; the recall of the index is added to its "
                "report."
            ),
            "shard": FlagSpec(
                help="Holds one part of the catalogue, for catalogues beyond one machine: 0/4 is "
                "the first of four. Publish it with `recall push --index`.",
                value="I/N",
            ),
            **_CONFIG,
            **_REPLACE,
        },
        required=("export", "examples", "output"),
    ),
    "push": Command(
        summary="Publishes a blessed run as a new version, all at once.",
        description="Copies towers and index of a run to "
        "serving/{user_tower,item_tower,index}/<version>, then removes old versions. Refused are "
        "a model that is not blessed, and a release that lacks much of what the newest one has.",
        examples=("push --run=runs/mine", "push --run=runs/mine --serving=/srv/recall --keep=10"),
        flags={
            "run": _folder("Folder of the run, with evaluation/, export/ and index/."),
            "serving": _folder("Folder of the releases; default: serving/ inside the run."),
            "index": _folder(
                "Another index of the same export, for example a shard; default: index/ inside "
                "the run."
            ),
            **publish_flags.FLAGS,
        },
        required=("run",),
    ),
    "serve": Command(
        summary="Answers recall requests from a published release, over gRPC and HTTP.",
        description="One process: TensorFlow Serving's gRPC and REST protocols for the models "
        "`recall`, `items`, `user_tower` and `item_tower`, POST /recall and /items in plain JSON, "
        "/healthz and /readyz. Stop it with Ctrl-C.",
        examples=(
            "serve --release=runs/mine/serving --grpc_port=8500 --http_port=8501",
            "serve --release=runs/mine/serving --tf_serving_address=127.0.0.1:9000",
        ),
        flags={
            "release": _folder("The serving/ folder that `recall run` or `recall push` wrote."),
            "host": FlagSpec(
                help="Name or address to listen on, as 127.0.0.1, ::1 or localhost (both); "
                "0.0.0.0 lets other machines in, :: those of IPv4 and IPv6.",
                value="HOST",
                default="127.0.0.1",
            ),
            "grpc_port": FlagSpec(
                help="gRPC port; 0 picks a free one.",
                value="PORT",
                default=8500,
                kind="integer",
                minimum=0,
                maximum=65535,
            ),
            "http_port": FlagSpec(
                help="HTTP port; 0 picks a free one.",
                value="PORT",
                default=8501,
                kind="integer",
                minimum=0,
                maximum=65535,
            ),
            "tf_serving_address": FlagSpec(
                help="Takes vectors from a TensorFlow Serving at this address instead of loading "
                "the towers in this process.",
                value="HOST:PORT",
            ),
            "shards": FlagSpec(
                help="Searches the catalogue at these recall servers, in the order of their "
                "shards, instead of the index of --release.",
                value="HOST:PORT,...",
                default=(),
                kind="list",
            ),
            "version_labels": FlagSpec(
                help="Labels by which clients of the TensorFlow Serving protocol may name the "
                "newest version. Labels of other versions go into --model_config_file.",
                value="NAMES",
                default=(),
                kind="list",
            ),
            **serve_flags.FLAGS,
        },
        required=("release",),
    ),
    "query": Command(
        summary="Asks a running server for recommendations.",
        description="Sends one history, or items to find similar ones of, to a server started by "
        "`recall serve` and prints the recalled items and the interest that found each.",
        examples=(
            "query --server=127.0.0.1:8500 --history=12,57,3 --k=20",
            "query --server=http://127.0.0.1:8501 --history=12,57,3 --categories=Action,Drama",
            "query --similar_to=12 --max_per_category=3",
        ),
        flags={
            "server": FlagSpec(
                help="Address of the server's gRPC port, or http://HOST:PORT of its HTTP port "
                "(https:// with TLS).",
                value="HOST:PORT",
                default="127.0.0.1:8500",
            ),
            "history": FlagSpec(
                help="Ids of the items the user clicked, oldest first, separated by commas.",
                value="IDS",
                default=(),
                kind="list",
            ),
            "k": FlagSpec(help="Items wanted.", value="N", default=20, kind="integer", minimum=1),
            "similar_to": FlagSpec(
                help="Ids of items; instead of --history, items like these are wanted.",
                value="IDS",
                default=(),
                kind="list",
            ),
            "exclude": FlagSpec(
                help="Ids of items that must not be in the answer.",
                value="IDS",
                default=(),
                kind="list",
            ),
            "include_seen": FlagSpec(
                help="Also recalls items of the history.", value="", default=False, kind="boolean"
            ),
            "allow": FlagSpec(
                help="Ids of the only items that may be in the answer.",
                value="IDS",
                default=(),
                kind="list",
            ),
            "categories": FlagSpec(
                help="Only items that have at least one of these categories.",
                value="NAMES",
                default=(),
                kind="list",
            ),
            "exclude_categories": FlagSpec(
                help="No items that have one of these categories.",
                value="NAMES",
                default=(),
                kind="list",
            ),
            "max_per_category": FlagSpec(
                help="Most items of any one category. Without it there is no limit.",
                value="N",
                default=None,
                kind="integer",
                minimum=1,
            ),
            "interest_weights": FlagSpec(
                help="One number per interest, which multiplies its scores; 0 leaves the interest "
                "out. With --merge=quota: the interest's share of the answer.",
                value="NUMBERS",
                default=(),
                kind="list",
            ),
            "merge": FlagSpec(
                help="How the lists of the interests become one: max_score, quota (each interest "
                "has its share of the places) or diversity (score against difference of "
                "categories).",
                value="MODE",
                default="max_score",
            ),
            "diversity_weight": FlagSpec(
                help="With --merge=diversity: what a difference is worth.",
                value="N",
                default=0.1,
                kind="float",
                minimum=0,
            ),
            "exact": FlagSpec(
                help="Scores every item instead of asking the index.",
                value="",
                default=False,
                kind="boolean",
            ),
            "timeout_s": FlagSpec(
                help="Seconds to wait for an answer.",
                value="N",
                default=10.0,
                kind="float",
                minimum=0.001,
                maximum=86_400,
            ),
            **tls_flags.client_flags("", "the server"),
        },
    ),
    "items": items_flags.COMMAND,
    "synthesize": synthesize_flags.COMMAND,
    "demo": Command(
        summary="Shows what a finished run learned.",
        description="Prints the histories of a few users, the items recalled for them by "
        "interest, and the metrics. `make demo` ends with it.",
        examples=("demo --run=runs/demo",),
        flags={
            "run": _folder("Folder of a finished run."),
            "users": FlagSpec(
                help="Users to show.", value="N", default=3, kind="integer", minimum=1
            ),
            "k": FlagSpec(
                help="Items recalled for each.", value="N", default=12, kind="integer", minimum=1
            ),
        },
        required=("run",),
        hidden=True,
    ),
}
