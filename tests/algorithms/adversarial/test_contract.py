"""Every algorithm on every kind of space, with every generator that can act there."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL

ON_POLICY = ["PPO", "A2C"]
SPACES = [
    *(
        (obs, "discrete")
        for obs in ("box", "discrete", "multi_discrete", "multi_binary", "dict", "image_hwc", "image_chw")
    ),
    *(("box", act) for act in ("box", "multi_discrete", "multi_binary")),
    ("dict", "box"),
]
CASES = [
    *((GAIL, "PPO", *pair) for pair in SPACES),
    *((AIRL, "PPO", *pair) for pair in SPACES),
    *((cls, "A2C", "box", "discrete") for cls in (GAIL, AIRL)),
    *((GAIL, "DQN", obs, "discrete") for obs in ("box", "dict", "image_hwc")),
    *((cls, "SAC", obs, "box") for cls in (GAIL, AIRL) for obs in ("box", "dict")),
    *((GAIL, "TD3", obs, "box") for obs in ("box", "dict")),
]


@pytest.mark.parametrize(("cls", "gen", "obs", "act"), CASES, ids=["-".join([c[0].__name__, *c[1:]]) for c in CASES])
def test_trains_and_rewards(build, cls, gen, obs, act):
    trainer = build(cls, obs, act, gen)
    weights = [p.detach().clone() for p in trainer._reward_net.parameters()]
    policy = [p.detach().clone() for p in trainer.policy.parameters()]
    trainer.train(64, progress_bar=False)
    assert any(not th.equal(a, b) for a, b in zip(weights, trainer._reward_net.parameters(), strict=True))
    assert any(not th.equal(a, b) for a, b in zip(policy, trainer.policy.parameters(), strict=True))
    assert all(th.isfinite(p).all() for p in trainer._reward_net.parameters())
    row = trainer.history[-1]
    assert row["timesteps"] == 64
    assert np.isfinite([row["disc_loss"], row["logit_expert_mean"], row["reward_std"], row["gen_action_spread"]]).all()
    space = trainer.venv.observation_space
    state = {k: np.stack([s.sample()] * 3) for k, s in space.items()} if isinstance(space, spaces.Dict) else None
    state = np.stack([space.sample()] * 3) if state is None else state
    action = np.stack([trainer.venv.action_space.sample()] * 3)
    for net in (trainer.reward_train, trainer.reward_test):
        assert net.predict_processed(state, action, state, np.zeros(3, bool)).shape == (3,)


@pytest.mark.parametrize("gen", ["DQN", "TD3"])
def test_airl_refuses_policies_without_probabilities(build, gen):
    with pytest.raises(TypeError, match="AIRL needs a stochastic policy.*or GAIL"):
        build(AIRL, "box", "discrete" if gen == "DQN" else "box", gen)


@pytest.mark.parametrize(("cls", "gen"), [(GAIL, "PPO"), (AIRL, "PPO"), (GAIL, "DQN"), (AIRL, "SAC")])
def test_same_seeds_give_the_same_bits(build, cls, gen):
    act = "box" if gen == "SAC" else "discrete"

    def run():
        trainer = build(cls, "box", act, gen, seed=3)
        trainer.train(96, progress_bar=False)
        return [*trainer.policy.parameters(), *trainer._reward_net.parameters()], trainer.history

    (first, history), (second, history_again) = run(), run()
    assert all(th.equal(a, b) for a, b in zip(first, second, strict=True))
    np.testing.assert_equal(history, history_again)
