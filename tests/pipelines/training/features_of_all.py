"""A small log of whose items, users, clicks and requests features are known."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from pipelines.sources.events import DEFAULT_COLUMNS
from pipelines.sources.users import UsersFile
from recall.config import RecallConfig

COLUMNS = (
    {"name": "brand", "owner": "item", "kind": "categorical"},
    {"name": "price", "owner": "item", "kind": "numeric"},
    {"name": "country", "owner": "user", "kind": "categorical"},
    {"name": "device", "owner": "event", "kind": "categorical"},
    {"name": "place", "owner": "request", "kind": "categorical"},
)


def make_examples(
    folder: Path,
    events: Sequence[str],
    config: RecallConfig,
    *,
    num_users: int,
    columns: EventColumns = DEFAULT_COLUMNS,
) -> Path:
    """Writes the log with 25 items, and ingests it.

    Args:
        folder: For all files.
        events: Lines of the log, the head first.
        config: Declares `COLUMNS`.
        num_users: Those of whom something is known.
        columns: Of the log.

    Returns:
        The folder of the examples.
    """
    items = ["item_id,brand,price", *(f"i{n},b{n % 4},{n * 1.5}" for n in range(25))]
    users = ["user_id,country", *(f"u{n},{'NL' if n % 2 else 'BE'}" for n in range(num_users))]
    for name, lines in (("events", events), ("items", items), ("users", users)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    log = open_events(str(folder / "events.csv"), columns)
    log.users_file = UsersFile(str(folder / "users.csv"))
    ingest.run_ingest(log, str(folder / "items.csv"), folder / "examples", config)
    return folder / "examples"
