"""The command line: help, flags, what goes to Beam, errors as one line."""

import dataclasses
import errno
import importlib
import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines import cli
from pipelines.commands import synthesize
from pipelines.commands.shared import flags, publish_flags
from pipelines.commands.table import COMMANDS
from pipelines.sources.columns import event_times
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.tables import text_format
from pipelines.synthetic import synthesize as run_synthesize
from pipelines.synthetic.config import SyntheticConfig
from recall.errors import InputError

ROOT = Path(__file__).parents[2]
JOBS = (
    "ingest",
    "train",
    "evaluate",
    "export",
    "index",
    "push",
    "run",
    "serve",
    "query",
    "synthesize",
)
HEAVY = ("tensorflow", "apache_beam", "pyarrow", "numpy", "grpc", "scann")


def run_cli(*words: str) -> int:
    return cli.main(list(words))


def one_line(capsys) -> str:
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text.strip()


# ---- help ------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["--helpfull"]])
def test_help_lists_every_command(words, capsys):
    assert run_cli(*words) == 0
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert set(JOBS) <= set(listed)
    assert "demo" not in listed


def test_no_command_shows_the_help_and_is_wrong_usage(capsys):
    assert run_cli() == 2
    assert "Commands:" in capsys.readouterr().err


def test_version(capsys):
    assert run_cli("--version") == 0
    assert capsys.readouterr().out == "recall 0.1.0\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_import_nothing_heavy(words):
    program = (
        "import sys; from pipelines import cli; code = cli.main(sys.argv[1:]); "
        f"print(code, [name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_its_flags_and_no_others(name, capsys):
    assert run_cli(name, "--help") == 0
    text = capsys.readouterr().out
    shown = [line.split("=")[0].strip() for line in text.splitlines() if line.startswith("  --")]
    assert shown == [f"--{flag}" for flag in (*COMMANDS[name].COMMAND.flags, *flags.COMMON)]
    assert f"usage: recall {name}" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_help_shows_defaults_that_are_zero_too(capsys):
    run_cli("ingest", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "to skip and count before giving up. Default: 0. --user_column=NAME" in text
    assert "Default: False" not in text
    assert "Default: ." not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_wins_over_other_mistakes(name, capsys):
    assert run_cli(name, "--no_such_flag", "--help") == 0
    assert "Flags:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "example", [example for command in COMMANDS.values() for example in command.COMMAND.examples]
)
def test_examples_of_the_help_parse(example):
    lexer = shlex.shlex(example, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    name, *arguments = lexer
    assert not set("|&;<>()") & {word[0] for word in arguments}, "a shell would not pass it on"
    values, beam_words = cli.parse(name, arguments)
    assert beam_words == []
    assert all(values[flag].value for flag in COMMANDS[name].COMMAND.required)


def test_every_command_has_a_handler():
    assert all(callable(command.call) for command in COMMANDS.values())
    assert set(JOBS) <= set(COMMANDS)


def test_a_command_defines_its_own_flags_only():
    values = flags.define(COMMANDS["push"].COMMAND)
    own = {"run", "serving", "index", "keep", "allow_loss", "progress"}
    assert set(values) == own | {"verbosity", "help"}


@pytest.mark.parametrize(
    ("words", "keep"),
    [([], 5), (["--keep=1"], 1), (["--keep=0"], None), (["--keep=all"], None)],
)
@pytest.mark.parametrize("name", ["push", "run"])
def test_versions_to_keep(name, words, keep):
    needed = {"push": ["--run=x"], "run": ["--events=x", "--output=y"]}[name]
    values, _ = cli.parse(name, [*needed, *words])
    assert publish_flags.read_keep(values) == keep


@pytest.mark.parametrize("text", ["-1", "five", "1.5", "", "9" * 10])
def test_a_number_of_versions_that_is_none(text, tmp_path, capsys):
    assert run_cli("push", f"--run={tmp_path}", f"--keep={text}") == 2
    line = capsys.readouterr().err
    assert line.startswith(f"recall push: error: --keep={text} is neither a number")
    assert line.count("\n") == 1


def test_flags_of_synthesize_are_the_settings_of_the_generator():
    specs = synthesize.planted_world()
    defaults = [field.default for field in dataclasses.fields(SyntheticConfig)]
    assert [spec.default for spec in specs.values()] == defaults
    text = ",".join(f"{name}={spec.default}" for name, spec in specs.items())
    assert SyntheticConfig.from_text(text) == SyntheticConfig()


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_door(job):
    result = subprocess.run(
        [sys.executable, "-m", f"pipelines.{job}", "--no_such_flag"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"recall {job}: error: ")


def test_a_job_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.synthesize", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: recall synthesize ")


# ---- flags -----------------------------------------------------------------


def test_values_are_parsed():
    words = "--events=a.csv --output b --set=x.y=1 --set=x.z=2 --max_bad_rows=3 --overwrite"
    values, _ = cli.parse("run", words.split())
    assert values.events == "a.csv"
    assert values.output == "b"
    assert values["set"].value == ["x.y=1", "x.z=2"]
    assert values.max_bad_rows == 3
    assert values.overwrite is True


def test_history_is_a_list_of_texts():
    values, _ = cli.parse("query", ["--history=12,57,i3", "--exclude="])
    assert values.history == ["12", "57", "i3"]
    assert values.exclude == []


def test_flagfile(tmp_path):
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text("# a comment\n--release=runs/mine/serving\n--grpc_port=9000\n")
    values, _ = cli.parse("serve", [f"--flagfile={flagfile}", "--http_port=0"])
    assert values.release == "runs/mine/serving"
    assert (values.grpc_port, values.http_port) == (9000, 0)


def test_flagfile_may_hold_beam_flags(tmp_path):
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text("--events=a\n--runner=FlinkRunner\n--output=b\n")
    values, beam_words = cli.parse("run", [f"--flagfile={flagfile}"])
    assert values.output == "b"
    assert beam_words == ["--runner=FlinkRunner"]


@pytest.mark.parametrize(
    ("words", "mentioned"),
    [
        (["trian"], "`recall train`"),
        (["nonsense"], "`recall --help`"),
        (["run", "--output=x"], "--events is required"),
        (["run", "--events=", "--output=x"], "--events is required"),
        (["run", "--events=x"], "--output is required"),
        (["run", "--event=x", "--output=y"], "--events"),
        (["run", "--events=x", "--ouput=y"], "--output"),
        (["run", "--events=x", "--output=y", "--max-bad-rows=3"], "--max_bad_rows"),
        (["run", "--events=x", "--output=y", "z"], "'z'"),
        (["run", "--events=x", "--output=y", "--runner=a", "z"], "'z'"),
        (["run", "--events=x", "--output=y", "--max_bad_rows=few"], "--max_bad_rows"),
        (["run", "--events=x", "--output=y", "--max_bad_rows=-1"], "--max_bad_rows"),
        (["run", "--events=x", "--output"], "--output"),
        (["run", "--events=x", "--output=y", "--overwrite=maybe"], "--overwrite"),
        (["train", "--examples=x", "--output=y", "--runner=FlinkRunner"], "--runner"),
        (["train", "--exmaples=x", "--output=y"], "--examples"),
        (["train", "x"], "'x'"),
        (["serve", "--release=x", "--grpc_port=http"], "--grpc_port"),
        (["serve", "--release=x", "--grpc_port=70000"], "--grpc_port"),
        (["query", "--k=0"], "--k"),
        (["query", "--timeout_s=0"], "--timeout_s"),
        (["query", "--timeout_s=nan"], "--timeout_s=nan must be a finite number"),
        (["query", "--timeout_s=1e30"], "--timeout_s"),
        (["query", "--diversity_weight=inf"], "--diversity_weight=inf must be a finite number"),
        (["serve", "--release=r", "--drain_s=nan"], "--drain_s=nan must be a finite number"),
        (["query", "--flagfile=no/such/file"], "no/such/file"),
        (["synthesize", "--output=x", "--users=1.5"], "--users"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words, mentioned, capsys):
    assert run_cli(*words) == 2
    line = one_line(capsys)
    assert line.startswith("recall")
    assert ": error: " in line
    assert mentioned in line


def test_unknown_flags_go_to_beam_in_order():
    words = ["--events=a", "--runner", "FlinkRunner", "--output=b", "--flink_master=h:1"]
    values, beam_words = cli.parse("ingest", words)
    assert beam_words == ["--runner", "FlinkRunner", "--flink_master=h:1"]
    assert (values.events, values.output) == ("a", "b")


def test_no_flag_of_beam_is_taken_for_a_misspelt_one_of_ours():
    from pipelines.ingestion.beam import build_options

    for name in build_options([]).get_all_options():
        cli.parse("run", ["--events=a", "--output=b", f"--{name}=1"])


def test_a_flag_that_beam_does_not_know_either_is_wrong_usage(tmp_path, capsys):
    output = tmp_path / "out"
    words = ("run", "--events=synthetic:users=5", f"--output={output}", "--colour=red")
    assert run_cli(*words) == 2
    assert "--colour" in one_line(capsys)
    assert not output.exists()


# ---- errors ----------------------------------------------------------------


RESUMED = ("run", "train", "tune", "experiment", "tfx")


def with_handler(monkeypatch, error: BaseException) -> None:
    def handler(values, beam_words):
        raise error

    monkeypatch.setattr(COMMANDS["query"], "call", handler)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a.csv, row 3: bad.\nMend it."), 1, "a.csv, row 3: bad. Mend it."),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.csv"), 1, "a.csv: No such file."),
        (PermissionError(errno.EACCES, "Permission denied", "b"), 1, "b: Permission denied."),
    ],
)
def test_errors_a_user_can_mend_are_one_line(error, code, line, monkeypatch, capsys):
    with_handler(monkeypatch, error)
    assert run_cli("query") == code
    assert one_line(capsys) == f"recall query: error: {line}"


