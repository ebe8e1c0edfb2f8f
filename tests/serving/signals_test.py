"""What signals do to `recall serve`: while it loads, and while it serves."""

import signal
import subprocess
import sys
import time
import urllib.request

import pytest

_LOADING = """
import sys, time
from serving.models.manager import ModelManager

def load(self):
    print("loading", flush=True)
    time.sleep(300)

ModelManager.start = load
from pipelines import cli
sys.exit(cli.main())
"""
"""The command with models that take minutes to load."""

_HEARD_ELSEWHERE = """
import signal, sys, threading, time
from pipelines import cli
from serving import server

def stop():
    time.sleep(1.0)  # The main thread waits by then.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

handled = server._handled

def begin(action, *numbers):
    if signal.SIGTERM in numbers:
        threading.Thread(target=stop, daemon=True).start()
    return handled(action, *numbers)

server._handled = begin
sys.exit(cli.main())
"""
"""The command, whose stop the kernel gives to a thread that is not the main one."""

_AT_ONCE_S = 5.0
"""A second, on a machine that does nothing else."""


@pytest.fixture
def serve(release_folder):
    """Starts the command on a release of its own; it ends with the test."""
    processes = []

    def start(program="import sys; from pipelines import cli; sys.exit(cli.main())", *flags):
        words = ["serve", f"--release={release_folder.path}", "--grpc_port=0", "--http_port=0"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", program, *words, "--drain_s=0", *flags],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)],
)
def test_a_stop_while_loading_ends_at_once(serve, number, code):
    process = serve(_LOADING)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGHUP)  # Ends nothing.
    time.sleep(0.3)
    assert process.poll() is None
    started_s = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert time.monotonic() - started_s < _AT_ONCE_S
    assert "recall serve: interrupted." in (said := process.stderr.read())
    assert "Traceback" not in said


def test_hanging_up_does_not_end_the_server(serve):
    process = serve()
    line = process.stdout.readline()
    address = line.split("http=")[1].strip()
    for _ in range(500):  # Handlers that interrupt each other.
        process.send_signal(signal.SIGHUP)
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in process.stderr.read()


def test_a_stop_that_another_thread_hears_ends_the_server(serve):
    """Where it does not wake the main thread: the kernel may choose so after a burst of signals."""
    process = serve(_HEARD_ELSEWHERE)
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in process.stderr.read()
