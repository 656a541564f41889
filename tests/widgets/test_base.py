import builtins
import importlib
import sys

import ipywidgets as ipw
import numpy as np
import pytest

from imitation_lab.viz import style
from imitation_lab.widgets import base


def png(level: int) -> bytes:
    return style.image_to_png(np.full((4, 4, 3), level, np.uint8))


def test_frames_follow_the_slider_and_are_linked_in_the_browser():
    frames = base.FrameStack([png(0), png(100), png(200)], labels=["a", "b", "c"], description="batch", alt="squares")
    assert (frames.png, frames.label) == (png(0), "a")
    frames.slider.value = 2
    assert (frames.png, frames.label) == (png(200), "c")
    assert frames.slider.description == "batch"
    assert 'aria-label="squares"' in frames.alt.value
    assert all(image.tooltip is None for image in frames.stack.children)  # it breaks the view
    targets = {(link.source[0], link.target[0], link.target[1]) for link in frames._row._links}
    assert (frames.slider, frames.stack, "selected_index") in targets
    assert (frames.play, frames.slider, "value") in targets
    assert repr(frames) == "FrameStack(3 frames)"
    assert frames._repr_mimebundle_()["text/plain"] == "FrameStack(3 frames)"


def test_frames_can_be_replaced_but_not_resized():
    frames = base.FrameStack([png(0), png(100)], play=False)
    frames.replace([png(7), png(8)], alt="new")
    assert frames.pngs == [png(7), png(8)]
    assert frames.play is None
    with pytest.raises(ValueError, match="has 2 frames, got 1"):
        frames.replace([png(0)])
    with pytest.raises(ValueError, match="at least one picture"):
        base.FrameStack([])
    with pytest.raises(ValueError, match="one label per frame"):
        base.FrameStack([png(0)], labels=["a", "b"])


def test_closing_closes_all_it_holds():
    frames = base.FrameStack([png(0), png(1)], labels=["a", "b"])
    parts = [frames.slider, frames.play, *frames.stack.children, *frames._row._links]
    frames.close()
    assert all(part.comm is None for part in parts)


def test_pictures_show_a_figure_and_say_what_it_is():
    first, _ = style.new_figure(size=(4, 2), alt='the "first"')
    assert base.figure_image(first).value == style.figure_to_png(first)
    picture = base.Picture(first)
    assert picture.value == style.figure_to_png(first)
    assert 'aria-label="the &quot;first&quot;"' in picture.alt.value
    second, axes = style.new_figure(size=(4, 2), alt="second")
    axes[0, 0].plot([0, 1])
    picture.show(second)
    assert picture.value == style.figure_to_png(second)
    assert "second" in picture.alt.value


def test_controls_need_a_label_and_an_explanation():
    slider = base.control(ipw.IntSlider, "batch", "Choose the batch.", max=3)
    assert (slider.description, slider.tooltip, slider.continuous_update) == ("batch", "Choose the batch.", False)
    with pytest.raises(ValueError, match="needs a description and a tooltip"):
        base.control(ipw.IntSlider, "", "x")


def test_a_list_of_one_leaves_nothing_to_choose():
    assert base.control(ipw.Dropdown, "feature", "Choose the feature.", options=["height"]).disabled
    assert not base.control(ipw.Dropdown, "feature", "Choose the feature.", options=["height", "speed"]).disabled


def test_missing_ipywidgets_name_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "imitation_lab.widgets.base")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"imitation-lab\[notebooks\]"):
        importlib.import_module("imitation_lab.widgets.base")


def test_a_widget_forgets_which_shell_wrote_last():
    button = base.control(ipw.Button, "Stop", "Stop it.")
    button.comm._reply_subshell_id = None
    base.answer_while_running(button)
    assert "_reply_subshell_id" not in vars(button.comm)
    base.answer_while_running(button)
