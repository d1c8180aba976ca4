"""The book's Sphinx extension: the roles ``{claim}`` and ``{explorer}``, links to chapters, a repository's buttons."""

import re
from pathlib import Path
from urllib.parse import urlencode

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from sublim_utils.book.claims import registered
from sublim_utils.book.explorer import LABELS, SHOWN
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.settings import Settings

__all__ = [
    "CHAPTER",
    "CURVED",
    "DIGITS",
    "EXPLORER",
    "FIGURE",
    "ICON_SCRIPT",
    "MARKER_STYLE",
    "NAME",
    "PATH",
    "REGISTER",
    "UNUSED",
    "claim",
    "explored",
    "explorer",
    "lighten",
    "mend_page",
    "offer_repository",
    "setup",
    "shortened",
    "to_chapters",
]

ICON_SCRIPT = re.compile(r'<script [^>]*src="[^"]*fontawesome\.js[^"]*"[^>]*></script>')
PATH, DIGITS = re.compile(r' [dxy]="[^"]*"'), re.compile(r"(\.\d)\d+")
CURVED = re.compile(r"[CQ]")
MARKER_STYLE, NAME = (
    re.compile(r'(<use [^>]*)style="([^"]*)"'),
    re.compile(r"(?<=[\"#])(?:[mp][0-9a-f]{10}|DejaVu\w*-[\w-]+)"),
)
UNUSED = re.compile(r' id="[A-Za-z][\w.]*_\d+"(?=>)|<!--.*?-->', re.DOTALL)
FIGURE = re.compile(r'(<figure [^>]*>\s*)(<img [^>]*src="([^"]+\.svg)"[^>]*/>)')

CHAPTER = re.compile(r'href="chapter:([^"#]*)(#[^"]*)"')
"""A link of `claims.chapter_link`."""

REGISTER, EXPLORER = "../book/method.html", "../book/explorer.html"
"""The page that lists every claim, and the explorer's; all pages of the book lie one folder deep."""


def claim(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: object = None, content: object = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Return a link to the claim `text`; an id that is not registered is an error of the build."""
    if text not in registered():
        return [], [inliner.reporter.error(f"{text!r} is no registered claim", line=lineno)]
    link = nodes.reference(rawtext, "", nodes.literal(text, text), refuri=f"{REGISTER}#{text}", internal=True)
    return [link], []


def explored(text: str) -> str:
    """Return the explorer's address for "quantity: condition; condition".

    Raises
    ------
    ValueError
        If the explorer has not that quantity, or not those conditions.

    >>> explored("accuracy: projected")
    '../book/explorer.html#quantity=accuracy&show=projected'
    """
    quantity, _, names = text.partition(":")
    conditions = [name.strip() for name in names.split(";")]
    known = {name for one in SHOWN for name in EXPERIMENTS[one].conditions_of(Settings())}
    if quantity not in LABELS or not known.issuperset(conditions):
        raise ValueError(f"the explorer has not all of {text!r}: its quantities are {list(LABELS)}, {sorted(known)}")
    return f"{EXPLORER}#{urlencode({'quantity': quantity, 'show': '|'.join(conditions)})}"


def explorer(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: object = None, content: object = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Return a link to the explorer showing what `text` names (`explored`); what it lacks is an error of the build."""
    try:
        return [nodes.reference(rawtext, "in the explorer", refuri=explored(text), internal=True)], []
    except ValueError as error:
        return [], [inliner.reporter.error(str(error), line=lineno)]


def offer_repository(app: Sphinx, config: Config) -> None:
    """Show the buttons that need the repository's address where the book's configuration has it, else none of them."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
    else:
        options["launch_buttons"] = {}  # with buttons but no address the theme stops


def to_chapters(app: Sphinx, page: str, body: str) -> str:
    """Return a page's body with its links to chapters made relative; one to no chapter is a warning of the build.

    A chapter is the page with the label ``(chapter-name)=``, so that only its file's name has a number.
    """
    labels = app.env.get_domain("std").anonlabels

    def address(link: re.Match[str]) -> str:
        label = f"chapter-{link[1]}"
        if label not in labels:
            logging.getLogger(__name__).warning("%s links to a chapter without the label (%s)=", page, label)
            return link[0]
        return f'href="{app.builder.get_relative_uri(page, labels[label][0])}{link[2]}"'

    return CHAPTER.sub(address, body)


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, object], doctree: object) -> None:
    """Lead links to chapters there; make each figure a link to its own file; take a role from the bibliography.

    A figure's file is for small screens. That role is a list's, which docutils gives to what holds no list items.
    """
    if "body" in context:
        body = to_chapters(app, page, context["body"])
        body = body.replace(' role="list" class="citation-list"', ' class="citation-list"')
        context["body"] = FIGURE.sub(r'\1<a class="figure-link" href="\3">\2</a>', body)


def shortened(svg: str) -> str:
    r"""Return a figure that looks the same in fewer bytes.

    Coordinates are cut to tenths of a point; the style of markers, which matplotlib writes out at every dot, becomes a
    class; long names become short ones, and names of groups that nothing refers to go.

    >>> shortened('<path d="M 1.234567 8 \nL 2 3 \nL 4 5" transform="scale(0.015625)"/></svg>')
    '<path d="M 1.2 8 2 3 4 5" transform="scale(0.015625)"/></svg>'
    """
    styles: dict[str, str] = {}
    names: dict[str, str] = {}

    def classed(use: re.Match[str]) -> str:
        return f'{use[1]}class="{styles.setdefault(use[2], f"s{len(styles)}")}"'

    def cut(coordinates: re.Match[str]) -> str:
        text = DIGITS.sub(r"\1", coordinates[0])
        return text if CURVED.search(text) else text.replace(" \nL ", " ")  # what follows a point is a line to the next

    svg = PATH.sub(cut, svg)
    svg = MARKER_STYLE.sub(classed, UNUSED.sub("", svg))
    svg = NAME.sub(lambda name: names.setdefault(name[0], f"i{len(names)}"), svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    return re.sub(r"\n +", "\n", svg.replace("</svg>", f"<style>{rules}</style></svg>" if rules else "</svg>"))


def lighten(app: Sphinx, failed: Exception | None) -> None:
    """Make pages light: no icons as a script of 1.5 MB, for the icon font draws the same; shorter paths in figures."""
    if failed or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(ICON_SCRIPT.sub("", text), encoding="utf-8")
    Path(app.outdir, "_static", "scripts", "fontawesome.js").unlink(missing_ok=True)
    for figure in Path(app.outdir, "_images").glob("*.svg"):
        figure.write_text(shortened(figure.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register all of it."""
    app.add_role("claim", claim)
    app.add_role("explorer", explorer)
    app.connect("config-inited", offer_repository)
    app.connect("html-page-context", mend_page)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
