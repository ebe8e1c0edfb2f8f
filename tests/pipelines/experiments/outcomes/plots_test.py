"""Drawings: what exposure by popularity shows."""

import xml.etree.ElementTree as ET

from pipelines.experiments.outcomes import plots

EVEN, UNEVEN = [0.1] * 10, [0.55, *[0.05] * 9]


def number(value):
    return {"value": value, "standard_deviation": 0.01, "by_seed": [value]}


def arm(name, deciles, difference=None):
    metrics = {"gini@10": number(0.5)}
    metrics |= {f"exposure_decile_{place}": number(share) for place, share in enumerate(deciles)}
    differences = {} if difference is None else {"differences": {"gini@10": number(difference)}}
    return {"name": name, "metrics": metrics, **differences}


def found_of(*arms):
    return {
        "metrics": ["gini@10"],
        "x": "",
        "arms": {one["name"]: [] for one in arms},
        "experiment": "exposure",
        "cases": [
            {
                "name": "exposed",
                "group": "",
                "x": None,
                "seeds": [1],
                "num_users": 500,
                "arms": list(arms),
            }
        ],
    }


def test_slots_by_popularity_are_a_line_for_every_recipe():
    found = found_of(arm("uniform", UNEVEN), arm("CLRec", EVEN, -0.2))

    differences, deciles = plots.chart(found).to_dict()["vconcat"]

    (line,) = deciles["vconcat"]
    (slots,) = line["hconcat"]
    assert slots["title"] == "slots of the lists, exposed"
    points = [(p["arm"], p["decile"], p["share"]) for p in deciles["data"]["values"]]
    assert points[:2] == [("uniform", 1, 0.55), ("uniform", 2, 0.05)]
    assert points[10:] == [("CLRec", place, 0.1) for place in range(1, 11)]
    assert slots["encoding"]["color"]["legend"]["orient"] == "bottom"
    (row,) = differences["vconcat"]
    (gini,) = row["hconcat"]
    assert "layer" in gini


def test_of_one_log_every_recipe_is_a_row_of_several_each_log():
    arms = [arm("uniform", []), arm("CLRec", [], -0.2), arm("log-q", [], 0.1)]
    found = found_of(*arms)

    def rows():
        (line,) = plots.chart(found).to_dict()["vconcat"]
        points = line["hconcat"][0]["layer"][-1]
        return points["encoding"]["y"], points["encoding"].get("color", {})

    y, colour = rows()
    assert (y["field"], y["sort"]) == ("arm", ["CLRec", "log-q"])
    assert "legend" not in colour
    found["cases"].append({**found["cases"][0], "name": "beauty"})
    y, colour = rows()
    assert (y["field"], y["sort"]) == ("case", ["exposed", "beauty"])
    assert colour["legend"]["orient"] == "bottom"


def test_runs_that_know_no_deciles_have_no_such_panel(tmp_path):
    found = found_of(arm("uniform", []), arm("CLRec", [], -0.2))

    plots.write(found, tmp_path / "results.svg")

    text = " ".join(ET.parse(tmp_path / "results.svg").getroot().itertext())
    assert "gini@10, difference from uniform" in text
    assert "slots" not in text


def test_a_drawing_says_what_it_is_and_how_sure(tmp_path):
    found = found_of(arm("uniform", []), arm("CLRec", [], -0.2))

    plots.write(found, tmp_path / "results.svg")

    text = " ".join(ET.parse(tmp_path / "results.svg").getroot().itertext())
    assert "exposure: exposed" in text
    assert "the middle 95 % of a paired bootstrap" in text
    assert "One seed: the intervals leave out" in text
