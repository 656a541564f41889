"""Imitation learning and reward learning for PyTorch, Stable-Baselines3 and Gymnasium."""

from imitation_lab.envs import _register as _register
from imitation_lab.util.doors import door

__version__ = "0.1.0"

__getattr__, __dir__ = door(
    __name__,
    hidden=("compat",),
    **dict.fromkeys(("BC", "SimpleDAggerTrainer", "DAggerTrainer", "GAIL", "AIRL", "SQIL"), "algorithms"),
    **dict.fromkeys(("DensityAlgorithm", "MCEIRL", "PreferenceComparisons"), "algorithms"),
    **dict.fromkeys(("list_experts", "load_expert", "load_demonstrations"), "experts"),
    **dict.fromkeys(("load_policy", "save_policy"), "policies"),
    **dict.fromkeys(("load_reward", "save_reward"), "rewards"),
    rollout="data.rollout",
    make_vec_env="util.util",
)
