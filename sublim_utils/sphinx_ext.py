"""The book's Sphinx extension: the role ``{claim}``, and buttons to the repository where it has an address."""

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from sphinx.application import Sphinx
from sphinx.config import Config

from sublim_utils.claims import registered

REGISTER = "../book/method.html"
"""The page that lists every claim; all pages of the book lie one folder deep."""


def claim(
    name: str, rawtext: str, text: str, lineno: int, inliner: Inliner, options: object = None, content: object = None
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Return a link to the claim `text`; an id that is not registered is an error of the build."""
    if text not in registered():
        return [], [inliner.reporter.error(f"{text!r} is no registered claim", line=lineno)]
    link = nodes.reference(rawtext, "", nodes.literal(text, text), refuri=f"{REGISTER}#{text}", internal=True)
    return [link], []


def offer_repository(app: Sphinx, config: Config) -> None:
    """Show the buttons that need the repository's address where the book's configuration has it, else none of them."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
    else:
        options["launch_buttons"] = {}  # with buttons but no address the theme stops


def mend_roles(app: Sphinx, page: str, template: str, context: dict[str, object], doctree: object) -> None:
    """Take the role of a list from the bibliography: docutils gives it to what holds no list items."""
    if "body" in context:
        context["body"] = context["body"].replace(' role="list" class="citation-list"', ' class="citation-list"')


def setup(app: Sphinx) -> dict[str, object]:
    """Register all of it."""
    app.add_role("claim", claim)
    app.connect("config-inited", offer_repository)
    app.connect("html-page-context", mend_roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
