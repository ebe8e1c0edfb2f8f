"""Commands and flags that the pages name are those of the program."""

import re
from unittest import mock

from pipelines import cli
from pipelines.commands.shared import flags
from pipelines.commands.table import COMMANDS
from recall.config import RecallConfig
from recall.errors import InputError
from tests.documents import spans

OF_BEAM = {
    *("runner", "direct_running_mode", "direct_num_workers", "dask_client_address"),
    *("flink_master", "parallelism", "spark_master_url", "environment_type", "environment_config"),
    *("project", "region", "temp_location", "sdk_container_image"),
}
"""Flags of Apache Beam that pages name; commands pass them on."""

OF_OTHERS = {
    # TensorFlow Serving's, which docs/tensorflow_serving.md compares ours with.
    *("port", "rest_api_port", "grpc_socket_path", "model_name", "model_base_path"),
    *("model_config_file_poll_wait_seconds", "enable_batching", "ssl_config_file"),
    *("rest_api_timeout_in_ms", "rest_api_num_threads", "enable_cors_support"),
    *("allow_version_labels_for_unavailable_models", "platform_config_file", "saved_model_tags"),
    *("tensorflow_session_parallelism", "enable_model_warmup"),
    # Docker's, Flink's job server's.
    *("shm-size", "user", "flink_job_server_jar"),
}
_OF_XLA = "xla_"


def flags_of(name):
    return {*COMMANDS[name].COMMAND.flags, *flags.COMMON}


def name_of(word):
    """Of a flag; a switch is switched off by `--noNAME`."""
    return word.removeprefix("--").partition("=")[0]


def is_of(name, flag):
    """Whether a command has a flag."""
    known = flags_of(name)
    is_beams = COMMANDS[name].COMMAND.beam_flags and flag in OF_BEAM
    return flag in known or flag.removeprefix("no") in known or is_beams


def test_commands_are_found_as_a_shell_finds_them():
    text = "A=1 recall run --set='x=[\"a b\"]' \\\n  --k=2 & # why\nx <(recall completion bash)\n"
    assert [line[1:] for line in spans.commands_of("here", text)] == [
        ("run", ['--set=x=["a b"]', "--k=2"]),
        ("completion", ["bash"]),
    ]
    assert len(spans.command_lines()) > 100
    assert len(spans.quoted_commands()) > 80


def refusal(line):
    """Why a command line is not accepted; "" if it is."""
    words = [word for word in line.words if not word.startswith("$")]
    try:
        with mock.patch.object(cli, "_beam_words", lambda rest, command: rest):
            values, rest = cli.parse(line.name, words)
        assert {name_of(word) for word in rest} <= OF_BEAM, rest
        said = values["set"].value if "set" in values else []
        RecallConfig().override(text for text in said if "$" not in text and "..." not in text)
    except (flags.UsageError, InputError, AssertionError) as error:
        return f"{line.place}: {error}"
    return ""


def test_command_lines_of_blocks_are_accepted():
    assert {line.name for line in spans.command_lines()} <= {*COMMANDS}
    assert [reason for reason in map(refusal, spans.command_lines()) if reason] == []


def test_a_wrong_command_line_is_refused():
    wrong = [
        "recall index --export=a --examples=b --output=c --leaves=3",
        "recall run --events=a --output=b --set=model.interests=3",
        "recall run --events=a --output=b --interests=3",
        "recall train --examples=a",
    ]
    assert all(refusal(line) for text in wrong for line in spans.commands_of("here", text))
    assert not is_of("push", "interests")
    assert is_of("recommend", "noreasons")
    assert is_of("run", "runner")


def test_flags_of_quoted_commands_are_theirs():
    assert {line.name for line in spans.quoted_commands()} <= {*COMMANDS}
    wrong = [
        f"{line.place} recall {line.name} {word}"
        for line in spans.quoted_commands()
        for word in line.words
        if word.startswith("--") and not is_of(line.name, name_of(word))
    ]
    assert wrong == []


def test_flags_in_prose_are_of_some_command():
    known = {flag for name in COMMANDS for flag in flags_of(name)} | OF_OTHERS | OF_BEAM
    known |= of_benchmarks()
    wrong = [
        f"{span.place} --{flag}"
        for span in spans.code_spans()
        for flag in re.findall(r"^--([a-z_]\w*(?:-\w+)*)(?:=|$)", span.text)
        if not {flag, flag.removeprefix("no")} & known and not flag.startswith(_OF_XLA)
    ]
    assert wrong == []


def of_benchmarks():
    """Flags of `python -m tests.benchmarks.NAME`, by what their files say."""
    texts = [path.read_text() for path in (spans.ROOT / "tests/benchmarks").glob("*.py")]
    return set(re.findall(r"\"(?:--)?([a-z_]+)\"", "".join(texts)))


_DEFAULT = re.compile(r"`--([a-z_]+)(?:=[A-Z]+)?`(?:\s+requests)?\s+\((?:default )?([\d.,]+)\)")


def quoted_defaults():
    for page in spans.PAGES:
        text = spans.prose(page)
        for match in _DEFAULT.finditer(text):
            yield spans.place_of(page, text, match.start()), *match.groups()


def test_defaults_of_flags_are_those_of_the_program():
    wrong, count = [], 0
    for place, flag, said in quoted_defaults():
        specs = [COMMANDS[name].COMMAND.flags.get(flag) for name in COMMANDS]
        defaults = {float(spec.default) for spec in specs if spec is not None}
        count += 1
        if float(said.replace(",", "")) not in defaults:
            wrong.append(f"{place} --{flag} ({said}), not {defaults}")
    assert wrong == []
    assert count >= 2
