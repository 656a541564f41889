"""Fragmenters, gatherers and the dataset."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch.utils.data import DataLoader

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.data import types
from imitation_lab.rewards import reward_nets
from imitation_lab.util import artifacts

OBS = gym.spaces.Box(-10, 10, (2,), np.float32)
ACT = gym.spaces.Discrete(2)


def with_rews(*rews):
    n = len(rews)
    return types.TrajectoryWithRew(np.zeros((n + 1, 2)), np.zeros(n), None, False, np.array(rews, dtype=np.float64))


class TestRandomFragmenter:
    def test_every_start_is_equally_likely(self, rng, silent) -> None:
        # 3 starts in the first, 1 in the second; the third is too short
        trajectories = [
            types.TrajectoryWithRew(np.arange(n + 1) + 10.0 * i, np.arange(n), [{}] * n, True, np.arange(n) * 1.0)
            for i, n in enumerate((4, 2, 1))
        ]
        pairs = pc.RandomFragmenter(rng, warning_threshold=0, custom_logger=silent)(trajectories, 2, 20_000)
        starts = np.array([f.obs[0] for pair in pairs for f in pair])
        values, counts = np.unique(starts, return_counts=True)
        assert values.tolist() == [0, 1, 2, 10]
        # 10 000 each, standard deviation √(40 000 · 1/4 · 3/4) = 87
        assert np.abs(counts - 10_000).max() < 5 * 87

    def test_fragments_are_parts(self, rng, silent, make) -> None:
        source = make(rng, 6)
        fragmenter = pc.RandomFragmenter(rng, warning_threshold=0, custom_logger=silent)
        for pair in fragmenter([source], 4, 20):
            for fragment in pair:
                begin = int(np.flatnonzero((source.obs == fragment.obs[0]).all(1))[0])
                expected = types.TrajectoryWithRew(
                    source.obs[begin : begin + 5],
                    source.acts[begin : begin + 4],
                    None,
                    begin == 2,
                    source.rews[begin : begin + 4],
                )
                assert fragment == expected

    def test_dict_observations_and_infos(self, rng, silent) -> None:
        obs = types.DictObs({"a": np.arange(7.0)})
        source = types.TrajectoryWithRew(obs, np.arange(6), [{"i": i} for i in range(6)], False, np.arange(6.0))
        ((first, _),) = pc.RandomFragmenter(rng, warning_threshold=0, custom_logger=silent)([source], 3, 1)
        begin = first.acts[0]
        assert first.obs.get("a").tolist() == [begin, begin + 1, begin + 2, begin + 3]
        assert first.infos == [{"i": begin + i} for i in range(3)]
        assert not first.terminal

    def test_seeded(self, silent, make) -> None:
        source = [make(np.random.default_rng(1), 50)]

        def starts(seed):
            fragmenter = pc.RandomFragmenter(np.random.default_rng(seed), 0, custom_logger=silent)
            return [f.obs[0, 0] for pair in fragmenter(source, 5, 10) for f in pair]

        assert starts(0) == starts(0) != starts(1)

    def test_errors(self, rng, silent, make) -> None:
        fragmenter = pc.RandomFragmenter(rng, custom_logger=silent)
        with pytest.raises(
            ValueError, match="No trajectory is long enough for a fragment of 9 steps: the longest has 5"
        ):
            fragmenter([make(rng, 5), make(rng, 4)], 9, 2)
        with pytest.raises(ValueError, match="num_pairs must be at least 1, got 0: there is nothing to compare"):
            fragmenter([make(rng, 5)], 2, 0)
        with pytest.raises(TypeError, match=r"numpy\.random\.Generator"):
            pc.RandomFragmenter(0)  # type: ignore[arg-type]

    def test_warns_of_few_transitions_and_short_trajectories(self, rng, make) -> None:
        said = []

        class Logger:
            def log(self, text, *args, **kwargs):
                said.append(text)

            warn = log

        fragmenter = pc.RandomFragmenter(rng, warning_threshold=3, custom_logger=Logger())  # type: ignore[arg-type]
        fragmenter([make(rng, 10), make(rng, 3)], 5, 1)
        assert "Left out 1 of 2" in said[0]
        assert "take 10 transitions, drawn from 10" in said[1]


class Given(pc.Fragmenter):
    def __init__(self, pairs, logger):
        super().__init__(logger)
        self.pairs = pairs

    def __call__(self, trajectories, fragment_length, num_pairs):
        return self.pairs[:num_pairs]


class TestActiveSelection:
    def select(self, pairs, silent, on: str, net=None):
        ensemble = net or reward_nets.RewardEnsemble(OBS, ACT, [reward_nets.BasicRewardNet(OBS, ACT) for _ in range(3)])
        model = pc.PreferenceModel(ensemble)
        return pc.ActiveSelectionFragmenter(model, Given(pairs, silent), 4, on, silent)

    @pytest.mark.parametrize("on", ["logit", "probability", "label"])
    @pytest.mark.parametrize("lengths", [(5,), (5, 3)])
    def test_keeps_the_most_uncertain(self, make_pairs, silent, on: str, lengths) -> None:
        pairs = make_pairs(20, lengths)
        fragmenter = self.select(pairs, silent, on)
        model = fragmenter.preference_model
        estimates = []
        for pair in pairs:
            rews = [model.rewards(pc_transitions(f)) for f in pair]
            estimates.append(fragmenter.variance_estimate(*rews))
        chosen = fragmenter([], 5, 5)
        found = [estimates[next(i for i, p in enumerate(pairs) if p is pair)] for pair in chosen]
        assert found == pytest.approx(sorted(estimates, reverse=True)[:5], rel=1e-4)

    def test_variances_by_hand(self, make_pairs, silent) -> None:
        first = th.tensor([[1.0, 0.0, 2.0], [1.0, 0.0, 2.0]])
        second = th.tensor([[0.0, 1.0, 2.0]])
        # differences of returns 2, −1, 2: mean 1, variance (1 + 4 + 1) / 2
        assert self.select([], silent, "logit").variance_estimate(first, second) == pytest.approx(3)
        p = [1 / (1 + math.exp(-d)) for d in (2, -1, 2)]
        assert self.select([], silent, "probability").variance_estimate(first, second) == pytest.approx(
            np.var(p, ddof=1), rel=1e-5
        )
        assert self.select([], silent, "label").variance_estimate(first, second) == pytest.approx(2 / 9)

    def test_errors(self, make_pairs, silent) -> None:
        with pytest.raises(ValueError, match="uncertainty_on='entropy' is not supported, expected 'logit'"):
            self.select([], silent, "entropy")
        single = pc.PreferenceModel(reward_nets.BasicRewardNet(OBS, ACT))
        with pytest.raises(
            ValueError, match="disagreement of an ensemble, but this PreferenceModel has a BasicRewardNet"
        ):
            pc.ActiveSelectionFragmenter(single, Given([], silent), 2, custom_logger=silent)

    def test_moves_no_statistics_and_no_mode(self, make_pairs, silent) -> None:
        fragmenter = self.select(make_pairs(8), silent, "logit")
        fragmenter.preference_model.train()
        fragmenter([], 5, 2)
        assert fragmenter.preference_model.model.training


def pc_transitions(fragment):
    from imitation_lab.data import rollout

    return rollout.flatten_trajectories([fragment])


class TestSyntheticGatherer:
    def test_probabilities_by_hand(self, silent) -> None:
        gatherer = pc.SyntheticGatherer(temperature=2, discount_factor=0.5, sample=False, custom_logger=silent)
        pairs = [(with_rews(1, 2, 4), with_rews(0, 0, 0)), (with_rews(1, 1, 1), with_rews(1, 1, 1))]
        # returns 1 + 1 + 1 = 3 and 0; half of the difference is 1.5
        found = gatherer(pairs)
        assert found.dtype == np.float32
        assert found.tolist() == pytest.approx([1 / (1 + math.exp(-1.5)), 0.5])

    def test_unequal_lengths(self, silent) -> None:
        gatherer = pc.SyntheticGatherer(discount_factor=0.5, sample=False, custom_logger=silent)
        (p,) = gatherer([(with_rews(1, 2), with_rews(3))])
        assert p == pytest.approx(1 / (1 + math.exp(1)))

    def test_temperature_zero_and_ties(self, silent) -> None:
        gatherer = pc.SyntheticGatherer(temperature=0, sample=False, custom_logger=silent)
        pairs = [(with_rews(2), with_rews(1)), (with_rews(1), with_rews(2)), (with_rews(1), with_rews(1))]
        assert gatherer(pairs).tolist() == [1, 0, 0.5]

    def test_threshold_and_entropy(self, silent) -> None:
        gatherer = pc.SyntheticGatherer(threshold=2, sample=False, custom_logger=silent)
        (p,) = gatherer([(with_rews(1000), with_rews(0))])
        assert p == pytest.approx(1 / (1 + math.exp(-2)))
        expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
        silent.dump()
        recorded = {}
        silent.record = lambda key, value, exclude=None: recorded.update({key: value})  # type: ignore[method-assign]
        gatherer([(with_rews(1000), with_rews(0))])
        assert recorded == {"entropy": pytest.approx(expected, rel=1e-5)}

    def test_samples(self, rng, silent) -> None:
        gatherer = pc.SyntheticGatherer(rng=rng, custom_logger=silent)
        found = gatherer([(with_rews(1), with_rews(0))] * 10_000)
        assert set(found.tolist()) == {0.0, 1.0}
        p = 1 / (1 + math.exp(-1))  # standard deviation of the mean 0.0044
        assert found.mean() == pytest.approx(p, abs=0.02)

    def test_errors(self, make_pairs, silent, rng) -> None:
        with pytest.raises(ValueError, match="draws preferences at random: pass rng="):
            pc.SyntheticGatherer()
        with pytest.raises(ValueError, match="temperature must be at least 0"):
            pc.SyntheticGatherer(temperature=-1, rng=rng)
        gatherer = pc.SyntheticGatherer(rng=rng, custom_logger=silent)
        with pytest.raises(ValueError, match="prefers by the true rewards, but a fragment has none"):
            gatherer(make_pairs(2, rews=False))
        with pytest.raises(ValueError, match="no pairs of fragments"):
            gatherer([])


class TestPreferenceDataset:
    def test_is_bounded_first_in_first_out(self, make_pairs) -> None:
        pairs = make_pairs(5)
        dataset = pc.PreferenceDataset(max_size=3)
        dataset.push(pairs[:2], np.array([0, 1]))
        dataset.push(pairs[2:], np.array([0.5, 0.25, 0.75], dtype=np.float32))
        assert len(dataset) == 3
        assert dataset.preferences.tolist() == [0.5, 0.25, 0.75]
        assert dataset.fragments1 == [pair[0] for pair in pairs[2:]]
        pair, preference = dataset[1]
        assert preference == 0.25
        assert pair == pairs[3]
        some, preferences = dataset[1:]
        assert len(some) == len(preferences) == 2

    def test_owns_its_data(self, make_pairs) -> None:
        ((first, second),) = make_pairs(1)
        dataset = pc.PreferenceDataset()
        dataset.push([(first, second)], np.array([1]))
        before = first.obs.copy()
        first.obs[:] = 0
        np.testing.assert_array_equal(dataset[0][0][0].obs, before)

    def test_tensors_are_built_once_after_a_push(self, make_pairs) -> None:
        dataset = pc.PreferenceDataset()
        dataset.push(make_pairs(2), np.ones(2))
        where = (th.device("cpu"), th.float32)
        once = dataset.tensors(*where)
        assert dataset.tensors(*where)[0] is once[0]
        dataset.push(make_pairs(1), np.zeros(1))
        assert dataset.tensors(*where)[1].tolist() == [1, 1, 0]

    @pytest.mark.parametrize(
        ("preferences", "text"),
        [
            (np.ones(3), "Unexpected preferences shape \\(3,\\) for 2 pairs"),
            (np.ones((2, 1)), "Unexpected preferences shape"),
            (np.array([1, 2.0]), "must be numbers in \\[0, 1\\]"),
            (np.array([np.nan, 0]), "must be numbers in \\[0, 1\\]"),
        ],
    )
    def test_bad_preferences(self, make_pairs, preferences, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            pc.PreferenceDataset().push(make_pairs(2), preferences)

    def test_collate(self, make_pairs) -> None:
        dataset = pc.PreferenceDataset()
        dataset.push(make_pairs(4), np.array([0, 1, 0, 1]))
        loader = DataLoader(dataset, batch_size=2, collate_fn=pc.preference_collate_fn)
        pairs, preferences = next(iter(loader))
        assert preferences.tolist() == [0, 1]
        assert pairs == dataset.pairs[:2]

    @pytest.mark.parametrize("rews", [True, False])
    @pytest.mark.parametrize("space", [OBS, gym.spaces.Dict({"a": OBS, "b": gym.spaces.Discrete(3)})])
    def test_round_trip(self, make_pairs, tmp_path, rews: bool, space) -> None:
        dataset = pc.PreferenceDataset(max_size=7)
        dataset.push(make_pairs(3, (4, 2), rews=rews, space=space), np.array([0, 0.5, 1]))
        dataset.save(tmp_path / "new" / "labels.safetensors")
        loaded = pc.PreferenceDataset.load(tmp_path / "new" / "labels.safetensors")
        assert loaded.max_size == 7
        assert loaded.pairs == dataset.pairs
        assert loaded.preferences.tolist() == [0, 0.5, 1]

    def test_damaged_and_foreign_files(self, make_pairs, tmp_path) -> None:
        path = tmp_path / "labels.safetensors"
        with pytest.raises(ValueError, match="no pairs of fragments"):
            pc.PreferenceDataset().save(path)
        with pytest.raises(FileNotFoundError):
            pc.PreferenceDataset.load(path)
        dataset = pc.PreferenceDataset()
        dataset.push(make_pairs(2), np.ones(2))
        dataset.save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        with pytest.raises(artifacts.ArtifactError, match="truncated"):
            pc.PreferenceDataset.load(path)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(artifacts.ArtifactError, match="checksum"):
            pc.PreferenceDataset.load(path)
        path.write_bytes(b"\x80\x04K\x01.")
        with pytest.raises(artifacts.ArtifactError, match="pickle"):
            pc.PreferenceDataset.load(path)
        artifacts.write(path, kind="preferences", version=2, meta={}, tensors={})
        with pytest.raises(artifacts.ArtifactError, match="version 2"):
            pc.PreferenceDataset.load(path)

    def test_preferences_in_a_file_are_checked(self, make_pairs, tmp_path) -> None:
        from imitation_lab.algorithms.preference_comparisons import dataset as module

        path = tmp_path / "labels.safetensors"
        module.write_pairs(path, make_pairs(1), np.array([7.0]), {})
        with pytest.raises(artifacts.ArtifactError, match="outside \\[0, 1\\]"):
            pc.PreferenceDataset.load(path)
        module.write_pairs(path, make_pairs(2), np.array([1.0]), {})
        with pytest.raises(artifacts.ArtifactError, match="one float32 preference for each pair"):
            pc.PreferenceDataset.load(path)
