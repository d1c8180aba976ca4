"""Lighter figures: what is drawn stays."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from sublim_utils.book import figures
from sublim_utils.book.sphinx_ext import explored, shortened

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawn() -> str:
    fig, ax = plt.subplots()
    figures.dots(ax, np.arange(3), np.random.default_rng(0).normal(size=(20, 3)), color="black")
    figures.line(ax, np.arange(50), np.sin(np.arange(50)), label="projected", style="o-")
    ax.bar([1], [2], **figures.area("two-sided"))
    ax.set(title=r"change of $\Delta L_T$ <&>", xlabel="step")
    ax.legend()
    out = io.BytesIO()
    FigureCanvasSVG(fig).print_svg(out)
    plt.close(fig)
    return out.getvalue().decode()


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", text)]


def test_every_mark_is_drawn_where_and_how_it_was(drawn):
    before, after = (list(ET.fromstring(text).iter()) for text in (drawn, shortened(drawn)))  # noqa: S314 our own
    css = dict(re.findall(r"\.(s\d+){([^}]*)}", shortened(drawn)))
    for kind in ("use", "path"):
        old, new = ([e for e in part if e.tag == SVG + kind] for part in (before, after))
        assert len(old) == len(new) > 10
        for a, b in zip(old, new, strict=True):
            for name in ("x", "y", "d"):
                assert numbers(a.get(name, "")) == pytest.approx(numbers(b.get(name, "")), abs=0.1)
            assert css.get(b.get("class"), b.get("style")) == a.get("style")
            assert a.get("transform") == b.get("transform")


def test_every_reference_finds_its_own(drawn):
    text = shortened(drawn)
    names = re.findall(r' id="([^"]*)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {(n, "") for n in names} | {
        ("", n) for n in names
    }
    assert len(text) < 0.75 * len(drawn)


@pytest.mark.parametrize("text", ["accuracy: projectd", "accurracy: projected", "accuracy:", ""])
def test_what_the_explorer_lacks_is_named(text):
    with pytest.raises(ValueError, match="the explorer has not all of"):
        explored(text)