@pytest.mark.parametrize(
    ("command", "words"),
    [("query", ""), *((name, " The same command goes on where it was.") for name in RESUMED)],
)
def test_who_interrupts_a_job_is_told_that_it_goes_on(command, words, monkeypatch, capsys):
    def call(values, beam_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS[command], "call", call)
    monkeypatch.setattr(COMMANDS[command], "COMMAND", without_required(command))
    assert run_cli(command) == 130
    assert one_line(capsys) == f"recall {command}: interrupted.{words}"


@pytest.mark.parametrize(
    ("command", "extra"), [("query", "client"), ("serve", "serve"), ("train", "train")]
)
def test_a_package_that_is_not_installed_is_one_line(command, extra, monkeypatch, capsys):
    def call(values, beam_words):
        importlib.import_module("nobody_has_this.part")

    monkeypatch.setattr(COMMANDS[command], "call", call)
    monkeypatch.setattr(COMMANDS[command], "COMMAND", without_required(command))
    assert run_cli(command) == 1
    assert one_line(capsys) == (
        f"recall {command}: error: nobody_has_this is not installed. What recall {command} "
        f"needs: pip install 'recall[{extra}]'."
    )


def without_required(command):
    return dataclasses.replace(COMMANDS[command].COMMAND, required=())


def write_a_file(path):
    with open(path, "w") as file:
        file.write("x")


