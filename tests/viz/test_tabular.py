import io

import numpy as np
import pytest
from PIL import Image

from imitation_lab.viz.tabular import grid_frames, grid_maps

LAYOUT = ("S.", "#G")
FIRST = np.array([[0.0, 1.0], [np.nan, -0.04]])
SECOND = np.array([[5.0, 5.0], [np.nan, 5.0]])


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_cells_show_their_numbers_and_letters():
    figure = grid_maps({"reward": FIRST, "visits": SECOND}, layout=LAYOUT)
    first, second = figure.axes[:2]
    assert first.get_title(loc="left") == "reward"
    assert texts(first) == ["0.0", "S", "1.0", "0.0", "G"]
    assert first.images[0].get_clim() == (-0.04, 1)
    assert second.images[0].get_clim() == (4.5, 5.5)
    assert first.get_ylim()[0] > first.get_ylim()[1]  # the first row is at the top
    assert "reward from −0.04 to 1" in figure.alt
    assert texts(grid_maps({"reward": FIRST}, digits=None).axes[0]) == []
    assert texts(grid_maps({"reward": FIRST}, digits=2).axes[0])[-1] == "−0.04"


def test_scales():
    shared = grid_maps({"a": FIRST, "b": SECOND}, shared_scale=True, label="nats")
    assert [axes.images[0].get_clim() for axes in shared.axes[:2]] == [(-0.04, 5)] * 2
    assert shared.axes[0].images[0].colorbar.ax.get_ylabel() == "nats"
    given = grid_maps({"a": FIRST, "b": SECOND}, limits={"a": (-2, 2)})
    assert given.axes[0].images[0].get_clim() == (-2, 2)
    empty = grid_maps({"a": np.full((2, 2), np.nan)})
    assert empty.axes[0].images[0].get_clim() == (0, 1)


def test_maps_are_broken_into_rows():
    figure = grid_maps({str(i): FIRST for i in range(4)}, columns=3)
    assert [axes.axison for axes in figure.axes[:6]] == [True] * 4 + [False] * 2


def test_a_colour_means_the_same_in_all_frames():
    def colour_of_top_left(png):
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        return {tuple(pixel) for pixel in np.unique(pixels, axis=0)}

    low, high = np.array([[0.0, 0.0]]), np.array([[0.0, 4.0]])
    pngs = grid_frames([{"a": low}, {"a": high}], digits=None)
    assert len(pngs) == 2
    assert pngs[0] != pngs[1]
    lit = colour_of_top_left(pngs[1])
    assert any(red > 240 and green > 220 and blue < 60 for red, green, blue in lit)  # the scale's upper end
    rescaled = grid_frames([{"a": low}, {"a": high}], digits=None, limits={"a": (0, 400)})
    assert rescaled[1] != pngs[1]
    both = grid_frames([{"a": low, "b": high}], shared_scale=True)
    assert both[0] != grid_frames([{"a": low, "b": high}])[0]


def test_mistakes():
    with pytest.raises(ValueError, match="maps is empty"):
        grid_maps({})
    with pytest.raises(ValueError, match=r"map 'b' has shape \(1, 2\), expected \(2, 2\), as GridEnv.to_grid"):
        grid_maps({"a": FIRST, "b": FIRST[:1]})
    with pytest.raises(ValueError, match=r"map 'a' has shape \(3,\), expected \(height, width\)"):
        grid_maps({"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"map 'a' has shape \(1, 2\), expected \(2, 2\)"):
        grid_maps({"a": FIRST[:1]}, layout=LAYOUT)
    with pytest.raises(ValueError, match="frames is empty"):
        grid_frames([])
    with pytest.raises(ValueError, match=r"frame 1 has the maps \['b'\], frame 0 has \['a'\]"):
        grid_frames([{"a": FIRST}, {"b": FIRST}])
