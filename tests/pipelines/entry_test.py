"""Ctrl-C while the command is still being imported, which takes longer on a busy machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN_SCRIPT = "import sys; from pipelines.entry import start; sys.exit(start())"


def interrupt(
    tmp_path, module, words, signum=signal.SIGINT, handler=signal.default_int_handler, wait_s=20
):
    """Code and stderr of a process that gets a signal while it imports a module."""
    (tmp_path / f"{module}.py").write_text(
        f"import time\nend = time.monotonic() + {wait_s}\nprint('started', flush=True)\n"
        # In short sleeps: a signal that comes just before one is heard at its end.
        "while time.monotonic() < end:\n    time.sleep(0.05)\n"
        f"import sys\ndel sys.modules['{module}']\nsys.path.remove({str(tmp_path)!r})\n"
        f"from {module} import *\n"
    )
    # Not by `preexec_fn`: a real fork of a process in which another test left gRPC's threads.
    before = signal.signal(signal.SIGINT, handler)
    try:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            assert process.stdout.readline() == "started\n"
            process.send_signal(signum)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    return process.returncode, errors


@pytest.mark.parametrize(
    "words", [["-c", RUN_SCRIPT, "ingest", "--events=a.csv"], ["-m", "pipelines.query", "--k=3"]]
)
def test_an_interrupt_before_the_command_is_there(tmp_path, words):
    """`difflib` is the first thing that the command imports."""
    assert interrupt(tmp_path, "difflib", words) == (130, "recall: interrupted.\n")


def test_an_interrupt_while_the_help_is_put_together(tmp_path):
    """It imports every command, and with one of them `shlex`."""
    words = ["-c", RUN_SCRIPT, "--help"]
    for signum in (signal.SIGINT, signal.SIGTERM):
        code, errors = interrupt(tmp_path, "shlex", words, signum)
        assert (code, errors) == (128 + signum, "recall: interrupted.\n")


def test_who_ignores_interrupts_goes_on(tmp_path):
    """As a shell starts what it runs in the background."""
    words = ["-c", RUN_SCRIPT, "--version"]
    assert interrupt(tmp_path, "difflib", words, handler=signal.SIG_IGN, wait_s=0.5) == (0, "")
