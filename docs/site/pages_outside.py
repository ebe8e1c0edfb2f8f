"""Hook of mkdocs: the pages that lie beside `docs/` are pages of the site too.

The repository is read as files first, so its links are those between files: `../TRIALS.md`,
`../serving/config`. On the site the first leads to a page; the second, code, has none and
becomes plain text. Flags are kept in one line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = ("BUILD.md", "CHANGELOG.md", "TRIALS.md", "findings/README.md")

_LINK = re.compile(
    r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)"
)

_FLAG = re.compile(r"<code>(--[^<\s]{2,30})</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages outside."""
    for path in OUTSIDE:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages."""
    here = page.file.src_uri
    place = here if here in OUTSIDE else f"docs/{here}"
    if here.startswith("findings/"):
        markdown += "\n" + "\n".join(_findings())

    def lead(link: re.Match) -> str:
        path = normpath(join(dirname(place), link["target"]))
        name = "index.md" if path == "README.md" else path.removeprefix("docs/")
        if files.get_file_from_path(name) is not None:
            target = relpath(name, dirname(here) or ".") + (link["anchor"] or "")
            return f"{link['picture']}[{link['text']}]({target})"
        if (ROOT / path).exists():
            return link["text"]
        return link.group()

    return _LINK.sub(lead, markdown)


def _findings() -> Iterator[str]:
    """A line for each script: its name, and what its second line says."""
    for path in sorted((ROOT / "findings").glob("*.sh")):
        said = path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
        yield f"- `{path.name}`: {said}"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keeps a flag in one line, where a browser would break it behind its hyphens."""
    return _FLAG.sub(r'<code class="flag">\1</code>', html)
