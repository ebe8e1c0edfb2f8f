"""Settings of a synthetic log and the text form they have in a source's spec."""

import dataclasses
import math
import typing

from recall.errors import InputError


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """The planted world (see `pipelines.synthetic.source`)."""

    num_users: int = 2000
    """Users, each with a history of its own."""
    num_items: int = 1000
    """Items; every interest has about `num_items / num_interests` of them."""
    num_interests: int = 20
    """Latent interests of the world; also the items' categories."""
    interests_per_user: int = 3
    """Interests of one user."""
    events_per_user: float = 30.0
    """Mean clicks of a user, before repeats run out of new items; the lengths are skewed."""
    min_events_per_user: int = 5
    """Fewest clicks: enough for a test target, a validation target and a history."""
    run_length: float = 2.0
    """Mean clicks before a user turns to another interest."""
    noise_rate: float = 0.1
    """Share of the clicks that are drawn from the whole catalogue."""
    unrelated_future_rate: float = 0.1
    """Share of the runs whose interest is drawn from all, whatever the user's past says."""
    popularity_skew: float = 0.7
    """Zipf exponent of the items' popularity within an interest; 0 = all equal."""
    seed: int = 1
    """Of everything."""
    dominance_rate: float = 0.0
    """Share of the runs that go to the first of a user's interests; all share the rest."""
    drift_rate: float = 0.0
    """Share of the users who have other interests from the middle of their history on."""

    exposure_skew: float = 0.0
    """Zipf exponent of the propensity to be shown, by which clicks are skewed: an item of rank r
    is shown r ** -skew as often as the first one, whatever users want; 0 shows all alike."""
    unbiased_events: int = 0
    """Last clicks of every user that no exposure skews: what she truly prefers."""
    turn_rate: float = 0.0
    """Share of the runs that go to the interest whose turn it is, one after the other: after a
    long gap a user wants something else, and the gap tells it before the click does."""
    mark_rate: float = 0.0
    """Share of the clicks whose column `mark` (`stays`, `leaves`) says whether the click after
    it is of another run; the others say what they like. 0: a log without the column."""
    place_rate: float = 0.0
    """Share of the clicks whose column `place` says one of four groups that the interest of
    their run belongs to; the others say any. 0: a log without the column."""

    LATER_FIELDS: typing.ClassVar = (
        "dominance_rate",
        "drift_rate",
        "exposure_skew",
        "unbiased_events",
        "turn_rate",
        "mark_rate",
        "place_rate",
    )
    """Fields that earlier versions lacked: 0 makes the log that they made."""

    def __post_init__(self):
        for name in ("num_users", "num_items", "num_interests", "interests_per_user"):
            self._require(name, getattr(self, name) >= 1, ">= 1")
        self._require("num_interests", self.num_interests <= self.num_items, "<= items")
        self._require(
            "interests_per_user", self.interests_per_user <= self.num_interests, "<= interests"
        )
        self._require("min_events_per_user", self.min_events_per_user >= 1, ">= 1")
        self._require(
            "events_per_user",
            self.min_events_per_user <= self.events_per_user < math.inf,
            ">= min_events_per_user",
        )
        self._require("run_length", 1 <= self.run_length < math.inf, ">= 1")
        names = [field.name for field in dataclasses.fields(self)]
        for name in (name for name in names if name.endswith("_rate")):
            self._require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        for name in ("popularity_skew", "exposure_skew"):
            self._require(name, 0 <= getattr(self, name) < math.inf, ">= 0")
        self._require("unbiased_events", self.unbiased_events >= 0, ">= 0")
        self._require(
            "unbiased_events",
            self.unbiased_events < self.min_events_per_user or self.unbiased_events == 0,
            "< min_events_per_user",
        )
        self._require("seed", self.seed >= 0, ">= 0")

    def describe(self) -> str:
        """The settings as one text, that of earlier versions where these made the same log."""
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name not in self.LATER_FIELDS or getattr(self, field.name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _require(self, name: str, condition: bool, wanted: str) -> None:
        if not condition:
            raise InputError(
                f"Setting `{_short(name)}` of a synthetic log must be {wanted}, "
                f"received {getattr(self, name)}."
            )

    @classmethod
    def from_text(cls, text: str) -> "SyntheticConfig":
        """Reads `key=value,...`; absent keys keep their defaults.

        A key is a field's name with or without `num_` in front and `_rate` at
        the end.

        >>> SyntheticConfig.from_text("users=50,noise=0.5").num_users
        50

        Raises:
            InputError: A key is unknown or repeated, or a value is not a
                number or out of range.
        """
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        values = {}
        for assignment in filter(None, (part.strip() for part in text.split(","))):
            key, _, value = (part.strip() for part in assignment.partition("="))
            candidates = (key, f"num_{key}", f"{key}_rate")
            name = next((name for name in candidates if name in fields), None)
            if name is None:
                known = ", ".join(map(_short, fields))
                raise InputError(f"Unknown setting `{key}` of a synthetic log. Known: {known}.")
            if name in values:
                raise InputError(f"Setting `{key}` of a synthetic log is given twice.")
            values[name] = _parse(key, value, fields[name])
        return cls(**values)


def _short(name: str) -> str:
    """The name of a field as people type it."""
    return name.removeprefix("num_").removesuffix("_rate")


def _parse(key: str, text: str, kind: type) -> int | float:
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise InputError(
            f"Setting `{key}` of a synthetic log must be {wanted}, received {text!r}."
        ) from error
