r"""Regularizers: a penalty on the weights, once per optimizer step, of a strength λ that may adapt.

A trainer owns the optimizer; the regularizer takes the place of ``loss.backward()``::

    optimizer.zero_grad()
    for i, minibatch in enumerate(minibatches):
        loss = compute_loss(minibatch) * (len(minibatch) / batch_size)
        regularizer.regularize_and_backward(loss, last=i == len(minibatches) - 1)
    optimizer.step()

Without gradient accumulation that is ``regularizer.regularize_and_backward(loss)``. After each epoch the trainer calls
``regularizer.update_params(train_loss, val_loss)`` with the mean losses *without* penalty, the second measured on the
``val_split`` it held out.

The penalty is over every trainable parameter of the optimizer, and comes on top of any decay that the optimizer does
itself. The trainers' optimizers do none: ``BC``'s is Adam, the preference trainers' is ``AdamW(weight_decay=0)``. But
``BC(optimizer_cls=th.optim.AdamW)`` decays by that class's default, 0.01, and ``l2_weight`` is one more penalty.

The coupled penalty λ·Σ|w|ᵖ passes through the optimizer, so Adam rescales it with the rest of the gradient; decoupled
decay (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization") does not.
"""

from __future__ import annotations

import abc
import functools
import inspect
import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Generic, Protocol, SupportsFloat, TypeVar

import torch as th

from imitation_lab.regularization.updaters import IntervalParamScaler, LambdaUpdater
from imitation_lab.util.errors import ArgumentError

if TYPE_CHECKING:  # the logger loads stable_baselines3, which takes seconds
    from imitation_lab.util.logger import HierarchicalLogger

__all__ = [
    "Regularizer",
    "RegularizerFactory",
    "LossRegularizer",
    "WeightRegularizer",
    "LpRegularizer",
    "WeightDecayRegularizer",
    "lp_penalty",
    "Scalar",
]

Scalar = th.Tensor | float
ResultT = TypeVar("ResultT")
RegularizerT = TypeVar("RegularizerT", bound="Regularizer")
RegularizerT_co = TypeVar("RegularizerT_co", bound="Regularizer", covariant=True)


def lp_penalty(params: Iterable[th.Tensor], p: int) -> th.Tensor:
    """Σ|w|ᵖ over every entry of `params`, differentiable, with subgradient 0 at w = 0.

    Args:
        params: tensors of any shapes, at least one, on one device.
        p: exponent, at least 1.

    Returns:
        A scalar tensor.
    """
    # one flat copy: the number of operations does not grow with the number of layers
    flat = th.cat([param.reshape(-1) for param in params])
    if p == 2:
        return flat.dot(flat)
    magnitude = flat.abs()
    return magnitude.sum() if p == 1 else magnitude.pow(p).sum()


class RegularizerFactory(Protocol, Generic[RegularizerT_co]):
    """Builds a regularizer once the trainer has its optimizer; `Regularizer.create` returns one."""

    def __call__(self, *, optimizer: th.optim.Optimizer, logger: HierarchicalLogger) -> RegularizerT_co:
        """Return the regularizer of `optimizer`, which logs to `logger`."""


