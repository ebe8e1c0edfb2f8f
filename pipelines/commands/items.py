"""The command `recall items`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import (
    call_flags,
    progress_flags,
    settings,
    table_flags,
    tls_flags,
)
from pipelines.commands.shared.flags import Command, FlagSpec, UsageError

COMMAND = Command(
    summary="Changes the items of a running server.",
    description="Adds, replaces or deletes items while a server started by `recall serve` goes on "
    "answering. Every change is on the disk and in effect when the command returns, and "
    "stays so after a restart and a new release.",
    examples=(
        "items --server=127.0.0.1:8500 --upsert=new_items.csv",
        "items --server=http://127.0.0.1:8501 --delete=12,57",
    ),
    flags={
        **call_flags.SERVER,
        "upsert": FlagSpec(
            help="Items to have: a text file (.csv, .tsv ...) or .parquet with the columns "
            "item_id, category and optionally title, as for `recall run`. A new item gets the "
            "vector of its categories and declared features.",
            value="FILE",
            kind="path",
            store="url",
        ),
        **table_flags.ITEMS,
        "delete": FlagSpec(
            help="Ids of the items to take out.", value="IDS", default=(), kind="list"
        ),
        "admin_token_file": FlagSpec(
            help="File with the admin token, where the server asks for one.",
            value="FILE",
            kind="path",
        ),
        "config": FlagSpec(
            help="JSON file with settings that declare features and attributes of items: their "
            "columns of the file are sent too.",
            value="FILE",
            kind="path",
            store="read",
        ),
        **call_flags.CALL,
        **progress_flags.FLAGS,
    },
    extra="serve",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Sends the changes; says what the server made of them."""
    if not values.upsert and not values["delete"].value:
        raise UsageError("Give --upsert=FILE or --delete=IDS.")
    from pipelines.clients import change_items
    from serving.network import door_address

    declared = settings.load(values.config, ()).features
    sent = change_items.change_items(
        door_address.check(values.server),
        table_flags.read_items_file(values, values.upsert),
        values["delete"].value,
        features=(*declared.of("item"), *declared.attributes),
        token_file=values.admin_token_file,
        tls=tls_flags.read_client_tls(values, "", "server"),
        timeout_s=values.timeout_s,
    )
    print(sent)
