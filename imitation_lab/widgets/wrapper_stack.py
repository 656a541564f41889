"""A view of what forward, predict and predict_processed return at each layer of a stack of wrappers."""

import html
from collections.abc import Sequence
from typing import Any

from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.viz.style import ORANGE, LabFigure
from imitation_lab.viz.tables import Rows, format_number
from imitation_lab.viz.wrapper_stack import RewardStack, StackLayer, stack_name, stack_rows, wrapper_stack_figure
from imitation_lab.widgets.base import Row, View, button, control, ipw, is_model, notice, on_change

__all__ = ["WrapperStack"]

NONE = "–"
SLOTS = ("1st wrapper (inside)", "2nd wrapper", "3rd wrapper (outside)")


class WrapperStack(View):
    """Choose wrappers, inside first; see what each call returns at each layer, or why the order is refused.

    Args:
        base: a reward network, ``{name: network}``, or a ``RewardStack``.
        transitions: ``Transitions``, or ``(state, action, next_state, done)``.
        chosen: names of up to three wrappers to begin with, innermost first.
        **kwargs: as in ``RewardStack``: ``wrappers``, ``batch_size``.

    Attributes:
        model: the ``RewardStack``.
        base: dropdown of the network inside.
        slots: three dropdowns, the innermost wrapper first.
        batch: slider over batches.
        transition: slider over the transitions of a batch; the one shown in numbers.
        update: button that rewards this batch once with ``update_stats=True``; for stacks that keep statistics.
        status: the stack as code, or the error's text.
        image: the ``Picture``.
        numbers: the table.
    """

    _busy = False

    def __init__(self, base: Any, transitions: Any = None, *, chosen: Sequence[str] = (), **kwargs: Any) -> None:
        given = is_model(base, RewardStack, transitions, kwargs)
        self.model = base if given else RewardStack(base, transitions, **kwargs)
        self.model.build(chosen)
        self.base = control(ipw.Dropdown, "network", "The network inside all wrappers.", options=list(self.model.bases))
        self.slots = [
            control(ipw.Dropdown, text, f"What goes around the layers below: the {text}.",
                    options=[NONE, *self.model.wrappers], value=name)
            for text, name in zip(SLOTS, _filled(chosen), strict=True)
        ]  # fmt: skip
        last = self.model.n_batches - 1
        self.batch = control(ipw.IntSlider, "batch", "Which transitions to reward.", min=0, max=last)
        self.transition = control(
            ipw.IntSlider, "transition", "Which transition of the batch is shown in numbers.",
            min=0, max=self.model.batch_size - 1,
        )  # fmt: skip
        self.update = button(
            "Update statistics", "Reward this batch with update_stats=True: running statistics move.", self._update,
            icon="refresh",
        )  # fmt: skip
        self._layers: list[StackLayer] = self.model.layers()
        self.status = ipw.HTML()
        on_change(self._rebuild, self.base, *self.slots)
        on_change(self._show, self.batch, self.transition)
        what = Row([self.batch, self.transition, self.update])
        super().__init__(Row([self.base, *self.slots]), what, self.status)

    @property
    def net(self) -> RewardNet:
        """The stack, as far as it is legal."""
        return self.model.net

    @property
    def error(self) -> str | None:
        """The text of the error, or None."""
        return self.model.error

    def choose(self, *names: str) -> None:
        """Stack these wrappers, innermost first, as if chosen by hand."""
        self._busy = True
        try:
            for slot, name in zip(self.slots, _filled(names), strict=True):
                slot.value = name
        finally:
            self._busy = False
        self._rebuild()

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return wrapper_stack_figure(self._layers, self.transition.value)

    def rows(self) -> Rows:
        """Return the numbers shown."""
        return stack_rows(self._layers, self.transition.value)

    def _rebuild(self, _: Any = None) -> None:
        if self._busy:
            return
        self.model.build([slot.value for slot in self.slots if slot.value != NONE], self.base.value)
        self._show()

    def _update(self) -> None:
        self.model.update(self.batch.value)
        self._show()

    def _show(self, _: Any = None) -> None:
        self._layers = self.model.layers(self.batch.value)
        self.refresh()

    def _caption(self) -> str:
        return f"transition {self.transition.value} of batch {self.batch.value}"

    def _show_numbers(self, _: Any = None) -> None:
        super()._show_numbers()
        self.update.disabled = all(layer.statistics is None for layer in self._layers)
        code = f"<code>{html.escape(stack_name(self.net))}</code>"
        if self.error is not None:
            text = f"<b>refused</b> {html.escape(self.error)}<br>Below: the legal part, {code}"
            self.status.value = notice("alert", ORANGE, text)
        else:
            facts = [
                f"{layer.name}: mean {format_number(layer.statistics[0], 3)}, variance "
                f"{format_number(layer.statistics[1], 3)}, count {layer.statistics[2]:.0f}"
                for layer in self._layers
                if layer.statistics is not None
            ]
            self.status.value = "<br>".join([code, *map(html.escape, facts)])

    def _summary(self) -> str:
        return stack_name(self.net)


def _filled(names: Sequence[str]) -> list[str]:
    if len(names) > len(SLOTS):
        raise ValueError(f"there is room for {len(SLOTS)} wrappers, got {len(names)}.")
    return [*names, *[NONE] * (len(SLOTS) - len(names))]