class Regularizer(abc.ABC, Generic[ResultT]):
    """A penalty of strength λ on the parameters of an optimizer.

    Generic in what `regularize_and_backward` returns. A subclass may define that method without `last`: then it is
    called for each minibatch of a step alike.

    Attributes:
        optimizer: its trainable parameters are penalised.
        lambda_: λ now.
        lambda_updater: how λ follows the losses, None for a constant λ.
        logger: gets `regularization_lambda`, and `regularized_loss` from loss regularizers.
        val_split: fraction of the data, inside (0, 1), that the trainer holds out for `update_params`; None without
            an updater.

    Raises:
        TypeError: λ or the split is no number, the updater is not callable.
        ValueError: λ is negative or not finite, λ is 0 and cannot change, the split lies outside (0, 1), or one of
            updater and split is given without the other.
    """

    def __init__(
        self,
        optimizer: th.optim.Optimizer,
        initial_lambda: float,
        lambda_updater: LambdaUpdater | None,
        logger: HierarchicalLogger,
        val_split: float | None = None,
    ) -> None:
        Regularizer._check(initial_lambda, lambda_updater, val_split)
        self.optimizer = optimizer
        self.lambda_ = float(initial_lambda)
        self.lambda_updater = lambda_updater
        self.logger = logger
        self.val_split = None if val_split is None else float(val_split)
        self._pending_loss: th.Tensor | None = None
        self.logger.record("regularization_lambda", self.lambda_)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own: Any = vars(cls).get("regularize_and_backward")
        if own is not None and "last" not in inspect.signature(own).parameters:

            @functools.wraps(own)
            def regularize_and_backward(self: Regularizer[Any], loss: th.Tensor, *, last: bool = True) -> Any:
                return own(self, loss)

            cls.regularize_and_backward = regularize_and_backward  # type: ignore[method-assign]

    @classmethod
    def create(
        cls: type[RegularizerT],
        initial_lambda: float,
        lambda_updater: LambdaUpdater | None = None,
        val_split: float | None = 0.0,
        **kwargs: Any,
    ) -> RegularizerFactory[RegularizerT]:
        """Return a factory for trainers' `regularizer_factory`; wrong arguments fail here already.

        Args:
            initial_lambda: λ at the start.
            lambda_updater: how λ follows the losses, None for a constant λ.
            val_split: fraction of the data to hold out for validation; 0.0 and None mean none.
            **kwargs: the class's own arguments, such as `p`.

        Raises:
            TypeError: as the constructor; also for a missing or unknown argument, or an abstract class.
            ValueError: as the constructor.
        """
        if inspect.isabstract(cls):
            raise TypeError(
                f"{cls.__name__} is abstract: call create on LpRegularizer, WeightDecayRegularizer or a subclass "
                "of your own."
            )
        if isinstance(val_split, Real) and not isinstance(val_split, bool) and val_split == 0:
            val_split = None
        arguments = {
            "initial_lambda": initial_lambda,
            "lambda_updater": lambda_updater,
            "val_split": val_split,
            **kwargs,
        }
        try:
            inspect.signature(cls).bind(optimizer=None, logger=None, **arguments)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.create: {error}.") from None
        cls._check(**arguments)

        def factory(*, optimizer: th.optim.Optimizer, logger: HierarchicalLogger) -> RegularizerT:
            return cls(optimizer=optimizer, logger=logger, **arguments)

        return factory

    @classmethod
    def _check(
        cls,
        initial_lambda: float,
        lambda_updater: LambdaUpdater | None,
        val_split: float | None,
        **kwargs: Any,
    ) -> None:
        """Raise on wrong arguments; a subclass checks its own and passes the others on."""
        _check_lambda("initial_lambda", initial_lambda)
        if lambda_updater is not None and not callable(lambda_updater):
            raise TypeError(
                f"lambda_updater must be None or a callable (lambda_, train_loss, val_loss) -> lambda_, got "
                f"{lambda_updater!r}."
            )
        if initial_lambda == 0 and lambda_updater is None:
            raise ValueError(
                "initial_lambda is 0 and there is no lambda_updater, so nothing would ever be regularized: give a "
                "positive initial_lambda, or no regularizer."
            )
        if initial_lambda == 0 and isinstance(lambda_updater, IntervalParamScaler):
            raise ValueError(
                "initial_lambda is 0, which IntervalParamScaler cannot scale: start from a positive initial_lambda."
            )
        if val_split is not None:
            if not isinstance(val_split, Real) or isinstance(val_split, bool):
                raise ArgumentError(f"val_split must be a number inside (0, 1), got {val_split!r}.")
            if not 1e-8 < val_split < 1:
                raise ValueError(f"val_split must lie inside (0, 1), got {val_split!r}; None means no split.")
        if lambda_updater is not None and val_split is None:
            raise ValueError(
                "lambda_updater compares training with validation loss, but there is no val_split: pass for example "
                "val_split=0.2."
            )
        if lambda_updater is None and val_split is not None:
            raise ValueError(
                f"val_split={val_split!r} would hold out data that nothing uses: pass a lambda_updater, or no "
                "val_split."
            )

    @abc.abstractmethod
    def regularize_and_backward(self, loss: th.Tensor, *, last: bool = True) -> ResultT:
        """Differentiate `loss` and, in the last minibatch of an optimizer step, regularize.

        Gradients add up in the parameters' `.grad`; the caller clears them and steps.

        Args:
            loss: scalar tensor with a graph, scaled by the caller to its part of the batch.
            last: False where another minibatch comes before `optimizer.step()`. The penalty counts once per step:
                in the call with `last=True`.

        Returns:
            The detached scalar that this call differentiated, or None where the loss is left as it is.
        """

    def update_params(self, train_loss: SupportsFloat, val_loss: SupportsFloat) -> None:
        """Let the updater choose the next λ; without one nothing happens.

        Args:
            train_loss: mean loss on the training part, without penalty.
            val_loss: mean loss on the validation part, without penalty.

        Raises:
            TypeError: the updater returned no number.
            ValueError: the updater returned a negative, infinite or NaN λ, or refused the losses.
        """
        if self.lambda_updater is None:
            return
        new_lambda = self.lambda_updater(self.lambda_, train_loss, val_loss)
        _check_lambda(f"the value returned by {self.lambda_updater!r}", new_lambda)
        self.lambda_ = float(new_lambda)
        self.logger.record("regularization_lambda", self.lambda_)

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint needs: λ, as plain data."""
        return {"lambda_": self.lambda_}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take λ from `state`, as returned by `state_dict`.

        Raises:
            TypeError: λ is no number.
            ValueError: the keys differ, or λ is negative or not finite.
        """
        if set(state) != {"lambda_"}:
            raise ValueError(f"A regularizer's state has the one key 'lambda_', got {sorted(state)}.")
        _check_lambda("lambda_", state["lambda_"])
        self.lambda_ = float(state["lambda_"])
        self._pending_loss = None

    def _trainable(self, group: Mapping[str, Any]) -> list[th.Tensor]:
        return [param for param in group["params"] if param.requires_grad]


class LossRegularizer(Regularizer[Scalar]):
    """Adds a penalty to the loss; subclasses say which in `loss_penalty`, or under its older name `_loss_penalty`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_loss_penalty" in vars(cls):
            cls.loss_penalty = cls._loss_penalty  # type: ignore[method-assign]

    def _loss_penalty(self, loss: th.Tensor) -> Scalar:
        return self.loss_penalty(loss)

    @abc.abstractmethod
    def loss_penalty(self, loss: th.Tensor) -> Scalar:
        """Return the scalar, λ included, that is added once per optimizer step to `loss`."""

    def regularize_and_backward(self, loss: th.Tensor, *, last: bool = True) -> th.Tensor:
        """Differentiate the loss, plus the penalty if this is the step's last minibatch.

        Logs `regularized_loss`, the sum over the step's minibatches plus the penalty, as a tensor.

        Args:
            loss: scalar tensor with a graph, scaled by the caller to its part of the batch.
            last: False where another minibatch comes before `optimizer.step()`.

        Returns:
            The detached scalar that this call differentiated; summed over a step's calls, the regularized loss.
        """
        total = loss + self.loss_penalty(loss) if last else loss
        total.backward()
        total = total.detach()
        pending = total if self._pending_loss is None else self._pending_loss + total
        self._pending_loss = None if last else pending
        if last:
            self.logger.record("regularized_loss", pending)
            self.logger.record("regularization_lambda", self.lambda_)
        return total


class WeightRegularizer(Regularizer[None]):
    """Changes the weights directly; subclasses say how in `regularize_weights`.

    Or, weight by weight, in `_weight_penalty(weight, group)`, which returns what is added to the weight.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_weight_penalty" in vars(cls):

            def regularize_weights(self: Any, params: list[th.Tensor], group: Mapping[str, Any]) -> None:
                for param in params:
                    param.add_(self._weight_penalty(param, group))

            cls.regularize_weights = regularize_weights  # type: ignore[method-assign]

    def _weight_penalty(self, weight: th.Tensor, group: Mapping[str, Any]) -> Scalar:
        changed = weight.detach().clone()
        self.regularize_weights([changed], group)
        return changed - weight.detach()

    @abc.abstractmethod
    def regularize_weights(self, params: list[th.Tensor], group: Mapping[str, Any]) -> None:
        """Change `params`, the trainable ones of the optimizer's parameter group `group`, in place."""

    def regularize_and_backward(self, loss: th.Tensor, *, last: bool = True) -> None:
        """Differentiate the loss, then regularize the weights if this is the step's last minibatch.

        Args:
            loss: scalar tensor with a graph, scaled by the caller to its part of the batch.
            last: False where another minibatch comes before `optimizer.step()`: the weights stay as they are, so that
                all minibatches see the same ones.
        """
        loss.backward()
        if not last:
            return
        with th.no_grad():
            for group in self.optimizer.param_groups:
                self.regularize_weights(self._trainable(group), group)
        self.logger.record("regularization_lambda", self.lambda_)


