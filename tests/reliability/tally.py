"""What the tests of this suite count."""

import os

SCALE = float(os.environ.get("RELIABILITY_SCALE", "1"))
"""Share of every count and time; smaller for work on the tests."""


def scaled(full: int, at_least: int = 1) -> int:
    """A count of the suite: `full`, or less where a smaller scale is asked for."""
    return max(at_least, round(full * SCALE))


class Tally:
    """What one test counts: how many times something held, of how many.

    Attributes:
        number: Row of the table.
        title: What must hold.
        held: Times it did.
        wanted: Times it must.
        facts: Numbers worth printing, as text.
    """

    def __init__(self, title: str):
        self.number = 0
        self.title = title
        self.held = 0
        self.wanted = 0
        self.facts: list[str] = []

    def start(self, number: int, title: str, wanted: int) -> None:
        """Names the row before the first count."""
        self.number, self.title, self.wanted = number, title, wanted

    def count(self, held: bool, what: object = "") -> None:
        """Counts one time; the first failures are kept for the report."""
        self.held += bool(held)
        if not held and len(self.facts) < 5:
            self.facts.append(f"failed: {what}")

    def note(self, fact: str) -> None:
        """Adds a number to the row."""
        self.facts.append(fact)
