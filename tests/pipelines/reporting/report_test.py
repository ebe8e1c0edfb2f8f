"""The page about a run: what is in it, and that it opens without a network."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from pipelines import cli
from pipelines.evaluation.user_results import UserResults
from pipelines.reporting import report
from recall.errors import InputError
from serving.release import manifest as manifests

MAX_BYTES = 3_000_000
"""What a report may weigh, so that it can be sent."""

THEMES = [(width, theme) for width in (390, 1280) for theme in ("light", "dark")]


@pytest.fixture(scope="module")
def old_text(old_archive):
    """The report of the old run as it is."""
    return report.build_report(old_archive)


@pytest.fixture(scope="module")
def evaluated_page(evaluated_archive, tmp_path_factory):
    """The report of the evaluated run as it is."""
    return report.write_report(
        evaluated_archive, output=tmp_path_factory.mktemp("page") / "report.html"
    )


@pytest.fixture(scope="module")
def evaluated_text(evaluated_page):
    return evaluated_page.read_text(encoding="utf-8")


def open_page(browser, path, width=1280, theme="light"):
    """The page, and what it said on the console or asked a network for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    return page, said


def find_faults(page):
    """Faults that axe-core finds, minor ones too, as texts."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {node['html'][:200]}" for fault in found for node in fault["nodes"]]


def test_an_old_run_has_a_report_that_says_what_is_missing(old_run):
    path = report.write_report(old_run)
    text = path.read_text(encoding="utf-8")
    test = json.loads((old_run / "evaluation" / "report.json").read_text())["test"]
    assert path == old_run / "report.html"
    assert f"{test['recall@10']:.4f}" in text
    assert "60 users, 30 items" in text
    assert "ingested by an earlier version" in text
    assert path.stat().st_size <= MAX_BYTES


def test_a_warm_start_is_told(old_run):
    facts = {"run": "somewhere", "carried_items": 1, "new_items": 1234, "gone_items": 7}
    (old_run / "model" / "warm_start.json").write_text(json.dumps(facts | {"val_ndcg@10": 0.0712}))

    text = report.build_report(old_run)

    assert "an earlier model: 1 item kept what was learnt of them, 1,234 were new, 7 gone." in text
    assert "NDCG@10 was 0.0712." in text
    assert "somewhere" not in text


def test_nothing_is_fetched(old_text):
    assert re.findall(r"(?:src|href)\s*=\s*[\"'](?!#)", old_text) == []
    assert re.findall(r"https?:|url\((?!#d)|@import", old_text) == []


@pytest.mark.parametrize("part", ["examples", "model", "evaluation", "index", "serving"])
def test_a_missing_part_leaves_a_gap_not_an_error(old_run, part):
    shutil.rmtree(old_run / part)
    assert "<h1>run</h1>" in report.build_report(old_run)


def test_a_damaged_part_counts_as_missing(old_run):
    (old_run / "evaluation" / "report.json").write_text("{")
    assert "no finished `evaluation`" in report.build_report(old_run)


def test_a_folder_of_something_else_is_refused_in_a_line(tmp_path, capsys):
    assert cli.main(["report", f"--run={tmp_path}"]) == 1
    assert capsys.readouterr().err == (
        f"recall report: error: {tmp_path} holds no finished job. Name the folder that "
        "`recall run` wrote to.\n"
    )
    with pytest.raises(InputError, match="holds no finished job"):
        report.write_report(tmp_path)


def test_a_file_that_cannot_be_written_is_named(old_run, tmp_path):
    with pytest.raises(InputError, match=r"Cannot write .*nowhere/a\.html: No such file"):
        report.write_report(old_run, output=tmp_path / "nowhere" / "a.html")
    assert list(tmp_path.glob(".*partial")) == []


def test_texts_of_the_data_are_no_markup(old_run):
    path = old_run / "examples" / "ingest_report.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"source": '<b>bold</b> & "more".csv'}))
    text = report.build_report(old_run)
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#34;more&#34;.csv" in text


def test_titles_categories_and_ids_are_no_markup(evaluated_text):
    text = evaluated_text
    assert "<b>Title" not in text
    assert "<b>red" not in text
    assert text.count("&lt;b&gt;Title&lt;/b&gt; &amp; i") > 20
    assert "&lt;b&gt;red&lt;/b&gt;" in text


def test_a_run_has_all_sections(evaluated_text):
    text = evaluated_text
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "What to know first",
        "Quality",
        "For whom it works",
        "What each interest stands for",
        "Example users",
        "What is shown",
        "Training",
        "The data",
        "Is the log fit?",
        "The index",
        "Provenance",
    ]
    assert text.count("<h3>User u") == 12
    assert len(re.findall(r"<h3>Interest \d</h3>", text)) == 2
    assert "Exposure by popularity" in text
    assert "Recall against diversity" in text
    assert "no evaluation of this version" not in text


def test_the_comparison_is_user_by_user(evaluated_run, tmp_path):
    """A copy of a run differs from it by nothing: -0 to 0, whatever the intervals are."""
    other = shutil.copytree(evaluated_run, tmp_path / "other")
    text = report.build_report(evaluated_run, other)
    assert "ndcg@10, the model minus other: +0.0000 (+0.0000 to +0.0000), may be chance." in text


def test_one_interest_that_is_as_good_is_said(evaluated_run, evaluated_text, tmp_path):
    """The other run is the same one, only that it says to have one interest."""
    other = shutil.copytree(evaluated_run, tmp_path / "other")
    path = other / "model" / "config.json"
    config = json.loads(path.read_text())
    config["model"]["num_interests"] = 1
    path.write_text(json.dumps(config))
    said = "2 interests are not shown to be better than the one of other: ndcg@10 +0.0000"
    assert said in report.build_report(evaluated_run, other)
    assert said not in evaluated_text


def test_new_users_stand_beside_returning_ones(evaluated_run):
    path = evaluated_run / "evaluation" / "users.parquet"
    users = UserResults.read(path)
    dataclasses.replace(users, num_trained=np.arange(60) % 2).write(path)
    text = report.build_report(evaluated_run)
    (figure,) = re.findall(
        r"<figure>(?:(?!</figure>).)*>New and returning users<.*?</figure>", text, re.S
    )
    rows = re.findall(r'<tr><th scope="row">(\w+ users)</th><td>(\d+)</td>', figure)
    assert rows == [("new users", "30"), ("returning users", "30")]


def test_an_index_that_was_tuned_has_a_curve(evaluated_run, evaluated_text):
    assert "Recall against processor time" not in evaluated_text
    folder = evaluated_run / "index"
    manifest = manifests.read(folder)
    values = {key: value for key, value in manifest.items() if key not in ("files", "checksum")}
    points = [{"recall": r, "cpu_ms_per_user": c} for r, c in ((0.8, 0.1), (0.99, 0.4))]
    tuning = {"reason": "it is cheap", "curve": points, "exact_cpu_ms_per_user": 3.0}
    manifests.write(folder, values | {"tuning": tuning}, manifest["files"])
    text = report.build_report(evaluated_run)
    assert "Why this one: it is cheap." in text
    assert "ScaNN, CPU-ms per user 0.4: 0.9900" in text
    assert "exact search, CPU-ms per user 3: 1.0000" in text


def test_details_of_another_format_count_as_missing(evaluated_run):
    path = evaluated_run / "evaluation" / "details.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert "Example users: the folder has no evaluation of this version" in report.build_report(
        evaluated_run
    )


def test_a_release_of_another_model_is_not_this_runs(evaluated_run, evaluated_text):
    assert "published as version" in evaluated_text
    path = evaluated_run / "index" / "manifest.json"
    manifest = manifests.read(path.parent)
    values = {key: value for key, value in manifest.items() if key not in ("files", "checksum")}
    manifests.write(path.parent, values | {"fingerprint": "another"}, manifest["files"])
    assert "blessed, not published yet" in report.build_report(evaluated_run)


def test_other_users_are_not_compared(evaluated_run, tmp_path):
    other = shutil.copytree(evaluated_run, tmp_path / "other")
    path = other / "evaluation" / "users.parquet"
    users = UserResults.read(path)
    names = np.array([f"other {name}" for name in users.user_ids], object)
    dataclasses.replace(users, user_ids=names).write(path)
    text = report.build_report(evaluated_run, other)
    assert "other has other test users: its numbers are not compared." in text
    assert "other by group: it has other users or clicks held out." in text


def test_groups_of_users_are_compared_user_by_user(evaluated_run, evaluated_text, tmp_path):
    """The other run finds nothing, and lists its users in another order."""
    other = shutil.copytree(evaluated_run, tmp_path / "other")
    path = other / "evaluation" / "users.parquet"
    users = UserResults.read(path)
    nothing = {**users.places, "model": np.zeros_like(users.places["model"])}
    backwards = np.arange(users.num_users)[::-1]
    dataclasses.replace(users, places=nothing).take(backwards).write(path)
    alone, both = evaluated_text, report.build_report(evaluated_run, other)
    table = re.compile(r"<caption>By the length of the history</caption>.*?</table>", re.S)
    row = re.compile(r'<tr><th scope="row">(.*?)</tr>')
    rows = [row.findall(table.search(text)[0]) for text in (alone, both)]
    assert len(rows[0]) == len(rows[1]) >= 1
    for before, now in zip(*rows, strict=True):
        cells = now.split("<td>")
        assert cells[3].startswith("0 % (0 % to 0 %)")
        assert "<td>".join(cells[:3] + cells[4:]) == before


def test_another_run_stands_beside_it(old_run, tmp_path):
    other = shutil.copytree(old_run, tmp_path / "other")
    path = other / "model" / "config.json"
    config = json.loads(path.read_text())
    config["train"]["seed"] = 77
    path.write_text(json.dumps(config))
    text = report.build_report(old_run, other)
    assert "compared with other" in text
    assert re.search(r"train\.seed</th><td>1</td><td>77</td><td>differs", text)


def test_two_runs_of_one_name_are_told_apart(old_run, tmp_path, monkeypatch):
    other = shutil.copytree(old_run, tmp_path / "elsewhere" / "run")
    assert "compared with elsewhere/run" in report.build_report(old_run, other)
    monkeypatch.chdir(other.parent)
    assert "compared with elsewhere/run" in report.build_report(old_run, "run")


@pytest.mark.parametrize(
    "name",
    ["model", "bigram"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("popularity", "clicked next")],
)
def test_a_run_named_like_a_ranker_stands_beside_it(evaluated_run, tmp_path, name):
    other = shutil.copytree(evaluated_run, tmp_path / "other" / name)
    text = report.build_report(evaluated_run, other)
    headings = "".join(
        f'<th scope="col">{column}</th>'
        for column in ("metric", "model", f"other/{name}", "popularity", "bigram")
    )
    assert headings in text


def test_every_drawing_has_a_table(old_text):
    figures = re.findall(r"<figure>.*?</figure>", old_text, re.S)
    assert len(figures) >= 5
    for figure in figures:
        assert figure.count("<svg") == 1
        assert figure.count("<table") == 1


@pytest.mark.parametrize(("width", "theme"), THEMES)
def test_a_browser_opens_it_without_a_word(evaluated_page, browser, width, theme):
    path = evaluated_page
    assert path.stat().st_size <= MAX_BYTES
    page, said = open_page(browser, path, width, theme)
    assert said == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    value = "document.querySelector('.numbers td').getBoundingClientRect()"
    assert page.evaluate(f"{value}.right") < width, "the model's metrics need no scrolling"
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert find_faults(page) == []
    assert said == [path.as_uri()]
    page.close()


def test_pointing_at_a_mark_shows_its_numbers(evaluated_page, browser):
    page, _ = open_page(browser, evaluated_page)
    assert page.locator("#tip").is_hidden()
    page.locator("svg [data-tip^='epoch 1: ']").first.hover()
    assert page.locator("#tip").inner_text().startswith("epoch 1: ")
    page.close()
