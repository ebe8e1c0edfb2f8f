"""A release of real towers with random weights, and a log with users of every kind."""

import numpy as np
import pytest

from pipelines.ingestion.open_log import open_events
from tests.serving import category_release

NUM_ITEMS = category_release.NUM_ITEMS


class World:
    """The release, the log and what is known of both.

    Attributes:
        serving_dir: Folder with version 3, 60 items `i0` ... in three colours.
        log: CSV file.
        histories: User -> raw ids, oldest first.
    """

    def __init__(self, folder):
        self.serving_dir, self.log = folder / "serving", folder / "events.csv"
        category_release.write_release(self.serving_dir, 3)
        rng = np.random.default_rng(0)
        self.histories = {
            f"u{user:02d}": tuple(f"i{item}" for item in rng.integers(NUM_ITEMS, size=length))
            for user, length in enumerate(rng.integers(1, 12, 30))
        }
        self.histories["unknown"] = ("gone1", "gone2")
        self.histories["mixed"] = ("i1", "gone1", "i2")
        self.histories["all"] = tuple(f"i{item}" for item in range(NUM_ITEMS))
        self.histories["long"] = tuple(f"i{item % 40}" for item in range(300))
        events = [
            (time, user, item)
            for user, history in self.histories.items()
            for time, item in enumerate(history)
        ]
        events.sort()
        lines = [f"{user},{item},{1_700_000_000 + time}" for time, user, item in events]
        self.log.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")

    def source(self):
        return open_events(str(self.log))


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Do not change it."""
    return World(tmp_path_factory.mktemp("inference"))
