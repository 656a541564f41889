import gymnasium as gym
import numpy as np
import pytest

import imitation_lab  # noqa: F401  (registers the environments)
from imitation_lab.data.types import TrajectoryWithRew
from imitation_lab.viz import preferences, style


def fragment(length=6, dims=2, scale=1.0):
    obs = scale * np.arange((length + 1) * dims, dtype=np.float32).reshape(-1, dims)
    return TrajectoryWithRew(obs, np.zeros(length, int), None, False, np.ones(length, np.float32))


def real(env_id, steps=12, seed=0, max_frames=20):
    """A fragment played in the environment, and pictures taken while it was played."""
    env = gym.make(env_id, render_mode="rgb_array")
    obs, acts, pictures = [env.reset(seed=seed)[0]], [], []
    env.action_space.seed(seed)
    for t in range(steps):
        acts.append(env.action_space.sample())
        if t % 4 == 0:
            if hasattr(env.unwrapped, "last_u"):
                env.unwrapped.last_u = float(acts[-1][0])  # the arrow of the coming action, not of the last one
            pictures.append(env.render())
        obs.append(env.step(acts[-1])[0])
    trajectory = TrajectoryWithRew(np.stack(obs), np.stack(acts), None, False, np.zeros(steps, np.float32))
    return trajectory, pictures


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "imitation_lab/CartPole-v0", "MountainCar-v0", "Pendulum-v1", "Acrobot-v1"]
)
def test_states_set_from_observations_give_the_pictures_of_the_episode(env_id):
    trajectory, pictures = real(env_id)
    frames = preferences.StateRenderer(env_id, width=1000)(trajectory)
    assert frames.dtype == np.uint8
    assert len(frames) == 12
    for k, picture in enumerate(pictures):
        different = (np.abs(frames[4 * k].astype(int) - picture) > 30).any(-1).mean()
        assert different < 2e-3, f"step {4 * k}: {different:.2%} of the pixels differ"  # angles round differently
    assert (frames[0] != frames[11]).any()


def test_renderer_thins_out_and_scales_down():
    trajectory, _ = real("CartPole-v1", steps=12)
    frames = preferences.StateRenderer("CartPole-v1", max_frames=5, width=150)(trajectory)
    assert frames.shape == (5, 100, 150, 3)
    assert style.evenly(12, 5) == [0, 3, 6, 8, 11]
    assert style.evenly(1, 5) == [0]


def test_renderer_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="expected 'rgb_array'"):
        preferences.StateRenderer(gym.make("CartPole-v1"))

    class Other(gym.Env):
        render_mode = "rgb_array"

    with pytest.raises(ValueError, match=r"state of Other cannot be set.*render='trace'"):
        preferences.StateRenderer(Other())


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def test_clips_move_in_step_and_the_shorter_one_stays_at_its_end():
    frames = tuple(
        np.zeros((n, 4, 6, 3), np.uint8) + 10 * np.arange(n, dtype=np.uint8)[:, None, None, None] for n in (3, 4)
    )
    panel = preferences.PairPanel((fragment(5), fragment(4)), frames)
    shown = []
    for step in range(5):
        panel.show(step)
        shown.append([int(axes.images[0].get_array()[0, 0, 0]) for axes in panel.figure.axes])
    assert shown == [[0, 0], [0, 10], [10, 20], [20, 30], [20, 30]]
    assert texts(panel.figure) == ["step 5 of 5", "step 4 of 4"]
    assert [axes.get_title(loc="left") for axes in panel.figure.axes] == ["left", "right"]


def test_without_pictures_states_are_drawn_on_one_scale():
    panel = preferences.PairPanel((fragment(5), fragment(4, scale=9.0)), obs_names=["place", "speed"])
    left, right = panel.figure.axes
    assert left.get_ylim() == right.get_ylim()
    assert [t.get_text() for t in left.get_legend().get_texts()] == ["place", "speed"]
    np.testing.assert_array_equal(right.lines[1].get_ydata(), fragment(4, scale=9.0).obs[:4, 1])
    panel.show(4)
    assert [left.lines[-1].get_xdata()[0], right.lines[-1].get_xdata()[0]] == [4, 3]
    pngs = panel.loop(7)  # more than there are steps
    assert (len(pngs), len(set(pngs))) == (7, 5)


def test_images_without_pictures_are_refused():
    obs = np.zeros((3, 8, 8), np.uint8)
    clip = TrajectoryWithRew(obs, np.zeros(2, int), None, False, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="no vectors"):
        preferences.PairPanel((clip, clip))


def test_film_strips():
    frames = tuple(np.zeros((3, 40, 60, 3), np.uint8) for _ in range(2))
    figure = preferences.pair_figure((fragment(9), fragment(5)), frames, n=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"step {s}" for s in (1, 5, 9, 1, 3, 5)]
    assert len(preferences.pair_figure((fragment(), fragment())).axes) == 2


def test_preference_probability():
    d = np.array([-2.0, 0.0, 2.0])
    np.testing.assert_allclose(preferences.preference_probability(d, 1.0), [0.1192, 0.5, 0.8808], atol=1e-4)
    np.testing.assert_allclose(preferences.preference_probability(d, 2.0), [0.2689, 0.5, 0.7311], atol=1e-4)
    np.testing.assert_array_equal(preferences.preference_probability(d, 0.0), [0, 0.5, 1])


def test_bradley_terry_figure_marks_the_pairs():
    figure = preferences.bradley_terry_figure(2.0, differences=[2.0, -2.0])
    assert texts(figure) == ["73 of 100 say left", "27 of 100 say left"]
    curve = figure.axes[0].lines[1]
    np.testing.assert_allclose(np.interp(2.0, curve.get_xdata(), curve.get_ydata()), 0.7311, atol=1e-3)
    loss = figure.axes[1].lines[0]
    np.testing.assert_allclose(np.interp(0.0, loss.get_xdata(), loss.get_ydata()), np.log(2), atol=1e-6)
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        preferences.bradley_terry_figure(-1.0)
