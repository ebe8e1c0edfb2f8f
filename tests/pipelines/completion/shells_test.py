"""Completion in real shells: what a person who presses Tab gets."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from pipelines import cli
from pipelines.commands.table import COMMANDS
from serving.api.recall_request import MERGE_MODES

LISTED = sorted(name for name, module in COMMANDS.items() if not module.COMMAND.hidden)


def need(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    """A folder to complete files in, and the script of every shell."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "events.csv").touch()
    (tmp_path / "here" / "examples").mkdir()
    return tmp_path / "here"


def write_script(shell: str, folder, capsys) -> str:
    capsys.readouterr()
    assert cli.main(["completion", shell]) == 0
    path = folder.parent / f"recall.{shell}"
    path.write_text(capsys.readouterr().out)
    return str(path)


_ECHOED = r"\n<(.*?)>\n"


class Shell:
    """A shell at a terminal, which is typed into."""

    def __init__(self, words, folder, prepare):
        self._main, side = pty.openpty()
        env = {**os.environ, "TERM": "dumb", "HISTFILE": "", "INPUTRC": os.devnull, "PS1": "> "}
        self._process = subprocess.Popen(
            words, stdin=side, stdout=side, stderr=side, cwd=folder, env=env, start_new_session=True
        )
        os.close(side)
        os.write(self._main, f"{prepare}; echo READ''Y\n".encode())
        self._read("\nREADY")

    def _read(self, pattern: str) -> str:
        """What comes until the pattern is there."""
        text, deadline_s = "", time.monotonic() + 30
        while time.monotonic() < deadline_s:
            if select.select([self._main], [], [], 1)[0]:
                text += os.read(self._main, 65536).decode().replace("\r", "")
                if re.search(pattern, text):
                    return text
        raise AssertionError(f"{pattern!r} did not come; {text!r}")

    def press_tab(self, typed: str) -> str:
        """The line that is left after Tab, as the shell itself then sees it."""
        # Keys are taken in their order. The line becomes the argument of echo and is not run.
        os.write(self._main, f"\x15{typed}\t\x01echo '<\x05>'\n".encode())
        return re.search(_ECHOED, self._read(_ECHOED))[1]

    def close(self):
        os.close(self._main)
        self._process.kill()
        self._process.wait()


TYPED = [
    ("recall tra", "recall train "),
    ("recall train --exam", "recall train --examples="),
    ("recall train --examples=exam", "recall train --examples=examples/"),
    ("recall train --overw", "recall train --overwrite "),
    ("recall query --merge=qu", "recall query --merge=quota "),
    ("recall run --set=train.batch_sl", "recall run --set=train.batch_slots="),
    ("recall run --events=ev", "recall run --events=events.csv "),
    ("recall run --output=ev", "recall run --output=ev"),
    ("recall completion fi", "recall completion fish "),
    ("recall query --k=1 --fro --merge=di", "recall query --k=1 --fro --merge=diversity "),
]


def test_bash_at_a_terminal(folder, capsys):
    script = write_script("bash", folder, capsys)
    shell = Shell([need("bash"), "--norc", "--noprofile", "-i"], folder, f"source {script}")
    try:
        assert {typed: shell.press_tab(typed) for typed, _ in TYPED} == dict(TYPED)
    finally:
        shell.close()


def test_zsh_at_a_terminal(folder, capsys):
    script = write_script("zsh", folder, capsys)
    prepare = f"PS1='> '; autoload -U compinit; compinit -u -D; source {script}; bindkey -e"
    shell = Shell([need("zsh"), "-f", "-i"], folder, prepare)
    try:
        got = {typed: shell.press_tab(typed) for typed, _ in TYPED}
    finally:
        shell.close()
    # Zsh takes back the sign that it put behind a name when the cursor leaves it.
    assert {typed: line.rstrip(" =/") for typed, line in got.items()} == {
        typed: line.rstrip(" =/") for typed, line in TYPED
    }


def bash_offers(script: str, line: str, folder) -> list[str]:
    program = f"""
source {script}
compopt() {{ :; }}
COMP_LINE={line!r} COMP_POINT={len(line)}
_recall
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    run = subprocess.run(
        [need("bash"), "--norc", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_bash_offers_every_command_and_flag(folder, capsys):
    script = write_script("bash", folder, capsys)
    assert sorted(bash_offers(script, "recall ", folder)) == sorted(
        [*LISTED, "--help", "--version"]
    )
    for name in LISTED:
        flags = {word.rstrip("=") for word in bash_offers(script, f"recall {name} --", folder)}
        wanted = {f"--{flag}" for flag in COMMANDS[name].COMMAND.flags}
        assert flags == wanted | {"--help", "--verbosity", "--flagfile"}
    modes = ["auto", "live", "lines", "json", "off"]
    assert bash_offers(script, "recall run --progress=", folder) == modes
    assert bash_offers(script, "recall query --merge ", folder) == list(MERGE_MODES)
    assert bash_offers(script, "recall nothing --", folder) == []


def test_fish_offers(folder, capsys):
    script = write_script("fish", folder, capsys)

    def offers(line: str) -> list[str]:
        run = subprocess.run(
            [need("fish"), "--no-config", "-c", f"source {script}; complete -C {line!r}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stderr == ""
        return [row.split("\t")[0] for row in run.stdout.splitlines()]

    assert sorted(offers("recall ")) == LISTED
    assert offers("recall query --merge=") == [
        f"--merge={mode}" for mode in ("diversity", "max_score", "new_categories", "quota")
    ]
    assert offers("recall query --merge q") == ["quota"]
    assert offers("recall run --set=train.batch_s") == [
        "--set=train.batch_size=",
        "--set=train.batch_slots=",
    ]
    assert offers("recall train --examples=ex") == ["--examples=examples/"]
    assert "--events=events.csv" in offers("recall run --events=ev")
    assert offers("recall completion ") == ["bash", "fish", "zsh"]


def test_names_in_scripts_are_those_of_the_flags(folder, capsys):
    """Whatever a command's help says, quoting holds: the shells read their script."""
    for shell in ("bash", "zsh", "fish"):
        script = write_script(shell, folder, capsys)
        subprocess.run([need(shell), "-n", script], check=True)
