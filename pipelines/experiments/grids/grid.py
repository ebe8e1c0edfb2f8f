"""What an experiment is: cases x arms x seeds, and the metrics that are shown. No TensorFlow."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from recall.config import RecallConfig
from recall.errors import InputError


class Case(NamedTuple):
    """What runs learn from and are measured on.

    Attributes:
        name: Part of the names of its runs, for example `ml-1m`.
        log: Name of a log (`pipelines.experiments.grids.logs`), or what `--events` takes.
        settings: Assignments `section.key=value` of every run of the case.
        noise: Share of the training events that random items take the place of; None leaves
            the log as it is. With 0 it is split and written anew, but has no such item.
        group: What cases have in common that differ by one number, and are drawn together.
        x: That number.
    """

    name: str
    log: str
    settings: tuple[str, ...] = ()
    noise: float | None = None
    group: str = ""
    x: float | None = None


class Arm(NamedTuple):
    """One of the recipes that are compared.

    Attributes:
        name: For example `seq2item`.
        settings: Assignments on top of those of the case.
    """

    name: str
    settings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Options:
    """What a caller chooses of an experiment.

    Attributes:
        logs: Names of logs, or what `--events` takes; () for those of the experiment.
        num_seeds: Runs of every case and arm, with seeds 1, 2, ...; None: as the experiment.
        epochs: `train.max_epochs` of all runs; None: as the log suggests.
        settings: Assignments of every run, over all others but those of the arms.
    """

    logs: tuple[str, ...] = ()
    num_seeds: int | None = None
    epochs: int | None = None
    settings: tuple[str, ...] = ()


class GridRun(NamedTuple):
    """One training and what it is measured by."""

    case: Case
    arm: Arm
    seed: int

    @property
    def key(self) -> str:
        """Its name, and its folder below `runs/`."""
        return "/".join([*(_folder_name(part.name) for part in self[:2]), f"seed_{self.seed}"])


class Experiment(NamedTuple):
    """A grid of runs.

    Attributes:
        name: For example `seq2seq`.
        question: One line: what it asks.
        cases: The rows of its tables.
        arms: All are compared with the first one.
        seeds: Of every case and arm.
        settings: Assignments of all runs, over those of the cases and below those of the arms.
        metrics: Names of what is shown, the most important first.
        looks_into_model: Whether the prototypes are held against planted interests.
        x: Name of the number that the cases of a group go by, "" where they are just names.
    """

    name: str
    question: str
    cases: tuple[Case, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    metrics: tuple[str, ...]
    looks_into_model: bool = False
    x: str = ""

    def runs(self) -> Iterator[GridRun]:
        """All runs: seed by seed, so that an early end leaves pairs."""
        for seed in self.seeds:
            for case in self.cases:
                for arm in self.arms:
                    yield GridRun(case, arm, seed)

    def find_run(self, key: str) -> GridRun:
        """The run of a name.

        Raises:
            InputError: There is none.
        """
        runs = {run.key: run for run in self.runs()}
        if key not in runs:
            raise InputError(f"--run={key} is no run of {self.name}, but {next(iter(runs))} is.")
        return runs[key]

    def config(self, run: GridRun) -> RecallConfig:
        """All settings of a run.

        Raises:
            InputError: One is refused, of all runs or beside those of the recipe.
        """
        of_all = [*run.case.settings, *self.settings, f"train.seed={run.seed}"]
        try:
            return RecallConfig().override([*of_all, *run.arm.settings])
        except InputError as error:
            RecallConfig().override(of_all)
            raise InputError(
                f"The recipe {run.arm.name} of {self.name}: {error} Leave the setting out, or "
                "choose other recipes by --arm."
            ) from error


def choose_arms(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """The experiment with some of its recipes; the first one, which they differ from, always.

    Raises:
        InputError: It has no recipe of a name.
    """
    known = {arm.name: arm for arm in experiment.arms}
    for name in names:
        if name not in known:
            raise InputError(
                f"--arm={name}: {experiment.name} has no such recipe. It has: {'; '.join(known)}."
            )
    first, *others = experiment.arms
    return experiment._replace(arms=(first, *(arm for arm in others if arm.name in names)))


def seeds_of(options: Options, default: int) -> tuple[int, ...]:
    """The seeds 1, 2, ... that were asked for."""
    return tuple(range(1, (options.num_seeds or default) + 1))


def shared_settings(options: Options) -> tuple[str, ...]:
    """Assignments of all runs that were asked for."""
    epochs = () if options.epochs is None else (f"train.max_epochs={options.epochs}",)
    return (*epochs, *options.settings)


def check_names(experiment: Experiment) -> None:
    """Refuses an experiment of which two runs would share a folder.

    Raises:
        InputError: It is one.
    """
    first: dict[str, GridRun] = {}
    for run in experiment.runs():
        other = first.setdefault(run.key, run)
        if other == run and other is not run:
            raise InputError(f"--logs={run.case.log} is there twice. Name each log once.")
        if other != run:
            raise InputError(
                f"{other.case.log} and {run.case.log} would both be called {run.case.name}. "
                "Rename one of them, or give each an --output of its own."
            )


def _folder_name(name: str) -> str:
    """A name as a folder that no shell has to quote.

    >>> _folder_name("ml-100k noise=.1")
    'ml-100k_noise=.1'
    """
    return "".join(c if c.isalnum() or c in "-_=.+" else "_" for c in name)
