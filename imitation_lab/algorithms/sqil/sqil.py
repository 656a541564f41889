"""Soft Q imitation learning: the expert's transitions are worth 1, one's own 0.

S. Reddy, A. D. Dragan and S. Levine, "SQIL: imitation learning via reinforcement learning with sparse rewards", ICLR
2020. Any off-policy learner of a Q function becomes an imitator by three changes: its replay buffer holds the expert's
transitions too, with reward 1; what it experiences itself gets reward 0; and each batch has half of either. The loss is
the squared Bellman error of both halves (equation 2 and algorithm 1),

    δ²(expert, 1) + δ²(learner, 0)        δ²(D, r) = mean over D of (Q(s, a) − (r + γ V(s′)))²

with D and r in `SQILReplayBuffer`, γ the learner's `gamma`, V(s) = max_a Q(s, a) for DQN and E[Q − α log π] for SAC. Q
is high along what the expert did, and on ways back to it: unlike behavioral cloning the learner minds where an action
leads.

Departures from the paper:

1. The learner is the caller's: DQN takes a hard maximum and explores with ε, where the paper's V is the soft
   log Σ_a exp Q(s, a); SAC has the soft value; TD3 works in practice, for which there is no theory.
2. λ_samp, the weight of the learner's half, is 1.
3. Where an episode was cut off by a time limit, its last state keeps its value, as in SB3.
4. All rewards are 0 or more: where episodes can end early, living on is worth more than ending, whatever was
   demonstrated. Prefer environments of a fixed horizon (`imitation_lab.envs`). For that the published setting has no
   remedy, and none is enforced here; demonstrations of different lengths bring a warning.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import base, checkpoint, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.demonstrations import episode_lengths, sort_out
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.sqil.buffer import SQILReplayBuffer
from imitation_lab.data.spaces import check_supported
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import evaluating

__all__ = ["SQIL", "SQILReplayBuffer"]

_OWN = {"policy", "env", "replay_buffer_class", "demonstrations"}


class SQIL(saved.Saved, base.DemonstrationAlgorithm):
    """Trains an SB3 off-policy algorithm to imitate.

    Args:
        venv: the environments; their rewards are not used.
        demonstrations: trajectories, transitions, or finitely many batches of them; None to set them later.
        policy: the learner's policy, a name or a class, such as "MlpPolicy".
        custom_logger: where metrics go, those of the learner too.
        rl_algo_class: `DQN`, `SAC`, `TD3` or another off-policy algorithm of SB3.
        rl_kwargs: its further arguments, `seed` among them.

    Raises:
        TypeError: if `venv` or `rl_algo_class` is of another kind.
        ValueError: if the learner cannot handle the action space, an argument is SQIL's own to set, or demonstrations
            do not fit.

    Attributes:
        rl_algo: the learner.
    """

    _state = ("rl_algo", "_expert")

    def __init__(
        self,
        *,
        venv: VecEnv,
        demonstrations: base.AnyTransitions | None,
        policy: str | type[BasePolicy],
        custom_logger: lab_logger.AnyLogger | None = None,
        rl_algo_class: type[OffPolicyAlgorithm] = DQN,
        rl_kwargs: dict[str, Any] | None = None,
    ) -> None:
        kwargs = dict(rl_kwargs or {})
        _check(venv, rl_algo_class, kwargs)
        # The demonstrations come later: as an argument, SB3 would keep them a second time.
        buffer_kwargs = {**(kwargs.pop("replay_buffer_kwargs", None) or {}), "demonstrations": None}
        algorithm = rl_algo_class(
            policy, venv, replay_buffer_class=SQILReplayBuffer, replay_buffer_kwargs=buffer_kwargs, **kwargs
        )
        self.venv = venv
        self.rl_algo = algorithm
        super().__init__(demonstrations=demonstrations, custom_logger=custom_logger)
        algorithm.set_logger(self.logger)

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        self.rl_algo.set_logger(logger)

    @property
    def policy(self) -> BasePolicy:
        """The learner's policy."""
        policy = self.rl_algo.policy
        assert policy is not None
        return policy

    @property
    def replay_buffer(self) -> SQILReplayBuffer:
        """What the learner samples from."""
        buffer = self.rl_algo.replay_buffer
        assert isinstance(buffer, SQILReplayBuffer)
        return buffer

    def set_demonstrations(self, demonstrations: base.AnyTransitions) -> None:
        """Sets the expert's demonstrations; what the learner has experienced and learned stays.

        Raises:
            ValueError: if they are none, lack a field (all of obs, acts, next_obs and dones are needed), or do not fit
                the spaces.
            TypeError: if they are of no known kind.
        """
        _, demonstrations = sort_out(demonstrations)
        lengths = set(episode_lengths(demonstrations))
        if len(lengths) > 1:
            self.logger.warn(
                f"Demonstrated episodes have from {min(lengths)} to {max(lengths)} steps. SQIL's rewards are never "
                "negative, so a learner that can end an episode is paid for not doing so, whatever the expert did."
            )
        self.replay_buffer.set_demonstrations(demonstrations)

    def train(
        self,
        *,
        total_timesteps: int,
        tb_log_name: str = "SQIL",
        progress_bar: bool = True,
        stop: threading.Event | None = None,
        **kwargs: Any,
    ) -> None:
        """Trains the learner. An interrupt ends training; what was learned is kept.

        Args:
            total_timesteps: steps in all environments together, rounded up to whole rollouts of the learner.
            tb_log_name: the run's name in TensorBoard, where `rl_kwargs` has a `tensorboard_log`.
            progress_bar: whether to show progress, after two seconds.
            stop: training ends after the step during which this event is set.
            **kwargs: for the learner's `learn`. To go on where an earlier call ended, pass `reset_num_timesteps=False`.

        Raises:
            NotReadyError: a ValueError, if there are no demonstrations.
            ValueError: if `total_timesteps` is less than a rollout.
        """
        if not isinstance(self.rl_algo.replay_buffer, SQILReplayBuffer):  # another trainer has had the learner
            learner.take(self.rl_algo, self.venv, self.logger)
        if not self.replay_buffer.expert:
            raise base.NotReadyError("There are no demonstrations yet: call set_demonstrations first.")
        steps = learner.whole_steps(self.rl_algo, "total_timesteps", total_timesteps)
        with Run(self, steps, "step", progress_bar, stop) as run:
            learner.learn(self.rl_algo, steps, run.callback(), tb_log_name=tb_log_name, **kwargs)

    def _recover(self) -> None:
        self.rl_algo._last_obs = None  # the environments may be in the middle of a step

    def q_values(self, state: Any, action: np.ndarray, next_state: Any = None, done: Any = None) -> np.ndarray:
        """Q(s, a) as a `RewardFn`: how far into the future acting like this earns the expert's reward.

        Args:
            state: shape `(batch, *obs_shape)`, or a mapping of such arrays for `Dict` observations.
            action: shape `(batch, *act_shape)`, in the action space's units.
            next_state: not used.
            done: not used.

        Returns:
            Shape `(batch,)`, at most 1/(1 − γ) in theory; the least of several critics.

        Raises:
            TypeError: if the learner has neither a `q_net` nor a `critic`.
        """
        del next_state, done
        policy: Any = self.policy
        with th.no_grad(), evaluating(policy):
            obs, _ = policy.obs_to_tensor(state)
            if hasattr(policy, "q_net"):
                acts = th.as_tensor(np.asarray(action), device=policy.device).long().reshape(-1, 1)
                return policy.q_net(obs).gather(1, acts).squeeze(1).cpu().numpy()
            if not hasattr(policy, "critic"):
                raise TypeError(f"{type(policy).__name__} has neither a q_net nor a critic to ask for Q values.")
            scaled = policy.scale_action(np.asarray(action, dtype=np.float32))
            acts = th.as_tensor(scaled, device=policy.device).reshape(len(scaled), -1)
            return th.cat(policy.critic(obs, acts), dim=1).amin(dim=1).cpu().numpy()

    def _arguments(self) -> dict[str, Any]:
        made: dict[str, Any] = {"policy": self.rl_algo.policy_class, "rl_algo_class": type(self.rl_algo)}
        try:
            described = checkpoint.describe_algorithm(self.rl_algo)
        except TypeError as error:
            return {**made, "rl_kwargs": error}
        buffer = {"handle_timeout_termination": self.replay_buffer.handle_timeout_termination}
        return {**made, "rl_kwargs": {**checkpoint.decode(described["arguments"]), "replay_buffer_kwargs": buffer}}

    @classmethod
    def _from_file(cls, name: str, value: Any) -> Any:
        if name == "rl_kwargs":
            own = value.get("replay_buffer_kwargs", {})
            if own.keys() - {"handle_timeout_termination"}:
                raise ArtifactError("the checkpoint's replay_buffer_kwargs are damaged")
            checkpoint.check_choosable(value.keys() - {"replay_buffer_kwargs"})
        return value

    @property
    def _expert(self) -> dict[str, Any]:
        return self.replay_buffer.expert

    @_expert.setter
    def _expert(self, expert: dict[str, Any]) -> None:
        if not expert:
            return
        rows = len(expert["dones"])
        for name, like in self.replay_buffer.blank_expert().items():
            for key, part in like.items() if isinstance(like, dict) else [("", like)]:
                found = expert[name][key] if key else expert[name]
                if found.dtype != part.dtype or found.shape != (rows, *part.shape[1:]):
                    raise ArtifactError(
                        f"the expert's {name + key!r} is {found.dtype} of shape {found.shape}, expected {part.dtype} "
                        f"of shape {(rows, *part.shape[1:])}"
                    )
        self.replay_buffer.set_expert(expert)

    def _begin_anew(self) -> None:
        checkpoint.new_boundary(self.rl_algo, self.venv, lambda: int(np.random.randint(2**31)))  # noqa: NPY002


