"""The pages people read: lines and cells are short, links lead somewhere, named files exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import recall

ROOT = Path(__file__).parent.parent
MAX_LINE = 110
MAX_CELL = 60
"""Characters of a table's cell: a number or five words. Prose goes below the table."""

PAGES = sorted(
    page
    for names in ("*.md", "docs/**/*.md", "findings/*.md", "tests/**/*.md")
    for page in ROOT.glob(names)
)

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_SOURCE = re.compile(
    r"(?:recall|serving|pipelines|tests|docs|findings)/[\w./-]+\.(?:py|md|sh|config)"
)


def by_path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_lines(page: Path) -> Iterator[tuple[int, str, bool]]:
    """Number, text and whether it is in a code block, of every line but the fences."""
    is_code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        else:
            yield number, line, is_code


def cells(row: str) -> list[str]:
    """Cells of a table's row; a bar in a code span, or behind a backslash, is none."""
    bare = _CODE.sub(lambda code: code.group().replace("|", "\0"), row.replace(r"\|", "\0"))
    return [cell.strip() for cell in bare.strip().strip("|").split("|")]


def slug(heading: str) -> str:
    """The anchor GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {
        slug(line.lstrip("#"))
        for _, line, is_code in read_lines(page)
        if line.startswith("#") and not is_code
    }


def is_table(line: str) -> bool:
    return line.startswith("|")


def test_the_helpers_see_what_they_should():
    assert cells(r"| a `b|c` | d\|e | |") == ["a `b\0c`", "d\0e", ""]
    assert slug(" ScaNN's smallest leaf") == "scanns-smallest-leaf"
    assert slug(" `recall/`") == "recall"
    assert _LINK.findall("[a](b.md#c), ![no](d.png)") == ["b.md#c"]


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_lines_are_short(page):
    long = [
        f"{by_path(page)}:{number} has {len(line)} characters"
        for number, line, is_code in read_lines(page)
        if len(line) > MAX_LINE and not is_table(line) and not (is_code and "://" in line)
    ]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_cells_of_tables_are_short(page):
    long = [
        f"{by_path(page)}:{number} {cell}"
        for number, line, is_code in read_lines(page)
        if is_table(line) and not is_code
        for cell in cells(line)
        if len(_LINK.sub(lambda link: link.group().partition("]")[0][1:], cell)) > MAX_CELL
    ]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_rows_of_a_table_have_as_many_cells(page):
    """Where they have not, a cell is cut off or a number stands under another heading."""
    width, wrong = None, []
    for number, line, is_code in read_lines(page):
        if not is_table(line) or is_code:
            width = None
            continue
        width = width or len(cells(line))
        if len(cells(line)) != width:
            wrong.append(f"{by_path(page)}:{number}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_lists_and_tables_begin_behind_a_blank_line(page):
    """Else the site shows them as a part of the paragraph before."""
    before, wrong = "", []
    for number, line, is_code in read_lines(page):
        is_item = re.match(r"(- |\d+\. )", line) and not re.match(r"(\s|- |\d+\. |#)", before)
        if (
            not is_code
            and before
            and (is_item or (is_table(line) and not is_table(before.strip())))
        ):
            wrong.append(f"{by_path(page)}:{number}")
        before = "" if is_code else line
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_links_lead_to_files_and_headings(page):
    # Not line by line: the text of a link may be wrapped.
    text = "\n".join(line for _, line, is_code in read_lines(page) if not is_code)
    broken = []
    for link in _LINK.findall(_CODE.sub("", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_reference_has_every_name_that_python_offers():
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    homes = {name: f"{home}.{name}" for name, home in recall._HOMES.items()}
    missing = [
        name
        for name, path in homes.items()
        if not any(path == one or path.startswith(f"{one}.") for one in shown)
    ]
    assert missing == []


def test_the_changelog_says_nothing_twice():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = [
        " ".join(entry.split()) for entry in re.split(r"^- |^#.*$", text, flags=re.MULTILINE)
    ]
    beginnings = [entry[:60] for entry in entries if entry]
    assert sorted(beginnings) == sorted(set(beginnings))
    parts = re.findall(
        r"^### (\w+)$", text.partition("\n## ")[2].partition("\n## ")[0], re.MULTILINE
    )
    order = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    assert parts == [part for part in order if part in parts]


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_files_that_are_named_exist(page):
    """A page that sends a reader to a file that was moved is worse than none."""
    if page.name == "CHANGELOG.md":  # Tells of files as they were.
        return
    gone = [
        f"{by_path(page)}:{number} {name}"
        for number, line, is_code in read_lines(page)
        if not is_code
        for code in _CODE.findall(line)
        for name in _SOURCE.findall(code)
        if not (ROOT / name).exists()
    ]
    assert gone == []
