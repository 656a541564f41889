from types import SimpleNamespace

import numpy as np
import pytest

from imitation_lab.widgets.episodes import Episode, EpisodePlayer


def test_player_leafs_through_the_episode():
    frames = np.zeros((6, 20, 30, 3), np.uint8)
    frames[:, :, :15] = (np.arange(6) * 40)[:, None, None, None]
    player = EpisodePlayer(frames, acts=np.arange(6) % 2, rews=np.ones(6))
    assert player.steps == [0, 1, 2, 3, 4, 5]
    first = player.frames.png
    player.slider.value = 5
    assert player.frames.png != first
    assert (player.step, player.frames.label) == (5, "step 6 of 6")
    assert repr(player) == "EpisodePlayer(6 steps)"
    assert player.table().splitlines()[-1].split() == ["episode", "6", "6"]
    texts = [t.get_text() for axes in player.figure().axes for t in axes.texts]
    assert "step 6 of 6: reward 1, return so far 6" in texts


def test_player_is_bounded_in_frames_and_bytes(rng):
    trajectory = SimpleNamespace(obs=rng.normal(size=(101, 2)), acts=rng.normal(size=(100, 1)), rews=np.ones(100))
    player = EpisodePlayer(trajectory, n_frames=8)
    assert len(player.frames) == 8
    assert (player.steps[0], player.steps[-1]) == (0, 99)
    small = EpisodePlayer(trajectory, n_frames=8, max_bytes=1)
    assert len(small.frames) == 2
    with pytest.raises(ValueError, match="n_frames must be at least 1"):
        EpisodePlayer(trajectory, n_frames=0)


def test_two_episodes_play_in_step():
    player = EpisodePlayer({"learner": Episode(rews=np.ones(2)), "expert": Episode(rews=np.ones(3))})
    assert len(player.frames) == 3
    assert repr(player) == "EpisodePlayer(learner: 2 steps, expert: 3 steps)"
