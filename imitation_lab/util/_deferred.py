"""What a logger holds back: tensors stay on their devices, means are sums, until somebody looks or all is written."""

import numbers
from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common import logger as sb_logger

Exclude = str | tuple[str, ...] | None


def is_scalar(value: Any) -> bool:
    return isinstance(value, th.Tensor) and value.numel() == 1


def has_mean(value: Any) -> bool:
    return value is None or isinstance(value, numbers.Real | np.bool_) or is_scalar(value)


def fetch(tensors: dict[str, th.Tensor]) -> dict[str, float | int]:
    """Python numbers for one-element tensors, with one transfer per device."""
    by_device: defaultdict[th.device, list[str]] = defaultdict(list)
    for key, tensor in tensors.items():
        by_device[tensor.device].append(key)
    numbers: dict[str, float | int] = {}
    for keys in by_device.values():
        stacked = th.stack([tensors[key].reshape(()).to(th.float64) for key in keys])
        for key, number in zip(keys, stacked.tolist(), strict=True):
            numbers[key] = number if tensors[key].is_floating_point() else int(number)
    return numbers


class Values(defaultdict[str, Any]):
    """A logger's `name_to_value`, in which tensors and sums on devices become numbers once somebody looks."""

    def __init__(self, factory: Any = float, *args: Any) -> None:
        self.counts: dict[str, int] = {}
        self._tensors: dict[str, th.Tensor] = {}
        self._sums: dict[str, Any] = {}
        self._news = False
        super().__init__(factory, *args)

    def hold(self, key: str, tensor: th.Tensor) -> None:
        """Takes a tensor, as it is now."""
        self._sums.pop(key, None)
        self._tensors[key] = tensor.detach().clone()
        self._expect(key)

    def add(self, key: str, val: Any) -> None:
        """Adds a number or a tensor without dimension to the mean of a key, whose count it raises."""
        self._tensors.pop(key, None)
        total, count = self._sums.get(key), self.counts.get(key, 0)
        if total is None and count:  # somebody else has begun the mean
            total = super().__getitem__(key) * count
        if total is None:
            self._sums[key] = val.to(th.float64, copy=True) if isinstance(val, th.Tensor) else val + 0.0
        elif isinstance(total, th.Tensor):
            total.add_(val.to(total.device) if isinstance(val, th.Tensor) else val)
        else:
            self._sums[key] = total + (val.to(th.float64) if isinstance(val, th.Tensor) else val)
        self.counts[key] = count + 1
        self._expect(key)

    def _expect(self, key: str) -> None:
        dict.setdefault(self, key, None)  # whoever counts the entries by C sees it, in its place
        self._news = True

    def _settle(self) -> None:
        if not self._news:
            return
        self._news = False
        totals = self._sums | fetch({key: total for key, total in self._sums.items() if isinstance(total, th.Tensor)})
        values = {key: total / self.counts[key] for key, total in totals.items()} | fetch(self._tensors)
        self._tensors.clear()
        for key, value in values.items():
            super().__setitem__(key, value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._tensors.pop(key, None)
        self._sums.pop(key, None)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._settle()
        self._sums.pop(key, None)
        super().__delitem__(key)

    # dict's own would write and delete past the two above.
    update, pop, popitem = MutableMapping.update, MutableMapping.pop, MutableMapping.popitem

    def __ior__(self, other: Any) -> "Values":  # type: ignore[misc, override]
        self.update(other)
        return self

    def clear(self) -> None:
        self._tensors.clear()
        self._sums.clear()
        self._news = False
        super().clear()

    def __reduce__(self) -> Any:
        self._settle()
        return Values, (self.default_factory,), {"counts": self.counts}, None, iter(self.items())


def looking(name: str) -> Any:
    looked = getattr(defaultdict, name)

    def look(self: Values, *args: Any) -> Any:
        self._settle()
        return looked(self, *args)

    return look


for _name in (
    "__getitem__", "__contains__", "__iter__", "__len__", "__eq__", "__ne__", "__or__", "__ror__", "__repr__",
    "__reversed__", "get", "items", "keys", "values", "copy", "setdefault",
):  # fmt: skip
    setattr(Values, _name, looking(_name))


class Deferred:
    """Records into a logger, whose tensors stay on their devices until somebody looks or `dump` writes them."""

    def __init__(self, logger: sb_logger.Logger):
        self.logger = logger
        if not isinstance(logger.name_to_value, Values):  # it is if another hierarchy has this logger too
            values = Values()
            values.update(logger.name_to_value)
            values.counts = logger.name_to_count
            logger.name_to_value = values
        self._values: Values = logger.name_to_value

    def record(self, key: str, val: Any, exclude: Exclude) -> None:
        self.logger.name_to_count.pop(key, None)
        if is_scalar(val):
            self.logger.name_to_excluded[key] = self.logger.to_tuple(exclude)
            self._values.hold(key, val)
        else:
            self.logger.record(key, val, exclude)

    def record_mean(self, key: str, val: Any, exclude: Exclude) -> None:
        if val is None:
            self.record(key, None, exclude)
            return
        if isinstance(val, th.Tensor):
            if not is_scalar(val):
                raise ValueError(
                    f"The mean of {key!r} needs numbers or one-element tensors, got shape {tuple(val.shape)}."
                )
            val = val.detach().reshape(())
        self.logger.name_to_excluded[key] = self.logger.to_tuple(exclude)
        self._values.add(key, val)

    def dump(self, step: int) -> None:
        self.logger.dump(step)
        for held in (self.logger.name_to_value, self.logger.name_to_count, self.logger.name_to_excluded):
            held.clear()  # which a silenced logger does not do
