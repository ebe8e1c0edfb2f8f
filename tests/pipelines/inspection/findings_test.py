"""How findings are told: for people and for programs."""

import json

from pipelines.inspection import findings
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW, Finding

ALL = [
    Finding("versions", OK, "python 3.11", "", {"python": "3.11"}),
    Finding("disk", SLOW, "/data: " + "slow " * 30, "Take a local disk. " * 8),
    Finding("keras", NOTE, "set", "Unset it."),
    Finding("scann", BROKEN, "cannot search", "pip install it"),
]


def test_lines_are_short_and_aligned():
    lines = findings.as_text(ALL).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "ok      versions  python 3.11"
    assert [line for line in lines if line.startswith("broken")] == [
        "broken  scann     cannot search"
    ]
    assert lines[-1] == "Broken: scann; 1 thing is slower than it could be."
    assert "                  -> pip install it" in lines


def test_summaries():
    def last(found):
        return findings.as_text(found).splitlines()[-1]

    assert last(ALL[:1]) == "Nothing is broken."
    assert last([ALL[1], ALL[1]]) == "Nothing is broken; 2 things are slower than they could be."
    assert last([ALL[3], ALL[3]]) == "Broken: scann, scann."


def test_colours_change_no_column():
    plain, coloured = findings.as_text(ALL), findings.as_text(ALL, coloured=True)
    assert "\x1b" not in plain
    for code in ("\x1b[32m", "\x1b[36m", "\x1b[33m", "\x1b[31m", "\x1b[0m"):
        assert code in coloured
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_json():
    document = json.loads(findings.as_json(ALL))
    assert document["ok"] is False
    assert document["findings"][0] == {
        "name": "versions",
        "state": "ok",
        "text": "python 3.11",
        "remedy": "",
        "facts": {"python": "3.11"},
    }
    assert json.loads(findings.as_json(ALL[:3]))["ok"] is True
