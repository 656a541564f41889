import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.policies.tabular import TabularPolicy


def test_policy_follows_its_table():
    pi = np.zeros((2, 3, 2))
    pi[0, :, 1] = 1
    pi[1] = [0.25, 0.75]
    policy = TabularPolicy(spaces.Discrete(3), spaces.Discrete(2), pi, np.random.default_rng(0))
    states = np.zeros(20_000, dtype=int)
    actions, time = policy.predict(states)
    assert (actions == 1).all()
    actions, (steps,) = policy.predict(states, time)
    assert actions.mean() == pytest.approx(0.75, abs=0.01)
    assert (steps == 2).all()
    starts = np.zeros(20_000, dtype=bool)
    starts[0] = True
    with pytest.raises(ValueError, match="asked for step 2, but has a table for 2 steps"):
        policy.predict(states, (steps,), starts)
    assert policy.predict(np.int64(1), deterministic=True)[0] == 1
    assert policy.predict(states[:1], (steps[:1],), starts[:1])[1][0] == [1]


def test_policy_refuses():
    three, two = spaces.Discrete(3), spaces.Discrete(2)
    make = lambda pi, space=three: TabularPolicy(space, two, pi, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"pi has shape \(2, 3\), expected \(horizon, 3, 2\)"):
        make(np.ones((2, 3)))
    with pytest.raises(ValueError, match="probabilities that sum to 1"):
        make(np.ones((1, 3, 2)))
    with pytest.raises(TypeError, match="state_space is Box.*StateObservation"):
        make(np.full((1, 3, 2), 0.5), spaces.Box(0, 1, (3,)))
    policy = make(np.full((1, 3, 2), 0.5))
    with pytest.raises(ValueError, match="expected states: integers"):
        policy.predict(np.zeros((4, 3), dtype=np.float32))
    with pytest.raises(NotImplementedError, match="table"):
        policy(th.zeros(1))
