"""The notebook of the documents: short, and run from a table to a served answer."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from pipelines import cli

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
MAX_LINES = 10
CELL_S = 500


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_lines():
    """Lines that do something: neither imports, nor empty, nor a value that is shown."""
    lines = [line for c in read().cells if c.cell_type == "code" for line in c.source.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith(("import ", "from "))]


def test_it_is_ten_lines_from_a_table_to_an_answer():
    text = "\n".join(code_lines())
    for word in ("recall.fit(", ".recommend(", ".publish(", "recall.load(", "recall.serve("):
        assert word in text
    work = [line for line in code_lines() if re.search(r"[=(]|with ", line)]
    assert len(work) <= MAX_LINES


def test_its_outputs_are_stored_and_are_of_no_machine():
    for cell in read().cells:
        if cell.cell_type == "code":
            assert cell.outputs, cell.source
            assert cell.execution_count
            assert all(output.output_type == "execute_result" for output in cell.outputs)
    assert not re.search(r"/(?:home|root|work|tmp)/", NOTEBOOK.read_text(encoding="utf-8"))


def execute(notebook, folder: Path):
    """Runs all cells in a kernel of its own, in `folder`."""
    assert cli.main(["synthesize", f"--output={folder / 'log'}"]) == 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_USE_LEGACY_KERAS", None)  # As a kernel has it that nobody prepared.
    client = nbclient.NotebookClient(
        notebook, timeout=CELL_S, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute(env=environment)
    return notebook


@pytest.mark.documents
def test_its_cells_run(tmp_path):
    notebook = execute(read(), tmp_path)
    *_, answer = (cell for cell in notebook.cells if cell.cell_type == "code")
    titles = answer.outputs[0]["data"]["text/plain"]
    assert len(re.findall(r"'[a-z]+ \d+'", titles)) == 3
