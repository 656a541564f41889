"""Imitation from a density: reward what the expert did often.

Fit a kernel density estimate to the expert's transitions, and let an RL algorithm maximise its logarithm:

    r(x) = log p(x)        p(x) = 1/(n hᵈ c) Σ_i K(‖x − x_i‖ / h)

with x `(d,)` the state, state and action, or state and next state, as flat numbers (`density_type`), x_i the n
demonstrated ones, h `kernel_bandwidth`, K the kernel (for the Gaussian K(u) = exp(−u²/2)) and c = ∫K. The estimate is
that of E. Parzen, "On estimation of a probability density function and mode", 1962. As a reward it is a baseline that
no single paper stands for; R. Wang, C. Ciliberto, P. Amadori and Y. Demiris, "Random expert distillation", ICML 2019,
estimate the support of the expert's policy to the same end.

What to know:

1. With `standardise_inputs` each dimension is first shifted and scaled to mean 0 and variance 1 over the
   demonstrations: h is then in standard deviations, and p the density of the standardised values. A dimension that
   never varies is only shifted.
2. Discrete states and actions are one-hot, dictionaries and images are flattened.
3. Not stationary, there is one density for each time step, r_t(x) = log p_t(x), standardised over all steps together.
   The learner's time step is counted in the environments. Its policy and value function do not see the time.
4. Sums run over all demonstrated points. scikit-learn's `KernelDensity` agrees where its tree is one leaf
   (`leaf_size` of at least n); with more its values can be off by several nats far from the data. A point out of
   reach of a bounded kernel has exactly −∞ here; and scikit-learn 1.9 leaves a term out of the cosine kernel's
   integral in even dimensions.
5. Every step is paid by where it is, whatever it leads to, so p does not know what the expert meant by it; and the
   reward of a step may be of either sign, which rewards or punishes long episodes: see `allow_variable_horizon`.
"""

import enum
import math
import threading
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.algorithms import base, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.demonstrations import TensorSpec, all_tensors, episode_lengths, sort_out
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.density.kernels import BOUNDED, KERNELS, KernelDensity
from imitation_lab.data import rollout
from imitation_lab.data.spaces import cast_acts, cast_obs, check_supported, flatten, width
from imitation_lab.rewards.reward_nets.wrappers import normalize_scalars
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper, WrappedRewardCallback
from imitation_lab.util import checks, codec, networks, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

__all__ = ["KERNELS", "DensityAlgorithm", "DensityType"]


@codec.register_class
class DensityType(enum.Enum):
    """What the density is over."""

    STATE_DENSITY = enum.auto()
    STATE_ACTION_DENSITY = enum.auto()
    STATE_STATE_DENSITY = enum.auto()


_NOT_FITTED = "The density is not fitted yet: call train() first, also after set_demonstrations()."
_FIELDS = {
    DensityType.STATE_DENSITY: ("obs",),
    DensityType.STATE_ACTION_DENSITY: ("obs", "acts"),
    DensityType.STATE_STATE_DENSITY: ("obs", "next_obs"),
}


class _Clock(VecEnvWrapper):
    """Counts the steps of each environment's episode.

    Attributes:
        steps: how many steps came before the latest one, `(num_envs,)`.
    """

    def __init__(self, venv: VecEnv, on_lengths: Any) -> None:
        super().__init__(venv)
        self._on_lengths = on_lengths
        self.steps = np.zeros(venv.num_envs, dtype=np.int64)
        self._next = self.steps.copy()

    def reset(self) -> VecEnvObs:
        self._next[:] = 0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        obs, rewards, dones, infos = self.venv.step_wait()
        self.steps[:] = self._next
        self._next += 1
        if dones.any():
            self._on_lengths(self._next[dones].tolist())
            self._next[dones] = 0
        return obs, rewards, dones, infos


