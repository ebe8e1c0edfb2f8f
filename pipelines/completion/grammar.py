"""What may be typed behind `recall`, as data for the scripts. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import NamedTuple

from pipelines.commands.shared.flags import COMMON, Command, FlagSpec

FILES, FOLDERS, WORDS, NONE = "files", "folders", "words", "none"
"""What the values of a flag are: paths, one of `Flag.values`, or nothing that can be known."""


class Flag(NamedTuple):
    """One flag as a shell needs it.

    Attributes:
        name: Without the dashes.
        help: The first sentence of its help.
        takes_value: Whether a value follows.
        kind: What the value is.
        values: Words to offer; one that ends with "=" goes on.
        repeats: Whether it may be given again.
    """

    name: str
    help: str
    takes_value: bool
    kind: str
    values: tuple[str, ...]
    repeats: bool


class Entry(NamedTuple):
    """One command as a shell needs it.

    Attributes:
        name: The word behind `recall`.
        summary: One line.
        flags: In the order of the help.
        words: What a bare word may be; () for none.
    """

    name: str
    summary: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


def describe(commands: Mapping[str, Command]) -> list[Entry]:
    """The commands that `recall --help` lists, and their flags."""
    return [
        Entry(
            name,
            command.summary,
            tuple(_flag(flag, spec) for flag, spec in {**command.flags, **COMMON}.items()),
            command.flags[command.word].choices if command.word else (),
        )
        for name, command in commands.items()
        if not command.hidden
    ]


def _flag(name: str, spec: FlagSpec) -> Flag:
    values = spec.choices or spec.suggestions
    kind = WORDS if values else NONE
    if spec.kind in ("path", "log") or name == "flagfile":
        kind = FOLDERS if spec.value == "DIR" else FILES
    return Flag(
        name=name,
        help=_first_sentence(spec.help),
        takes_value=spec.kind != "boolean",
        kind=kind,
        values=values,
        repeats=spec.kind == "repeated",
    )


def _first_sentence(text: str) -> str:
    """
    >>> _first_sentence("Folder of a run. More about it.")
    'Folder of a run.'
    """
    end = text.find(". ")
    return text if end < 0 else text[: end + 1]
