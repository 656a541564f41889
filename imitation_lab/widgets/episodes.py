"""An episode player: pictures, actions and rewards step by step."""

from collections.abc import Mapping
from typing import Any

from imitation_lab.viz.episodes import Episode, EpisodePanel, episode_figure, films, record_episode
from imitation_lab.viz.style import LabFigure
from imitation_lab.viz.tables import Rows
from imitation_lab.widgets.base import SweepView

__all__ = ["Episode", "EpisodePlayer", "record_episode"]


class EpisodePlayer(SweepView):
    """Slider and play button over an episode, or up to three in step; moves without a kernel.

    Args:
        source: an ``Episode``, a trajectory, pictures ``(n, height, width, 3)``, or a dict of those by name.
        n_frames: the most frames shown; long episodes are thinned out evenly.
        max_bytes: the most bytes all frames take; if they take more, every other frame is dropped.
        interval: milliseconds per frame when playing.
        **kwargs: ``acts``, ``rews``, ``obs_names``, ``action_names`` for sources that lack them.

    Attributes:
        episodes: ``{name: Episode}``.
        steps: the step that each frame shows.
        frames: the ``FrameStack``.
    """

    digits = 4

    def __init__(
        self, source: Any, *, n_frames: int = 30, max_bytes: int = 300_000, interval: int = 150, **kwargs: Any
    ) -> None:
        items = source.items() if isinstance(source, Mapping) else [("", source)]
        self.episodes = {name: Episode.of(item, **kwargs) for name, item in items}
        panel = EpisodePanel(self.episodes)
        self.steps, (pngs,) = films([panel], n_frames, max_bytes)
        labels = [f"step {s + 1} of {panel.n_steps}" for s in self.steps]
        super().__init__(pngs, labels=labels, description="frame", alt=panel.figure.alt, interval=interval)

    @property
    def step(self) -> int:
        """The step shown."""
        return self.steps[self.slider.value]

    def figure(self, step: int | None = None) -> LabFigure:
        """Return one step as a plain figure; by default the one shown."""
        return episode_figure(self.episodes, self.step if step is None else step)

    def rows(self) -> Rows:
        """Return length and return of each episode."""
        return [{"episode": name or "episode", "steps": len(e), "return": e.total} for name, e in self.episodes.items()]

    def _summary(self) -> str:
        return ", ".join(f"{name + ': ' if name else ''}{len(e)} steps" for name, e in self.episodes.items())
