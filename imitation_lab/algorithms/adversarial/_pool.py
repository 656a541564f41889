"""The transitions a discriminator learns from, as tensors on its device: encoded once, sampled by index."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces

from imitation_lab.algorithms.base import TensorSpec
from imitation_lab.data.spaces import cast_obs
from imitation_lab.rewards.reward_nets.base import RewardNet, RewardNetWrapper, wrapper_chain
from imitation_lab.util.artifacts import ArtifactError

Rows = dict[str, th.Tensor]
"""Tensors `(n, *shape)` by name; the keys of dictionary observations follow a slash, as in "state/camera"."""

FIELDS = ("obs", "acts", "next_obs", "dones")
_INPUTS = ("state", "action", "next_state", "done")
# Rows larger than this once encoded, which are images, are kept as they come and encoded batch by batch.
_MAX_ENCODED_BYTES = 4096


class TransitionEncoder:
    """From transitions to rows of tensors, and from rows to the inputs of the reward network and the policy.

    Args:
        reward_net: its `preprocess` encodes.
        observation_space: the environment's.
        action_space: the environment's.
        policy_space: the observation space of the policy whose log-probabilities are needed, if any; images may have
            their channels elsewhere.
    """

    def __init__(
        self,
        reward_net: RewardNet,
        observation_space: gym.Space,
        action_space: gym.Space,
        policy_space: gym.Space | None = None,
    ):
        self.reward_net = reward_net
        self.policy_space = policy_space
        self.spec = TensorSpec(FIELDS, reward_net.device, observation_space, action_space)
        blank = {"obs": _blank(observation_space), "acts": _blank(action_space), "dones": np.zeros(1, bool)}
        self._once = True
        self.template = self.rows({**blank, "next_obs": blank["obs"]})
        own = (RewardNet.preprocess, RewardNetWrapper.preprocess)
        plain = all(type(net).preprocess in own for net in wrapper_chain(reward_net))
        if not plain or sum(row.nbytes for row in self.template.values()) > _MAX_ENCODED_BYTES:
            self._once = False
            self.template = self.rows({**blank, "next_obs": blank["obs"]})

    def rows(self, transitions: Mapping[str, Any]) -> Rows:
        """Checked and encoded transitions.

        Args:
            transitions: arrays or tensors `(n, *shape)` under obs, acts, next_obs and dones.

        Raises:
            ValueError: if they do not fit the spaces, or a field is missing.
        """
        return self.encode(self.spec.tensors(transitions))

    def encode(self, tensors: Mapping[str, Any]) -> Rows:
        """Rows of tensors that `spec` has checked."""
        if not self._once:
            return _flatten({name: tensors[name] for name in FIELDS})
        inputs = self.reward_net.preprocess(*(tensors[name] for name in FIELDS))
        parts = dict(zip(_INPUTS, inputs, strict=True))
        if self.policy_space is not None:
            parts["policy_obs"] = cast_obs("obs", tensors["obs"], self.policy_space)
            parts["policy_acts"] = tensors["acts"]
        return _flatten(parts)

    def inputs(self, rows: Rows) -> tuple[Any, Any, Any, th.Tensor]:
        """State, action, next state and done as `RewardNet.forward` takes them."""
        if self._once:
            return tuple(_part(rows, name) for name in _INPUTS)
        return self.reward_net.preprocess(*(_part(rows, name) for name in FIELDS))

    def policy_inputs(self, rows: Rows) -> tuple[Any, th.Tensor]:
        """Observations and actions as a policy's `evaluate_actions` takes them."""
        assert self.policy_space is not None
        if self._once:
            return _part(rows, "policy_obs"), rows["policy_acts"]
        return cast_obs("obs", _part(rows, "obs"), self.policy_space), rows["acts"]


