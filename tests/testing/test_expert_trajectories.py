"""Expert data: really expert, cached, in each form."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch as th

from imitation_lab.data import serialize, types
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.testing import expert_trajectories
from imitation_lab.testing.expert_trajectories import (
    generate_expert_trajectories,
    lazy_generate_expert_trajectories,
    make_expert_transition_loader,
)

CARTPOLE = "imitation_lab/CartPole-v0"
HORIZON = 500


def test_generates_expert_episodes():
    trajectories = generate_expert_trajectories(CARTPOLE, 2, np.random.default_rng(0))
    assert [len(t) for t in trajectories] == [HORIZON] * 2
    assert all(isinstance(t, types.TrajectoryWithRew) and t.terminal for t in trajectories)
    assert all(t.rews.sum() >= 0.95 * HORIZON for t in trajectories)
    assert not np.array_equal(trajectories[0].obs[0], trajectories[1].obs[0])


def test_same_seed_same_episodes():
    first, second, other = (generate_expert_trajectories(CARTPOLE, 1, np.random.default_rng(s)) for s in (0, 0, 1))
    assert list(first) == list(second)
    assert list(first) != list(other)


def test_cache_is_read_instead_of_the_expert(tmp_path, monkeypatch):
    cache = tmp_path / "deep" / "cache"
    first = lazy_generate_expert_trajectories(cache, CARTPOLE, 1, np.random.default_rng(0))
    monkeypatch.setattr(expert_trajectories, "generate_expert_trajectories", lambda *_: pytest.fail("not cached"))
    again = lazy_generate_expert_trajectories(str(cache), CARTPOLE, 1, np.random.default_rng(1))
    assert list(again) == list(first)
    assert again[0].rews.dtype == first[0].rews.dtype
    assert len(list(cache.iterdir())) == 1


def test_another_number_of_episodes_is_another_file(tmp_path):
    for n in (1, 2):
        assert len(lazy_generate_expert_trajectories(tmp_path, CARTPOLE, n, np.random.default_rng(0))) == n
    assert len(list(tmp_path.iterdir())) == 2


def test_refuses_a_cache_with_the_wrong_number(tmp_path):
    trajectories = lazy_generate_expert_trajectories(tmp_path, CARTPOLE, 1, np.random.default_rng(0))
    (file,) = tmp_path.iterdir()
    serialize.save(file, [trajectories[0]] * 2)
    with pytest.raises(ValueError, match=f"{file.name} holds 2 trajectories, expected 1: delete it"):
        lazy_generate_expert_trajectories(tmp_path, CARTPOLE, 1, np.random.default_rng(0))


def loader(path, kind="data_loader", batch_size=100, seed=0, **kwargs):
    return make_expert_transition_loader(path, batch_size, kind, CARTPOLE, np.random.default_rng(seed), **kwargs)


def test_transitions_hold_every_step(tmp_path):
    transitions = loader(tmp_path, "transitions", num_trajectories=2)
    assert isinstance(transitions, types.Transitions)
    assert len(transitions) == 2 * HORIZON
    assert np.flatnonzero(transitions.dones).tolist() == [HORIZON - 1, 2 * HORIZON - 1]


@pytest.mark.parametrize("kind", ["data_loader", "ducktyped_data_loader"])
def test_loaders_give_batches(tmp_path, kind):
    transitions = loader(tmp_path, "transitions")
    batches = loader(tmp_path, kind)
    assert isinstance(batches, Iterable)
    assert hasattr(batches, "__len__") == (kind == "data_loader")
    passes = [list(batches) for _ in range(2)]
    for batch in passes[0]:
        assert {"obs", "acts", "next_obs", "dones"} <= set(batch)
        assert batch["obs"].shape == (100, 4)
    seen = th.cat([batch["obs"] for batch in passes[0]]).numpy()
    order = lambda rows: rows[np.lexsort(rows.T)]
    np.testing.assert_array_equal(order(seen), order(transitions.obs))
    assert not np.array_equal(seen, transitions.obs)  # shuffled
    assert not th.equal(passes[0][0]["obs"], passes[1][0]["obs"])  # anew in each pass


def test_loader_order_follows_the_seed(tmp_path):
    loader(tmp_path)  # fill the cache, which draws from the generator too
    first, second, other = (next(iter(loader(tmp_path, seed=s)))["obs"] for s in (0, 0, 1))
    assert th.equal(first, second)
    assert not th.equal(first, other)


def test_unshuffled_loader_keeps_the_order(tmp_path):
    transitions = loader(tmp_path, "transitions")
    seen = th.cat([batch["obs"] for batch in loader(tmp_path, shuffle=False)])
    np.testing.assert_array_equal(seen, transitions.obs)


def test_refusals(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no expert 'Nowhere-v1'.*imitation_lab/CartPole-v0"):
        generate_expert_trajectories("Nowhere-v1", 1, rng)
    with pytest.raises(ValueError, match="num_trajectories must be an integer of at least 1, got 0"):
        generate_expert_trajectories(CARTPOLE, 0, rng)
    with pytest.raises(ValueError, match="num_trajectories must be an integer of at least 1, got 1.5"):
        lazy_generate_expert_trajectories(tmp_path, CARTPOLE, 1.5, rng)
    with pytest.raises(ValueError, match=r"Unknown expert_data_type 'csv', expected one of \('data_loader'"):
        loader(tmp_path, "csv")
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        loader(tmp_path, batch_size=0)


def test_a_batch_larger_than_the_episodes_takes_more_of_them(tmp_path):
    assert len(loader(tmp_path, "transitions", batch_size=501)) == 2 * HORIZON
    assert len(loader(tmp_path, "trajectories")) == 1


def test_an_environment_without_bundled_expert_takes_that_of_the_hub(monkeypatch):
    def load_policy(kind, venv, env_name):
        assert (kind, env_name) == ("ppo-huggingface", "Acrobot-v1")
        return RandomPolicy(venv.observation_space, venv.action_space)

    monkeypatch.setattr(expert_trajectories, "load_policy", load_policy)
    assert len(generate_expert_trajectories("Acrobot-v1", 1, np.random.default_rng(0))) == 1