class LpRegularizer(LossRegularizer):
    """Adds λ·Σ|w|ᵖ to the loss, with gradient λ·p·|w|ᵖ⁻¹·sign(w), 0 at w = 0.

    Raises:
        TypeError: as `Regularizer`; also if p is no integer.
        ValueError: as `Regularizer`; also if p is less than 1.
    """

    def __init__(
        self,
        optimizer: th.optim.Optimizer,
        initial_lambda: float,
        lambda_updater: LambdaUpdater | None,
        logger: HierarchicalLogger,
        p: int,
        val_split: float | None = None,
    ) -> None:
        _check_p(p)
        super().__init__(optimizer, initial_lambda, lambda_updater, logger, val_split)
        self.p = int(p)

    @classmethod
    def _check(
        cls, initial_lambda: float, lambda_updater: LambdaUpdater | None, val_split: float | None, **kwargs: Any
    ) -> None:
        _check_p(kwargs.pop("p"))
        super()._check(initial_lambda, lambda_updater, val_split, **kwargs)

    def loss_penalty(self, loss: th.Tensor) -> th.Tensor:
        """λ·Σ|w|ᵖ over the optimizer's trainable parameters."""
        params = [param for group in self.optimizer.param_groups for param in self._trainable(group)]
        return self.lambda_ * lp_penalty(params, self.p) if params else loss.new_zeros(())


class WeightDecayRegularizer(WeightRegularizer):
    """Decoupled weight decay: w ← w − λ·lr·w before the optimizer's step, lr being that of w's parameter group.

    λ·lr belongs well below 1: at 1 a step sets all weights to 0, above 2 they grow.
    """

    def regularize_weights(self, params: list[th.Tensor], group: Mapping[str, Any]) -> None:
        """Scale `params` by 1 − λ·lr in place."""
        if params:
            th._foreach_mul_(params, 1.0 - self.lambda_ * group["lr"])


def _check_lambda(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of at least 0, got {value!r} of type {type(value).__name__}.")
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value!r}.")


def _check_p(p: object) -> None:
    if not isinstance(p, Integral) or isinstance(p, bool):
        raise TypeError(f"p must be an integer of at least 1, got {p!r} of type {type(p).__name__}.")
    if p < 1:
        raise ValueError(f"p must be an integer of at least 1, got {p!r}.")
