"""What an experiment is going to run, for the terminal. Imports no TensorFlow."""

from collections.abc import Sequence

from pipelines.experiments import preparing
from pipelines.experiments.grids import grid
from pipelines.experiments.grids.grid import Arm, Case, Experiment
from pipelines.progress.words import number_of

_NONE = "-"
"""Of what has the defaults alone."""


def describe(experiment: Experiment) -> str:
    """Its question, its logs and recipes with their settings, and how many runs that makes.

    Neither logs nor a folder are looked at.

    Raises:
        InputError: Settings are refused, or two runs would share a folder.
    """
    grid.check_names(experiment)
    preparing.check(experiment)
    blocks = [
        experiment.question,
        _list("log", experiment.cases),
        _list("recipe", experiment.arms),
    ]
    if experiment.settings:
        blocks.append(f"All runs have {' '.join(experiment.settings)}.")
    parts = [
        number_of(len(experiment.cases), "log"),
        number_of(len(experiment.arms), "recipe"),
        number_of(len(experiment.seeds), "seed"),
    ]
    runs = number_of(len(list(experiment.runs())), "run")
    return "\n\n".join([*blocks, f"{' x '.join(parts)}: {runs}."]) + "\n"


def _list(head: str, parts: Sequence[Case | Arm]) -> str:
    """Names and settings in two columns."""
    width = max(len(head), *(len(part.name) for part in parts))
    lines = [f"{part.name:<{width}}  {' '.join(part.settings) or _NONE}" for part in parts]
    return "\n".join([f"{head:<{width}}  settings", *lines])
