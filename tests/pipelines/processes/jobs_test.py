"""Commands in a process of their own: results, errors, and Ctrl-C."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines.processes import jobs
from recall.errors import InputError


def test_a_result_is_returned_and_progress_shown(tmp_path, capfd):
    output = tmp_path / "log"
    printed = jobs.run(["synthesize", f"--output={output}", "--users=20", "--items=30"])
    assert (output / "events.csv.gz").exists()
    assert "events.csv.gz" in printed + capfd.readouterr().err


def test_nothing_is_shown_where_it_is_not_wanted(tmp_path, capfd):
    jobs.run(["synthesize", f"--output={tmp_path / 'log'}", "--users=20", "--items=30"], show=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run", "--events=missing.csv", "--output=x"], "missing.csv"),
        (["run", "--output=x"], "--events is required"),
        (["nonsense"], "unknown command 'nonsense'"),
    ],
)
def test_the_line_of_a_user_s_mistake_is_the_error(words, text, capfd):
    with pytest.raises(InputError, match=text) as caught:
        jobs.run(words)
    assert "error:" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_defect_shows_its_last_lines():
    error = jobs.failure("run", 1, ["Traceback (most recent call last):\n", "KeyError: 'x'\n"])
    assert isinstance(error, RuntimeError)
    assert "exit code 1" in str(error)
    assert str(error).endswith("KeyError: 'x'")
    assert "SIGKILL" in str(jobs.failure("run", -signal.SIGKILL, []))


def test_a_job_ends_with_its_interrupted_caller(tmp_path, monkeypatch):
    started = []
    start = jobs.start
    monkeypatch.setattr(jobs, "start", lambda *a, **k: started.append(start(*a, **k)) or started[0])
    main = threading.main_thread().ident
    timer = threading.Timer(3.0, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        jobs.run(
            ["run", "--events=synthetic:users=3000,items=500", f"--output={tmp_path / 'run'}"],
            show=False,
        )
    assert time.monotonic() - began_s < 40
    assert started[0].poll() is not None


STARTER = """
import subprocess, sys, time

part = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
time.sleep(300)
"""

PART = """
import os, signal, time
from pipelines.processes import jobs

signal.signal(signal.SIGINT, {answer})
jobs.end_with(os.getppid())
print("begun", flush=True)
time.sleep(240)
print("goes on", flush=True)
"""


@pytest.mark.parametrize("answer", ["signal.default_int_handler", "signal.SIG_IGN"])
def test_a_part_ends_when_its_starter_is_killed(answer):
    words = [sys.executable, "-c", STARTER, PART.format(answer=answer)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as starter:
        assert starter.stdout.readline() == "begun\n"

        starter.kill()

        assert starter.stdout.read() == ""  # All that write to it have ended.


LEAVE = """
import atexit
from pipelines.processes import jobs

def main():
    print("done")
    return {result}

atexit.register(print, "destructors")
jobs.leave(main)
"""


@pytest.mark.parametrize(("result", "code", "error"), [("3", 3, ""), ("1 / 0", 1, "ZeroDivision")])
def test_a_part_leaves_at_once_with_what_it_has_said(result, code, error):
    done = subprocess.run(
        [sys.executable, "-c", LEAVE.format(result=result)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (code, "done\n")
    assert error in done.stderr
    assert bool(error) == ("Traceback" in done.stderr)
