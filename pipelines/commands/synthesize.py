"""The command `recall synthesize`. Imports no TensorFlow until it is called."""

import dataclasses
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec
from pipelines.synthetic.config import SyntheticConfig


def planted_world() -> dict[str, FlagSpec]:
    """One flag per setting of the generator, under the names of `synthetic:key=value`."""
    helps = {
        "users": "Number of users.",
        "items": "Number of items.",
        "interests": "Latent interests of the world; also the items' categories.",
        "interests_per_user": "Interests of one user.",
        "events_per_user": "Mean number of clicks of a user.",
        "min_events_per_user": "Fewest clicks of a user.",
        "run_length": "Mean clicks before a user turns to another interest.",
        "noise": "Share of clicks drawn from the whole catalogue.",
        "unrelated_future": "Share of runs whose interest the user's past does not tell.",
        "popularity_skew": "How unequal the items of an interest are; 0 makes them equal.",
        "seed": "Of everything; the same flags write the same files.",
        "dominance": "Share of the runs that go to the first of a user's interests.",
        "drift": "Share of users with other interests from the middle of their history on.",
        "exposure_skew": "How unequally items are shown, whatever users want; 0 shows all alike.",
        "unbiased_events": "Last clicks of a user that exposure does not skew: true preference.",
        "turn": "Share of runs, which a long gap comes before, whose interest is the next in turn.",
        "mark": "Share of clicks whose column `mark` says whether the next is of another interest.",
        "place": "Share of clicks whose column `place` says the group of their interest.",
    }
    specs = {}
    for field, (name, text) in zip(dataclasses.fields(SyntheticConfig), helps.items(), strict=True):
        kind = "integer" if field.type is int else "float"
        specs[name] = FlagSpec(help=text, value="N", default=field.default, kind=kind)
    return specs


COMMAND = Command(
    summary="Writes a synthetic log with planted interests.",
    description="Users mix a few interests, items belong to interests, and part of the clicks is "
    "noise. Writes an events and an items file, streamed, of any size.",
    examples=(
        "synthesize --output=data/planted --users=2000 --items=500",
        "run --events=data/planted/events.csv.gz --items=data/planted/items.csv.gz "
        "--output=runs/planted",
    ),
    flags={
        "output": folders.flag("Folder for the two files.", store="update"),
        "format": FlagSpec(
            help="csv.gz, csv or parquet.",
            value="NAME",
            default="csv.gz",
            choices=("csv.gz", "csv", "parquet"),
        ),
        **planted_world(),
        "overwrite": FlagSpec(
            help="Replaces files of the same name.", value="", default=False, kind="boolean"
        ),
        **progress_flags.FLAGS,
    },
    required=("output",),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the log."""
    from pipelines.synthetic import synthesize

    names = planted_world()
    config = SyntheticConfig.from_text(",".join(f"{name}={values[name].value}" for name in names))
    synthesize.run_synthesize(
        values.output, config, file_format=values.format, overwrite=values.overwrite
    )
