import io
import threading

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from PIL import Image

from imitation_lab.viz import style


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_look_is_a_style_sheet_for_ones_own_figures():
    with matplotlib.rc_context():
        matplotlib.style.use("imitation_lab.viz.lab")
        assert matplotlib.rcParams["axes.titlelocation"] == "left"
        assert matplotlib.rcParams["axes.edgecolor"] == "#666666"


def test_png_has_the_asked_size_a_white_page_and_a_palette():
    figure, axes = style.new_figure(size=(4.0, 2.0))
    axes[0, 0].plot([0, 1], [0, 1])
    png = style.figure_to_png(figure)
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (400, 200)
        assert image.mode == "P"
        assert len(image.getcolors()) <= 96
    assert (pixels(png)[0, 0] == 255).all()
    assert len(png) < 8000
    assert style.figure_to_png(figure) == png
    with Image.open(io.BytesIO(style.figure_to_png(figure, 50))) as image:
        assert image.size == (200, 100)


def test_colours_outside_a_palette_are_refused():
    figure, _ = style.new_figure()
    with pytest.raises(ValueError, match="between 2 and 256"):
        style.figure_to_png(figure, colors=1000)


def test_figures_leave_pyplot_and_the_settings_alone():
    before = dict(matplotlib.rcParams)
    figure, _ = style.new_figure(alt="a picture")
    png, metadata = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert metadata == {"alt": "a picture"}
    assert dict(matplotlib.rcParams) == before
    assert repr(figure) == "<Figure 9 x 3.2 in, 1 axes>"


def test_settings_survive_figures_from_several_threads():
    before = dict(matplotlib.rcParams)
    failures = []

    def draw():
        try:
            figure, _ = style.new_figure(size=(2, 2))
            style.figure_to_png(figure)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert dict(matplotlib.rcParams) == before


def test_animated_frames_show_what_a_full_drawing_shows():
    figure, grid = style.new_figure(size=(3.0, 2.0))
    line = grid[0, 0].axvline(0, color="black")
    grid[0, 0].set_xlim(0, 10)
    frames = style.animated_pngs(figure, [line], lambda i: line.set_xdata([i, i]), [2, 8])
    assert frames[0] != frames[1]
    line.set_xdata([8, 8])
    full = style.figure_to_png(figure, style.FRAME_DPI, colors=64)
    assert np.abs(pixels(full) - pixels(frames[1])).mean() < 2
    assert np.abs(pixels(full) - pixels(frames[0])).mean() > 2


def test_image_to_png_scales_down():
    png = style.image_to_png(np.zeros((100, 200, 3), np.uint8), max_width=50)
    assert pixels(png).shape == (25, 50, 3)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("expert", style.ORANGE), ("expert (n = 3)", style.ORANGE), ("Random", style.GREY), ("BC", style.GREEN)],
)
def test_roles_keep_their_colours(label, expected):
    assert style.color_of(label, 1) == expected


def test_labels_use_a_true_minus_and_units():
    assert style.plain(-1234.5) == "−1234"
    assert style.plain(-0.12345, 2) == "−0.12"
    assert style.with_unit("angle", "rad") == "angle [rad]"
    assert style.with_unit("angle", None) == "angle"
