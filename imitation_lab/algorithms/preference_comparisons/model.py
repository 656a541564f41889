"""From rewards to the probability that a fragment is preferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch as th
from torch import nn

from imitation_lab.algorithms.preference_comparisons._batch import FragmentBatch, Pairs, Transitions, discounts
from imitation_lab.data import types
from imitation_lab.rewards import reward_nets
from imitation_lab.rewards.reward_nets import evaluation
from imitation_lab.util import checks
from imitation_lab.util.networks import BaseNorm

__all__ = ["PreferenceModel", "get_base_model"]

_ROWS_AT_ONCE = 4096
"""Rows evaluated in one go without gradients: activations stay in the processor's cache, images fit in memory."""


def get_base_model(reward_model: reward_nets.RewardNet) -> reward_nets.RewardNet:
    """What is inside all wrappers."""
    return reward_nets.wrapper_chain(reward_model)[-1]


def find_ensemble(reward_model: reward_nets.RewardNet) -> reward_nets.RewardEnsemble | None:
    """The ensemble inside `reward_model`, None where there is none.

    Raises:
        ValueError: if it is wrapped in something that its members would not be trained through.
    """
    chain = reward_nets.wrapper_chain(reward_model)
    ensemble = chain[-1]
    if not isinstance(ensemble, reward_nets.RewardEnsemble):
        return None
    wrong = next((net for net in chain[:-1] if not isinstance(net, reward_nets.PredictProcessedWrapper)), None)
    if wrong is None and len(chain) > 1 and not isinstance(chain[-2], reward_nets.AddSTDRewardWrapper):
        wrong = chain[-2]
    if wrong is not None:
        name = type(wrong).__name__
        raise ValueError(
            f"RewardEnsemble can only be wrapped by AddSTDRewardWrapper, but found {name} around it. Each member "
            f"learns a reward of its own scale: wrap the members, RewardEnsemble(..., [{name}(member, ...), ...])."
        )
    return ensemble


def logistic(differences: th.Tensor, noise_prob: float) -> th.Tensor:
    """P(1 ≻ 2) = noise / 2 + (1 − noise) · σ(difference of returns)."""
    return 0.5 * noise_prob + (1 - noise_prob) * th.sigmoid(differences)


class PreferenceModel(nn.Module):
    """P(1 ≻ 2) = ε/2 + (1 − ε) · σ(Σₜ γᵗ r(s₁ₜ, a₁ₜ) − Σₜ γᵗ r(s₂ₜ, a₂ₜ)), of Bradley and Terry (1952).

    All transitions of all pairs go through the reward network in one pass. An ensemble gives one probability per
    member. `forward` of the network is what is trained: wrappers that only change `predict_processed` do not act here.

    Args:
        model: the reward r.
        noise_prob: ε, how often the teacher answers at random.
        discount_factor: γ, in (0, 1].
        threshold: differences of returns are clipped to ±threshold, and have no gradient beyond.

    Raises:
        TypeError: if `model` is no reward network.
        ValueError: if a number is out of range, or an ensemble is wrapped by anything but `AddSTDRewardWrapper`
            (around that, other `PredictProcessedWrapper`s are fine).

    Attributes:
        ensemble_model: the ensemble inside `model`, None where there is none.
    """

    ensemble_model: reward_nets.RewardEnsemble | None

    def __init__(
        self,
        model: reward_nets.RewardNet,
        noise_prob: float = 0.0,
        discount_factor: float = 1.0,
        threshold: float = 50,
    ) -> None:
        super().__init__()
        if not isinstance(model, reward_nets.RewardNet):
            raise TypeError(f"PreferenceModel needs a RewardNet, got a {type(model).__name__}.")
        checks.between(0, 1, noise_prob=noise_prob)
        check_discount(discount_factor)
        checks.positive(threshold=threshold)
        ensemble = find_ensemble(model)
        self.model = model
        self.noise_prob = noise_prob
        self.discount_factor = discount_factor
        self.threshold = threshold
        # Past nn.Module's registration: its parameters are model's already.
        self.__dict__["ensemble_model"] = ensemble

    def forward(self, fragment_pairs: Pairs) -> tuple[th.Tensor, th.Tensor | None]:
        """Preference probabilities of pairs of fragments, which may differ in length.

        Args:
            fragment_pairs: pairs of trajectories.

        Returns:
            Differentiable probabilities that the first is preferred, `(pairs,)`, or `(pairs, members)` of an ensemble;
            and those under the true rewards, `(pairs,)`, None where a fragment has no rewards.

        Raises:
            ValueError: if there are no pairs.
        """
        batch = self.batch(fragment_pairs)
        probabilities = logistic(self.clip(self.differences(batch)), self.noise_prob)
        return probabilities.movedim(0, -1), self.true_probabilities(batch)

    def rewards(self, transitions: types.Transitions) -> th.Tensor:
        """Rewards of a batch of transitions, differentiable: `(batch,)`, or `(batch, members)` of an ensemble."""
        obs, next_obs = map(types.maybe_unwrap_dictobs, (transitions.obs, transitions.next_obs))
        values = self._evaluate(Transitions(obs, transitions.acts, next_obs, transitions.dones))  # type: ignore[arg-type]
        return values.movedim(0, -1)

    def probability(self, rews1: th.Tensor, rews2: th.Tensor) -> th.Tensor:
        """Probability that the first fragment is preferred, from the rewards of both.

        Args:
            rews1: `(T1,)`, or `(T1, members)`.
            rews2: `(T2,)`, or `(T2, members)`.

        Returns:
            A scalar tensor, or `(members,)`.
        """
        returns = [discounts(len(rews), self.discount_factor, rews) @ rews for rews in (rews1, rews2)]
        return logistic(self.clip(returns[0] - returns[1]), self.noise_prob)

    def batch(self, fragment_pairs: Pairs) -> FragmentBatch:
        """The pairs as tensors on the network's device."""
        return FragmentBatch.of(fragment_pairs, self.model.device, self.model.dtype)

    def differences(self, batch: FragmentBatch) -> th.Tensor:
        """Differences of returns, not clipped: `(pairs,)`, or `(members, pairs)` of an ensemble."""
        return batch.differences(self._evaluate(batch.transitions()), self.discount_factor)

    def clip(self, differences: th.Tensor) -> th.Tensor:
        """Differences of returns within ±threshold."""
        return differences.clamp(-self.threshold, self.threshold)

    def true_probabilities(self, batch: FragmentBatch) -> th.Tensor | None:
        """Preference probabilities under the true rewards, `(pairs,)`; None where there are none."""
        if batch.rews is None:
            return None
        return logistic(self.clip(batch.differences(batch.rews, self.discount_factor)), self.noise_prob)

    def member_models(self) -> list[PreferenceModel]:
        """One preference model per member of the ensemble, or this one alone."""
        if self.ensemble_model is None:
            return [self]
        settings = (self.noise_prob, self.discount_factor, self.threshold)
        members: list[Any] = list(self.ensemble_model.members)
        return [PreferenceModel(member, *settings) for member in members]

    def _evaluate(self, rows: Transitions) -> th.Tensor:
        """Rewards `(rows,)`, or `(members, rows)`."""
        evaluate = self._evaluator()
        if th.is_grad_enabled() or len(rows.action) <= _ROWS_AT_ONCE:
            return evaluate(rows)
        return th.cat([evaluate(part) for part in _split(rows)], dim=-1)

    def _evaluator(self) -> Callable[[Transitions], th.Tensor]:
        if self.ensemble_model is None:
            return lambda rows: self.model(*self.model.preprocess(*rows))
        members: list[Any] = list(self.ensemble_model.members)
        together = Together.of(members)
        if together is not None:
            return together.shared
        return lambda rows: th.stack([member(*member.preprocess(*rows)) for member in members])


