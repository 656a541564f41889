"""What adversarial training needs of the Stable-Baselines3 algorithm that is the generator."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper
from stable_baselines3.her import HerReplayBuffer
from stable_baselines3.sac.policies import Actor as SACActor

from imitation_lab.algorithms._likelihood import log_prob_and_entropy
from imitation_lab.algorithms.adversarial._pool import Rows, SamplePool, TransitionEncoder
from imitation_lab.data.wrappers import BufferingWrapper
from imitation_lab.policies.replay_buffer_wrapper import ReplayBufferRewardWrapper
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper

LogProb = Callable[[Any, th.Tensor], th.Tensor]
_LOG_PROB_ROWS = 2048

_REFUSED = {
    VecNormalize: "its statistics would drift away from the demonstrations, which are not normalized. Normalize inside "
    "instead: policy_kwargs={'features_extractor_class': NormalizeFeaturesExtractor}, and NormalizedRewardNet for "
    "the reward",
    RewardVecEnvWrapper: "the trainer adds its own. Pass the environments without it; a generator that another trainer "
    "has had is released by gen_algo.set_env(venv)",
    BufferingWrapper: "the trainer adds its own. Pass the environments without it",
}


def check_venv(name: str, venv: VecEnv | None) -> None:
    """Raises ValueError if `venv` is wrapped in what would spoil adversarial training."""
    while isinstance(venv, VecEnvWrapper):
        for cls, why in _REFUSED.items():
            if isinstance(venv, cls):
                raise ValueError(f"{name} is wrapped in {cls.__name__}: {why}.")
        venv = venv.venv


def check_generator(gen_algo: BaseAlgorithm, venv: VecEnv) -> None:
    """Raises ValueError or TypeError unless `gen_algo` can learn in `venv` from a learned reward."""
    if not isinstance(gen_algo, BaseAlgorithm):
        raise TypeError(f"gen_algo must be a Stable-Baselines3 algorithm, such as PPO, got {gen_algo!r}.")
    check_venv("venv", venv)
    check_venv("The generator's environment (gen_algo.env)", gen_algo.get_env())
    if gen_algo.n_envs != venv.num_envs:
        raise ValueError(
            f"gen_algo was built for {gen_algo.n_envs} environments, but venv has {venv.num_envs}. Build gen_algo with "
            "this venv."
        )
    buffer = getattr(gen_algo, "replay_buffer", None)
    if isinstance(buffer, HerReplayBuffer | NStepReplayBuffer):
        raise ValueError(
            f"gen_algo stores transitions in a {type(buffer).__name__}, whose rewards cannot be relabelled one by one "
            "with the learned reward. Use ReplayBuffer, and n_steps=1."
        )


def default_timesteps(gen_algo: BaseAlgorithm) -> int:
    """Timesteps of one round: n_steps × n_envs on-policy, n_envs off-policy."""
    n_steps = gen_algo.n_steps if isinstance(gen_algo, OnPolicyAlgorithm) else 1
    return n_steps * gen_algo.n_envs


def relabel_at_sampling(gen_algo: BaseAlgorithm, reward_fn: RewardFn, observation_space: spaces.Space) -> None:
    """Makes an off-policy generator compute rewards when it samples a batch, so that none is stale.

    Transitions stored already stay. Does nothing on-policy.

    Args:
        gen_algo: the generator.
        reward_fn: the reward.
        observation_space: the environment's; the algorithm's may have the channels of images elsewhere.
    """
    buffer = getattr(gen_algo, "replay_buffer", None)
    if buffer is None:
        return
    inner: ReplayBuffer = buffer.replay_buffer if isinstance(buffer, ReplayBufferRewardWrapper) else buffer
    own_space = gen_algo.observation_space

    def relabel(state: Any, action: np.ndarray, next_state: Any, done: np.ndarray) -> np.ndarray:
        state = _original(state, own_space, observation_space)
        return reward_fn(state, action, _original(next_state, own_space, observation_space), done)

    wrapper = ReplayBufferRewardWrapper(
        gen_algo.n_envs,  # a tiny one, whose place the generator's own takes
        own_space,
        gen_algo.action_space,
        replay_buffer_class=type(inner),
        reward_fn=relabel,
        device=gen_algo.device,
        n_envs=gen_algo.n_envs,
    )
    wrapper.replay_buffer = inner
    wrapper.buffer_size = inner.buffer_size
    gen_algo.replay_buffer = wrapper  # type: ignore[attr-defined]


def _original(obs: Any, space: spaces.Space, original: spaces.Space) -> Any:
    """Observations as the environment gives them: SB3 puts the channels of images first."""
    if isinstance(space, spaces.Dict):
        assert isinstance(original, spaces.Dict)
        return {key: _original(obs[key], space[key], original[key]) for key in space}
    return obs if space.shape == original.shape else np.moveaxis(obs, 1, -1)


def make_log_prob(gen_algo: BaseAlgorithm, name: str) -> LogProb:
    """Log π(a|s) of the generator's policy, as a function of tensors `(batch, ...)`, without gradients.

    Densities of `Box` actions are per unit of the action space, also where the policy works in [−1, 1].

    Raises:
        TypeError: if the policy is deterministic, or not known to give probabilities.
    """
    policy = gen_algo.policy
    actor = getattr(policy, "actor", None)
    if isinstance(actor, SACActor):
        return lambda obs, acts: _sac_log_prob(actor, *_scaled(policy, obs, acts))
    if not hasattr(policy, "evaluate_actions"):
        raise TypeError(
            f"{name} needs a stochastic policy that can tell the probability of an action, such as that of PPO, A2C or "
            f"SAC; {type(gen_algo).__name__}'s {type(policy).__name__} cannot. Use another generator, or GAIL, which "
            "needs no probabilities."
        )

    @th.no_grad()
    def log_prob(obs: Any, acts: th.Tensor) -> th.Tensor:
        if policy.training:
            policy.set_training_mode(False)
        obs, acts, offset = _scaled(policy, obs, acts) if policy.squash_output else (obs, acts, 0.0)
        return log_prob_and_entropy(policy, obs, acts)[0] - offset  # type: ignore[arg-type]

    return log_prob


def _scaled(policy: Any, obs: Any, acts: th.Tensor) -> tuple[Any, th.Tensor, float]:
    """Actions in [−1, 1], and the logarithm of how much larger the action space is."""
    space = policy.action_space
    low, high = (th.as_tensor(bound, dtype=acts.dtype, device=acts.device) for bound in (space.low, space.high))
    return obs, 2 * (acts - low) / (high - low) - 1, float(np.log((space.high - space.low) / 2).sum())


@th.no_grad()
def _sac_log_prob(actor: SACActor, obs: Any, acts: th.Tensor, offset: float) -> th.Tensor:
    if actor.training:
        actor.set_training_mode(False)
    mean, log_std, kwargs = actor.get_action_dist_params(obs)
    return actor.action_dist.proba_distribution(mean, log_std, **kwargs).log_prob(acts) - offset


class LogProbs:
    """Log-probabilities of pool rows under the generator's policy, which between its updates are the same.

    Rows are evaluated batch by batch until as many have been as there are; then all are, once, and looked up.

    Args:
        log_prob: as `make_log_prob` gives it.
        policy: the policy behind it.
    """

    def __init__(self, log_prob: LogProb, policy: th.nn.Module):
        self._log_prob = log_prob
        self._parameters = [*policy.parameters(), *policy.buffers()]
        self._state: Any = None
        self._seen = 0
        self._known: th.Tensor | None = None

    def __call__(self, obs: Any, acts: th.Tensor) -> th.Tensor:
        """Of any transitions, `(batch,)`."""
        return self._log_prob(obs, acts)

    def of_pool(self, pool: SamplePool, encoder: TransitionEncoder, index: th.Tensor, rows: Rows) -> th.Tensor:
        """Of the rows at `index`, `(batch,)`."""
        state = (pool.version, *(tensor._version for tensor in self._parameters))
        if state != self._state:
            self._state, self._seen, self._known = state, 0, None
        if self._known is None:
            self._seen += len(index)
            if self._seen <= pool.n_expert + pool.size:
                return self._log_prob(*encoder.policy_inputs(rows))
            parts = [
                self._log_prob(*encoder.policy_inputs(pool.rows(slice(start, start + _LOG_PROB_ROWS))))
                for start in range(0, pool.n_expert + pool.size, _LOG_PROB_ROWS)
            ]
            self._known = th.cat(parts)[: pool.n_expert + pool.size]
        return self._known.index_select(0, index.to(self._known.device))


@th.no_grad()
def policy_change(gen_algo: BaseAlgorithm, max_rows: int = 1024) -> dict[str, th.Tensor]:
    """How far the last update moved an on-policy generator, and the entropy it has now.

    Returns:
        `gen_kl`, an unbiased estimate of KL(old ‖ new) on the rollout, r − 1 − log r with r = new / old (Schulman),
        and `gen_entropy`; nothing for off-policy algorithms and policies of unknown kinds.
    """
    policy = gen_algo.policy
    buffer = getattr(gen_algo, "rollout_buffer", None)
    if buffer is None or not buffer.full or not isinstance(policy, ActorCriticPolicy):
        return {}
    if not getattr(buffer, "generator_ready", False):
        return {}
    if policy.training:
        policy.set_training_mode(False)
    rows = slice(None, None, max(1, len(buffer.actions) // max_rows))
    observations = buffer.observations
    obs = (
        {key: buffer.to_torch(part[rows]) for key, part in observations.items()}
        if isinstance(observations, dict)
        else buffer.to_torch(observations[rows])
    )
    acts = buffer.to_torch(buffer.actions[rows])
    if isinstance(gen_algo.action_space, spaces.Discrete):
        acts = acts.long().flatten()
    old = buffer.to_torch(buffer.log_probs[rows]).flatten()
    log_prob, entropy = log_prob_and_entropy(policy, obs, acts)
    difference = log_prob - old
    return {
        "gen_kl": (difference.exp() - 1 - difference).mean(),
        "gen_entropy": -log_prob.mean() if entropy is None else entropy,
    }


def callback_list(given: Any, *more: BaseCallback) -> CallbackList:
    """What a user gives `learn` as `callback`: None, a callback, a function or a list of them; and `more`."""
    listed = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    return CallbackList([c if isinstance(c, BaseCallback) else _Function(c) for c in [*listed, *more]])


class _Function(ConvertCallback):
    """A function of locals and globals, which ends training by returning False; SB3's own ends on None too."""

    def _on_step(self) -> bool:
        return super()._on_step() is not False


@contextlib.contextmanager
def only_acting(gen_algo: BaseAlgorithm) -> Iterator[None]:
    """Lets the generator's `learn` collect transitions, but update nothing."""

    def train(*args: Any, **kwargs: Any) -> None:
        del args, kwargs

    gen_algo.train = train  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del gen_algo.__dict__["train"]


@contextlib.contextmanager
def schedules_over(gen_algo: BaseAlgorithm, start: int, end: int) -> Iterator[None]:
    """Lets schedules, such as that of the learning rate, run from timestep `start` to `end`.

    A round is one call of `learn`, and SB3 would run each schedule to its end within every call.
    """

    def update(num_timesteps: int, total_timesteps: int) -> None:
        done = (num_timesteps - start) / max(1, end - start)
        gen_algo._current_progress_remaining = min(1.0, max(0.0, 1.0 - done))

    gen_algo._update_current_progress_remaining = update  # type: ignore[method-assign]
    try:
        yield
    finally:
        del gen_algo.__dict__["_update_current_progress_remaining"]
