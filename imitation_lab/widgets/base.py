"""What every widget is made of: pictures, frame stacks, labelled controls.

Content lives in widget values, so a saved notebook shows it without a kernel, and tests read it without a browser.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from matplotlib.figure import Figure

from imitation_lab.util import checks
from imitation_lab.viz.style import DPI, LabFigure, figure_to_png
from imitation_lab.viz.tables import Rows, html_table, text_table

try:
    import ipywidgets as ipw
    import traitlets

    from imitation_lab.widgets.names import ROOT_CLASS, Names, names
except ImportError as error:
    who = "imitation_lab.widgets needs (the figures, in imitation_lab.viz, do not) anywidget and"
    raise checks.lacking("ipywidgets", "notebooks", who) from error

W = TypeVar("W", bound=ipw.Widget)


__all__ = [
    "Holder", "Composite", "Row", "Stack", "View", "SweepView", "image_of", "picture_stack", "figure_image", "alt_text",
    "Picture", "control", "button", "on_change", "notice", "answer_while_running", "is_model", "FrameSlider",
    "FrameStack",
]  # fmt: skip


class Holder:
    """A box that, when it closes, closes what it holds and the links between its parts."""

    children: Sequence[ipw.Widget]
    _links: Sequence[ipw.Widget] = ()

    def close(self) -> None:
        """Remove this widget and all it holds from the page and from memory."""
        for part in (*self.children, *self._links):
            if not isinstance(part, Names):  # the others need it
                part.close()
        super().close()  # type: ignore[misc]


class Composite(Holder, ipw.VBox):
    """A widget made of widgets, with a short stable ``repr`` (notebook tests compare it) and names for its controls."""

    def __init__(self, children: Sequence[ipw.Widget] = (), **kwargs: Any) -> None:
        super().__init__(children, **kwargs)
        self.add_class(ROOT_CLASS)

    @traitlets.validate("children")
    def _named(self, proposal: Any) -> tuple[ipw.Widget, ...]:
        return (*(child for child in proposal.value if not isinstance(child, Names)), names())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._summary()})"

    def _summary(self) -> str:
        return ""


class Row(Holder, ipw.HBox):
    """A row that wraps where the page is narrow."""

    def __init__(self, children: Sequence[ipw.Widget]) -> None:
        super().__init__(children, layout=ipw.Layout(flex_flow="row wrap", align_items="center"))


def _still() -> ipw.Layout:
    # a box without controls that can be scrolled, be it by a fraction of a pixel, is a stop for Tab
    return ipw.Layout(overflow="visible")


class Stack(Holder, ipw.Stack):
    """Shows one of its children; keys pass it by."""

    def __init__(self, children: Sequence[ipw.Widget], selected_index: int = 0) -> None:
        super().__init__(children, selected_index=selected_index, layout=_still())


def image_of(png: bytes, layout: ipw.Layout | None = None) -> ipw.Image:
    """Return an image widget no wider than the page."""
    return ipw.Image(value=png, format="png", layout=layout or _picture_layout())


def picture_stack(pngs: Sequence[bytes], index: int = 0) -> Stack:
    """Return a stack of pictures that shows one of them."""
    shared = _picture_layout()  # one for all: each is a kilobyte
    return Stack([image_of(png, shared) for png in pngs], selected_index=index)


def figure_image(figure: Figure, dpi: float = DPI) -> ipw.Image:
    """Return ``figure`` as an image widget."""
    return image_of(figure_to_png(figure, dpi))


def _picture_layout() -> ipw.Layout:
    # without align_self a small picture is stretched to the page's width and blurs
    return ipw.Layout(max_width="100%", height="auto", align_self="flex-start")


def _alt_html(text: str) -> str:
    return f'<div role="img" aria-label="{html.escape(text, quote=True)}"></div>'


def alt_text(text: str) -> ipw.HTML:
    """Return an invisible widget that tells a screen reader what the picture beside it shows.

    The image widget has no alternative text, and ``tooltip`` on it breaks its view (ipywidgets 8.1).
    """
    return ipw.HTML(_alt_html(text), layout=ipw.Layout(height="0", min_height="0", margin="0"))


class Picture(Composite):
    """A figure as an image with its text for screen readers.

    Attributes:
        image: the ``Image``.
        alt: the text, invisible.
    """

    def __init__(self, figure: Figure) -> None:
        self.image = figure_image(figure)
        self.alt = alt_text(getattr(figure, "alt", ""))
        super().__init__([self.alt, self.image], layout=_still())

    @property
    def value(self) -> bytes:
        """The PNG."""
        return bytes(self.image.value)

    def show(self, figure: Figure) -> None:
        """Show another figure."""
        self.image.value = figure_to_png(figure)
        self.alt.value = _alt_html(getattr(figure, "alt", ""))


class View(Composite):
    """A widget that shows a figure and a table of its numbers, and gives both as plain ones too.

    Attributes:
        image: the ``Picture``, where the figure is drawn anew when something changes.
        numbers: the table.
    """

    digits: ClassVar[int] = 3

    def __init__(self, *above: ipw.Widget) -> None:
        self.image, self.numbers = Picture(self.figure()), ipw.HTML()
        super().__init__([*above, self.image, self.numbers])
        self._show_numbers()

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        raise NotImplementedError

    def rows(self) -> Rows:
        """Return the numbers shown."""
        raise NotImplementedError

    def table(self, digits: int | None = None) -> str:
        """Return the numbers shown as plain text."""
        return text_table(self.rows(), digits=self.digits if digits is None else digits)

    def _caption(self) -> str | None:
        return None

    def _show_numbers(self, _: Any = None) -> None:
        self.numbers.value = html_table(self.rows(), digits=self.digits, caption=self._caption())

    def refresh(self, _: Any = None) -> None:
        """Show what the model holds by now."""
        self.image.show(self.figure())
        self._show_numbers()


class SweepView(View):
    """A view whose figure is precomputed for each position of a slider.

    Args:
        pngs: the pictures.
        controls: shown above them; what is changed there, ``_redraw`` hears. With controls the numbers are shown below.
        **kwargs: as in ``FrameStack``.

    Attributes:
        frames: the ``FrameStack``.
    """

    def __init__(self, pngs: Sequence[bytes], controls: Sequence[ipw.Widget] = (), **kwargs: Any) -> None:
        self.frames = FrameStack(pngs, **kwargs)
        Composite.__init__(self, [self.frames])
        if controls:
            self.numbers = ipw.HTML()
            self.children = [Row(controls), self.frames, self.numbers]
            on_change(self._redraw, *controls)
            on_change(self._show_numbers, self.slider)
            self._show_numbers()

    def _pngs(self) -> Sequence[bytes]:
        raise NotImplementedError

    def _alt(self) -> str:
        raise NotImplementedError

    def _redraw(self, _: Any = None) -> None:
        self.frames.replace(self._pngs(), self._alt())
        self._show_numbers()

    @property
    def slider(self) -> Any:
        """The slider; its value counts frames."""
        return self.frames.slider


def notice(role: str, color: str, text: str) -> str:
    """Return HTML that says ``text``, HTML too, beside a bar of ``color``; ``role`` is "status" or "alert"."""
    return f'<div role="{role}" style="border-left:4px solid {color};padding:4px 10px;line-height:1.4">{text}</div>'


def control(cls: type[W], description: str, tooltip: str, **kwargs: Any) -> W:
    """Return a control with its label and explanation; sliders report when let go, and a list of one is disabled.

    Args:
        cls: the widget class, e.g. ``ipywidgets.IntSlider``.
        description: the visible label.
        tooltip: what the control does, in a sentence.
        **kwargs: the widget's own traits.
    """
    if not description or not tooltip:
        raise ValueError("every control needs a description and a tooltip: screen readers and learners rely on them.")
    if hasattr(cls, "continuous_update"):
        kwargs.setdefault("continuous_update", False)
    if len(kwargs.get("options", ())) == 1:
        kwargs.setdefault("disabled", True)
    if issubclass(cls, ipw.Button):
        kwargs.setdefault("layout", {"width": "auto", "min_width": "9em"})  # no label is cut off
    else:
        kwargs.setdefault("style", {"description_width": "initial"})
    return cls(description=description, tooltip=tooltip, **kwargs)


def button(label: str, tooltip: str, action: Callable[[], Any], **kwargs: Any) -> ipw.Button:
    """Return a button that calls ``action`` when it is clicked."""
    made = control(ipw.Button, label, tooltip, **kwargs)
    made.on_click(lambda _: action())
    return made


def on_change(action: Callable[[Any], Any], *controls: ipw.Widget) -> None:
    """Call ``action`` with what changed whenever the value of one of ``controls`` changes."""
    for one in controls:
        one.observe(action, "value")


def is_model(source: Any, kind: type, *others: Any) -> bool:
    """Whether a view was given its model, rather than what to make it of.

    Raises:
        ValueError: it was given the model and more.
    """
    if isinstance(source, kind) and any(other is not None and other != {} for other in others):
        raise ValueError(f"a {kind.__name__} holds its data and settings already: pass it alone.")
    return isinstance(source, kind)


def answer_while_running(widget: ipw.Widget) -> None:
    """Let the browser's messages to ``widget`` be handled while a cell runs; call again after changing its traits.

    JupyterLab addresses them to a subshell, but ipykernel 7.4 redirects them to the shell that last wrote to the
    widget: for one made in a cell that is the busy main shell. Forgetting who wrote last restores the address.
    """
    vars(widget.comm).pop("_reply_subshell_id", None)


class FrameSlider(Row):
    """A slider over frames, with a play button and a label for each, that moves stacks in the browser alone.

    Args:
        n: how many frames.
        description: what the slider moves along.
        tooltip: what the slider does.
        labels: one text per frame, shown beside the slider; by default its number is.
        index: where it begins.
        interval: milliseconds per frame when playing; None leaves the play button out.
        play_tooltip: what the play button does.
        width: of the slider.

    Attributes:
        slider: the ``IntSlider``.
        play: the ``Play`` widget, or None.
    """

    def __init__(
        self,
        n: int,
        description: str,
        tooltip: str,
        *,
        labels: Sequence[str] | None = None,
        index: int = 0,
        interval: int | None = None,
        play_tooltip: str = "",
        width: str = "420px",
    ) -> None:
        self.slider = control(
            ipw.IntSlider, description, tooltip, min=0, max=n - 1, value=index, continuous_update=True,
            layout=ipw.Layout(width=width, max_width="100%"), readout=labels is None,
        )  # fmt: skip
        row: list[ipw.Widget] = [self.slider]
        self.play: ipw.Play | None = None
        if interval is not None:
            self.play = ipw.Play(
                min=0, max=n - 1, value=index, interval=interval, repeat=True, description="Play", tooltip=play_tooltip
            )
            self._links = [ipw.jslink((self.play, "value"), (self.slider, "value"))]
            row.insert(0, self.play)
        self._labels: Stack | None = None
        if labels is not None:
            plain = ipw.Layout(margin="0 0 0 8px")
            self._labels = Stack([ipw.Label(text, layout=plain) for text in labels], selected_index=index)
            self.moves(self._labels)
            row.append(self._labels)
        super().__init__(row)

    def moves(self, *stacks: Stack) -> None:
        """Let ``stacks`` show the frame that the slider says."""
        links = (ipw.jslink((self.slider, "value"), (stack, "selected_index")) for stack in stacks)
        self._links = [*self._links, *links]

    @property
    def label(self) -> str | None:
        """The label at the slider's value."""
        return None if self._labels is None else self._labels.children[self.slider.value].value


