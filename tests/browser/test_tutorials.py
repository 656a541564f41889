"""Every stored tutorial in a real JupyterLab, driven from the keyboard.

Each notebook in `notebooks/` is opened as it is stored, and its stored widgets show. Then the cells that its widgets
need are run: those that show a widget, and those that make or change what these use, found by following names
backwards (`tutorials.needed_cells`). Training goes on for a few rounds only, and asserts about results are left out
(`tutorials.BUDGET`); nbval runs the notebooks whole. In each widget then shown

* Tab reaches every control, and every control has a role and a name, every picture a text;
* every control is moved by keys, and the picture or the text of the widget changes.

No cell fails, no picture is broken, and the console holds no error.
"""

import importlib.util
import shutil
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import TimeoutError

pytestmark = [pytest.mark.browser, pytest.mark.slow]

spec = importlib.util.spec_from_file_location("tutorials", Path(__file__).with_name("tutorials.py"))
tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tutorials)

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WAIT = 90_000  # milliseconds
ROLES = {"button", "checkbox", "combobox", "slider", "textbox", "group", "DisclosureTriangle"}

# What the page is asked. A widget is its outermost element.
HELPERS = """() => {
  const shown = node => node.checkVisibility();
  const lab = window.lab = {};
  lab.panel = window.jupyterapp.shell.currentWidget;
  lab.node = number => lab.panel.content.widgets[number].node;
  lab.widgets = number => [...lab.node(number).querySelectorAll('.imitation-lab')].filter(
    node => !node.parentElement.closest('.imitation-lab'));
  lab.controls = widget => [...widget.querySelectorAll(
    'button, input, select, summary, [tabindex="0"], [contenteditable=true]')].filter(
    node => shown(node) && !node.disabled && !node.closest('[disabled]'));
  lab.pictures = widget => [...widget.querySelectorAll('img')].filter(shown);
  lab.broken = number => lab.pictures(lab.node(number)).filter(image => image.complete && !image.naturalWidth).length;
  // what a control changes: the picture, or what is said in words and numbers
  lab.looks = widget => lab.pictures(widget).map(image => image.src).join() + [...widget.querySelectorAll(
    '.widget-html, .widget-label:not(.widget-slider *)')].filter(shown).map(node => node.innerText).join();
  lab.idle = () => lab.panel.sessionContext.session.kernel.status === 'idle';
  lab.errors = () => lab.panel.content.widgets.flatMap(
    cell => cell.model.type === 'code' ? cell.model.outputs.toJSON() : []).filter(o => o.output_type === 'error').map(
    o => o.ename + ': ' + o.evalue);
}"""
RUN = """async ([code, numbers]) => {
  const kernel = lab.panel.sessionContext.session.kernel;
  const reply = await kernel.requestExecute({ code, store_history: false }).done;
  if (reply.content.status !== 'ok') throw Error(reply.content.evalue);
  lab.ran = false;
  (async () => {
    for (const i of numbers) {
      lab.panel.content.deselectAll();
      lab.panel.content.activeCellIndex = i;
      await window.jupyterapp.commands.execute('notebook:run-cell');
    }
    lab.ran = true;
  })();
}"""


@pytest.fixture
def tutorial(lab, request):
    """A tutorial's page, its notebook, and the console's errors."""
    path = request.param
    name = f"tutorial-{path.stem}"  # a kernel belongs to a path: not that of another test
    shutil.copy(path, lab.folder / f"{name}.ipynb")
    shutil.copytree(path.parent / "recorded", lab.folder / "recorded", dirs_exist_ok=True)
    lab.trust(name)
    page = lab.open(name, errors := [])
    page.set_default_timeout(WAIT)
    page.evaluate(HELPERS)
    yield page, nbformat.read(path, as_version=4), errors
    lab.close(page)


def show(page, number):
    """Scroll to a cell: those far away are not on the page."""
    page.evaluate("i => lab.panel.content.scrollToItem(i, 'auto', 0)", number)


def wait(page, condition, arg=None, timeout=WAIT):
    page.wait_for_function(condition, arg=arg, timeout=timeout)


def named(page, client, where):
    """Role and name of an element, as the browser tells them to a screen reader."""
    found = client.send("Runtime.evaluate", {"expression": where})["result"]
    (node,) = client.send("Accessibility.getPartialAXTree", {**found, "fetchRelatives": False})["nodes"]
    return node["role"]["value"], node.get("name", {}).get("value", "")


