"""Learning a reward from which of two clips is better, by a synthetic teacher or by you."""

from imitation_lab.algorithms.preference_comparisons.comparisons import (
    QUERY_SCHEDULES,
    PreferenceComparisons,
    StepStatus,
)
from imitation_lab.algorithms.preference_comparisons.dataset import PreferenceDataset, preference_collate_fn
from imitation_lab.algorithms.preference_comparisons.fragmenters import (
    ActiveSelectionFragmenter,
    Fragmenter,
    RandomFragmenter,
)
from imitation_lab.algorithms.preference_comparisons.gatherers import (
    AsynchronousGatherer,
    PreferenceGatherer,
    SyntheticGatherer,
)
from imitation_lab.algorithms.preference_comparisons.generators import (
    AgentTrainer,
    TrajectoryDataset,
    TrajectoryGenerator,
)
from imitation_lab.algorithms.preference_comparisons.human import HumanGatherer
from imitation_lab.algorithms.preference_comparisons.loss import (
    CrossEntropyRewardLoss,
    LossAndMetrics,
    RewardLoss,
    accuracy,
    cross_entropy,
)
from imitation_lab.algorithms.preference_comparisons.model import PreferenceModel, get_base_model
from imitation_lab.algorithms.preference_comparisons.trainers import (
    BasicRewardTrainer,
    EnsembleTrainer,
    RewardTrainer,
    make_reward_trainer,
)

__all__ = [
    "TrajectoryGenerator",
    "TrajectoryDataset",
    "AgentTrainer",
    "PreferenceModel",
    "get_base_model",
    "Fragmenter",
    "RandomFragmenter",
    "ActiveSelectionFragmenter",
    "PreferenceGatherer",
    "SyntheticGatherer",
    "AsynchronousGatherer",
    "HumanGatherer",
    "PreferenceDataset",
    "preference_collate_fn",
    "LossAndMetrics",
    "RewardLoss",
    "CrossEntropyRewardLoss",
    "cross_entropy",
    "accuracy",
    "RewardTrainer",
    "BasicRewardTrainer",
    "EnsembleTrainer",
    "make_reward_trainer",
    "QUERY_SCHEDULES",
    "PreferenceComparisons",
    "StepStatus",
]
