"""Anything that acts, as one kind of function."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data.recorder import as_vec_env
from imitation_lab.data.spaces import bounds, channels_first

__all__ = ["AnyPolicy", "PolicyCallable", "policy_to_callable"]

State = Any
StatefulCallable = Callable[[Any, State, np.ndarray], tuple[np.ndarray, State]]
PolicyCallable = StatefulCallable | Callable[[Any], np.ndarray]
AnyPolicy = BaseAlgorithm | BasePolicy | PolicyCallable | None


def policy_to_callable(
    policy: AnyPolicy,
    venv: VecEnv | gym.Env,
    deterministic_policy: bool = False,
    *,
    rng: np.random.Generator | None = None,
) -> StatefulCallable:
    """Turns whatever acts into a function `(obs, state, episode_start) -> (acts, state)`.

    Args:
        policy: an SB3 policy or algorithm; or a callable that takes `(obs, state, episode_start)` and returns
            actions and the next state; or a callable from observations to actions alone; or None for random actions.
            `obs` is `(n_envs, *obs_shape)` or a dict of such, `episode_start` is `(n_envs,)` bool, `state` is None at
            first.
        venv: the environment to act in; a single one counts as a vectorized one of one.
        deterministic_policy: whether an SB3 policy takes its most likely action instead of sampling.
        rng: draws the random actions; by default the action space's own generator.

    Raises:
        ValueError: if the policy has other spaces than `venv`, or `deterministic_policy` is asked of a plain callable.
        TypeError: if the policy is nothing of the above, or the environment of another kind.
    """
    venv = as_vec_env(venv)
    if policy is None:
        return _random_actions(venv, venv.action_space.np_random if rng is None else rng)
    if hasattr(policy, "predict"):
        _check_spaces(policy, venv)
        return _fast_actor(policy, deterministic_policy) or _checked(
            lambda obs, state, episode_start: policy.predict(
                obs, state=state, episode_start=episode_start, deterministic=deterministic_policy
            ),
            policy,
            venv.num_envs,
        )
    if not callable(policy):
        raise TypeError(
            f"The policy is a {type(policy).__name__}, expected an SB3 policy or algorithm, a callable or None."
        )
    if deterministic_policy:
        raise ValueError(
            "deterministic_policy=True was given with a plain callable, which cannot be told to act deterministically: "
            "leave it out and make the callable itself deterministic."
        )
    return _checked(_stateful(policy), policy, venv.num_envs)


def _stateful(policy: Callable[..., Any]) -> StatefulCallable:
    try:
        signature = inspect.signature(policy)
    except ValueError:  # some builtins do not tell
        return policy
    for n_args, act in ((3, policy), (1, lambda obs, state, episode_start: (np.asarray(policy(obs)), None))):
        with contextlib.suppress(TypeError):
            signature.bind(*range(n_args))
            return act
    raise TypeError(
        f"The policy {policy!r} takes {signature}, expected (obs, state, episode_start) -> (acts, state), or "
        "obs -> acts."
    )


def _checked(act: StatefulCallable, policy: Any, n_envs: int) -> StatefulCallable:
    def checked(obs: Any, state: State, episode_start: np.ndarray) -> tuple[np.ndarray, State]:
        result = act(obs, state, episode_start)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise ValueError(
                f"The policy {policy!r} returned a {type(result).__name__}, expected (acts, state) from a callable "
                "that takes (obs, state, episode_start); one that takes obs alone returns acts alone."
            )
        acts = np.asarray(result[0])
        if acts.shape[:1] != (n_envs,):
            raise ValueError(
                f"The policy {policy!r} returned actions of shape {acts.shape}, expected ({n_envs}, ...), one per "
                "environment."
            )
        return acts, result[1]

    return checked


def _check_spaces(policy: Any, venv: VecEnv) -> None:
    """Policies of images may see channels first where the environment has them last: SB3 transposes by itself."""
    for name in ("observation_space", "action_space"):
        found, expected = getattr(policy, name, None), getattr(venv, name)
        if found not in (None, expected, channels_first(expected)):
            raise ValueError(
                f"The policy's {name} is {found}, but the environment's is {expected}: roll the policy out in the kind "
                "of environment it was made for, wrapped in the same way."
            )


def _random_actions(venv: VecEnv, rng: np.random.Generator) -> StatefulCallable:
    """Actions drawn as the action space draws them, for all environments at once where the space allows it."""
    space = venv.action_space
    size = (venv.num_envs, *(space.shape or ()))
    draw: Callable[[], np.ndarray]
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        low, high = bounds(space)
        draw = lambda: rng.integers(low, high, size=size, dtype=space.dtype, endpoint=True)
    elif isinstance(space, spaces.Box) and space.is_bounded("both") and space.dtype.kind == "f":
        draw = lambda: rng.uniform(space.low, space.high, size=size).astype(space.dtype)
    else:
        space.seed(int(rng.integers(2**31)))
        draw = lambda: np.stack([space.sample() for _ in range(size[0])])
    return lambda obs, state, episode_start: (draw(), None)


def _fast_actor(policy: Any, deterministic: bool) -> StatefulCallable | None:
    """The actions `predict` would give, without the checks and distribution objects it makes anew at each step.

    It draws the same random numbers as `predict`. None where the policy is not SB3's own actor-critic on vectors.
    """
    policy = policy.policy if isinstance(policy, BaseAlgorithm) else policy
    space = getattr(policy, "observation_space", None)
    untouched = ("predict", "obs_to_tensor", "_predict", "get_distribution", "_get_action_dist_from_latent")
    if (
        not isinstance(policy, ActorCriticPolicy)
        or any(getattr(type(policy), name) is not getattr(ActorCriticPolicy, name) for name in untouched)
        or not isinstance(space, spaces.Box | spaces.Discrete)
        or is_image_space(space)
        or type(policy.action_dist) not in (CategoricalDistribution, DiagGaussianDistribution)
    ):
        return None
    categorical = type(policy.action_dist) is CategoricalDistribution
    net: Any = policy
    action_space = net.action_space
    box = action_space if isinstance(action_space, spaces.Box) else None
    shape = (-1, *action_space.shape)
    device = policy.device
    policy.set_training_mode(False)

    def act(obs: Any, state: State, episode_start: np.ndarray) -> tuple[np.ndarray, State]:
        if policy.training:
            policy.set_training_mode(False)
        with th.no_grad():
            features = net.extract_features(th.as_tensor(obs, device=device), net.pi_features_extractor)
            out = net.action_net(net.mlp_extractor.forward_actor(features))
            if categorical:
                probs = (out - out.logsumexp(-1, keepdim=True)).softmax(-1)
                out = probs.argmax(-1) if deterministic else th.multinomial(probs, 1, True)
            elif not deterministic:
                out = out + th.normal(th.zeros_like(out), 1.0) * policy.log_std.exp()
        acts = out.cpu().numpy().reshape(shape)
        if box is not None:
            acts = policy.unscale_action(acts) if policy.squash_output else np.clip(acts, box.low, box.high)
        return acts, state

    return act