class FrameStack(Composite):
    """Pictures that a slider leafs through in the browser alone: it moves with no kernel, in a saved notebook too.

    In Python ``slider.value`` chooses the frame and ``png`` is the picture it shows.

    Args:
        pngs: PNG bytes, one per frame.
        labels: one text per frame, shown beside the slider.
        description: what the slider moves along.
        alt: what the pictures show.
        play: adds a play button.
        interval: milliseconds per frame when playing.
        index: the first frame shown.

    Attributes:
        slider: the ``IntSlider``.
        alt: the text for screen readers, invisible.
        stack: the ``Stack`` of images.
        play: the ``Play`` widget, or None.

    Raises:
        ValueError: no frames, or not one label per frame.
    """

    def __init__(
        self,
        pngs: Sequence[bytes],
        *,
        labels: Sequence[str] | None = None,
        description: str = "frame",
        alt: str = "",
        play: bool = True,
        interval: int = 250,
        index: int = 0,
    ) -> None:
        if not pngs:
            raise ValueError("a frame stack needs at least one picture, got none.")
        if labels is not None and len(labels) != len(pngs):
            raise ValueError(f"{len(labels)} labels for {len(pngs)} frames: give one label per frame.")
        self.alt = alt_text(alt)
        self.stack = picture_stack(pngs, index)
        self._row = FrameSlider(
            len(pngs), description, f"Choose the {description} to show.", labels=labels, index=index,
            interval=interval if play and len(pngs) > 1 else None,
            play_tooltip=f"Play all {description}s one after another.",
        )  # fmt: skip
        self._row.moves(self.stack)
        self.slider, self.play = self._row.slider, self._row.play
        super().__init__([self._row, self.alt, self.stack])

    def __len__(self) -> int:
        return len(self.stack.children)

    @property
    def png(self) -> bytes:
        """The picture at the slider's value."""
        return self.pngs[self.slider.value]

    @property
    def pngs(self) -> list[bytes]:
        """All pictures."""
        return [bytes(image.value) for image in self.stack.children]

    @property
    def label(self) -> str | None:
        """The label at the slider's value."""
        return self._row.label

    def replace(self, pngs: Sequence[bytes], alt: str | None = None) -> None:
        """Put other pictures into the same frames.

        Raises:
            ValueError: another number of pictures.
        """
        if len(pngs) != len(self):
            raise ValueError(f"this stack has {len(self)} frames, got {len(pngs)} pictures.")
        for image, png in zip(self.stack.children, pngs, strict=True):
            image.value = png
        if alt is not None:
            self.alt.value = _alt_html(alt)

    def _summary(self) -> str:
        return f"{len(self)} frames"