class DensityAlgorithm(saved.Saved, base.DemonstrationAlgorithm):
    """Learns a reward by density estimation, and with `rl_algo` a policy from it.

    Call `train` to fit the density and then `train_policy`; `set_demonstrations` asks for `train` again.

    Args:
        demonstrations: trajectories, transitions, or finitely many batches of them; None to set them later.
        venv: the environments.
        rng: seeds `test_policy` and resumed runs. The learner needs its own `seed`.
        density_type: what the density is over.
        kernel: one of `KERNELS`, with the meanings of scikit-learn's `KernelDensity`.
        kernel_bandwidth: h, in standard deviations if inputs are standardised, else in the inputs' units.
        rl_algo: the SB3 algorithm that learns the policy; its environments become `venv` with this reward.
        is_stationary: one density for all time steps, or one for each.
        standardise_inputs: whether each dimension is scaled to mean 0 and variance 1 over the demonstrations.
        custom_logger: where metrics go, those of `rl_algo` too.
        allow_variable_horizon: whether episodes may differ in length.
        min_log_density: rewards below are raised to it. The default leaves them; kernels that are zero beyond the
            bandwidth need one to train a policy, as −∞ is no reward.
        device: of the density; by default that of `rl_algo`, without one "auto" as in SB3.
        normalize_reward: whether `rl_algo` is paid log densities shifted and scaled by their mean and variance so far.
            On-policy learners often need it. Off-policy ones keep what was paid at first: better leave it off.

    Raises:
        TypeError: if `density_type`, `rng`, `venv` or `rl_algo` is of another kind.
        ValueError: if a setting or a space is not supported, demonstrations do not fit, or `rl_algo` does not fit
            `venv`.

    Attributes:
        input_mean: what is taken from the inputs, `(d,)`; None before `train`.
        input_std: what they are divided by then, `(d,)`; None before `train`.
        venv_wrapped: the environments with the learned reward.
        reward_norm: with `normalize_reward` the layer with the statistics, else None.
    """

    _state = ("rl_algo", "reward_norm", "rng", "_points", "_times", "_horizon", "input_mean")

    def __init__(
        self,
        *,
        demonstrations: base.AnyTransitions | None,
        venv: VecEnv,
        rng: np.random.Generator,
        density_type: DensityType = DensityType.STATE_ACTION_DENSITY,
        kernel: str = "gaussian",
        kernel_bandwidth: float = 0.5,
        rl_algo: BaseAlgorithm | None = None,
        is_stationary: bool = True,
        standardise_inputs: bool = True,
        custom_logger: lab_logger.AnyLogger | None = None,
        allow_variable_horizon: bool = False,
        min_log_density: float | None = None,
        device: th.device | str | None = None,
        normalize_reward: bool = False,
    ) -> None:
        _check_settings(density_type, kernel, kernel_bandwidth, rng)
        if not isinstance(venv, VecEnv):
            raise TypeError(f"venv must be a Stable-Baselines3 VecEnv, got {venv!r}: make one with util.make_vec_env.")
        learner.check_venv("venv", venv)
        check_supported(venv.observation_space, venv.action_space)
        if rl_algo is not None:
            learner.check_learner("rl_algo", rl_algo, venv, relabelled=False)
        self.venv = venv
        self.rng = rng
        self.density_type = density_type
        self.kernel = kernel
        self.kernel_bandwidth = float(kernel_bandwidth)
        self.is_stationary = is_stationary
        self.standardise_inputs = standardise_inputs
        self.min_log_density = min_log_density
        own = "auto" if rl_algo is None else rl_algo.device
        self.device = get_device(own if device is None else device)
        self.rl_algo = rl_algo
        self.reward_norm = networks.RunningNorm(1) if normalize_reward else None
        self._learning = False
        self.input_mean: th.Tensor | None = None
        self.input_std: th.Tensor | None = None
        self._points: th.Tensor | None = None
        self._times: th.Tensor | None = None
        self._models: list[KernelDensity] = []
        super().__init__(
            demonstrations=demonstrations, custom_logger=custom_logger, allow_variable_horizon=allow_variable_horizon
        )
        self._clock = _Clock(venv, self._check_horizons)
        self.venv_wrapped = RewardVecEnvWrapper(self._clock, self._reward_now)
        if rl_algo is not None:
            learner.take(rl_algo, self.venv_wrapped, self.logger, forget=True)

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        if self.rl_algo is not None:
            self.rl_algo.set_logger(logger)

    @property
    def policy(self) -> BasePolicy:
        """The policy that `rl_algo` learns.

        Raises:
            ValueError: if there is no `rl_algo`.
        """
        policy = self._rl().policy
        assert policy is not None
        return policy

    @property
    def wrapper_callback(self) -> WrappedRewardCallback:
        """A new callback that logs the mean return under the learned reward, `rollout/ep_rew_wrapped_mean`."""
        return self.venv_wrapped.make_log_callback()

    def set_demonstrations(self, demonstrations: base.AnyTransitions) -> None:
        """Sets the expert's demonstrations, which become numbers once; then call `train`.

        Raises:
            ValueError: if they do not fit the spaces, their episodes differ in length, or they do not tell time steps
                where the density is not stationary.
            TypeError: if they are of no known kind.
        """
        _, demonstrations = sort_out(demonstrations)
        self._check_horizons(episode_lengths(demonstrations))
        if not self.is_stationary and not isinstance(demonstrations, list):
            raise ValueError(
                f"is_stationary=False needs to know the time step of each transition, which "
                f"{type(demonstrations).__name__} does not tell: pass whole trajectories, or is_stationary=True."
            )
        spec = TensorSpec(_FIELDS[self.density_type], self.device)
        tensors = all_tensors(demonstrations, spec)
        self._points = self._flat({name: self._checked(name, tensors[name]) for name in tensors.fields})
        if not self.is_stationary:
            self._times = th.cat([th.arange(len(trajectory)) for trajectory in demonstrations]).to(self.device)
        self._models, self.input_mean = [], None

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "normalize_reward": self.reward_norm is not None}

    def _fits(self) -> None:
        points, times = self._points, self._times
        dims = sum(map(width, self._input_spaces()))
        if points is None:
            return
        if points.dtype != np.float64 or points.shape[1:] != (dims,) or not np.isfinite(points).all():
            raise ArtifactError(
                f"the checkpoint's points are {points.dtype} of shape {points.shape}, expected finite float64 of (n, "
                f"{dims}) for the spaces of venv"
            )
        self._points = th.from_numpy(points).to(self.device)
        if not self.is_stationary:
            if times is None or times.shape != points.shape[:1] or not 0 <= times.min() <= times.max() < 2**24:
                raise ArtifactError("the checkpoint's time steps are damaged")
            self._times = th.from_numpy(times).to(self.device)
        if self.input_mean is not None:
            self.train()

    def _begin_anew(self) -> None:
        if self.rl_algo is not None:
            learner.new_boundary(self.rl_algo, self.venv, lambda: util.make_seeds(self.rng))

    def train(self) -> None:
        """Fits standardisation and densities to the demonstrations.

        Raises:
            NotReadyError: a ValueError, if there are none.
        """
        if self._points is None:
            raise base.NotReadyError("There are no demonstrations yet: call set_demonstrations first.")
        points = self._points
        mean, std = th.zeros_like(points[0]), th.ones_like(points[0])
        if self.standardise_inputs:
            var, mean = th.var_mean(points, dim=0, correction=0)
            # a constant dimension has only rounding errors for a spread
            varies = var.sqrt() > 1e-12 * mean.abs() + 1e-300
            std = th.where(varies, var.sqrt(), 1.0)
        self.input_mean, self.input_std = mean, std
        groups: tuple[th.Tensor, ...] = (points,)
        if self._times is not None and not self.is_stationary:
            order = self._times.argsort(stable=True)
            groups = points[order].split(self._times.bincount().tolist())
        self._models = [KernelDensity(group, self.kernel, self.kernel_bandwidth, std) for group in groups]

    def __call__(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any = None,
        steps: Any = None,
    ) -> np.ndarray:
        """The log density of transitions: a `RewardFn`, if stationary.

        Args:
            state: shape `(batch, *obs_shape)`, or a mapping of such arrays for `Dict` observations.
            action: shape `(batch, *act_shape)`.
            next_state: like `state`.
            done: not used.
            steps: the time step of each transition from 0, `(batch,)`; needed where the density is not stationary.

        Returns:
            Rewards in nats, float64 `(batch,)`.

        Raises:
            NotReadyError: a ValueError, before `train`.
            ValueError: if `steps` is missing, or beyond all demonstrations.
        """
        del done
        if not self._models:
            raise base.NotReadyError(
                "The density is not fitted yet: call train() first, also after set_demonstrations()."
            )
        x = self._flat({"obs": state, "acts": action, "next_obs": next_state})
        out = self._models[0](x) if self.is_stationary else self._by_step(x, steps)
        if self.min_log_density is not None:
            out = out.clamp_(min=self.min_log_density)
        return out.cpu().numpy()

    def train_policy(
        self,
        n_timesteps: int = 1_000_000,
        *,
        progress_bar: bool = True,
        stop: threading.Event | None = None,
        **kwargs: Any,
    ) -> None:
        """Trains the policy on the density, going on from where it is.

        An interrupt ends training; what was learned is kept.

        Args:
            n_timesteps: steps in all environments together, rounded up to whole rollouts of `rl_algo`.
            progress_bar: whether to show progress, after two seconds.
            stop: training ends after the step during which this event is set.
            **kwargs: for `rl_algo.learn`.

        Raises:
            NotReadyError: a ValueError, before `train`.
            ValueError: without `rl_algo`, if `n_timesteps` is less than a rollout, where the reward could be −∞, or
                where episodes differ in length.
        """
        algorithm = self._rl()
        if not self._models:
            raise base.NotReadyError(
                "The density is not fitted yet: call train() first, also after set_demonstrations()."
            )
        if self.kernel in BOUNDED and self.min_log_density is None:
            raise ValueError(
                f"The {self.kernel!r} kernel is zero beyond its bandwidth, where the reward would be −∞: pass "
                "min_log_density, such as −100, or use the 'gaussian' or 'exponential' kernel."
            )
        steps = learner.whole_steps(algorithm, "n_timesteps", n_timesteps)
        learner.take(algorithm, self.venv_wrapped, self.logger, forget=True)
        with Run(self, steps, "step", progress_bar, stop) as run:
            self._learning = True
            try:
                callbacks = (self.wrapper_callback, run.callback())
                learner.learn(algorithm, steps, *callbacks, **{"reset_num_timesteps": False, **kwargs})
            finally:
                self._learning = False

    def _recover(self) -> None:
        self._rl()._last_obs = None  # the environments may be in the middle of a step

    def test_policy(self, *, n_trajectories: int = 10, true_reward: bool = True) -> dict[str, float]:
        """Rolls out the policy; training begins new episodes after that.

        Args:
            n_trajectories: at least how many episodes.
            true_reward: whether returns are the environment's, or those of the learned reward.

        Returns:
            Statistics as of `rollout.rollout_stats`.

        Raises:
            ValueError: without `rl_algo`, or where episodes differ in length.
        """
        algorithm = self._rl()
        venv = self.venv if true_reward else self.venv_wrapped
        until = rollout.make_min_episodes(n_trajectories)
        with learner.seeded(algorithm, self.rng):
            venv.seed(util.make_seeds(self.rng))
            trajectories = rollout.generate_trajectories(algorithm, venv, until, self.rng)
        algorithm._last_obs = None  # the environments have moved on
        self._check_fixed_horizon(trajectories)
        return dict(rollout.rollout_stats(trajectories))

    def _rl(self) -> BaseAlgorithm:
        if self.rl_algo is None:
            raise ValueError("There is no policy: pass rl_algo, such as PPO built with this venv, to the constructor.")
        return self.rl_algo

    def _reward_now(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        rewards = self(state, action, next_state, done, None if self.is_stationary else self._clock.steps)
        if self.reward_norm is None or not self._learning:
            return rewards
        return normalize_scalars(self.reward_norm, rewards.astype(np.float32), update_stats=True)

    def _by_step(self, x: th.Tensor, steps: Any) -> th.Tensor:
        if steps is None:
            raise ValueError(
                "With is_stationary=False the reward depends on the time step: pass steps=, one number from 0 per "
                "transition."
            )
        steps = np.asarray(steps).reshape(-1)
        if len(steps) != len(x):
            raise ValueError(f"steps has {len(steps)} entries, expected one for each of the {len(x)} transitions.")
        if len(steps) and not 0 <= steps.min() <= steps.max() < len(self._models):
            raise ValueError(
                f"steps reach from {steps.min()} to {steps.max()}, but the longest demonstration has "
                f"{len(self._models)} steps: nothing is known of later ones. Use demonstrations as long as the "
                "episodes, or is_stationary=True."
            )
        first, *others = np.unique(steps).tolist() or [0]
        if not others:
            return self._models[first](x)
        out = x.new_empty(len(x))
        for step in (first, *others):
            rows = th.as_tensor(np.flatnonzero(steps == step), device=x.device)
            out[rows] = self._models[step](x[rows])
        return out

    def _checked(self, name: str, value: Any) -> Any:
        """The demonstrations' values as they are, in double precision too, or as they are cast to fit the space."""
        if name == "acts":
            cast: Any = cast_acts(name, value, self.venv.action_space)
        else:
            cast = cast_obs(name, value, self.venv.observation_space)
        return value if isinstance(value, th.Tensor) and value.dtype == th.float64 else cast

    def _input_spaces(self) -> list[spaces.Space]:
        return [
            self.venv.action_space if n == "acts" else self.venv.observation_space for n in _FIELDS[self.density_type]
        ]

    def _flat(self, fields: dict[str, Any]) -> th.Tensor:
        """Inputs of the density, float64 `(batch, d)`."""
        return flatten([fields[name] for name in _FIELDS[self.density_type]], self._input_spaces(), self.device)


def _check_settings(density_type: Any, kernel: str, bandwidth: float, rng: Any) -> None:
    if not isinstance(density_type, DensityType):
        raise TypeError(f"density_type must be one of {', '.join(map(str, DensityType))}, got {density_type!r}.")
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}.")
    if (
        isinstance(bandwidth, bool)
        or not isinstance(bandwidth, int | float | np.number)
        or not (0 < bandwidth < math.inf)
    ):
        raise ValueError(f"kernel_bandwidth must be a positive number, got {bandwidth!r}.")
    checks.generator(rng)