class Control:
    """A control of a widget, moved by keys."""

    def __init__(self, page, widget, node):
        self.page, self.widget, self.node = page, widget, node
        ask = "node => [node.tagName, node.className, node.getAttribute('role'), node.getAttribute('aria-label')]"
        self.tag, self.css, self.role, self.label = node.evaluate(ask)

    def press(self, key, node=None):
        (node or self.node).focus()
        self.page.keyboard.press(key)

    def changes(self, key):
        """Press a key and see the widget change."""
        before = self.widget.evaluate("lab.looks")
        self.press(key)
        wait(self.page, "([widget, before]) => lab.looks(widget) !== before", [self.widget, before])
        wait(self.page, "() => lab.idle()")

    def move(self):
        if "noUi-handle" in self.css:
            self.slide()
        elif self.node.evaluate("node => !!node.closest('.widget-play')"):
            self.play()
        elif self.tag == "SELECT":
            keys = ["ArrowDown", "ArrowUp"]
            if self.node.evaluate("node => node.selectedIndex > 0"):
                keys.reverse()
            for key in keys:  # and back: what is chosen here may leave nothing to change for what follows
                self.changes(key)
        elif self.role == "group":  # takes keys, and says which
            self.changes("ArrowLeft")
        elif self.role != "textbox":  # a slider's number, moved with it
            self.changes("Space")

    def slide(self):
        low, now, high = self.node.evaluate(
            "node => ['min', 'now', 'max'].map(what => Number(node.getAttribute(`aria-value${what}`)))"
        )
        if low < high:
            self.changes("ArrowLeft" if now > low else "ArrowRight")

    def play(self):
        if self.label == "Play or pause":
            self.changes("Space")
            self.press("Space")
            wait(self.page, "node => node.querySelector('.fa-play')", self.node)
        elif self.label == "Repeat":
            for _ in range(2):
                before = self.node.get_attribute("class")
                self.press("Space")
                wait(self.page, "([node, before]) => node.className !== before", [self.node, before])
        else:
            slider = self.node.evaluate_handle("node => node.closest('.widget-hbox').querySelector('.noUi-handle')")
            if slider.as_element():  # the labeler's loop has none
                self.press("End", slider.as_element())
            self.press("Space")
            if slider.as_element():
                ask = "slider => slider.getAttribute('aria-valuenow') === slider.getAttribute('aria-valuemin')"
                wait(self.page, ask, slider)
        wait(self.page, "() => lab.idle()")


def check_names(page, client, where):
    """Every control has a role and a name, every picture a text, and Tab goes from one to the next."""
    wait(page, f"() => !{where}.querySelector('.noUi-handle:not([aria-label]), .widget-play button:not([aria-label])')")
    n = page.evaluate(f"lab.controls({where}).length")
    for i in range(n):
        role, name = named(page, client, f"lab.controls({where})[{i}]")
        assert role in ROLES, f"{name!r} is a {role}"
        assert name.strip(), f"a {role} without a name"
    for i in range(page.evaluate(f"lab.pictures({where}).length")):
        _, name = named(page, client, f"lab.pictures({where})[{i}]")
        assert name.strip(), "a picture without a text"
    if n:
        page.evaluate(f"lab.controls({where})[0].focus()")
    for i in range(n):
        reached = page.evaluate(f"lab.controls({where}).indexOf(document.activeElement)")
        assert reached == i, f"Tab reaches control {reached} where {i} should follow"
        page.keyboard.press("Tab")


def move_all(page, where):
    """Moves every control; those that a move brings out, too."""
    widget = page.evaluate_handle(where)
    if page.evaluate(f"!!{where}.querySelector('.widget-play .fa-pause')"):  # a loop hides what other controls change
        page.evaluate_handle(f"{where}.querySelector('.widget-play button')").as_element().press("Space")
        wait(page, f"() => {where}.querySelector('.widget-play .fa-play')")
    moved, stuck = [], []
    while True:
        node = page.evaluate_handle(f"lab.controls({where}).find(node => !node.dataset.moved)").as_element()
        if node is None:
            break
        node.evaluate("node => { node.dataset.moved = 'yes'; }")
        control = Control(page, widget, node)
        text = control.label or node.evaluate("node => node.innerText || node.id")
        try:
            control.move()
        except TimeoutError:
            stuck.append(text)
        moved.append(text)
    assert not stuck, f"of {moved} these change nothing: {stuck}"
    return moved


@pytest.mark.parametrize("tutorial", NOTEBOOKS, indirect=True, ids=lambda path: path.stem)
def test_all_controls(lab, tutorial, request):
    page, notebook, errors = tutorial
    numbers = [i for i, cell in enumerate(notebook.cells) if tutorials.shows_widget(cell)]
    assert numbers, "a tutorial without a widget"
    for i in numbers:
        show(page, i)
        wait(page, "i => lab.node(i).querySelector('.jp-OutputArea .jupyter-widgets')", i)
        assert page.evaluate("lab.broken", i) == 0

    page.evaluate(RUN, [tutorials.BUDGET, tutorials.needed_cells(notebook)])
    wait(page, "() => lab.ran && lab.idle()", timeout=300_000)
    assert page.evaluate("lab.errors()") == []
    client = page.context.new_cdp_session(page)
    for i in numbers:
        show(page, i)
        wait(page, "i => lab.widgets(i).length", i)
        for k in range(page.evaluate("i => lab.widgets(i).length", i)):
            where = f"lab.widgets({i})[{k}]"
            lab.screenshot(page.evaluate_handle(where), f"{request.node.callspec.id}-cell{i}-{k}")
            check_names(page, client, where)
            print(f"cell {i}:", ", ".join(map(repr, move_all(page, where))))
        assert page.evaluate("lab.broken", i) == 0
    assert page.evaluate("lab.errors()") == []
    assert errors == []
