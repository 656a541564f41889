import numpy as np
import pytest
from gymnasium import spaces

from imitation_lab.rewards.reward_nets import BasicRewardNet, RewardEnsemble
from imitation_lab.widgets.wrapper_stack import WrapperStack

BOX, TWO = spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2)


@pytest.fixture
def stack(rng):
    state, next_state = rng.uniform(-1, 1, (2, 20, 2)).astype(np.float32)
    batch = state, rng.integers(2, size=20), next_state, np.zeros(20, bool)
    bases = {
        "net": BasicRewardNet(BOX, TWO),
        "ensemble": RewardEnsemble(BOX, TWO, [BasicRewardNet(BOX, TWO) for _ in range(2)]),
    }
    return WrapperStack(bases, batch, chosen=["shaping", "RunningNorm"], batch_size=5)


def test_choosing_wrappers_rebuilds_picture_and_numbers(stack):
    assert repr(stack) == "WrapperStack(NormalizedRewardNet(ShapedRewardNet(BasicRewardNet)))"
    picture, table = stack.image.value, stack.table()
    assert "PredictProcessedWrapper" in table
    stack.slots[1].value = "–"
    assert repr(stack) == "WrapperStack(ShapedRewardNet(BasicRewardNet))"
    assert stack.image.value != picture
    assert "NormalizedRewardNet" not in stack.numbers.value


def test_an_illegal_order_shows_the_error_and_the_legal_part(stack):
    stack.choose("RunningNorm", "shaping")
    assert "Move NormalizedRewardNet outside" in stack.error
    assert "refused" in stack.status.value
    assert "Move NormalizedRewardNet outside" in stack.status.value
    assert repr(stack) == "WrapperStack(NormalizedRewardNet(BasicRewardNet))"
    stack.choose("RunningNorm")
    assert stack.error is None
    assert "refused" not in stack.status.value


def test_choose_builds_once(stack, monkeypatch):
    builds = []
    monkeypatch.setattr(stack.model, "build", lambda *args: builds.append(args))
    stack.choose("shaping", "EMANorm", "RunningNorm")
    assert builds == [(["shaping", "EMANorm", "RunningNorm"], "net")]
    with pytest.raises(ValueError, match="room for 3 wrappers, got 4"):
        stack.choose("shaping", "shaping", "shaping", "shaping")


def test_batch_and_transition_choose_the_numbers(stack):
    first = stack.table()
    stack.transition.value = 3
    second = stack.table()
    stack.batch.value = 2
    assert len({first, second, stack.table()}) == 3
    assert "transition 3 of batch 2" in stack.numbers.value


def test_update_moves_the_statistics(stack):
    assert "count 20" in stack.status.value
    stack.update.click()
    assert "count 25" in stack.status.value


def test_only_what_keeps_statistics_can_be_updated(stack):
    assert not stack.update.disabled
    stack.choose("shaping")
    assert stack.update.disabled
    stack.choose("EMANorm")
    assert not stack.update.disabled


def test_other_network(stack):
    stack.base.value = "ensemble"
    assert "RewardEnsemble has no forward()" in stack.error  # shaping would need it
    stack.choose("added std", "RunningNorm")
    assert stack.error is None
    assert "NotImplementedError" in stack.table()


def test_controls_are_labelled_and_the_figure_stands_alone(stack):
    controls = [stack.base, *stack.slots, stack.batch, stack.transition, stack.update]
    assert all(c.description and c.tooltip for c in controls)
    assert len(stack.figure().axes) == 3
    assert "Rewards of a batch at each layer" in stack.image.alt.value
    with pytest.raises(ValueError, match="pass it alone"):
        WrapperStack(stack.model, batch_size=3)
    stack.close()
