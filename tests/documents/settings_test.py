"""Settings that the pages name exist, take the values that are said, and have the defaults."""

import dataclasses
import functools
import re

from recall.config import RecallConfig
from recall.errors import InputError
from recall.settings.loss import LossConfig
from tests.documents import spans

CONFIG = RecallConfig()
DEFAULTS = {
    f"{section.name}.{field.name}": getattr(getattr(CONFIG, section.name), field.name)
    for section in dataclasses.fields(CONFIG)
    for field in dataclasses.fields(getattr(CONFIG, section.name))
}
OPEN = {f"loss.{name}": LossConfig.ATTRIBUTE_WEIGHT for name in LossConfig.ATTRIBUTE_WEIGHTS}
"""What null stands for where there is something that the setting is about."""

BESIDE = (
    (),
    ("model.clusters=items",),
    ("model.extractor=routing",),
    ('features.columns=[{"name":"a","owner":"item","kind":"categorical"}]',),
    ("ingest.valid_from=2020-01-01", "ingest.test_from=2030-01-01"),
)
"""Settings without some of which others are refused."""

_SECTIONS = "|".join(field.name for field in dataclasses.fields(CONFIG))
_KEY = re.compile(rf"(?<![\w./-])(?:{_SECTIONS})\.[a-z]\w*(?![\w(/]|\.\w)")
_ASSIGNMENT = re.compile(rf"(?:--set=)?'?((?:{_SECTIONS})\.\w+=[^.\s'][^\s']*(?:[^'\]]*\])?)'?")
_FILES = {"py", "md", "json", "jsonl", "csv", "parquet", "svg", "html"}
_IN_CODE = {"model.compile", "model.train_step", "model.item_tower", "model.fit"}
"""Attributes of a model, on the page about the library."""

_OPENED = r"\s*\((?P<in>[^()]{1,20})\)|,\s+(?P<behind>\.?\d+(?:[.,]\d+)*)(?=[\s,.;)])"
_DEFAULT = re.compile(rf"`(?P<key>(?:{_SECTIONS})\.\w+)`(?:{_OPENED})")


def number(text):
    """A number as pages write it, else the text: 5 %, 10,000, .5, `auto`, true."""
    text = text.strip().strip("`").removesuffix(" clicks")
    match = re.fullmatch(r"(\d*\.?\d+)( %)?", text.replace(",", "").rstrip("."))
    if match is None:
        return {"true": True, "false": False, "none": (), "null": None}.get(text, text)
    return float(match[1]) / (100 if match[2] else 1)


def keys():
    for span in spans.whole_texts():
        for match in _KEY.finditer(span.text):
            if match.group().rpartition(".")[2] not in _FILES:
                yield span.place, match.group()


def assignments():
    for span in spans.code_spans():
        for part in re.split(r" (?=--set=|\w+\.\w+=)", span.text):
            match = _ASSIGNMENT.fullmatch(part)
            if match is not None and "..." not in part and "|" not in part:
                yield f"{span.place} {match[1]}", match[1]


def defaults_in_tables():
    """Rows of tables that begin with a setting and have a column `default`."""
    for page in spans.PAGES:
        column = None
        for line in spans.prose(page).splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                column = None
            elif column is None:
                column = cells.index("default") if "default" in cells else -1
            elif column > 0 and cells[0].strip("`") in DEFAULTS:
                yield page.name, cells[0].strip("`"), cells[column]


def defaults_in_prose():
    for page in spans.PAGES:
        text = spans.prose(page)
        for match in _DEFAULT.finditer(text):
            said = match["in"] or match["behind"]
            if isinstance(number(said), float | bool):
                yield spans.place_of(page, text, match.start()), match["key"], said


def is_default(key, said):
    """Whether a page may say that of a default; words stand for what has no number."""
    value, default = number(said), OPEN.get(key, DEFAULTS[key])
    if default is None:
        return isinstance(value, str)
    return value == default


def test_numbers_are_read_as_people_write_them():
    said = ["5 %", "10,000", ".5", "`auto`", "true", "5 clicks", "by clicks per item"]
    assert [number(text) for text in said] == [
        *(0.05, 10000.0, 0.5, "auto", True, 5.0),
        "by clicks per item",
    ]
    assert not is_default("train.max_epochs", "30")
    assert is_default("train.max_epochs", "40")
    assert not is_default("model.dropout_rate", ".4")


def test_settings_that_are_named_exist():
    wrong = [f"{place} {key}" for place, key in keys() if key not in {*DEFAULTS, *_IN_CODE}]
    assert wrong == []
    assert len({key for _, key in keys()}) > 60


@functools.cache
def refusal(assignment):
    """Why a setting is not accepted, neither alone nor beside what it needs; "" if it is."""
    reasons = []
    for beside in BESIDE:
        try:
            CONFIG.override([*beside, assignment])
        except InputError as error:
            reasons.append(str(error))
        else:
            return ""
    return reasons[0]


def test_values_that_are_named_are_accepted():
    said = list(assignments())
    refused = {place: refusal(assignment) for place, assignment in said}
    assert {place: reason for place, reason in refused.items() if reason} == {}
    assert len(said) > 120
    assert "must be one of" in refusal("model.extractor=gru")


def test_defaults_in_tables_are_those_of_the_code():
    rows = list(defaults_in_tables())
    assert [row for row in rows if not is_default(*row[1:])] == []
    assert len(rows) >= 14


def test_defaults_in_prose_are_those_of_the_code():
    said = list(defaults_in_prose())
    assert [one for one in said if not is_default(*one[1:])] == []
    assert len(said) >= 12
