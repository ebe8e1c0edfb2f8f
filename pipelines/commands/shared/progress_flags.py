"""The flag --progress of commands that take long. Imports no TensorFlow."""

import contextlib

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from pipelines.progress import display, tasks

FLAGS = {
    "progress": FlagSpec(
        help="How to show how far the work is: live is one line that changes, lines are lines of "
        "the log from time to time, json is lines of JSON for programs whenever it has changed, "
        "off is none of them; auto is live at a terminal, else lines.",
        value="MODE",
        default=display.AUTO,
        choices=display.MODES,
    ),
}


def loading() -> contextlib.AbstractContextManager[tasks.Task]:
    """Says that TensorFlow and its like are being imported, which takes seconds."""
    return tasks.open_task("load the libraries")


def shown(values: flags.FlagValues) -> contextlib.AbstractContextManager[None]:
    """Shows tasks inside as the flags say; without the flag, none."""
    mode = values["progress"].value if "progress" in values else display.OFF
    return tasks.shown_by(display.choose(mode, verbosity=values["verbosity"].value))
