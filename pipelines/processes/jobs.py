"""Commands of `recall` in a process of their own, for a caller that is no command line.

So they work in every notebook: whatever it imported before (TensorFlow with Keras 3), flags it
has parsed, a second time in the same process; and their memory is free again afterwards.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from recall.errors import InputError

_ROOT = Path(__file__).parents[2]
_ERROR = re.compile(r"recall[\w ]*: error: (.*)")
_LAST_LINE = re.compile(r"recall[\w ]*: (error: |interrupted\.)")
_BAD_INPUT, _USAGE = 1, 2
LAST_LINES = 40
"""Of what a job says, as many are kept for the error when it fails."""

_END_S = 20.0
"""How long a job that was interrupted may clean up."""

_LOOK_S, _ALONE_S = 1.0, 5.0
"""How soon a process sees that it is alone, and how long it may clean up then."""


def start(
    words: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    is_part: bool = False,
    **options: object,
) -> subprocess.Popen:
    """Starts `recall WORDS` with this interpreter; the process ends with its caller's block.

    Args:
        words: The command and its flags.
        variables: Of the environment, beside those of this process.
        is_part: Whether it is of no use without this process, and ends when that is killed.
        options: Of `subprocess.Popen`.
    """
    # Set by `recall` in this process too, for a TensorFlow that comes after it.
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **(variables or {}), "PYTHONPATH": os.pathsep.join(paths)}
    module = ["pipelines.part", str(os.getpid())] if is_part else ["pipelines.cli"]
    return subprocess.Popen(
        [sys.executable, "-m", *module, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        **options,
    )


def run(words: Sequence[str], *, show: bool = True, reword: Callable[[str], str] = str) -> str:
    """Runs `recall WORDS` to its end.

    Args:
        words: The command and its flags.
        show: Whether its progress is shown on this process's stderr, line by line.
        reword: Makes a line that is shown one for the caller, who gave no flags.

    Returns:
        What it printed as its result.

    Raises:
        InputError: What the command says is wrong, in its one line.
        RuntimeError: The command failed otherwise; the text ends with its last lines.
    """
    process = start(words, stderr=subprocess.PIPE)
    last: deque[str] = deque(maxlen=LAST_LINES)
    results: list[str] = []
    with _ended(process), _reading(process.stdout, results.append):
        for line in process.stderr:
            last.append(line)
            if show and not _ERROR.match(line):
                sys.stderr.write(reword(line))
        code = process.wait()
    if code:
        raise failure(words[0], code, last)
    return "".join(results)


def failure(command: str, code: int, last_lines: Sequence[str]) -> Exception:
    """The error of a command that ended with an exit code other than 0."""
    matches = [match for line in last_lines if (match := _ERROR.match(line))]
    if code in (_BAD_INPUT, _USAGE) and matches:
        return InputError(matches[-1][1])
    text = "".join(last_lines).strip()
    return RuntimeError(
        f"`recall {command}` ended with {describe_code(code)}. Its last lines:\n{text}"
    )


def describe_code(code: int) -> str:
    """The exit code of a process that failed, in words."""
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def is_last_line(line: str) -> bool:
    """Whether a command says why it ends."""
    return _LAST_LINE.match(line) is not None


@contextlib.contextmanager
def _reading(stream: Iterable[str], take: Callable[[str], object]) -> Iterator[None]:
    """Reads a stream beside the block, so that the process never waits for a reader."""
    thread = threading.Thread(target=lambda: [take(line) for line in stream], daemon=True)
    thread.start()
    yield
    thread.join()


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[None]:
    """Ends the process when the block is left early, as by Ctrl-C; it cleans up first."""
    try:
        yield
    except BaseException:
        end(process)
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def interrupt(processes: Iterable[subprocess.Popen]) -> None:
    """Asks those of the processes that go on to end."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # TensorFlow's clusters keep SIGTERM to themselves.


def end(process: subprocess.Popen) -> None:
    """Asks a process to end, and makes it end."""
    interrupt([process])
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_with(pid: int) -> None:
    """Lets this process end when the one that started it is gone, as after `kill -9`.

    It is asked to, and killed if it does not: one that waits for a GPU hears nothing.

    Args:
        pid: Number of the process that started this one.
    """

    def watch() -> None:
        while os.getppid() == pid:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_ALONE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="starter", daemon=True).start()


def leave(main: Callable[[], int]) -> NoReturn:
    """Ends this process with the code of `main`, and without what else comes at its end.

    TensorFlow's destructors can wait for ever for an exchange that was broken off, and those of
    GPUs can crash a process whose work is done.
    """
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # Whoever read it may be gone.
            stream.flush()
    os._exit(code)


def run_part(main: Callable[..., int]) -> NoReturn:
    """All that a process does that `start` has started as a part.

    Args:
        main: That of the command line.
    """
    starter, *words = sys.argv[1:]
    end_with(int(starter))
    leave(lambda: main(words, catch_signals=True))
