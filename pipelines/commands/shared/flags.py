"""Flags of the sub-commands of `recall` as data: absl definitions and help pages.

Imports none of the jobs and no TensorFlow.
"""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from absl import flags

from serving.release import paths

_SOURCES = ("tfds:", "synthetic:", "mind:")
"""What logs begin with that are no paths."""


class UsageError(Exception):
    """A command line that makes no sense; the text says what to type instead."""


@dataclass(frozen=True, kw_only=True)
class FlagSpec:
    """One flag of a command.

    Attributes:
        help: One or two sentences for a newcomer.
        value: Placeholder of the value in the help; "" for a switch.
        default: None means that there is no default.
        kind: `string`, `integer`, `float`, `boolean`, `list` (commas),
            `repeated` (the flag may be given several times), `path` (a file or
            folder of this machine) or `log` (a path, or a source's name and
            settings).
        choices: All values that a `string` may have; () for any.
        suggestions: Beginnings of values that completion offers; others are as good.
        minimum: Smallest allowed number, None for no limit.
        maximum: Largest allowed number, None for no limit.
        store: What becomes of a path in an object store: "" refuses it, `url` hands
            it on to the command, `read` hands on a copy of the file or folder, `update`
            the copy of a folder that is copied back, `write` the path of a file that
            is copied there, `result` one of both, as the name ends, `release` a folder
            with the newest version, `published` the copy of a run with its newest version,
            `records` one of its small files (`pipelines/mirrors/borrowed.py`).
    """

    help: str
    value: str = "TEXT"
    default: Any = None
    kind: str = "string"
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    store: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One sub-command.

    Attributes:
        summary: One line for `recall --help`.
        description: A paragraph for `recall <command> --help`.
        examples: Command lines without the leading `recall `.
        flags: Name -> spec, in the order of the help.
        required: Names of flags without which the command cannot start.
        word: The flag that a bare word is the value of, for example `bash` of
            `recall completion bash`; all bare words are those of one that is `repeated`; ""
            allows none.
        beam_flags: Whether unknown flags go to Beam's PipelineOptions.
        hidden: Whether `recall --help` leaves it out.
        resumes: Whether the same command goes on where an interrupted one was.
        extra: Of the installation (setup.py), with the packages that it needs.
    """

    summary: str
    description: str
    examples: tuple[str, ...]
    flags: Mapping[str, FlagSpec]
    required: tuple[str, ...] = ()
    word: str = ""
    beam_flags: bool = False
    hidden: bool = False
    resumes: bool = False
    extra: str = "train"


COMMON = {
    "flagfile": FlagSpec(
        help="Reads more flags from a text file, one --flag=value per line.", value="FILE"
    ),
    "verbosity": FlagSpec(
        help="-1 shows warnings only, 0 progress, 1 also debugging output and the traceback of "
        "errors.",
        value="N",
        default=0,
        kind="integer",
        minimum=-1,
    ),
    "help": FlagSpec(help="Shows this page.", value="", default=False, kind="boolean"),
}


def port_flag(place: str, default: int) -> FlagSpec:
    """The flag of a port that a command opens."""
    return FlagSpec(
        help=f"{place}; 0 picks a free one.",
        value="PORT",
        default=default,
        kind="integer",
        minimum=0,
        maximum=65535,
    )


def define(command: Command) -> flags.FlagValues:
    """The flags of one command, not yet parsed, apart from absl's global ones."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name, spec in {**command.flags, **COMMON}.items():
        if name == "flagfile":  # absl reads flag files before it looks at any flag
            continue
        if spec.kind in ("integer", "float"):
            definer = flags.DEFINE_integer if spec.kind == "integer" else flags.DEFINE_float
            limits = (spec.minimum, spec.maximum)
            definer(name, spec.default, spec.help, *limits, flag_values=values)
        elif spec.kind == "repeated":
            flags.DEFINE_multi_string(name, list(spec.default), spec.help, flag_values=values)
        elif spec.kind == "list":
            flags.DEFINE_list(name, list(spec.default), spec.help, flag_values=values)
        elif spec.kind == "boolean":
            flags.DEFINE_boolean(name, spec.default, spec.help, flag_values=values)
        else:
            flags.DEFINE_string(name, spec.default, spec.help, flag_values=values)
    return values


def check_values(values: flags.FlagValues, command: Command) -> None:
    """Refuses what is none of a flag's choices, and `nan` and `inf`, which are beyond no limit.

    Raises:
        UsageError: A flag has such a value.
    """
    for name, spec in command.flags.items():
        value = values[name].value
        if spec.choices and value is not None and value not in spec.choices:
            choices = ", ".join(spec.choices)
            raise UsageError(f"--{name}={value} must be one of {choices}.")
        if spec.kind == "float" and value is not None and not math.isfinite(value):
            raise UsageError(f"flag --{name}={value} must be a finite number.")


def settle_paths(values: flags.FlagValues, command: Command) -> None:
    """Turns the paths among the values into local ones, or URLs where a flag takes them.

    Raises:
        InputError: One is not on this machine, and cannot be used from there.
    """
    for name, spec in command.flags.items():
        path = values[name].value
        is_path = spec.kind == "path" or (
            spec.kind == "log" and path is not None and not path.startswith(_SOURCES)
        )
        if path and is_path:
            settle = paths.settle if spec.store else paths.to_local
            values[name].value = settle(path, f"--{name}")


def overview(commands: Mapping[str, Command]) -> str:
    """The page of `recall --help`."""
    width = max(map(len, commands))
    lines = [
        f"  {name:<{width}}  {command.summary}"
        for name, command in commands.items()
        if not command.hidden
    ]
    return (
        "usage: recall <command> [flags]\n\n"
        "Candidate recall: an interaction log in, a served release of recommended items out.\n\n"
        "Commands:\n" + "\n".join(lines) + "\n\n"
        "Start here:\n"
        f"  recall {commands['run'].examples[0]}\n"
        "  recall <command> --help    shows the flags of a command\n"
        "  recall --version           shows the version\n"
    )


def page(name: str, command: Command) -> str:
    """The page of `recall <name> --help`."""
    required = " ".join(_typed(command, flag) for flag in command.required)
    sections = [
        f"usage: recall {name} {required} [flags]".replace("  ", " "),
        textwrap.fill(f"{command.summary} {command.description}", 88),
        "Examples:\n" + "\n".join(f"  recall {example}" for example in command.examples),
        "Flags:\n" + "\n".join(_flag_lines(command.flags, command.required)),
        "Flags of every command:\n" + "\n".join(_flag_lines(COMMON, ())),
    ]
    return "\n\n".join(sections) + "\n"


def _typed(command: Command, name: str) -> str:
    """A required flag as it is typed, in the first line of the help."""
    spec = command.flags[name]
    if name != command.word:
        return f"--{name}={spec.value}"
    return f"{spec.value}..." if spec.kind == "repeated" else spec.value


def _flag_lines(specs: Mapping[str, FlagSpec], required: tuple[str, ...]) -> list[str]:
    """Two or more lines per flag: its form, then its help with the default."""
    lines = []
    for name, spec in specs.items():
        text = spec.help
        if name in required:
            text += " Required."
        elif (
            spec.default is not None and spec.default is not False and spec.default not in ((), "")
        ):
            text += f" Default: {spec.default}."
        lines.append(f"  --{name}={spec.value}" if spec.value else f"  --{name}")
        lines += textwrap.wrap(text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines
