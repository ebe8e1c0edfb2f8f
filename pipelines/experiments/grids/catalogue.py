"""The experiments by name. Imports no TensorFlow."""

from collections.abc import Callable, Mapping, Sequence

from pipelines.experiments.grids import (
    ablation,
    exposure,
    extractors,
    logs,
    myopia,
    noise,
    planted,
    seq2seq,
    times,
)
from pipelines.experiments.grids.grid import Experiment, Options
from recall.errors import InputError

BUILDERS: Mapping[str, Callable[[Options], Experiment]] = {
    "seq2seq": seq2seq.build,
    "noise": noise.build,
    "planted": planted.build,
    "myopia": myopia.build,
    "exposure": exposure.build,
    "extractors": extractors.build,
    "interests": extractors.build_forms,
    "ablation": ablation.build,
    "times": times.build,
}
"""Name -> what makes the grid."""

SUMMARIES: Mapping[str, str] = {
    "seq2seq": "seq2item alone against seq2item with seq2seq, on the next five clicks",
    "noise": "both with a share of random training events",
    "planted": "planted interests: found or not, over K, confident fraction and harder worlds",
    "myopia": "users of one dominating category: what lists hold outside it",
    "exposure": "negatives that correct exposure bias, also where true preference is known",
    "extractors": "dssrec, last_state, self_attentive, capsule, routing under one recipe",
    "interests": "forms of interests that differ more: diversity at no loss of recall",
    "ablation": "one change of the recipe at a time, on the next five clicks",
    "times": "the next click, without times of clicks and with them",
}
"""Name -> one line for `recall experiment --list`."""


def read_logs(parts: Sequence[str]) -> tuple[str, ...]:
    """The names of logs that stood in a list with commas.

    Raises:
        InputError: One is empty.
    """
    names = tuple(part.strip() for part in logs.join_names(parts, apart=planted.WORLDS))
    if not all(names) or not names:
        raise InputError(
            "--logs has an empty name. Leave the flag out for those of the experiment."
        )
    return names


def build(name: str, options: Options) -> Experiment:
    """The experiment of a name.

    Raises:
        InputError: There is none, or a log that it needs is missing.
    """
    if name not in BUILDERS:
        raise InputError(f"There is no experiment {name!r}. There are: {', '.join(BUILDERS)}.")
    return BUILDERS[name](options)
