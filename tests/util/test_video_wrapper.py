import importlib.util
import subprocess

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from imitation_lab.util.video_wrapper import VideoWrapper


class Painter(gym.Env):
    """Renders the number of steps since the reset as a grey level; odd sides."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(1)

    def __init__(self, render_mode="rgb_array", shape=(33, 21, 3)):
        self.render_mode = render_mode
        self.shape = shape
        self.t = 0
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return 0, {"options": options}

    def step(self, action):
        self.t += 1
        return 0, 1.0, False, False, {}

    def render(self):
        return np.full(self.shape, 50 * self.t, dtype=np.uint8)

    def close(self):
        self.closed = True


def play(env, *lengths):
    for length in lengths:
        env.reset(seed=0, options={"a": 1})
        for _ in range(length):
            env.step(0)


def gif_levels(path):
    with Image.open(path) as image:
        levels = []
        for i in range(image.n_frames):
            image.seek(i)
            levels += [int(np.asarray(image.convert("RGB"))[0, 0, 0])]
        return levels


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_single_gif_of_all_episodes(tmp_path):
    inner = Painter()
    env = VideoWrapper(inner, tmp_path / "videos", format="gif")
    play(env, 2, 3)
    assert names(tmp_path / "videos") == []  # nothing half-written
    env.close()
    assert inner.closed
    assert names(tmp_path / "videos") == ["video.000000.gif"]
    assert gif_levels(tmp_path / "videos" / "video.000000.gif") == [0, 50, 100, 0, 50, 100, 150]
    with Image.open(tmp_path / "videos" / "video.000000.gif") as image:
        assert image.size == (21, 33)
        assert image.info["duration"] == 100  # milliseconds at 10 frames per second


def test_one_gif_per_episode(tmp_path):
    env = VideoWrapper(Painter(), tmp_path, single_video=False, format="gif")
    play(env, 2, 0, 1)  # a reset without steps leaves no video
    assert names(tmp_path) == ["video.000000.gif"]
    env.close()
    assert names(tmp_path) == ["video.000000.gif", "video.000001.gif"]
    assert gif_levels(tmp_path / "video.000000.gif") == [0, 50, 100]
    assert gif_levels(tmp_path / "video.000001.gif") == [0, 50]
    env.close()  # twice does no harm


def read_mp4(path, height, width):
    """Grey levels of all frames, and what ffmpeg says about the file."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [ffmpeg, "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    frames = np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width)
    return frames, result.stderr.decode()


def test_mp4(tmp_path):
    env = VideoWrapper(Painter(shape=(64, 48, 3)), tmp_path, single_video=False, format="mp4")
    play(env, 4, 2)
    env.close()
    assert names(tmp_path) == ["video.000000.mp4", "video.000001.mp4"]
    frames, about = read_mp4(tmp_path / "video.000000.mp4", 64, 48)
    np.testing.assert_allclose(frames.mean(axis=(1, 2)), [0, 50, 100, 150, 200], atol=6)
    assert "48x64" in about
    assert "10 fps" in about
    assert len(read_mp4(tmp_path / "video.000001.mp4", 64, 48)[0]) == 3


def test_mp4_odd_sides_are_padded(tmp_path, caplog):
    env = VideoWrapper(Painter(), tmp_path, format="mp4", fps=25)
    play(env, 2)
    env.close()
    frames, about = read_mp4(tmp_path / "video.000000.mp4", 34, 22)
    np.testing.assert_allclose(frames[:, -1, -1], [0, 50, 100], atol=6)
    assert "22x34" in about
    assert "25 fps" in about
    assert not caplog.records


def test_no_file_without_steps_and_none_after_failure(tmp_path, monkeypatch):
    env = VideoWrapper(Painter(), tmp_path, format="gif")
    env.reset()
    env.close()
    assert names(tmp_path) == []

    env = VideoWrapper(Painter(), tmp_path, format="gif")
    play(env, 1)

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        env.close()
    assert names(tmp_path) == []
    assert env.unwrapped.closed


def test_auto_format(tmp_path, monkeypatch):
    assert VideoWrapper(Painter(), tmp_path).format == "mp4"
    original = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "imageio_ffmpeg" else original(n, *a))
    assert VideoWrapper(Painter(), tmp_path).format == "gif"
    with pytest.raises(ImportError, match='pip install imageio-ffmpeg, or use format="gif"'):
        VideoWrapper(Painter(), tmp_path, format="mp4")


def test_refusals(tmp_path):
    for mode in (None, "human"):
        with pytest.raises(ValueError, match=rf"got render_mode={mode!r}: make it with"):
            VideoWrapper(Painter(mode), tmp_path)
    with pytest.raises(ValueError, match='format must be "auto", "gif" or "mp4", got \'avi\''):
        VideoWrapper(Painter(), tmp_path, format="avi")
    with pytest.raises(ValueError, match="fps must be positive"):
        VideoWrapper(Painter(), tmp_path, fps=-1)
    env = VideoWrapper(Painter(shape=(4, 4)), tmp_path)
    with pytest.raises(ValueError, match=r"uint8 array of shape \(height, width, 3\), got uint8 \(4, 4\)"):
        env.reset()


def test_renders_a_real_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = VideoWrapper(gym.make("CartPole-v1", render_mode="rgb_array"), tmp_path, format="gif")
    obs, info = env.reset(seed=0)
    assert obs.shape == (4,)
    assert info == {}
    for _ in range(5):
        env.step(0)
    env.close()
    with Image.open(tmp_path / "video.000000.gif") as image:
        # Equal neighbours are merged, and the first steps move the cart by less than a pixel.
        assert image.n_frames > 2
        assert image.size == (600, 400)
