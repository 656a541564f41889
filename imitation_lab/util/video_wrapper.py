"""Environment wrapper that records videos of the episodes."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Generator
from typing import Any, Literal, SupportsFloat

import gymnasium as gym
import numpy as np

from imitation_lab.util import checks
from imitation_lab.util.paths import AnyPath, atomic_path
from imitation_lab.util.util import parse_path

__all__ = ["Format", "VideoWrapper"]

Format = Literal["auto", "gif", "mp4"]


class _Mp4Writer:
    """Streams frames to ffmpeg, into a temporary file that takes its name at the end."""

    def __init__(self, path: pathlib.Path, fps: float):
        self._fps = fps
        self._files = contextlib.ExitStack()
        self._temp = self._files.enter_context(atomic_path(path))
        self._stream: Generator[None, np.ndarray | None, None] | None = None

    def add(self, frame: np.ndarray) -> None:
        import imageio_ffmpeg

        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            # H.264 in the usual colour format needs even sides.
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            height, width = frame.shape[:2]
        if self._stream is None:
            self._stream = imageio_ffmpeg.write_frames(
                str(self._temp),
                (width, height),
                fps=self._fps,
                macro_block_size=1,
                ffmpeg_log_level="error",
            )
            self._stream.send(None)
        self._stream.send(np.ascontiguousarray(frame))

    def close(self) -> None:
        with self._files:
            if self._stream is not None:
                self._stream.close()


class _GifWriter:
    """Keeps frames with 256 colours each and writes them at the end; equal neighbours become one that lasts longer."""

    def __init__(self, path: pathlib.Path, fps: float):
        self._path = path
        # The format counts in hundredths of a second, and viewers slow down what is faster than two of them.
        self._milliseconds = max(20, 10 * round(100 / fps))
        self._frames: list[Any] = []

    def add(self, frame: np.ndarray) -> None:
        from PIL import Image

        self._frames.append(Image.fromarray(frame).quantize())

    def close(self) -> None:
        with atomic_path(self._path) as temp:
            self._frames[0].save(
                temp,
                format="GIF",
                save_all=True,
                append_images=self._frames[1:],
                duration=self._milliseconds,
                loop=0,
            )


class VideoWrapper(gym.Wrapper):
    """Records what the environment renders, as `video.000000.mp4` (or `.gif`) and so on in `directory`.

    A file appears, whole, when its video ends: at `close`, or at the next `reset` where each episode has a video of its
    own. A `reset` without a step after it leaves no video.

    Args:
        env: environment with `render_mode="rgb_array"`.
        directory: folder of the videos; made if missing. Files of the same name are replaced.
        single_video: one video of all episodes, or one per episode.
        format: "mp4" (needs imageio-ffmpeg), "gif", or "auto": MP4 where imageio-ffmpeg is installed, else GIF.
        fps: frames per second; None takes the environment's `render_fps`, or 30.

    Raises:
        ValueError: if the environment does not render to arrays, `format` is unknown or `fps` is not positive.
        ImportError: if `format` is "mp4" and imageio-ffmpeg is not installed.
    """

    def __init__(
        self,
        env: gym.Env,
        directory: AnyPath,
        single_video: bool = True,
        *,
        format: Format = "auto",
        fps: float | None = None,
    ):
        super().__init__(env)
        if env.render_mode != "rgb_array":
            raise ValueError(
                f"VideoWrapper needs an environment that renders to arrays, got render_mode={env.render_mode!r}: "
                'make it with gym.make(..., render_mode="rgb_array").'
            )
        if format not in ("auto", "gif", "mp4"):
            raise ValueError(f'format must be "auto", "gif" or "mp4", got {format!r}.')
        has_ffmpeg = importlib.util.find_spec("imageio_ffmpeg") is not None
        if format == "mp4" and not has_ffmpeg:
            raise ImportError('format="mp4" needs imageio-ffmpeg: pip install imageio-ffmpeg, or use format="gif".')
        self.single_video = single_video
        self.format = ("mp4" if has_ffmpeg else "gif") if format == "auto" else format
        self.fps = float(fps if fps is not None else env.metadata.get("render_fps") or 30)
        checks.positive(fps=self.fps)
        self.directory = parse_path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._writer: _Mp4Writer | _GifWriter | None = None
        self._n_videos = 0
        self._first_frame: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; ends the video of the episode before, if each has its own."""
        result = self.env.reset(seed=seed, options=options)
        if not self.single_video:
            self._finish()
        # Held back until a step follows, so that an episode without one makes no file.
        self._first_frame = self._render()
        return result

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment and records the frame after it."""
        result = self.env.step(action)
        if self._writer is None:
            path = self.directory / f"video.{self._n_videos:06d}.{self.format}"
            self._writer = (_Mp4Writer if self.format == "mp4" else _GifWriter)(path, self.fps)
            self._n_videos += 1
        if self._first_frame is not None:
            self._writer.add(self._first_frame)
            self._first_frame = None
        self._writer.add(self._render())
        return result

    def close(self) -> None:
        """Writes the open video and closes the environment."""
        try:
            self._finish()
        finally:
            super().close()

    def _render(self) -> np.ndarray:
        frame = self.env.render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise ValueError(f"Expected render() to return a uint8 array of shape (height, width, 3), got {got}.")
        return frame

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        self._first_frame = None
        if writer is not None:
            writer.close()
