"""Groups of configuration keys that experiments share, each a dataclass that does its part of the work."""

from imitation_lab.scripts.ingredients.bc import BCSettings
from imitation_lab.scripts.ingredients.demonstrations import Demonstrations
from imitation_lab.scripts.ingredients.environment import Environment
from imitation_lab.scripts.ingredients.expert import Expert
from imitation_lab.scripts.ingredients.logging import Logging
from imitation_lab.scripts.ingredients.policy import Policy
from imitation_lab.scripts.ingredients.policy_evaluation import PolicyEvaluation
from imitation_lab.scripts.ingredients.reward import Reward
from imitation_lab.scripts.ingredients.rl import RL
from imitation_lab.scripts.ingredients.sqil import SQILSettings

__all__ = [
    "Environment", "Demonstrations", "Expert", "RL", "Policy", "Reward", "PolicyEvaluation", "BCSettings",
    "SQILSettings", "Logging",
]  # fmt: skip
