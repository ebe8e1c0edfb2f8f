"""Every block of a page is code that a test runs, a file that such code uses, or no code."""

import ast
import json
import re

import pytest

from tests.documents.blocks import NO_CODE, PAGES, ROOT, RUN, read_blocks
from tests.documents.page_runner import PROLOGUES


def by_path(path):
    return path.relative_to(ROOT).as_posix()


def test_blocks_are_read_as_a_reader_sees_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        'Text\n```sh\nls\n```\n- item\n\n  ```js title="a.mjs"\n  f();\n\n    g()\n  ```\n```text\n'
        "as | it is\n```\n<!-- not run: needs a ship -->\n```sh\nsail\n```\n"
    )
    blocks = read_blocks(page)
    assert [(block.line, block.language, block.title) for block in blocks] == [
        (2, "sh", None),
        (7, "js", "a.mjs"),
        (12, "text", None),
        (16, "sh", None),
    ]
    assert [block.is_run for block in blocks] == [True, True, False, False]
    assert blocks[3].not_run == "needs a ship"
    assert [block.text for block in blocks] == ["ls\n", "f();\n\n  g()\n", "as | it is\n", "sail\n"]


def test_a_block_that_is_not_closed_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nls\n")
    with pytest.raises(ValueError, match=r"page\.md:1: the block is not closed"):
        read_blocks(page)


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_block_is_run_or_used_or_no_code(page):
    blocks = read_blocks(page)
    lost = []
    for index, block in enumerate(blocks):
        if block.title is not None:
            name = block.title.rsplit("/", 1)[-1].removesuffix(".java")
            used = any(
                re.search(rf"\b{re.escape(name)}\b", later.text)
                for later in blocks[index + 1 :]
                if later.is_run
            )
            if not used:
                lost.append(f"{block.place} writes {block.title}, which no later block uses")
        elif block.language not in (*RUN, *NO_CODE):
            lost.append(
                f"{block.place} is `{block.language}`: name it sh, python or text, or a file"
            )
    assert lost == []


def test_blocks_of_python_and_json_can_be_read():
    """Those that no test runs, too."""
    blocks = [block for page in PAGES for block in read_blocks(page)]
    for block in blocks:
        if block.language == "python":
            compile(block.text, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif block.language == "json":
            json.loads(block.text)
    assert sum(block.language in ("python", "json") for block in blocks) > 20


def test_few_blocks_are_left_out():
    left_out = [block for page in PAGES for block in read_blocks(page) if block.not_run]
    assert all(re.search("needs|takes", block.not_run) for block in left_out)
    assert len(left_out) <= 6, [block.place for block in left_out]


def test_every_prologue_has_a_page():
    pages = {page.stem.lower() for page in PAGES}
    assert {path.stem for path in PROLOGUES.glob("*.sh")} <= pages | {"shared"}
