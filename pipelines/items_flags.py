"""The command `recall items`: what it is for and its flags.

Imports none of the jobs and no TensorFlow.
"""

from pipelines import table_flags, tls_flags
from pipelines.flags import Command, FlagSpec

COMMAND = Command(
    "Changes the items of a running server.",
    "Adds, replaces or deletes items while a server started by `recall serve` goes on "
    "answering. Every change is on the disk and in effect when the command returns, and "
    "stays so after a restart and a new release.",
    (
        "items --server=127.0.0.1:8500 --upsert=new_items.csv",
        "items --server=http://127.0.0.1:8501 --delete=12,57",
    ),
    {
        "server": FlagSpec(
            "Address of the server's gRPC port, or http://HOST:PORT of its HTTP port "
            "(https:// with TLS).",
            "HOST:PORT",
            "127.0.0.1:8500",
        ),
        "upsert": FlagSpec(
            "Items to have: a text file (.csv, .tsv ...) or .parquet with the columns item_id, "
            "category and optionally title, as for `recall run`. A new item gets the vector "
            "of its categories.",
            "FILE",
            kind="path",
        ),
        **table_flags.ITEMS,
        "delete": FlagSpec("Ids of the items to take out.", "IDS", (), "list"),
        "admin_token_file": FlagSpec(
            "File with the admin token, where the server asks for one.", "FILE", kind="path"
        ),
        "timeout_s": FlagSpec("Seconds to wait for an answer.", "N", 10.0, "float", 0.001, 86_400),
        **tls_flags.client_flags("", "the server"),
    },
)
