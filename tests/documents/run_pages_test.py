"""Runs every block of every page, as a reader would, against real jobs and servers."""

import pytest

from tests.documents.blocks import PAGES, ROOT, read_blocks
from tests.documents.page_runner import PageError, PageRunner

_RUNNABLE = [page for page in PAGES if any(block.is_run for block in read_blocks(page))]


def by_path(path):
    return path.relative_to(ROOT).as_posix()


def run_page(page, tmp_path):
    folder = tmp_path / "reader"
    folder.mkdir()
    runner = PageRunner(page, folder)
    try:
        return runner.run()
    finally:
        runner.close()


@pytest.mark.documents
@pytest.mark.parametrize("page", _RUNNABLE, ids=by_path)
def test_blocks_run(page, tmp_path):
    assert run_page(page, tmp_path) == sum(block.is_run for block in read_blocks(page))


def test_blocks_share_a_folder_a_shell_and_an_interpreter(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nX=4\ncat > seen.txt <<< $X\n```\n"
        '```python\nfrom pathlib import Path\nx = Path("seen.txt").read_text()\n```\n'
        '```js title="a.mjs"\nport 8500\n```\n'
        '```python\nPath("seen.txt").write_text(x + Path("a.mjs").read_text())\n```\n'
        "```sh\ntest $X = 4\n! grep 8500 seen.txt\ngrep -q 'port [0-9]' seen.txt\nsleep 60 &\n```\n"
    )
    assert run_page(page, tmp_path) == 5
    assert (tmp_path / "reader/seen.txt").read_text().startswith("4\nport ")


@pytest.mark.parametrize(
    ("block", "what"),
    [
        ("```sh\necho one\nfalse\necho two\n```\n", "page.md:1 failed"),
        ("```sh\nfalse | true\n```\n", "page.md:1 failed"),
        ("```python\n\nraise KeyError('k')\n```\n", 'page.md:1", line 3'),
        ("```python\nimport os; os._exit(3)\n```\n", "page.md:1 failed"),
    ],
)
def test_a_block_that_fails_is_named(block, what, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(block)
    with pytest.raises(PageError) as failure:
        run_page(page, tmp_path)
    assert what in str(failure.value)
    assert "two" not in str(failure.value)
