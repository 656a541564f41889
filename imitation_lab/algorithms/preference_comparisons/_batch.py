"""Pairs of fragments as flat tensors: what a batch of comparisons is computed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch as th

from imitation_lab.data import types
from imitation_lab.util.util import safe_to_tensor

Pairs = Sequence[types.TrajectoryPair]


class Transitions(NamedTuple):
    """Rows as `RewardNet.preprocess` takes them, each `(rows, *shape)`; observations may be dicts."""

    state: Any
    action: th.Tensor
    next_state: Any
    done: th.Tensor


def discounts(n: int, gamma: float, like: th.Tensor) -> th.Tensor:
    """γ⁰ … γⁿ⁻¹, shape `(n,)`."""
    return th.pow(gamma, th.arange(n, device=like.device, dtype=like.dtype))


class FragmentBatch(Sequence[types.TrajectoryPair]):
    """Pairs of fragments, as a sequence and as tensors.

    The fragments lie one after another, the two of a pair together. Where all have one length, selecting pairs and
    summing rewards are reshapes; where not, rows are gathered and added by fragment, and there is no padding that a
    norm layer could see.

    Attributes:
        obs: `(Σ(T + 1), *obs_shape)` or a dict of such.
        acts: `(ΣT, *act_shape)`.
        dones: `(ΣT,)` bool.
        rews: true rewards `(ΣT,)`, None where a fragment has none.
        lengths: T of each fragment, `(2 · pairs,)`.
    """

    def __init__(
        self,
        obs: Any,
        acts: th.Tensor,
        dones: th.Tensor,
        rews: th.Tensor | None,
        lengths: np.ndarray,
        source: Pairs,
        index: np.ndarray,
    ) -> None:
        self.obs, self.acts, self.dones, self.rews, self.lengths = obs, acts, dones, rews, lengths
        self._source, self._index = source, index
        first = int(lengths[0])
        self.common_length = first if (lengths == first).all() else None

    @classmethod
    def of(cls, pairs: Pairs, device: th.device, dtype: th.dtype) -> FragmentBatch:
        """The pairs' arrays on `device`, floating-point ones as `dtype`: one concatenation per field.

        Raises:
            ValueError: if there are no pairs, or observations or actions differ in shape.
        """
        if isinstance(pairs, FragmentBatch):
            return pairs
        pairs = list(pairs)
        if not pairs:
            raise ValueError("Got no pairs of fragments, expected at least one to compare.")
        fragments = [fragment for pair in pairs for fragment in pair]

        def tensor(parts: list[np.ndarray], name: str) -> th.Tensor:
            try:
                whole = safe_to_tensor(np.concatenate(parts))
            except ValueError:
                shapes = sorted({part.shape[1:] for part in parts})
                raise ValueError(f"Fragments differ in the shape of {name} per step: {shapes}, expected one.") from None
            return whole.to(device, dtype) if whole.is_floating_point() else whole.to(device)

        observations: list[Any] = [fragment.obs for fragment in fragments]
        obs: Any
        if isinstance(observations[0], types.DictObs):
            obs = {key: tensor([o.get(key) for o in observations], f"obs[{key!r}]") for key in observations[0].unwrap()}
        else:
            obs = tensor(observations, "obs")
        lengths = np.fromiter(map(len, fragments), np.int64, len(fragments))
        dones = np.zeros(lengths.sum(), dtype=bool)
        dones[np.cumsum(lengths) - 1] = [fragment.terminal for fragment in fragments]
        rews = None
        if all(isinstance(fragment, types.TrajectoryWithRew) for fragment in fragments):
            rews = tensor([fragment.rews for fragment in fragments], "rews")  # type: ignore[attr-defined]
        acts = tensor([fragment.acts for fragment in fragments], "acts")
        return cls(obs, acts, tensor([dones], "dones"), rews, lengths, pairs, np.arange(len(pairs)))

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._index)

    @overload
    def __getitem__(self, key: int) -> types.TrajectoryPair: ...

    @overload
    def __getitem__(self, key: slice) -> FragmentBatch: ...

    def __getitem__(self, key: Any) -> Any:
        return self.take(np.arange(len(self))[key]) if isinstance(key, slice) else self._source[int(self._index[key])]

    def take(self, index: np.ndarray) -> FragmentBatch:
        """The pairs at `index`, `(n,)`, in that order; a pair may come more than once."""
        fragments = (2 * index[:, None] + np.arange(2)).ravel()
        lengths, length = self.lengths[fragments], self.common_length
        if length is None:
            ends = np.cumsum(self.lengths)
            starts = (ends - self.lengths)[fragments]
            steps = self._rows(starts, lengths)
            obs_steps = self._rows(starts + fragments, lengths + 1)

            def gather(x: th.Tensor, extra: int) -> th.Tensor:
                return x[obs_steps if extra else steps]
        else:
            rows = th.from_numpy(fragments).to(self.acts.device)

            def gather(x: th.Tensor, extra: int) -> th.Tensor:
                blocks = x.view(len(self.lengths), length + extra, *x.shape[1:])
                return blocks.index_select(0, rows).flatten(0, 1)

        return FragmentBatch(
            obs=types.map_maybe_dict(lambda x: gather(x, 1), self.obs),
            acts=gather(self.acts, 0),
            dones=gather(self.dones, 0),
            rews=None if self.rews is None else gather(self.rews, 0),
            lengths=lengths,
            source=self._source,
            index=self._index[index],
        )

    def _rows(self, starts: np.ndarray, lengths: np.ndarray) -> th.Tensor:
        """The numbers start … start + length − 1 of every fragment, one after another."""
        before = np.cumsum(lengths) - lengths
        rows = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        return th.from_numpy(rows).to(self.acts.device)

    def transitions(self) -> Transitions:
        """All steps of all fragments, `ΣT` rows."""
        n, length = len(self.lengths), self.common_length
        if length is not None:

            def cut(x: th.Tensor, begin: int) -> th.Tensor:
                return x.view(n, length + 1, *x.shape[1:])[:, begin : begin + length].flatten(0, 1)
        else:
            starts = np.cumsum(self.lengths) - self.lengths + np.arange(n)
            rows = self._rows(starts, self.lengths)

            def cut(x: th.Tensor, begin: int) -> th.Tensor:
                return x[rows + begin]

        state = types.map_maybe_dict(lambda x: cut(x, 0), self.obs)
        next_state = types.map_maybe_dict(lambda x: cut(x, 1), self.obs)
        return Transitions(state, self.acts, next_state, self.dones)

    def differences(self, rewards: th.Tensor, gamma: float) -> th.Tensor:
        """Σ γᵗ r₁ₜ − Σ γᵗ r₂ₜ of each pair, `(..., pairs)`, from rewards `(..., ΣT)`; t counts from 0 per fragment."""
        n, length = len(self.lengths), self.common_length
        if length is not None:
            blocks = rewards.unflatten(-1, (n, length))
            returns = blocks.sum(-1) if gamma == 1 else blocks @ discounts(length, gamma, rewards)
        else:
            lengths = th.from_numpy(self.lengths).to(rewards.device)
            if gamma != 1:
                longest = discounts(int(self.lengths.max()), gamma, rewards)
                rewards = rewards * longest[self._rows(np.zeros_like(self.lengths), self.lengths)]
            owner = th.repeat_interleave(lengths)
            returns = rewards.new_zeros(*rewards.shape[:-1], n).index_add(-1, owner, rewards)
        return returns[..., 0::2] - returns[..., 1::2]
