"""The `recall` command: finds the job, parses its flags, calls it, reports errors.

Imports only the chosen command, and defines only its flags; imports no
TensorFlow by itself. Exit codes: 0 done, 1 bad input, 2 wrong usage, 130
interrupted. Any other exception is a defect and keeps its traceback.
"""

import difflib
import errno
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

from absl import flags as absl_flags
from absl import logging

import recall
from pipelines.commands.shared import console_log, flags, progress_flags, store_flags
from pipelines.commands.shared.flags import UsageError
from pipelines.commands.table import COMMANDS
from recall.errors import InputError

EXIT_BAD_INPUT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
_EXIT_SIGNAL = 128
"""Shells report a process that signal n ended as 128 + n; 130 is Ctrl-C."""

_USER_ERRNOS = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EROFS,
    errno.ENOSPC,
    errno.ENAMETOOLONG,
    errno.EFBIG,
}
"""System errors about a path that the user chose."""

_FULL = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room",
    errno.EFBIG: "Raise the limit of file sizes (ulimit -f)",
}
"""System errors of a write, with what is to be done."""


def main(argv: Sequence[str] | None = None, *, catch_signals: bool | None = None) -> int:
    """Runs one command line.

    Args:
        argv: Words after `recall`; None takes those of the process.
        catch_signals: Whether SIGINT and SIGTERM end the process through its cleaning-up
            code. None: where the words are those of the process, so that a program that
            calls this keeps its own handlers.

    Returns:
        The exit code.
    """
    if catch_signals or (catch_signals is None and argv is None):
        _catch_signals()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # While the help was put together, which is of all commands.
        sys.stderr.write("recall: interrupted.\n")
        return _EXIT_SIGNAL + _stop_signals[0] if _stop_signals else EXIT_INTERRUPTED


def _run(words: list[str]) -> int:
    """The exit code of one command line."""
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words:
        sys.stderr.write(_overview())
        return EXIT_USAGE
    if words[0] in ("--help", "-h", "-help", "--helpfull", "--helpshort"):
        sys.stdout.write(_overview())
        return 0
    if words[0] in ("--version", "-version"):
        sys.stdout.write(f"recall {recall.__version__}\n")
        return 0
    name, *arguments = words
    if name not in COMMANDS:
        return _fail("recall", _unknown_command(name), EXIT_USAGE)
    return _guarded(name, lambda: _run_command(name, arguments))


def _run_command(name: str, arguments: Sequence[str]) -> int:
    if any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in arguments):
        sys.stdout.write(flags.page(name, COMMANDS[name].COMMAND))
        return 0
    values, beam_args = parse(name, arguments)
    console_log.set_up(values["verbosity"].value)
    with progress_flags.shown(values), store_flags.borrowed(values, COMMANDS[name].COMMAND):
        return COMMANDS[name].call(values, beam_args) or 0


def _overview() -> str:
    return flags.overview({name: module.COMMAND for name, module in COMMANDS.items()})


def parse(name: str, arguments: Sequence[str]) -> tuple[absl_flags.FlagValues, list[str]]:
    """Parses the flags of the command `name`.

    Returns:
        The flags, and the words that go to Beam's `PipelineOptions`.

    Raises:
        UsageError: A flag is missing, unknown or has a bad value.
        InputError: A path is not on this machine.
    """
    command = COMMANDS[name].COMMAND
    values = flags.define(command)
    try:
        rest = values([name, *arguments], known_only=command.beam_flags)[1:]
    except absl_flags.UnrecognizedFlagError as error:
        raise UsageError(_unknown_flag(error.flagname, command)) from error
    except (absl_flags.Error, ValueError) as error:
        reason = _in_plain_words(str(error).removeprefix("ERROR:: ").rstrip("."))
        raise UsageError(f"{reason}.") from error
    if command.beam_flags:
        rest = _beam_words(rest, command)
    elif rest and command.word and not values[command.word].present:
        several = command.flags[command.word].kind == "repeated"
        values[command.word].value = rest if several else rest[0]
        rest = [] if several else rest[1:]
    if rest and not command.beam_flags:
        raise UsageError(f"unexpected word {rest[0]!r}; every value belongs to a --flag=value.")
    for flag in command.required:
        if not values[flag].value:
            raise UsageError(f"--{flag} is required, for example `recall {command.examples[0]}`.")
    flags.check_values(values, command)
    flags.settle_paths(values, command)
    return values, rest


