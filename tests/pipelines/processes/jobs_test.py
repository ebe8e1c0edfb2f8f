"""Commands in a process of their own: results, errors, and Ctrl-C."""

import signal
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
