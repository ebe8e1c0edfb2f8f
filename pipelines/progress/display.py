"""Shows tasks: a live line at a terminal, a short line from time to time elsewhere.

Imports no TensorFlow; `rich`, which draws the live line, only where one is drawn.
"""

import logging
import os
import sys
import threading
import time
from typing import Any, TextIO

from pipelines.progress import lines, relay
from pipelines.progress.tasks import Display, Task

AUTO, LIVE, LINES, JSON, OFF = "auto", "live", "lines", "json", "off"
MODES = (AUTO, LIVE, LINES, JSON, OFF)

_REFRESHES_PER_S = 5
_FIRST_LINE_S, _LONGEST_PAUSE_S = 30.0, 600.0
"""A log gets a line after 30 s, one minute, two and so on, then every 10 minutes."""

_LOOKS_PER_LINE = 30
"""The speed is told from looks between the lines."""

_log = logging.getLogger(__name__)


def choose(mode: str, *, verbosity: int = 0) -> Display | None:
    """Who shows the tasks of a command; None for nobody.

    Args:
        mode: One of `MODES`. `auto` is a live line at a terminal that can
            overwrite one, else lines from time to time.
        verbosity: As of the log. Below 0 `auto` shows nothing, and above it no live line,
            which the messages of native code would break.
    """
    if mode == AUTO:
        mode = OFF if verbosity < 0 else LINES
        if verbosity == 0 and sys.stderr.isatty() and _can_overwrite():
            mode = LIVE
    if mode == OFF:
        return None
    displays = {LIVE: LiveLine, LINES: LinesFromTimeToTime, JSON: relay.JsonLines}
    return displays[mode]()


def _can_overwrite() -> bool:
    return os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")


class LinesFromTimeToTime:
    """A line of the log about a task that takes long."""

    def __init__(self, first_s: float = _FIRST_LINE_S):
        self._first_s = first_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tasks: list[Task]) -> None:
        """See `Display`."""
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._show, args=(tasks,), name="progress", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """See `Display`."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self, tasks: list[Task]) -> None:
        pause_s, pace = self._first_s, lines.Pace()
        due_s = time.monotonic() + pause_s
        while not self._stopped.wait(self._first_s / _LOOKS_PER_LINE):
            shown, now_s = list(tasks), time.monotonic()
            if not shown:
                continue
            per_second = pace.look(shown[-1], now_s)
            if now_s >= due_s:
                _log.info("%s", lines.in_words(shown, per_second, now_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                due_s = now_s + pause_s


class LiveLine:
    """One line at the end of the terminal, above which the log goes on."""

    def __init__(self, stream: TextIO | None = None):
        """Opens the terminal.

        Args:
            stream: Written to; None is the standard error stream as it is at the start.
        """
        self._stream, self._live = stream, None
        self._own: TextIO | None = None
        self._pace = lines.Pace()

    def start(self, tasks: list[Task]) -> None:
        """See `Display`."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        class VisibleCursor(Console):
            """Hides no cursor: a job that is stopped or killed could not bring it back."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

        console: Any = VisibleCursor(
            file=self._stream or self._open_stderr(), force_terminal=True, highlight=False
        )

        def draw() -> Text:
            shown, now_s = list(tasks), time.monotonic()
            if not shown:
                return Text("")
            per_second = self._pace.look(shown[-1], now_s)
            # The last column stays free: some terminals begin a line when it is written to.
            # Two more are for the ^C that a terminal writes when a job is interrupted.
            width = console.width - 3
            ascii_only = console.options.ascii_only
            text = lines.as_line(shown, per_second, now_s, width, ascii_only=ascii_only)
            return Text(text, style="cyan", no_wrap=True, overflow="crop")

        self._live = Live(
            get_renderable=draw,
            console=console,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()

    def stop(self) -> None:
        """See `Display`."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._own is not None:
            self._own.close()
            self._own = None

    def _open_stderr(self) -> TextIO:
        """A way to the terminal that stays when the standard error is sent elsewhere.

        `native_log.quiet_native_code` does that.
        """
        try:
            number = os.dup(sys.stderr.fileno())
        except (OSError, ValueError):  # a stream of a program, not of the system
            return sys.stderr
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._own = os.fdopen(number, "w", encoding=encoding, errors="replace")
        return self._own