def write_a_table(path):
    pq.write_table(pa.table({"a": [1]}), path)


def write_tensors(path):
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"x")


@pytest.mark.parametrize("write", [write_a_file, write_a_table, write_tensors])
def test_a_full_disk_is_one_line(write, tmp_path, monkeypatch, capsys):
    # A link, as the writer of tables removes what it could not write.
    (tmp_path / "file").symlink_to("/dev/full")
    path = str(tmp_path / "file")
    monkeypatch.setattr(COMMANDS["query"], "call", lambda values, beam_words: write(path))
    assert run_cli("query") == 1
    assert one_line(capsys).startswith("recall query: error: No space left on device. Make room")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["similar", "--release=r", "--output=o", "--k=ten"],
            "recall similar: error: flag --k=ten: 'ten' is not a whole number. See `recall similar",
        ),
        (
            ["tune", "--events=e", "--output=o", "--minutes=long"],
            "recall tune: error: flag --minutes=long: 'long' is not a number. See `recall tune",
        ),
        (
            ["tune", "--events=e", "--output=o", "--minutes=0"],
            "recall tune: error: flag --minutes=0: 0.0 is not a number >= 0.01. See `recall tune",
        ),
        (
            ["embed", "--release=r", "--output=o"],
            "recall embed: error: Give --events=LOG, --users=FILE with histories",
        ),
        (
            ["items", "--server=127.0.0.1:1"],
            "recall items: error: Give --upsert=FILE or --delete=IDS. See `recall items",
        ),
    ],
)
def test_wrong_flags_are_said_once_and_in_plain_words(words, line, capsys):
    assert run_cli(*words) == 2
    assert one_line(capsys).startswith(line)


