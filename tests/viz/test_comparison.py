import numpy as np
import pytest

from imitation_lab.viz import comparison, style

ROWS = [
    {"algorithm": "A", "score": 0.5, "from": 0.25, "to": 1.0},
    {"algorithm": "B", "score": 0.75, "from": 0.7, "to": 0.8},
]


def test_diamonds_bars_and_dots():
    figure = comparison.score_intervals(ROWS, {"A": [0.4, 0.6], "B": [0.7, 0.8]})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["B", "A"]  # from below
    dots, diamonds = axes.lines[0], axes.containers
    np.testing.assert_allclose(dots.get_xdata(), [0.7, 0.8])
    segments = [bar.get_segments()[0][:, 0].tolist() for bar in (c[2][0] for c in diamonds)]
    np.testing.assert_allclose(segments, [[0.7, 0.8], [0.25, 1.0]])
    assert "A 0.5, interval 0.25 to 1" in figure.alt


def test_curves_differ_in_marker_and_colour_or_dashes():
    curves = {f"algorithm {i}": ([1, 10], [0.1, i / 10]) for i in range(8)}
    figure = comparison.cost_curves(curves, x_label="steps", log_x=True, x_ticks=[1, 10])
    (axes,) = figure.axes
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines[:8]]
    assert len(set(looks)) == 8
    assert len({marker for *_, marker in looks}) == 8
    assert axes.lines[-1].get_color() == style.ORANGE  # the expert
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10"]
    assert "algorithm 7 0.1, 0.7" in figure.alt


def test_a_curve_looks_the_same_among_others():
    curve = ([1], [0.5])
    figures = [
        comparison.cost_curves(dict.fromkeys(names, curve), x_label="x", order=["A", "B", "C"])
        for names in ("ABC", "C")
    ]
    last, alone = (figure.axes[0].lines[i] for figure, i in zip(figures, (2, 0), strict=True))
    assert (last.get_color(), last.get_marker()) == (alone.get_color(), alone.get_marker())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: comparison.score_intervals([], {}), "rows is empty"),
        (lambda: comparison.score_intervals(ROWS, {"A": [1.0]}), "no scores of B; it has those of A"),
        (lambda: comparison.cost_curves({}, x_label="x"), "curves is empty"),
        (lambda: comparison.cost_curves({"A": ([1], [1])}, x_label="x", order=["B"]), "order lacks A"),
        (lambda: comparison.cost_curves({"A": ([1], [1, 2])}, x_label="x"), "'A' has 1 costs and 2 scores"),
    ],
)
def test_mistakes(call, text):
    with pytest.raises(ValueError, match=text):
        call()