def _check(venv: VecEnv, cls: Any, kwargs: dict[str, Any]) -> None:
    """Raises TypeError or ValueError unless SQIL can build a `cls` for `venv`."""
    given = {*kwargs, *(kwargs.get("replay_buffer_kwargs") or {})}
    if taken := given & _OWN:
        raise ValueError(f"rl_kwargs has {min(taken)!r}, which SQIL sets itself: leave it out, or use SQIL's argument.")
    if not isinstance(venv, VecEnv):
        raise TypeError(f"venv must be a Stable-Baselines3 VecEnv, got {venv!r}: make one with util.make_vec_env.")
    if not (isinstance(cls, type) and issubclass(cls, OffPolicyAlgorithm)):
        raise TypeError(
            f"rl_algo_class must be an off-policy algorithm of Stable-Baselines3, such as DQN, SAC or TD3, got "
            f"{getattr(cls, '__name__', cls)}: SQIL learns from a replay buffer."
        )
    check_supported(venv.observation_space, venv.action_space)
    space = venv.action_space
    if issubclass(cls, DQN) and not isinstance(space, spaces.Discrete):
        raise ValueError(f"{cls.__name__} needs Discrete actions, but those of venv are {space}. Use SAC or TD3.")
    if issubclass(cls, SAC | TD3) and not isinstance(space, spaces.Box):
        raise ValueError(f"{cls.__name__} needs continuous (Box) actions, but those of venv are {space}. Use DQN.")
    if kwargs.get("n_steps", 1) != 1:
        raise ValueError(f"rl_kwargs has n_steps={kwargs['n_steps']}: SQIL's rewards are those of single steps. Use 1.")
    if kwargs.get("batch_size", 2) < 2:
        raise ValueError(f"batch_size is {kwargs['batch_size']}, expected at least 2: one transition of each kind.")
