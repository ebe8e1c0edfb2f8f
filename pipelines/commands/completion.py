"""The command `recall completion`. Imports no TensorFlow."""

import sys
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from pipelines.commands.shared.flags import Command, FlagSpec

SHELLS = ("bash", "zsh", "fish")

COMMAND = Command(
    summary="Prints the completion of commands and flags for a shell.",
    description="The script completes commands, flags, the values of those that have a few, "
    "settings behind --set, and files. For bash write `source <(recall completion bash)` into "
    "~/.bashrc; for zsh send it into a file _recall in a folder of $fpath; for fish into "
    "~/.config/fish/completions/recall.fish. Make it again after an update.",
    examples=(
        "completion bash",
        "completion zsh",
        "completion fish",
    ),
    flags={
        "shell": FlagSpec(help="bash, zsh or fish.", value="SHELL", choices=SHELLS),
    },
    required=("shell",),
    word="shell",
    extra="client",
)

_tables: list[Callable[[], Mapping[str, Command]]] = []


def know(commands: Callable[[], Mapping[str, Command]]) -> None:
    """Tells this command who knows all; they are in a table that has this one too."""
    _tables[:] = [commands]


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Prints the script."""
    from pipelines.completion import bash, fish, grammar, zsh

    modules = {"bash": bash, "zsh": zsh, "fish": fish}
    sys.stdout.write(modules[values.shell].script(grammar.describe(_tables[0]())))