@pytest.mark.parametrize("write", [write_a_file, write_a_table])
def test_a_limit_of_file_sizes_is_one_line(write, tmp_path, monkeypatch, capsys):
    def call(values, beam_words):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            write(str(tmp_path / "file"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(COMMANDS["query"], "call", call)
    assert run_cli("query") == 1
    assert one_line(capsys) == (
        "recall query: error: File too large. Raise the limit of file sizes (ulimit -f), then "
        "give the same command again."
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a defect"),
        OSError("no path"),
        ConnectionError(errno.ECONNRESET, "x"),
        ModuleNotFoundError("No module named 'serving.nothing'", name="serving.nothing"),
        ModuleNotFoundError("No module named 'numpy.nothing'", name="numpy.nothing"),
    ],
)
def test_defects_keep_their_traceback(error, monkeypatch):
    with_handler(monkeypatch, error)
    with pytest.raises(type(error)):
        run_cli("query")


def test_verbosity_1_shows_the_traceback_of_an_input_error(monkeypatch, capsys):
    with_handler(monkeypatch, InputError("bad"))
    assert run_cli("query", "--verbosity=1") == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.splitlines()[-1] == "recall query: error: bad"


def assert_interrupted(program, signum):
    """A program that printed `started` ends by the signal, with one line and its exit code."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, **pipes)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signum)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signum
    assert errors == "recall query: interrupted.\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_run_the_cleaning_up_and_are_no_traceback(tmp_path, signum):
    program = f"""
import signal, sys, time
from pipelines import cli
from pipelines.commands.table import COMMANDS
from serving.release import folders

# A shell that started the tests in the background has them ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

def handler(values, beam_words):
    try:
        with folders.atomic_directory({str(tmp_path / "out")!r}):
            print("started", flush=True)
            time.sleep(60)
    except BaseException as error:
        raise RuntimeError("as Beam does") from error

COMMANDS["query"].call = handler
sys.argv = ["recall", "query"]
sys.exit(cli.main())
"""
    assert_interrupted(program, signum)
    assert os.listdir(tmp_path) == []


def test_nothing_that_is_left_behind_keeps_an_interrupted_job_alive():
    """As TensorFlow's destructors do when a training step was broken off."""
    program = """
import sys, time
from pipelines import cli
from pipelines.commands.table import COMMANDS

class Stuck:
    def __del__(self):
        time.sleep(60)

def handler(values, beam_words):
    stuck = Stuck()
    print("started", flush=True)
    time.sleep(60)

COMMANDS["query"].call = handler
sys.argv = ["recall", "query"]
sys.exit(cli.main())
"""
    assert_interrupted(program, signal.SIGTERM)


def test_a_reader_that_goes_away_is_no_traceback():
    command = f"{sys.executable} -m pipelines.cli run --help | head -n 1"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.startswith("usage:")
    assert result.stderr == ""


def test_choices_are_those_of_the_code_that_knows_them():
    """The flags name them again, as their help must import nothing heavy."""
    run = COMMANDS["run"].COMMAND.flags
    assert set(run["timestamp_unit"].choices) == set(event_times.UNIT_CHOICES)
    for value in run["null_markers"].choices:
        assert ReadOptions(null_markers=value).null_markers == value
    assert COMMANDS["synthesize"].COMMAND.flags["format"].choices == run_synthesize.FORMATS
    for value in run["quoting"].choices:
        assert text_format.parse_options("", quoting=value)


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_are_among_the_choices(name):
    for flag, spec in COMMANDS[name].COMMAND.flags.items():
        assert not spec.choices or spec.default in (None, *spec.choices), flag


def test_a_value_that_is_no_choice_is_wrong_usage(capsys):
    assert run_cli("run", "--events=x", "--output=y", "--progress=maybe") == 2
    assert "--progress=maybe must be one of auto, live, lines, json, off." in one_line(capsys)


def test_one_bare_word_where_a_command_takes_one(capsys):
    assert run_cli("completion", "bash") == 0
    assert "complete -F _recall recall" in capsys.readouterr().out
    assert run_cli("completion", "bash", "zsh") == 2
    assert "unexpected word 'zsh'" in one_line(capsys)
    assert run_cli("completion") == 2
    assert "recall completion bash" in one_line(capsys)


def test_every_command_has_an_example():
    for name, module in COMMANDS.items():
        assert module.COMMAND.examples, name
        assert f"  recall {module.COMMAND.examples[0]}" in flags.page(name, module.COMMAND)