class SamplePool:
    """The expert's rows, followed by a ring of the learner's latest: one tensor per field, one gather per batch.

    Args:
        template: rows that show names, shapes and dtypes.
        capacity: how many of the learner's rows are kept.
        generator: CPU generator that draws the indices.
    """

    def __init__(self, template: Rows, capacity: int, generator: th.Generator):
        self.template = template
        self.capacity = capacity
        self.generator = generator
        self.n_expert = 0
        self.size = 0
        self.version = 0  # counts the changes of rows
        self._next = 0
        self._cursor = 0
        self._order = th.empty(0, dtype=th.int64)
        self.fields: Rows = {}
        self._allocate(0)

    def _allocate(self, n_expert: int) -> None:
        learner = {name: field[self.n_expert :] for name, field in self.fields.items()}
        self.fields = {
            name: row.new_zeros((n_expert + self.capacity, *row.shape[1:])) for name, row in self.template.items()
        }
        for name, old in learner.items():
            self.fields[name][n_expert:] = old
        self.n_expert = n_expert
        self._order, self._cursor = th.empty(0, dtype=th.int64), 0

    def set_expert(self, rows: Rows) -> None:
        """Replaces the expert's rows; passes over them begin anew."""
        n = len(next(iter(rows.values())))
        self._allocate(n)
        self.write_expert(rows)

    def write_expert(self, rows: Rows) -> None:
        """Overwrites all of the expert's rows by as many others."""
        self.version += 1
        for name, field in self.fields.items():
            field[: self.n_expert] = rows[name]

    def add(self, rows: Rows) -> None:
        """Stores rows of the learner's; of more than fit, the last."""
        self.version += 1
        n = len(next(iter(rows.values())))
        if n > self.capacity:
            rows = {name: row[n - self.capacity :] for name, row in rows.items()}
            n = self.capacity
        first = min(n, self.capacity - self._next)
        start = self.n_expert + self._next
        for name, field in self.fields.items():
            field[start : start + first] = rows[name][:first]
            field[self.n_expert : self.n_expert + n - first] = rows[name][first:]
        self._next = (self._next + n) % self.capacity
        self.size = min(self.size + n, self.capacity)

    def expert_index(self, n: int) -> th.Tensor:
        """`n` rows of the expert's, each at most once until a pass is over; what fills no batch is left out."""
        if self._cursor + n > len(self._order):
            self._order, self._cursor = th.randperm(self.n_expert, generator=self.generator), 0
        self._cursor += n
        return self._order[self._cursor - n : self._cursor]

    def learner_index(self, n: int) -> th.Tensor:
        """`n` rows of the learner's, uniformly with replacement."""
        return th.randint(self.n_expert, self.n_expert + self.size, (n,), generator=self.generator)

    def rows(self, index: th.Tensor | slice) -> Rows:
        """The rows at `index`, an int64 tensor `(n,)`; of a slice, views."""
        if isinstance(index, slice):
            return {name: field[index] for name, field in self.fields.items()}
        index = index.to(next(iter(self.fields.values())).device)
        return {name: field.index_select(0, index) for name, field in self.fields.items()}

    @property
    def expert(self) -> slice:
        """Where the expert's rows are."""
        return slice(0, self.n_expert)

    @property
    def learner(self) -> slice:
        """Where the learner's rows are."""
        return slice(self.n_expert, self.n_expert + self.size)

    def state_dict(self) -> dict[str, Any]:
        """The rows, and where the passes are."""
        rows = {name: field[: self.n_expert + self.size] for name, field in self.fields.items()}
        return {"rows": rows, "order": self._order, "counts": [self.n_expert, self.size, self._next, self._cursor]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts them back; ArtifactError if they do not fit."""
        n_expert, size, next_, cursor = state["counts"]
        if not (0 <= size <= self.capacity and 0 <= next_ < self.capacity):
            raise ArtifactError(f"the checkpoint's rows do not fit a capacity of {self.capacity}")
        for name, row in self.template.items():
            found, shape = state["rows"][name].shape, (n_expert + size, *row.shape[1:])
            if found != shape:
                raise ArtifactError(f"the checkpoint's rows {name!r} have shape {found}, expected {shape}")
        self.version += 1
        self.fields = {}
        self._allocate(n_expert)
        for name, rows in state["rows"].items():
            self.fields[name][: n_expert + size] = th.as_tensor(rows)
        self.size, self._next, self._cursor = size, next_, cursor
        self._order = th.as_tensor(state["order"])


def join(first: Rows, second: Rows) -> Rows:
    """The rows of both."""
    return {name: th.cat([first[name], second[name]]) for name in first}


def cut(part: Any, rows: slice) -> Any:
    """The rows of a tensor, or of each in a dict."""
    return {key: value[rows] for key, value in part.items()} if isinstance(part, dict) else part[rows]


def count(rows: Rows) -> int:
    """How many rows there are."""
    return len(next(iter(rows.values())))


def _blank(space: gym.Space) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _blank(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Box):
        # The bound that is nearer to 0 lies inside, where 0 may not.
        return np.clip(np.zeros((1, *space.shape), space.dtype), space.low, space.high).astype(space.dtype)
    return np.zeros((1, *(space.shape or ())), space.dtype)


def _flatten(parts: Mapping[str, Any]) -> Rows:
    rows: Rows = {}
    for name, part in parts.items():
        if isinstance(part, dict):
            rows.update({f"{name}/{key}": value for key, value in part.items()})
        else:
            rows[name] = part
    return rows


def _part(rows: Rows, name: str) -> Any:
    found = rows.get(name)
    if found is not None:
        return found
    return {key.removeprefix(f"{name}/"): row for key, row in rows.items() if key.startswith(f"{name}/")}
