import pytest

from imitation_lab.widgets.base import ipw
from imitation_lab.widgets.keys import KeyCatcher


def test_root_and_label_are_needed():
    with pytest.raises(TypeError, match="root"):
        KeyCatcher()
    with pytest.raises(TypeError, match="label"):
        KeyCatcher("around")


def test_the_browser_gets_all_it_needs():
    play = ipw.Play()
    keys = KeyCatcher("around", "Keys of the game", text="Press", bindings=["a", "ArrowUp"], place="3", play=play)
    state = keys.get_state()
    assert {name: state[name] for name in ("root", "label", "text", "bindings", "place", "play")} == {
        "root": "around",
        "label": "Keys of the game",
        "text": "Press",
        "bindings": ["a", "ArrowUp"],
        "place": "3",
        "play": f"IPY_MODEL_{play.model_id}",
    }
    assert KeyCatcher("around", "Keys").get_state("play") == {"play": None}
    assert repr(keys) == "KeyCatcher()"
