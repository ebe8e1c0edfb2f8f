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
        "JSON file with settings; keys that are absent keep their default.", "FILE", kind="path"
    ),
    "set": FlagSpec(
        "One setting, for example train.batch_slots=512; wins over --config. Repeatable.",
        "KEY=VALUE",
        (),
        "repeated",
    ),
}
_OVERWRITE = {
    "overwrite": FlagSpec(
        "Replaces an artifact of other inputs or of another job in --output.", "", False, "boolean"
    )
}
_REPLACE = {
    "overwrite": FlagSpec(
        "Replaces another job's artifact in --output; one of this job is always replaced.",
        "",
        False,
        "boolean",
    )
}


def _folder(text: str) -> FlagSpec:
    return FlagSpec(text, "DIR", kind="path")


_EXAMPLES_DIR = _folder("Folder written by `recall ingest`.")
_MODEL_DIR = _folder("Folder written by `recall train`.")
_EXPORT_DIR = _folder("Folder written by `recall export`.")

COMMANDS: dict[str, Command] = {
    "run": Command(
        "Runs all jobs: from a log to a published release.",
        "Chains ingest, train, evaluate, export, index and push in one folder. Jobs whose inputs "
        "and settings have not changed are skipped, so the same command resumes after a failure. "
        "Flags it does not know (for example --runner=FlinkRunner) go to Apache Beam.",
        (
            "run --events=events.csv.gz --items=items.csv.gz --output=runs/mine",
            "run --events=events.csv.gz --output=runs/mine --config=my.json "
            "--set=train.batch_slots=512",
            "run --events=synthetic:users=2000,items=500 --output=runs/try",
        ),
        {
            **log_flags.EVENTS,
            "output": _folder("Folder of the run; created when it does not exist."),
            **_CONFIG,
            **log_flags.READING,
            "overwrite": FlagSpec(
                "Replaces the artifacts in --output when they were made from another log. "
                "Published releases stay.",
                "",
                False,
                "boolean",
            ),
            **publish_flags.FLAGS,
        },
        ("events", "output"),
        beam_flags=True,
    ),
    "ingest": Command(
        "Turns a log into training examples, a vocabulary and statistics.",
        "Reads the log with Apache Beam, orders and splits every user's events and writes "
        "TFRecord files, vocabulary.parquet, schema.pbtxt, statistics.json and a report. "
        "Flags it does not know (for example --runner=FlinkRunner) go to Apache Beam.",
        ("ingest --events=events.csv.gz --items=items.csv.gz --output=runs/mine/examples",),
        {
            **log_flags.EVENTS,
            "output": _folder("Folder for the examples."),
            **_CONFIG,
            **log_flags.READING,
            **_OVERWRITE,
        },
        ("events", "output"),
        beam_flags=True,
    ),
    "train": Command(
        "Trains the two towers on the examples.",
        "Trains until validation NDCG@10 stops improving and keeps the best checkpoint. The same "
        "command continues an interrupted training.",
        ("train --examples=runs/mine/examples --output=runs/mine/model --set=train.max_epochs=20",),
        {
            "examples": _EXAMPLES_DIR,
            "output": _folder("Folder for the model."),
            **_CONFIG,
            **_OVERWRITE,
        },
        ("examples", "output"),
    ),
    "evaluate": Command(
        "Measures a model over the full catalogue and decides whether it may be published.",
        "Writes report.json (recall, NDCG, diversity, beside the popularity and bigram baselines) "
        "and an empty file BLESSED or NOT_BLESSED. Settings are those of the model unless "
        "--config or --set says otherwise.",
        (
            "evaluate --examples=runs/mine/examples --model=runs/mine/model "
            "--output=runs/mine/evaluation",
        ),
        {
            "examples": _EXAMPLES_DIR,
            "model": _MODEL_DIR,
            "output": _folder("Folder for the report."),
            **_CONFIG,
            **_REPLACE,
        },
        ("examples", "model", "output"),
    ),
    "export": Command(
        "Writes the towers as SavedModels for TensorFlow Serving.",
        "Writes user_tower and item_tower: raw string ids in, vectors out, with signatures and "
        "warm-up requests.",
        ("export --model=runs/mine/model --output=runs/mine/export",),
        {
            "model": _MODEL_DIR,
            "output": _folder("Folder for the SavedModels."),
            **_REPLACE,
        },
        ("model", "output"),
    ),
    "index": Command(
        "Builds the nearest-neighbour index of all items.",
        "Embeds the catalogue with the exported item tower, builds a ScaNN index (or an exact one "
        "for a small catalogue), measures it against exact search and seals it with checksums.",
        ("index --export=runs/mine/export --examples=runs/mine/examples --output=runs/mine/index",),
        {
            "export": _EXPORT_DIR,
            "examples": _EXAMPLES_DIR,
            "output": _folder("Folder for the index."),
            "evaluation": _folder(
                "Folder written by `recall evaluate`; the recall of the index is added to its "
                "report."
            ),
            "shard": FlagSpec(
                "Holds one part of the catalogue, for catalogues beyond one machine: 0/4 is the "
                "first of four. Publish it with `recall push --index`.",
                "I/N",
            ),
            **_CONFIG,
            **_REPLACE,
        },
        ("export", "examples", "output"),
    ),
    "push": Command(
        "Publishes a blessed run as a new version, all at once.",
        "Copies towers and index of a run to serving/{user_tower,item_tower,index}/<version>, then "
        "removes old versions. Refused are a model that is not blessed, and a release that lacks "
        "much of what the newest one has.",
        ("push --run=runs/mine", "push --run=runs/mine --serving=/srv/recall --keep=10"),
        {
            "run": _folder("Folder of the run, with evaluation/, export/ and index/."),
            "serving": _folder("Folder of the releases; default: serving/ inside the run."),
            "index": _folder(
                "Another index of the same export, for example a shard; default: index/ inside "
                "the run."
            ),
            **publish_flags.FLAGS,
        },
        ("run",),
    ),
    "serve": Command(
        "Answers recall requests from a published release, over gRPC and HTTP.",
        "One process: TensorFlow Serving's gRPC and REST protocols for the models `recall`, "
        "`items`, `user_tower` and `item_tower`, POST /recall and /items in plain JSON, /healthz "
        "and /readyz. Stop it with Ctrl-C.",
        (
            "serve --release=runs/mine/serving --grpc_port=8500 --http_port=8501",
            "serve --release=runs/mine/serving --tf_serving_address=127.0.0.1:9000",
        ),
        {
            "release": _folder("The serving/ folder that `recall run` or `recall push` wrote."),
            "host": FlagSpec(
                "Name or address to listen on, as 127.0.0.1, ::1 or localhost (both); 0.0.0.0 lets "
                "other machines in, :: those of IPv4 and IPv6.",
                "HOST",
                "127.0.0.1",
            ),
            "grpc_port": FlagSpec(
                "gRPC port; 0 picks a free one.", "PORT", 8500, "integer", 0, 65535
            ),
            "http_port": FlagSpec(
                "HTTP port; 0 picks a free one.", "PORT", 8501, "integer", 0, 65535
            ),
            "tf_serving_address": FlagSpec(
                "Takes vectors from a TensorFlow Serving at this address instead of loading the "
                "towers in this process.",
                "HOST:PORT",
            ),
            "shards": FlagSpec(
                "Searches the catalogue at these recall servers, in the order of their shards, "
                "instead of the index of --release.",
                "HOST:PORT,...",
                (),
                "list",
            ),
            "version_labels": FlagSpec(
                "Labels by which clients of the TensorFlow Serving protocol may name the newest "
                "version. Labels of other versions go into --model_config_file.",
                "NAMES",
                (),
                "list",
            ),
            **serve_flags.FLAGS,
        },
        ("release",),
    ),
    "query": Command(
        "Asks a running server for recommendations.",
        "Sends one history, or items to find similar ones of, to a server started by `recall "
        "serve` and prints the recalled items and the interest that found each.",
        (
            "query --server=127.0.0.1:8500 --history=12,57,3 --k=20",
            "query --server=http://127.0.0.1:8501 --history=12,57,3 --categories=Action,Drama",
            "query --similar_to=12 --max_per_category=3",
        ),
        {
            "server": FlagSpec(
                "Address of the server's gRPC port, or http://HOST:PORT of its HTTP port "
                "(https:// with TLS).",
                "HOST:PORT",
                "127.0.0.1:8500",
            ),
            "history": FlagSpec(
                "Ids of the items the user clicked, oldest first, separated by commas.",
                "IDS",
                (),
                "list",
            ),
            "k": FlagSpec("Items wanted.", "N", 20, "integer", 1),
            "similar_to": FlagSpec(
                "Ids of items; instead of --history, items like these are wanted.",
                "IDS",
                (),
                "list",
            ),
            "exclude": FlagSpec("Ids of items that must not be in the answer.", "IDS", (), "list"),
            "include_seen": FlagSpec("Also recalls items of the history.", "", False, "boolean"),
            "allow": FlagSpec(
                "Ids of the only items that may be in the answer.", "IDS", (), "list"
            ),
            "categories": FlagSpec(
                "Only items that have at least one of these categories.", "NAMES", (), "list"
            ),
            "exclude_categories": FlagSpec(
                "No items that have one of these categories.", "NAMES", (), "list"
            ),
            "max_per_category": FlagSpec(
                "Most items of any one category. Without it there is no limit.",
                "N",
                None,
                "integer",
                1,
            ),
            "interest_weights": FlagSpec(
                "One number per interest, which multiplies its scores; 0 leaves the interest out. "
                "With --merge=quota: the interest's share of the answer.",
                "NUMBERS",
                (),
                "list",
            ),
            "merge": FlagSpec(
                "How the lists of the interests become one: max_score, quota (each interest has "
                "its share of the places) or diversity (score against difference of categories).",
                "MODE",
                "max_score",
            ),
            "diversity_weight": FlagSpec(
                "With --merge=diversity: what a difference is worth.", "N", 0.1, "float", 0
            ),
            "exact": FlagSpec(
                "Scores every item instead of asking the index.", "", False, "boolean"
            ),
            "timeout_s": FlagSpec(
                "Seconds to wait for an answer.", "N", 10.0, "float", 0.001, 86_400
            ),
            **tls_flags.client_flags("", "the server"),
        },
    ),
    "items": items_flags.COMMAND,
    "synthesize": synthesize_flags.COMMAND,
    "demo": Command(
        "Shows what a finished run learned.",
        "Prints the histories of a few users, the items recalled for them by interest, and the "
        "metrics. `make demo` ends with it.",
        ("demo --run=runs/demo",),
        {
            "run": _folder("Folder of a finished run."),
            "users": FlagSpec("Users to show.", "N", 3, "integer", 1),
            "k": FlagSpec("Items recalled for each.", "N", 12, "integer", 1),
        },
        ("run",),
        hidden=True,
    ),
}
