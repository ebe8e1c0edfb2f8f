"""Flags that name a log and say how it is read, for `recall run` and `recall ingest`.

Imports none of the jobs and no TensorFlow.
"""

from pipelines import table_flags
from pipelines.flags import FlagSpec

EVENTS = {
    "events": FlagSpec(
        help="The interaction log: a text file (.csv, .tsv, .txt, .dat, .inter ..., also .gz, "
        ".zst, .bz2, .xz, .zip) or .parquet, a folder or a pattern, with the columns user_id, "
        "item_id, timestamp and optionally split; mind:FILE for MIND's behaviors.tsv; tfds:NAME "
        "for a TensorFlow dataset (for example tfds:movielens/1m-ratings); or "
        "synthetic:users=2000,items=500 for a generated log.",
        value="LOG",
        kind="log",
    ),
    "items": FlagSpec(
        help="Optional file about the items, in the same formats, columns item_id, category and "
        "optionally title; several categories are separated by |.",
        value="FILE",
        kind="path",
    ),
}
READING = {
    "max_bad_rows": FlagSpec(
        help="Bad rows (no id, a time that cannot be read) to skip and count before giving up.",
        value="N",
        default=0,
        kind="integer",
        minimum=0,
    ),
    "user_column": FlagSpec(help="Name of the user column.", value="NAME", default="user_id"),
    "item_column": FlagSpec(help="Name of the item column.", value="NAME", default="item_id"),
    "timestamp_column": FlagSpec(
        help="Name of the timestamp column; `none` where the log has none and its rows are in the "
        "order of time.",
        value="NAME",
        default="timestamp",
    ),
    "timestamp_unit": FlagSpec(
        help="Unit of timestamps that are numbers: s, ms, us or ns; auto tells it by their size, "
        "file by file; mixed tells it number by number; none takes them as they are.",
        value="UNIT",
        default="auto",
    ),
    "timestamp_format": FlagSpec(
        help="Form of timestamps that are neither numbers nor ISO 8601, as for Python's strptime, "
        "for example '%m/%d/%Y %I:%M:%S %p'.",
        value="FORM",
        default="",
    ),
    "null_markers": FlagSpec(
        help="What becomes of user and item ids such as nan, None, NULL, NA and \\N, which "
        "exporters write for a missing value: bad makes bad rows of them, ids takes them as ids.",
        value="CHOICE",
        default="bad",
    ),
    "data_dir": FlagSpec(
        help="Where prepared TFDS datasets lie; only for tfds:NAME.", value="DIR", kind="path"
    ),
    "split_column": FlagSpec(
        help="Name of the split column, used by the protocol `provided`.",
        value="NAME",
        default="split",
    ),
    **table_flags.LOG,
    **table_flags.ITEMS,
}
