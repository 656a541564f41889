"""What all imitation algorithms share: the logger, the check for a fixed horizon, and demonstrations as batches."""

import abc
from collections.abc import Iterable, Mapping
from typing import Any, Generic

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch.utils import data as th_data

from imitation_lab.algorithms._shared.demonstrations import (
    AnyTransitions,
    BatchStream,
    TensorLoader,
    TensorSpec,
    TransitionKind,
    TransitionTensors,
    all_tensors,
    demonstration_tensors,
)
from imitation_lab.algorithms._shared.logged import Logged
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.saved import Saved
from imitation_lab.data import types
from imitation_lab.util import checks
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.util import seeded_torch

__all__ = [
    "AnyTransitions",
    "BaseImitationAlgorithm",
    "BatchStream",
    "DemonstrationAlgorithm",
    "NotReadyError",
    "Run",
    "Saved",
    "TensorLoader",
    "TensorSpec",
    "TransitionKind",
    "TransitionTensors",
    "all_tensors",
    "demonstration_tensors",
    "make_data_loader",
    "seeded_torch",
]


class NotReadyError(ValueError, RuntimeError):
    """Something has to come first, such as demonstrations before training."""


class BaseImitationAlgorithm(Logged):
    """Base class of all imitation learning and reward learning algorithms.

    Where episodes end early on failure or on success, their length alone tells how well the agent does. A learned
    reward that is positive everywhere then teaches an agent to survive, one that is negative everywhere to end the
    episode, whatever was demonstrated: a wrong reward may look right, and another algorithm may look wrong (Kostrikov
    et al. 2019; Gleave et al. 2022). Algorithms that learn rewards therefore refuse episodes of different
    lengths, unless told otherwise.

    Args:
        custom_logger: where metrics go: a logger of `util.logger.configure`, or one or more formats by name, such as
            "tensorboard", "csv" or "wandb"; None makes a new one with `configure()`. `logger.get_dir()` is its folder.
        allow_variable_horizon: whether episodes may differ in length.

    Attributes:
        allow_variable_horizon: as given.
        interrupted: whether the last training was, from the keyboard.
    """

    interrupted = False

    def __init__(
        self, *, custom_logger: lab_logger.AnyLogger | None = None, allow_variable_horizon: bool = False
    ) -> None:
        super().__init__(lab_logger.as_logger(custom_logger))
        self.allow_variable_horizon = allow_variable_horizon
        self._horizon: int | None = None
        if allow_variable_horizon:
            self.logger.warn(
                "allow_variable_horizon=True: the length of an episode may give the task away, so results may say "
                "little about the learned reward."
            )

    def _check_fixed_horizon(self, trajectories: Iterable[types.Trajectory]) -> None:
        """Checks that all finished episodes, now and in earlier calls, have one length.

        Raises:
            ValueError: if two lengths differ and `allow_variable_horizon` is False.
        """
        self._check_horizons(len(trajectory) for trajectory in trajectories if trajectory.terminal)

    def _check_horizons(self, horizons: Iterable[int]) -> None:
        """`_check_fixed_horizon` by the lengths of finished episodes."""
        if self.allow_variable_horizon:
            return
        for horizon in horizons:
            if self._horizon is None:
                self._horizon = int(horizon)
            elif horizon != self._horizon:
                raise ValueError(
                    f"Episodes differ in length: one has {horizon} steps, an earlier one {self._horizon}. The moment "
                    "at which an episode ends leaks information about the reward, so a learner may seem to succeed "
                    "or fail whatever reward it has learned. Two ways out: make the horizon fixed with the wrappers "
                    "imitation_lab.envs.wrappers.AbsorbAfterDone or AutoReset, or, if you want this nonetheless, "
                    "pass allow_variable_horizon=True."
                )


