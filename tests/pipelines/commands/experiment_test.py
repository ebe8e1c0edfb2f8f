"""`recall experiment`: what it refuses before any work, and how an own log is named and read."""

import json

import pytest

from pipelines import cli


def write_log(folder):
    """Three users with twelve clicks each, in columns of other names, and a row without item."""
    folder.mkdir()
    rows = [f"u{u};i{(t + u) % 7};{t + 1}" for t in range(12) for u in range(3)]
    (folder / "events.csv").write_text("\n".join(["who;what;timestamp", *rows, "u1;;5"]))
    items = [f"i{n};{'even' if n % 2 == 0 else 'odd'}" for n in range(7)]
    (folder / "items.csv").write_text("\n".join(["id;category", *items]))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--logs="], 1, "--logs has an empty name"),
        (["--logs=planted,planted"], 1, "--logs=planted is there twice"),
        (["--logs=synthetic:users=9,item=5"], 1, "Unknown setting `item` of a synthetic log"),
        (["--only_examples", "--only_results"], 2, "one of the two"),
    ],
)
def test_mistakes_are_one_line_before_any_work(tmp_path, capsys, words, code, message):
    output = tmp_path / "out"
    assert cli.main(["experiment", "seq2seq", f"--output={output}", *words]) == code
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(output.glob("[!.]*"))


def test_an_own_log_is_a_folder_and_has_the_usual_flags(tmp_path):
    write_log(tmp_path / "shop")
    words = [f"--logs={tmp_path / 'shop'}", f"--output={tmp_path / 'out'}", "--only_examples"]
    flags = ["--user_column=who", "--item_column=what", "--max_bad_rows=1", "--items_id_column=id"]
    assert cli.main(["experiment", "seq2seq", *words, *flags]) == 0

    report = json.loads((tmp_path / "out/examples/shop/ingest_report.json").read_text())
    assert report["kept"]["users"] == 3
    assert report["items_file"] == {"items": 7, "matched": 7}
