"""Tables for people: what the numbers are, and how sure a difference is."""

import pytest

from pipelines.experiments.outcomes import tables


def case_of(name, seeds, num_users):
    interval = {"value": 0.01, "low": 0.001, "high": 0.02}
    return {
        "name": name,
        "group": "",
        "x": None,
        "seeds": seeds,
        "num_users": num_users,
        "num_positives": 5 * num_users,
        "devices": ["CPU"],
        "arms": [
            {"name": "without", "metrics": {"recall@10": {"value": 0.25}}},
            {
                "name": "with",
                "metrics": {"recall@10": {"value": 0.26}},
                "differences": {"recall@10": interval},
            },
        ],
    }


def found_of(*cases):
    return {
        "experiment": "tiny",
        "question": "Does it help?",
        "metrics": ["recall@10"],
        "x": "",
        "arms": {"without": ["a.b=0"], "with": []},
        "cases": list(cases),
        "kept": [],
        "versions": {"python": "3.11"},
    }


@pytest.mark.parametrize("form", [tables.terminal, tables.markdown])
def test_a_table_says_what_its_brackets_are(form):
    text = form(found_of(case_of("shop", [1, 2, 3], 1000)))
    assert "+.0100 [+.0010, +.0200]" in text
    assert "Differences are from without. In brackets: the middle 95 %" in text
    assert "One seed" not in text
    assert "Few users" not in text


@pytest.mark.parametrize("form", [tables.terminal, tables.markdown])
def test_one_seed_is_said_with_a_difference_that_looks_sure(form):
    text = form(found_of(case_of("shop", [1], 1000)))
    assert "One seed: the intervals leave out what another training would change" in text


def test_which_case_has_one_seed_or_few_users():
    lines = tables.cautions(found_of(case_of("shop", [1], 1000), case_of("blog", [1, 2], 7)))
    assert lines[0].startswith("One seed (shop): ")
    assert lines[1] == "Few users (7 of blog): intervals of so few are too narrow."


def test_a_wide_table_is_several_that_fit():
    """Six metrics of three arms: a column is 26 wide."""
    case = case_of("shop", [1, 2], 1000)
    metrics = [f"recall@{10 * n}" for n in range(1, 7)]
    for one in case["arms"]:
        for part in ("metrics", "differences"):
            if part in one:
                one[part] = dict.fromkeys(metrics, one[part]["recall@10"])
    case["arms"].append({**case["arms"][1], "name": "again"})
    found = found_of(case) | {"metrics": metrics, "arms": {"without": [], "with": [], "again": []}}

    for width, number in ((80, 3), (120, 2), (1000, 1)):
        lines = tables.terminal(found, width).splitlines()
        heads = [line for line in lines if line.startswith("arm ")]
        assert len(heads) == number
        assert [name for head in heads for name in head.split()[1:]] == metrics
        assert max(map(len, lines[2:])) <= max(width, 100)
        assert len([line for line in lines if line.startswith("again ")]) == number


@pytest.mark.parametrize("form", [tables.terminal, tables.markdown])
def test_users_that_count_for_a_metric_are_told_and_may_be_few(form):
    case = case_of("shop", [1, 2], 1000) | {"counted": {"recall@10": 38}}
    text = form(found_of(case))
    assert "Of the 1,000 users count: 38 for recall@10." in text
    assert "Few users (38 of shop): intervals of so few are too narrow." in text


def test_cautions_fit_a_line_whatever_logs_are_called():
    cases = [case_of(f"synthetic:users=99,noise={n}", [1, 2][: n + 1], 90 + n) for n in range(3)]
    seed, few = tables.cautions(found_of(*cases))
    assert seed.startswith("One seed (synthetic:users=99,noise=0): ")
    assert few == "Few users (90 in 3 of 3 logs): intervals of so few are too narrow."
    (few,) = tables.cautions(found_of(case_of("synthetic:" + "x" * 60, [1, 2], 7)))
    assert few == "Few users (7): intervals of so few are too narrow."
