"""The command `recall doctor`. Imports no TensorFlow: it is tried in a process of its own."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from pipelines.commands.shared.flags import Command, FlagSpec

EXIT_BROKEN = 1

COMMAND = Command(
    summary="Looks at this installation and machine: what is broken, what would be slow.",
    description="Versions and conflicts of packages, whether TensorFlow and ScaNN work, the GPU "
    "or why there is none, vector instructions, cores, memory, room and speed of the disk, the "
    "limit of open files, settings of the environment; with what to do about each. Exit code 1 "
    "says that something is broken.",
    examples=("doctor", "doctor --folder=runs/mine --json"),
    flags={
        "folder": FlagSpec(
            help="Where runs are to be written: 64 MiB are written there and removed again. "
            "Without it the current folder.",
            value="DIR",
            kind="path",
        ),
        "json": FlagSpec(
            help="Prints the findings as JSON.", value="", default=False, kind="boolean"
        ),
    },
    extra="client",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> int:
    """Prints the findings; returns the exit code."""
    from pipelines.inspection import doctor, findings

    found = doctor.examine(Path(values.folder or "."))
    if values.json:
        sys.stdout.write(findings.as_json(found))
    else:
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        sys.stdout.write(findings.as_text(found, coloured=coloured))
    return EXIT_BROKEN if findings.is_broken(found) else 0
