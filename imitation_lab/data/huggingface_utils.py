"""Another name for `imitation_lab.data.demonstrations.huggingface`."""

from imitation_lab.data.demonstrations.huggingface import (
    TrajectoryDatasetSequence,
    from_huggingface,
    trajectories_to_dataset,
    trajectories_to_dict,
)

__all__ = ["TrajectoryDatasetSequence", "from_huggingface", "trajectories_to_dataset", "trajectories_to_dict"]
