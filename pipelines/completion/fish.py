"""The completion script for fish. Imports no TensorFlow."""

from collections.abc import Sequence

from pipelines.completion import grammar
from pipelines.completion.grammar import Entry, Flag

_HEAD = """\
# Completion of `recall` for fish: recall completion fish | source
complete -c recall -f
complete -c recall -n __fish_is_first_token -l help -d 'Shows the commands.'
complete -c recall -n __fish_is_first_token -l version -d 'Shows the version.'
"""


def script(entries: Sequence[Entry]) -> str:
    """The script."""
    lines = [_HEAD.rstrip("\n")]
    for entry in entries:
        lines.append(
            f"complete -c recall -n __fish_is_first_token -a {entry.name} "
            f"-d {_quote(entry.summary)}"
        )
    for entry in entries:
        seen = _quote(f"__fish_seen_subcommand_from {entry.name}")
        if entry.words:
            lines.append(f"complete -c recall -n {seen} -a {_quote(' '.join(entry.words))}")
        lines += [f"complete -c recall -n {seen} {_flag(flag)}" for flag in entry.flags]
    return "\n".join(lines) + "\n"


def _flag(flag: Flag) -> str:
    text = f"-l {flag.name} -d {_quote(flag.help)}"
    if not flag.takes_value:
        return text
    if flag.kind == grammar.FILES:
        return f"{text} -r -F"
    if flag.kind == grammar.FOLDERS:
        return f"{text} -x -a '(__fish_complete_directories)'"
    if flag.values:
        return f"{text} -x -a {_quote(' '.join(flag.values))}"
    return f"{text} -x"


def _quote(text: str) -> str:
    """A word of the shell, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
