"""Runs the blocks of a page, in order, in an empty folder, as a reader would type them.

A page may have a prologue, `prologues/<page>.sh`: it makes the files the page speaks of (a
reader has a log) and shortens what takes minutes (a shell function `recall` that adds
`--set=train.max_epochs=1`). It runs in the page's shell before the first block.
"""

import contextlib
import io
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.documents.blocks import ROOT, Block, read_blocks

PROLOGUES = Path(__file__).parent / "prologues"
BLOCK_S = 300
"""A block that takes longer fails; none should take a minute."""

_PORT = re.compile(r"(?<![\d.])(85|86)(\d\d)(?!\d)")


class PageError(AssertionError):
    """A block failed; says which, and what it printed."""


class PageRunner:
    """The shell and the interpreter of one page."""

    def __init__(self, page: Path, folder: Path):
        """Starts both in `folder`, which is empty."""
        self._page, self._folder = page, folder
        self._ports: dict[str, str] = {}
        bin_folder = Path(sys.executable).parent
        # The pages name the ports of a usual server; a test takes free ones instead.
        self._environment = {
            **os.environ,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "REPOSITORY": str(ROOT),
        }
        self._log = folder.parent / f"{folder.name}.log"
        self._output = self._log.open("w+b")
        self._shell = self._start(["bash", "--noprofile", "--norc", "-s"])
        self._python: _Session | None = None

    def run(self) -> int:
        """Runs every block; returns how many ran.

        Raises:
            PageError: One failed, or took too long.
        """
        prologue = PROLOGUES / f"{self._page.stem.lower()}.sh"
        if prologue.exists():
            self._run_shell(prologue.read_text(encoding="utf-8"), f"{prologue.name}")
        count = 0
        for block in read_blocks(self._page):
            if not block.is_run:
                continue
            text = self.with_free_ports(block.text)
            if block.title is not None:
                path = self._folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            elif block.language == "sh":
                self._run_shell(text, block.place)
            else:
                self._run_python(block, text)
            count += 1
        return count

    def with_free_ports(self, text: str) -> str:
        """The text with ports of its own instead of 85nn and 86nn."""
        return _PORT.sub(lambda port: self._free_port(port.group()), text)

    def close(self) -> None:
        """Ends the shell, the interpreter and all that they started."""
        for session in (self._shell, self._python):
            if session is not None:
                session.end()
        self._output.close()

    def _free_port(self, port: str) -> str:
        if port not in self._ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[port] = str(probe.getsockname()[1])
        return self._ports[port]

    def _start(self, command: list[str]) -> "_Session":
        read_end, write_end = os.pipe()
        process = subprocess.Popen(
            [*command, str(write_end)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        return _Session(process, os.fdopen(read_end, "rb", buffering=0), write_end)

    def _run_shell(self, text: str, place: str) -> None:
        # As a file, so that no command of the block can read the rest of it as its input.
        script = self._folder.parent / f"{self._folder.name}.block.sh"
        script.write_text(self.with_free_ports(text), encoding="utf-8")
        # What the block leaves running does not hold the line of answers open.
        number = self._shell.answer_number
        source = f"source {shlex.quote(str(script))} </dev/null {number}>&-"
        self._send(self._shell, f"set -e -o pipefail; {source}; set +e\necho done >&{number}\n")
        self._await(self._shell, place)

    def _run_python(self, block: Block, text: str) -> None:
        if self._python is None:
            session = Path(__file__).parent / "python_session.py"
            self._python = self._start([sys.executable, str(session)])
        values = {"line": block.line, "page": block.place, "text": text}
        self._send(self._python, json.dumps(values) + "\n")
        error = json.loads(self._await(self._python, block.place))["error"]
        if error is not None:
            raise PageError(f"{block.place} failed:\n{error}{self._printed()}")

    def _send(self, session: "_Session", text: str) -> None:
        session.process.stdin.write(text.encode())
        session.process.stdin.flush()

    def _await(self, session: "_Session", place: str) -> bytes:
        ready, _, _ = select.select([session.answers], [], [], BLOCK_S)
        if not ready:
            raise PageError(f"{place} takes longer than {BLOCK_S} s.\n{self._printed()}")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = session.answers.read(65536)
            if not piece:  # The shell ended, as `set -e` has it.
                raise PageError(f"{place} failed.\n{self._printed()}")
            answer += piece
        return answer

    def _printed(self) -> str:
        self._output.flush()
        text = self._log.read_text(encoding="utf-8", errors="replace")
        return "It printed, at last:\n" + text[-4000:]


class _Session(NamedTuple):
    """A process that runs blocks and answers each on a pipe of its own."""

    process: subprocess.Popen
    answers: io.FileIO
    answer_number: int
    """Of the pipe's other end, in the process."""

    def end(self) -> None:
        """Ends the process and all that it started, and returns when it has ended."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
                break
        self.process.stdin.close()
        self.answers.close()
