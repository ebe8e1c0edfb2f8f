"""The command `recall features`. Imports no TensorFlow."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import log_flags, settings, table_flags
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Proposes the section `features` of the settings from files.",
    description="Looks at the columns of the items file, the users file and the log: which can "
    "be features, of which kind, how many values are missing, what each costs. Prints the settings "
    "as JSON, which --config takes, and what was seen beside it on stderr. Read them before use: a "
    "column of items or users that is known only after a click (a rating, say) is no feature.",
    examples=(
        "features --items=items.parquet",
        "features --events=events.csv.gz --items=items.csv.gz --users=users.csv",
    ),
    flags={
        "items": log_flags.EVENTS["items"],
        "users": FlagSpec(
            help="File about the users, in the same formats, with the ids in the user column.",
            value="FILE",
            kind="path",
            store="url",
        ),
        "events": log_flags.EVENTS["events"],
        **{
            name: log_flags.READING[name]
            for name in ("user_column", "item_column", "timestamp_column", "split_column")
        },
        **{name: spec for name, spec in table_flags.LOG.items() if name != "where"},
        **table_flags.ITEMS,
        **settings.FLAGS,
    },
    required=(),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Prints the settings."""
    config = settings.read(values)
    import json

    from pipelines.proposals import propose

    used = [values[f"{name}_column"].value for name in ("user", "item", "timestamp", "split")]
    tables = propose.tables_of(
        log_flags.find_items_file(values),
        values.users,
        values.events,
        used,
        table_flags.read_text_options(values),
    )
    found = [propose.propose(table) for table in tables]
    for line in propose.to_lines(found, config):
        logging.info("%s", line)
    print(json.dumps(propose.to_settings(found), indent=2))