class DemonstrationAlgorithm(BaseImitationAlgorithm, Generic[TransitionKind]):
    """Base class of algorithms that learn from demonstrations.

    Args:
        demonstrations: passed to `set_demonstrations`, unless None.
        custom_logger: see `BaseImitationAlgorithm`.
        allow_variable_horizon: see `BaseImitationAlgorithm`.
    """

    def __init__(
        self,
        *,
        demonstrations: AnyTransitions | None,
        custom_logger: lab_logger.AnyLogger | None = None,
        allow_variable_horizon: bool = False,
    ) -> None:
        super().__init__(custom_logger=custom_logger, allow_variable_horizon=allow_variable_horizon)
        if demonstrations is not None:
            self.set_demonstrations(demonstrations)

    @abc.abstractmethod
    def set_demonstrations(self, demonstrations: AnyTransitions) -> None:
        """Sets what to learn from; earlier demonstrations are forgotten."""

    @property
    @abc.abstractmethod
    def policy(self) -> BasePolicy:
        """The policy that imitates the demonstrations."""


# Options of torch's DataLoader that say how rows are fetched. There is nothing to fetch here.
_IDLE_OPTIONS = {
    *("num_workers", "worker_init_fn", "multiprocessing_context", "persistent_workers", "prefetch_factor"),
    *("pin_memory", "pin_memory_device", "timeout", "in_order"),
}
_OWN_OPTIONS = {"shuffle", "drop_last", "generator"}


def make_data_loader(
    transitions: AnyTransitions,
    batch_size: int,
    data_loader_kwargs: Mapping[str, Any] | None = None,
    *,
    fields: Iterable[str] | None = None,
    device: th.device | str = "cpu",
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
) -> Iterable[dict[str, Any]]:
    """Batches of exactly `batch_size` transitions; iterate again for another pass, in another order.

    Args:
        transitions: transitions or trajectories, which become tensors once; or an iterable of batches (mappings),
            which are checked and passed on in their own order.
        batch_size: transitions in a batch.
        data_loader_kwargs: options of `torch.utils.data.DataLoader`. `shuffle` and `drop_last` (both True by default)
            and `generator` mean what they mean there; options about workers and pinned memory have nothing to do
            here; any other, such as `sampler`, is honoured by a real `DataLoader`, which is many times slower.
        fields: names among obs, acts, next_obs, dones, rews and infos; None gives all there are.
        device: where the tensors live.
        observation_space: where given, observations are checked and cast.
        action_space: where given, actions are checked and cast.

    Returns:
        An iterable of dictionaries: a tensor `(batch_size, *shape)` under each field's name (dictionary observations
        are dictionaries of tensors), infos as an object array.

    Raises:
        TypeError: if `transitions` is of no such kind.
        ValueError: if `batch_size` is not positive, there are fewer transitions than that, a batch has another size,
            the data does not fit the spaces, or options are given for batches that are made already.
    """
    options = dict(data_loader_kwargs or {})
    checks.integers(1, batch_size=batch_size)
    spec = TensorSpec(None if fields is None else tuple(fields), device, observation_space, action_space)
    tensors = demonstration_tensors(transitions, spec, batch_size)
    if isinstance(tensors, BatchStream):
        if options:
            raise ValueError(
                f"data_loader_kwargs={options} cannot apply to batches that are made already: leave it out, or pass "
                "the transitions themselves."
            )
        return tensors
    if set(options) <= _OWN_OPTIONS | _IDLE_OPTIONS:
        return tensors.batches(batch_size, **{key: options[key] for key in options.keys() & _OWN_OPTIONS})
    return _torch_loader(tensors, batch_size, options)


def _torch_loader(tensors: TransitionTensors, batch_size: int, options: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """A DataLoader over the row numbers, whose collation is a gather."""

    def gather(rows: list[int]) -> dict[str, Any]:
        return tensors.rows(th.as_tensor(rows)).fields

    chosen: dict[str, Any] = {"collate_fn": gather, **options}
    if "batch_sampler" not in options:
        chosen = {"batch_size": batch_size, "drop_last": True, **chosen}
        if "sampler" not in options:
            chosen.setdefault("shuffle", True)
    return th_data.DataLoader(range(len(tensors)), **chosen)  # type: ignore[arg-type]
