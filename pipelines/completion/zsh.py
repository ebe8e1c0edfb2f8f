"""The completion script for zsh. Imports no TensorFlow."""

from collections.abc import Sequence

from pipelines.completion import grammar
from pipelines.completion.grammar import Entry, Flag

_HEAD = """\
#compdef recall
# Completion of `recall` for zsh: source <(recall completion zsh), or a file _recall in $fpath.
_recall() {
    local -a commands
    commands=(
@COMMANDS@
    )
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
@CASES@
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _recall "$@"
else
    compdef _recall recall
fi
"""

_ACTIONS = {grammar.FILES: "_files", grammar.FOLDERS: "_path_files -/", grammar.NONE: " "}


def script(entries: Sequence[Entry]) -> str:
    """The script."""
    commands = "\n".join(f"        {_quote(f'{entry.name}:{entry.summary}')}" for entry in entries)
    cases = "\n".join(_case(entry) for entry in entries)
    return _HEAD.replace("@COMMANDS@", commands).replace("@CASES@", cases)


def _case(entry: Entry) -> str:
    lines = [f"        {entry.name})", "            _arguments \\"]
    arguments = [_argument(flag) for flag in entry.flags]
    if entry.words:
        arguments.insert(0, f"1:word:({' '.join(entry.words)})")
    lines.append(" \\\n".join(f"                {_quote(argument)}" for argument in arguments))
    return "\n".join([*lines, "            ;;"])


def _argument(flag: Flag) -> str:
    """A flag as `_arguments` wants it: `*--name=-[help]:value:action`."""
    text = flag.help
    for sign in "\\[]:":
        text = text.replace(sign, f"\\{sign}")
    spec = f"{'*' if flag.repeats else ''}--{flag.name}{'=' if flag.takes_value else ''}[{text}]"
    if not flag.takes_value:
        return spec
    action = _ACTIONS.get(flag.kind)
    if action is None:
        goes_on = any(value.endswith("=") for value in flag.values)
        words = " ".join(flag.values)
        action = f'compadd -S "" -- {words}' if goes_on else f"({words})"
        action = f"{{{action}}}" if goes_on else action
    return f"{spec}:value:{action}"


def _quote(text: str) -> str:
    """A word of the shell, whatever is in it."""
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
