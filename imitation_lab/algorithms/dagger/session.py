"""Episodes that a human and a policy steer together, a step at a time, with nothing that waits for the human."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms.dagger.collector import RobotActs
from imitation_lab.data import types
from imitation_lab.data.recorder import last_observation
from imitation_lab.util import util

__all__ = ["SessionStep", "InteractiveSession"]


@dataclasses.dataclass
class SessionStep:
    """One step.

    Attributes:
        executed: the action that was taken, `act_shape`.
        label: what the human would do; None where nobody said.
        by_human: whether the human was in control.
        rew: the environment's reward.
    """

    executed: np.ndarray
    label: np.ndarray | None
    by_human: bool
    rew: float


@dataclasses.dataclass
class _Episode:
    seed: int
    obs: list[Any]  # one more than steps
    steps: list[SessionStep] = dataclasses.field(default_factory=list)
    done: bool = False
    taken: int = 0  # steps whose labels have been handed out

    def labelled(self) -> Iterator[tuple[int, int]]:
        """Stretches `[begin, end)` of labelled steps that have not been handed out."""
        begin = None
        for i in range(self.taken, len(self.steps) + 1):
            has = i < len(self.steps) and self.steps[i].label is not None
            if has and begin is None:
                begin = i
            elif not has and begin is not None:
                yield begin, i
                begin = None


class InteractiveSession:
    """One environment, steered by a human and a policy in turn; every action that the human names is kept.

    While the human is in control, what he does is a demonstration. While the policy is, he may say what he would do
    (a label, as DAgger's; the policy acts all the same), or watch. M. Kelly et al., "HG-DAgger: Interactive imitation
    learning with human experts", ICRA 2019, has the human watch and take over where he would not go on like this.

    Nothing blocks, and all calls are thread-safe. A step back repeats the episode from its seed.

    Args:
        venv: one environment, which nothing else steps meanwhile.
        policy: what acts while the human is not in control, an SB3 policy (of which a copy acts, see `refresh`), or a
            callable from observations `(1, *obs_shape)` to actions; None leaves the human in control.
        rng: draws the episodes' seeds.

    Attributes:
        venv: as given.
        in_control: whether the human is.
        repeatable: whether the environment has repeated itself from its seed so far, as undoing a step needs.

    Raises:
        ValueError: there is more than one environment, or the policy has other spaces.
    """

    def __init__(
        self, venv: VecEnv, policy: BasePolicy | Callable[[Any], Any] | None, rng: np.random.Generator
    ) -> None:
        if venv.num_envs != 1:
            raise ValueError(f"venv has {venv.num_envs} environments, expected 1: a human looks at one at a time.")
        self.venv = venv
        self.in_control = True
        self.repeatable = True
        self._source = policy
        self._policy = copy.deepcopy(policy) if isinstance(policy, BasePolicy) else policy
        self._robot = None if policy is None else RobotActs(self._policy, venv, rng)
        self._rng = rng
        self._lock = threading.RLock()
        self._episodes: list[_Episode] = []
        self.restart()

    # Where we are.

    @property
    def obs(self) -> Any:
        """The observation the next action is for, `obs_shape` or a dict of such."""
        return self._episodes[-1].obs[-1]

    @property
    def position(self) -> tuple[int, int]:
        """Episode and step, both from 0."""
        with self._lock:
            return len(self._episodes) - 1, len(self._episodes[-1].steps)

    @property
    def has_policy(self) -> bool:
        """Whether there is a policy to hand back to."""
        return self._robot is not None

    @property
    def episodes(self) -> list[list[SessionStep]]:
        """The steps of all episodes, the running one last."""
        with self._lock:
            return [list(episode.steps) for episode in self._episodes]

    def counts(self) -> dict[str, int]:
        """Steps demonstrated, labelled while the policy acted, and watched; labels of either kind that are unsaved."""
        with self._lock:
            steps = [step for episode in self._episodes for step in episode.steps]
            return {
                "demonstrated": sum(step.by_human for step in steps),
                "labelled": sum(not step.by_human and step.label is not None for step in steps),
                "watched": sum(step.label is None for step in steps),
                "unsaved": sum(end - begin for episode in self._episodes for begin, end in episode.labelled()),
            }

    # What the human does.

    def act(self, action: Any) -> None:
        """Says what to do here. It is done if the human is in control; else the policy acts, and this is a label.

        Raises:
            ValueError: the action is not in the action space.
        """
        space = self.venv.action_space
        label = np.asarray(action, dtype=space.dtype)
        if not space.contains(label[()] if isinstance(space, spaces.Discrete) else label):
            raise ValueError(f"The action {action!r} is not in {space}.")
        with self._lock:
            self._step(label if self.in_control else self._robot_act(), label)

    def watch(self, n: int = 1) -> int:
        """Lets the policy act for `n` steps without labels, or to the end of the episode; returns for how many.

        The policy is then in control.

        Raises:
            ValueError: there is no policy.
        """
        with self._lock:
            self.hand_back()
            episode = len(self._episodes)
            for i in range(n):
                self._step(self._robot_act(), None)
                if len(self._episodes) > episode:
                    return i + 1
            return n

    def take_over(self) -> None:
        """Puts the human in control."""
        self.in_control = True

    def hand_back(self) -> None:
        """Puts the policy in control.

        Raises:
            ValueError: there is no policy.
        """
        if self._robot is None:
            raise ValueError("There is no policy to hand back to: make the session with one, such as trainer.policy.")
        self.in_control = False

    def restart(self) -> None:
        """Begins a new episode; what was labelled stays."""
        with self._lock:
            seed = util.make_seeds(self._rng)
            self._episodes.append(_Episode(seed, [self._reset(seed)]))

    def undo(self) -> bool:
        """Goes back to before the last action that the human named; steps since then are forgotten.

        Returns:
            Whether there was one that had not been handed out. If the environment does not repeat itself from its seed,
            the label is forgotten, a new episode begins, and `repeatable` is False.
        """
        with self._lock:
            for number in range(len(self._episodes) - 1, -1, -1):
                episode = self._episodes[number]
                last = max((end - 1 for _, end in episode.labelled()), default=None)
                if last is not None:
                    break
                if episode.taken:
                    return False
            else:
                return False
            del self._episodes[number + 1 :], episode.steps[last:], episode.obs[last + 1 :]
            episode.done = False
            obs = self._reset(episode.seed)
            same = True
            for step in episode.steps:
                batch, _, dones, _ = self.venv.step(step.executed[None])
                same = same and not dones[0]
                obs = _first(batch)
            if same and _equal(obs, episode.obs[-1]):
                return True
            self.repeatable = False
            self.restart()
            return True

    def refresh(self) -> None:
        """Lets the policy act as it does now: what acts here is a copy, which training does not disturb."""
        if isinstance(self._policy, BasePolicy):
            self._policy.load_state_dict(self._source.state_dict())  # type: ignore[union-attr]

    # What comes out.

    def trajectories(self) -> list[types.TrajectoryWithRew]:
        """Every stretch of steps that the human labelled and `mark_saved` has not covered.

        Observations with the human's actions, whoever acted; `infos` say who, as `{"by_human": True}`. `terminal` where
        a stretch reaches the end of its episode.
        """
        with self._lock:
            return [self._cut(episode, begin, end) for episode in self._episodes for begin, end in episode.labelled()]

    def mark_saved(self) -> None:
        """Never gives out again what `trajectories` has given so far, and does not undo it."""
        with self._lock:
            for episode in self._episodes:
                episode.taken = len(episode.steps)

    def _cut(self, episode: _Episode, begin: int, end: int) -> types.TrajectoryWithRew:
        steps = episode.steps[begin:end]
        obs = [types.maybe_wrap_in_dictobs(o) for o in episode.obs[begin : end + 1]]
        return types.TrajectoryWithRew(
            obs=types.stack_maybe_dictobs(obs),
            acts=np.stack([np.asarray(step.label) for step in steps]),
            infos=[{"by_human": step.by_human} for step in steps],
            terminal=episode.done and end == len(episode.steps),
            rews=np.array([step.rew for step in steps], np.float32),
        )

    def _robot_act(self) -> np.ndarray:
        assert self._robot is not None
        obs = self.obs
        batch = {key: value[None] for key, value in obs.items()} if isinstance(obs, dict) else obs[None]
        return np.asarray(self._robot(batch))[0]

    def _reset(self, seed: int) -> Any:
        self.venv.seed(seed)
        return _first(self.venv.reset())

    def _step(self, executed: np.ndarray, label: np.ndarray | None) -> None:
        episode = self._episodes[-1]
        batch, rews, dones, infos = self.venv.step(executed[None])
        episode.steps.append(SessionStep(np.array(executed), label, self.in_control, float(rews[0])))
        episode.obs.append(copy.deepcopy(last_observation(0, infos)) if dones[0] else _first(batch))
        if dones[0]:
            episode.done = True
            self.restart()


def _equal(a: Any, b: Any) -> bool:
    """Whether two observations are the same, dicts by their parts."""
    if isinstance(a, dict):
        return all(np.array_equal(a[key], b[key]) for key in a)
    return np.array_equal(a, b)


def _first(batch: Any) -> Any:
    """A copy of the observation of the first environment."""
    return {key: np.array(v[0]) for key, v in batch.items()} if isinstance(batch, dict) else np.array(batch[0])
