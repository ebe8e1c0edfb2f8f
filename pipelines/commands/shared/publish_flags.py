"""The flags of the commands that publish: which versions stay, and what may be lost.

Imports none of the jobs and no TensorFlow.
"""

import re

from absl import flags

from pipelines.commands.shared.flags import FlagSpec, UsageError

_KEEP = "5"
"""Enough to go back from a release that was found bad some releases later."""

FLAGS = {
    "keep": FlagSpec(
        help="Published versions that stay, the new one among them; older ones are removed unless "
        "a server has them loaded. 0 or `all` keeps everything.",
        value="N",
        default=_KEEP,
    ),
    "allow_loss": FlagSpec(
        help="Publishes a release that lacks most of the items, categories or titles of the "
        "newest one.",
        value="",
        default=False,
        kind="boolean",
    ),
}


def read_keep(values: flags.FlagValues) -> int | None:
    """The versions of --keep, None for all.

    Raises:
        UsageError: It is neither a number nor `all`.
    """
    if values.keep == "all":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", values.keep):
        raise UsageError(f"--keep={values.keep} is neither a number of versions nor `all`.")
    return int(values.keep) or None
