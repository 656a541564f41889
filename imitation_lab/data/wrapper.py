"""Another name for `imitation_lab.data.wrappers`."""

from imitation_lab.data.wrappers import BufferingWrapper, RolloutInfoWrapper

__all__ = ["BufferingWrapper", "RolloutInfoWrapper"]
