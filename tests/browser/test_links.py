"""Every link, picture and script of the built book that points inside it leads somewhere."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Targets(HTMLParser):
    """Collects what a page refers to, and the anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links |= {values[name] for name in ("href", "src") if values.get(name)}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}


def read(page: Path) -> Targets:
    targets = Targets()
    targets.feed(page.read_text(encoding="utf-8"))
    return targets


def test_internal_links_lead_somewhere(book: Path, pages: list[str]) -> None:
    broken = []
    for name in pages:
        for link in read(book / name).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = ((book / name).parent / unquote(parts.path)).resolve() if parts.path else book / name
            if not target.exists() or not target.is_relative_to(book):
                broken.append(f"{name}: {link}")
            elif "=" in parts.fragment:  # a state of the explorer's, which its role has checked
                continue
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).anchors:
                broken.append(f"{name}: {link} (no such anchor)")
    assert not broken


def test_pages_load_nothing_from_elsewhere(book: Path, pages: list[str]) -> None:
    foreign = []
    for name in pages:
        text = (book / name).read_text(encoding="utf-8")
        foreign += [f"{name}: {part[:80]}" for part in text.split('src="')[1:] if part.startswith(("http", "//"))]
    assert not foreign
