"""What a reader tells conditions apart by, and the one legend of a figure with several panels."""

import pytest
from matplotlib import colors, rc_context, rcParams
from matplotlib.figure import Figure

from sublim_utils.book import figures


def test_a_figures_legend_names_once_whatever_any_panel_shows() -> None:
    fig = Figure(layout="constrained")
    one, other = fig.subplots(1, 2)
    figures.line(one, [0, 1], [0, 1], label="projected")
    figures.chance_line(one)
    one.plot([0, 1], [1, 0])  # without a label: not named
    figures.line(other, [0, 1], [1, 1], label="projected")
    figures.line(other, [0, 1], [0, 0], label="random direction")
    (legend,) = figures.legend_above(fig, ncols=3).legends
    assert [text.get_text() for text in legend.get_texts()] == ["projected", "chance", "random direction"]
    (*_, handle) = legend.get_lines()
    assert colors.to_hex(handle.get_color()) == figures.colour("random direction")


def test_the_style_is_the_books_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "set_matplotlib_formats", lambda *_: None)  # of a running notebook
    users = {"text.usetex": True, "savefig.transparent": True, "font.family": "fantasy", "lines.linewidth": 9.0}
    with rc_context():
        figures.use_style()
        ours = {name: rcParams[name] for name in users}
        rcParams.update(users)
        figures.use_style()
        assert {name: rcParams[name] for name in users} == ours
        assert not ours["text.usetex"]


@pytest.mark.parametrize("look", ["DASHES", "MARKERS", "HATCHES"])
def test_every_colour_can_be_told_apart_without_it(look: str) -> None:
    looks = getattr(figures, look)
    assert looks.keys() == figures.PALETTE.keys()
    assert len(set(looks.values())) == len(looks)
