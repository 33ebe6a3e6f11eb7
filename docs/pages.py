"""The pages of the site, made from the Markdown files of the project, and the check of all its links."""

import html
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import messages

ROOT = Path(__file__).parents[1]
PAGES = {  # file: title, in the order of the menu
    "README.md": "jaxdl",
    "docs/contracts.md": "Contracts",
    "docs/runs.md": "Runs",
    "docs/hosts.md": "Several hosts",
    "docs/errors.md": "Errors",
    "docs/export.md": "Export",
    "docs/nnx.md": "flax.nnx",
    "docs/rl_methods.md": "Reinforcement learning",
    "RESULTS.md": "Results",
    "BENCHMARKS.md": "Benchmarks",
    "CONTRIBUTING.md": "Contributing",
    "CHANGELOG.md": "Changes",
}
GENERATED = {"docs/errors.md": messages.page}  # what stands below the text of a page
EXTRAS = ["tables", "fenced-code-blocks", "header-ids", "code-friendly", "cuddled-lists"]
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222 }
body { margin: 0 auto; max-width: 62rem; padding: 0 1.2rem 4rem }
nav { border-bottom: 1px solid #ddd; padding: .8rem 0; margin-bottom: 1.5rem }
nav a { margin-right: 1rem; white-space: nowrap } nav a[aria-current] { color: #222; font-weight: 600 }
a { color: #0b5bd3; text-decoration: none } a:hover { text-decoration: underline }
code { background: #f4f4f4; padding: .1em .25em; font-size: .88em } pre code { padding: 0 }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; line-height: 1.4 }
table { border-collapse: collapse; display: block; overflow-x: auto } img { max-width: 100% }
td, th { border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }
"""


def name_of(file: str) -> str:
    """Name the page of a Markdown file; all lie side by side."""
    return "index.html" if file == "README.md" else f"{Path(file).stem.lower()}.html"


def render(out: Path) -> None:
    """Write all pages into a folder, and beside them the files of the project that they link to."""
    import markdown2  # only the site needs it
    from pygments.formatters import HtmlFormatter

    style = STYLE + HtmlFormatter().get_style_defs(".codehilite")
    out.mkdir(parents=True)
    for file, title in PAGES.items():
        text = (ROOT / file).read_text("utf-8")
        if file in GENERATED:
            text += GENERATED[file]()
        body = re.sub(
            r'(?<=href=")[^"]+|(?<=src=")[^"]+',
            lambda found, file=file: moved(found.group(), file, out),
            markdown2.markdown(text, extras=EXTRAS),
        )
        menu = "\n".join(
            f'<a href="{name_of(each)}"{" aria-current=page" if each == file else ""}>{html.escape(name)}</a>'
            for each, name in PAGES.items()
        )
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{style}</style></head><body>'
            f'<nav>{menu}\n<a href="reference/index.html">Reference</a></nav>{body}</body></html>\n'
        )
        (out / name_of(file)).write_text(page, "utf-8")


def moved(link: str, file: str, out: Path) -> str:
    """Return where a link of a file leads on the site; a file that is no page is copied there."""
    address = urlsplit(link)
    if address.scheme or not address.path:
        return link
    path = os.path.normpath(Path(file).parent / address.path)
    if path in PAGES:
        target = name_of(path)
    elif (ROOT / path).is_file():
        target = f"files/{path}"
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, out / target)
    else:
        return link  # which `broken` will find
    return target + (f"#{address.fragment}" if address.fragment else "")


class Links(HTMLParser):
    """Collect the links and the anchors of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken(out: Path) -> list[str]:
    """List the links inside of a site that lead nowhere."""
    pages = {page.resolve(): Links(page) for page in sorted(out.rglob("*.html"))}

    def faults() -> Iterator[str]:
        for page, found in pages.items():
            for link in found.links:
                address = urlsplit(link)
                if address.scheme:
                    continue
                target = (page.parent / unquote(address.path)).resolve() if address.path else page
                anchor = unquote(address.fragment)
                if not target.is_file():
                    yield f"{page.relative_to(out.resolve())}: {link} leads nowhere"
                elif anchor and target in pages and anchor not in pages[target].anchors:
                    yield f"{page.relative_to(out.resolve())}: {link} has no such anchor"

    return list(faults())
