from imitation_lab.widgets.base import Composite, ipw
from imitation_lab.widgets.names import ROOT_CLASS, Names, names


def test_every_composite_shows_the_one_shared_view_last_and_once():
    inner = Composite([ipw.Label("a")])
    outer = Composite([inner])
    assert inner.children[-1] is outer.children[-1] is names()
    assert ROOT_CLASS in outer._dom_classes
    outer.children = (*outer.children, ipw.Label("b"))
    assert [isinstance(child, Names) for child in outer.children] == [False, False, True]
    assert repr(names()) == "Names()"


def test_closing_one_widget_leaves_the_names_of_the_others():
    Composite([ipw.Label("a")]).close()
    assert names().comm is not None


def test_it_is_made_again_after_all_widgets_were_closed():
    old = names()
    old.close()
    assert Composite().children == (names(),)
    assert names() is not old
    assert names().layout.display == "none"