def _split(rows: Transitions) -> Iterator[Transitions]:
    parts = [types.map_maybe_dict(lambda x: x.split(_ROWS_AT_ONCE), field) for field in rows]
    for i in range(len(parts[1])):

        def nth(part: Any, i: int = i) -> Any:
            return part[i]

        yield Transitions(*(types.map_maybe_dict(nth, part) for part in parts))


class Together:
    """Members of an ensemble that are alike, evaluated and differentiated in one pass.

    MLPs take one batched matrix product per layer, other networks of the library `torch.func.vmap`. There is no such
    way (`of` gives None) where a layer keeps statistics in training mode, draws random numbers, convolves (one
    grouped convolution is slower than several) or has a hook, nor for classes of the user's own.
    """

    def __init__(self, cores: Sequence[reward_nets.RewardNet], mlp: Callable[[th.Tensor], th.Tensor] | None) -> None:
        self.cores = cores
        self._mlp = mlp
        self._names = [name for name, _ in cores[0].named_parameters()]

    @classmethod
    def of(cls, members: Sequence[reward_nets.RewardNet]) -> Together | None:
        """The way to evaluate `members` together, if there is one."""
        cores = []
        for member in members:
            while type(member) is reward_nets.NormalizedRewardNet:  # does not act in forward
                member = member.base
            cores.append(member)
        if not (all(map(_is_plain, cores[0].modules())) and evaluation.alike(cores)):
            return None
        if any(module._forward_hooks or module._forward_pre_hooks for core in cores for module in core.modules()):
            return None
        is_mlp = type(cores[0]) is reward_nets.BasicRewardNet
        return cls(cores, evaluation.stack_mlps([core.mlp for core in cores]) if is_mlp else None)  # type: ignore[misc]

    def shared(self, rows: Transitions) -> th.Tensor:
        """All members on the same rows: `(members, rows)`."""
        inputs = self.cores[0].preprocess(*rows)
        if self._mlp is not None:
            return self._mlp(self.cores[0].join(*inputs))  # type: ignore[operator]
        return self._vmap(inputs, None)

    def each(self, rows: Transitions) -> th.Tensor:
        """Each member on its own part of the rows, parts of one size after another: `(members, rows / members)`."""
        members = len(self.cores)
        inputs = self.cores[0].preprocess(*rows)
        if self._mlp is not None:
            joined = self.cores[0].join(*inputs)  # type: ignore[operator]
            return self._mlp(joined.unflatten(0, (members, -1)))
        parts = tuple(types.map_maybe_dict(lambda x: x.unflatten(0, (members, -1)), field) for field in inputs)
        return self._vmap(parts, 0)

    def _vmap(self, inputs: tuple[Any, ...], in_dim: int | None) -> th.Tensor:
        parameters = [dict(core.named_parameters()) for core in self.cores]
        stacked = {name: th.stack([own[name] for own in parameters]) for name in self._names}

        def one(own: dict[str, th.Tensor], given: tuple[Any, ...]) -> th.Tensor:
            return th.func.functional_call(self.cores[0], own, given)

        return th.func.vmap(one, in_dims=(0, in_dim))(stacked, inputs)


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, BaseNorm | nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd):
        return False
    if isinstance(module, nn.modules.conv._ConvNd):
        return False
    return type(module).__module__.startswith(
        ("torch.nn.modules.", "imitation_lab.rewards.reward_nets.", "imitation_lab.util.")
    )


def check_discount(discount_factor: float) -> None:
    """Raises a ValueError unless γ lies in (0, 1]."""
    if not 0 < discount_factor <= 1:
        raise ValueError(f"discount_factor must lie in (0, 1], got {discount_factor!r}.")
