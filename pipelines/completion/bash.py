"""The completion script for bash, 4.4 and later. Imports no TensorFlow.

Bash takes `=` for the border of a word unless it was told otherwise: the script reads the
line itself, and offers only what follows the `=`.
"""

from collections.abc import Sequence

from pipelines.completion import grammar
from pipelines.completion.grammar import Entry, Flag

_HEAD = """\
# Completion of `recall` for bash: source <(recall completion bash)
_recall() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local -a typed
    read -ra typed <<< "$line"
    COMPREPLY=()
    if [[ ${#typed[@]} -le 1 || ( ${#typed[@]} -eq 2 && -n $word ) ]]; then
        COMPREPLY=($(compgen -W "@COMMANDS@ --help --version" -- "$word"))
        return
    fi
    local command=${typed[1]}
    local flags="" words="" kind="" values=""
    case $command in
@FLAGS@
    esac
    if [[ $word != -* ]]; then
        local before=${typed[${#typed[@]}-1]}
        [[ -n $word ]] && before=${typed[${#typed[@]}-2]}
        if [[ $before == --*  && $before != *=* && " $flags " == *" $before= "* ]]; then
            word=$before=$word
        fi
    fi
    if [[ $word == --*=* ]]; then
        local flag=${word%%=*} value=${word#*=}
        case $command:$flag in
@VALUES@
        esac
        _recall_values "$kind" "$values" "$value"
        return
    fi
    COMPREPLY=($(compgen -W "$words $flags" -- "$word"))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}

_recall_values() {
    local IFS=$'\\n'
    case $1 in
        files) compopt -o filenames; COMPREPLY=($(compgen -f -- "$3")) ;;
        folders) compopt -o filenames; COMPREPLY=($(compgen -d -- "$3")) ;;
        words)
            local IFS=$' \\n'
            COMPREPLY=($(compgen -W "$2" -- "$3"))
            [[ ${#COMPREPLY[@]} -ge 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
            # What stands before the last = of the value is a word of its own for bash.
            if [[ $3 == *=* && $COMP_WORDBREAKS == *=* ]]; then
                COMPREPLY=("${COMPREPLY[@]#"${3%"${3##*=}"}"}")
            fi
            ;;
    esac
}
complete -F _recall recall
"""


def script(entries: Sequence[Entry]) -> str:
    """The script."""
    flags = "\n".join(_flags(entry) for entry in entries)
    values = "\n".join(
        line for entry in entries for flag in entry.flags if (line := _values(entry, flag))
    )
    names = " ".join(entry.name for entry in entries)
    return _HEAD.replace("@COMMANDS@", names).replace("@FLAGS@", flags).replace("@VALUES@", values)


def _flags(entry: Entry) -> str:
    names = " ".join(f"--{flag.name}{'=' if flag.takes_value else ''}" for flag in entry.flags)
    return f'        {entry.name}) flags="{names}" words="{" ".join(entry.words)}" ;;'


def _values(entry: Entry, flag: Flag) -> str:
    if flag.kind == grammar.NONE:
        return ""
    words = f' values="{" ".join(flag.values)}"' if flag.values else ""
    return f"            {entry.name}:--{flag.name}) kind={flag.kind}{words} ;;"
