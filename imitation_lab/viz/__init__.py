"""Pure functions from data to a matplotlib ``Figure``, and the plain-Python models behind the widgets."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(
    __name__,
    "adversarial",
    "checkpoint",
    "comparison",
    "curves",
    "density",
    "episodes",
    "normalization",
    "normalization_trace",
    "preferences",
    "regularization",
    "rewards",
    "tables",
    "tabular",
    "trajectories",
    "visitation",
    "wrapper_stack",
)