def _in_plain_words(reason: str) -> str:
    """What absl says of a flag's value, where it is Python's own words.

    >>> _in_plain_words("flag --k=a: invalid literal for int() with base 10: 'a'")
    "flag --k=a: 'a' is not a whole number"
    """
    reason = re.sub(
        r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number", reason
    )
    reason = reason.replace("is not number >=", "is not a number >=")
    return re.sub(r"could not convert string to float: (.*)", r"\1 is not a number", reason)


def _beam_words(words: Sequence[str], command: flags.Command) -> list[str]:
    """Checks the words left for Beam: flags and their values, no misspelt flag of ours."""
    after_flag = False
    for word in words:
        if not word.startswith("--"):
            if not after_flag:
                raise UsageError(
                    f"unexpected word {word!r}; every value belongs to a --flag=value."
                )
            after_flag = False
            continue
        flag, equals, _ = word[2:].partition("=")
        if _similar_flags(flag, command):
            raise UsageError(_unknown_flag(flag, command))
        after_flag = not equals
    return list(words)


def _similar_flags(flag: str, command: flags.Command) -> list[str]:
    names = [*command.flags, *flags.COMMON]
    return difflib.get_close_matches(flag.replace("-", "_"), names, n=1, cutoff=0.75)


def _unknown_flag(flag: str, command: flags.Command) -> str:
    similar = _similar_flags(flag, command)
    hint = f" Did you mean --{similar[0]}?" if similar else ""
    return f"unknown flag --{flag}.{hint}"


def _unknown_command(name: str) -> str:
    similar = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean `recall {similar[0]}`?" if similar else "`recall --help` lists them."
    return f"unknown command {name!r}. {hint}"


def _guarded(name: str, action: Callable[[], int]) -> int:
    """Turns the errors a user can mend into one line and an exit code."""
    job = f"recall {name}"
    try:
        return action()
    except UsageError as error:
        return _fail(job, f"{error} See `{job} --help`.", EXIT_USAGE)
    except InputError as error:
        logging.debug("Traceback of the error:", exc_info=True)
        return _fail(job, str(error), EXIT_BAD_INPUT)
    except ModuleNotFoundError as error:
        if not _is_not_installed(error):
            raise
        logging.debug("Traceback of the error:", exc_info=True)
        package, extra = error.name.split(".")[0], COMMANDS[name].COMMAND.extra
        return _fail(
            job,
            f"{package} is not installed. What {job} needs: pip install 'recall[{extra}]'.",
            EXIT_BAD_INPUT,
        )
    except KeyboardInterrupt:
        return _interrupted(name)
    except BrokenPipeError:  # the reader of our output has gone, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except Exception as error:
        if _stop_signals:  # Beam and TensorFlow wrap an interrupt in errors of their own
            return _interrupted(name)
        reason = _system_reason(error)
        if reason is None:
            raise
        logging.debug("Traceback of the error:", exc_info=True)
        return _fail(job, reason, EXIT_BAD_INPUT)


def _is_not_installed(error: ModuleNotFoundError) -> bool:
    """Whether a package is not there, rather than a part of one that is."""
    return bool(error.name) and importlib.util.find_spec(error.name.split(".")[0]) is None


def _system_reason(error: BaseException) -> str | None:
    """What the system refused, where the user can mend it; None for a defect."""
    path = getattr(error, "filename", None)
    if getattr(error, "errno", None) in _USER_ERRNOS and path is not None:
        return f"{path}: {error.strerror}."
    # A full disk shows in a write, which knows no path; libraries put it in errors of their own.
    for number, remedy in _FULL.items():
        if os.strerror(number) in str(error):
            return f"{os.strerror(number)}. {remedy}, then give the same command again."
    return None


def _fail(job: str, message: str, code: int) -> int:
    sys.stderr.write(f"{job}: error: {' '.join(message.split())}\n")
    return code


_stop_signals: list[int] = []
"""Signals this process was asked to stop by."""


def _catch_signals() -> None:
    """Lets SIGINT and SIGTERM end the process through its cleaning-up code."""

    def stop(signum: int, frame: object) -> None:
        _stop_signals.append(signum)
        raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # as shells start background jobs
            signal.signal(signum, stop)


def _interrupted(name: str) -> int:
    goes_on = " The same command goes on where it was." if COMMANDS[name].COMMAND.resumes else ""
    sys.stderr.write(f"recall {name}: interrupted.{goes_on}\n")
    if not _stop_signals:
        return EXIT_INTERRUPTED
    # The cleaning-up code ran on the way here. What is left are TensorFlow's destructors,
    # which can wait forever for a training step that was broken off (seen with one thread).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_EXIT_SIGNAL + _stop_signals[0])


if __name__ == "__main__":
    sys.exit(main())
