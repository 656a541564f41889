"""Another name for `imitation_lab.data.demonstrations.minari`."""

from imitation_lab.data.demonstrations.minari import MinariTrajectories, from_minari, to_minari

__all__ = ["MinariTrajectories", "from_minari", "to_minari"]
