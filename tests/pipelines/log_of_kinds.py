"""A log of twenty users whose events have kinds, ingested with two held-out events a split."""

from pathlib import Path

from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.event_columns import EventColumns
from recall.config import RecallConfig

NUM_USERS, NUM_ITEMS = 20, 20
EVEN = ("view", "buy", "view", "view", "view", "buy", "view", "cart")
ODD = ("view", "buy", "view", "view", "view", "view", "view", "view")
"""Kinds of the events of users of even and odd numbers: trained on four, validated with two and
tested with two. User n clicks item n first, and then the next of `NUM_ITEMS` each time."""

SETTINGS = ("ingest.protocol=next_n", "ingest.num_targets=2")
"""Those that hold out two events."""


def ingest_into(folder: Path, config: RecallConfig) -> Path:
    """Writes `log.csv` and `examples` into a folder; returns that of the examples."""
    rows = [
        f"u{user},i{(user + step) % NUM_ITEMS},{step},{kind}"
        for user in range(NUM_USERS)
        for step, kind in enumerate(ODD if user % 2 else EVEN)
    ]
    text = "\n".join(["user_id,item_id,timestamp,event", *rows]) + "\n"
    (folder / "log.csv").write_text(text)
    source = open_events(str(folder / "log.csv"), EventColumns(event_type="event"))
    ingest.run_ingest(source, None, folder / "examples", config)
    return folder / "examples"
