"""The former place of `imitation_lab.rewards.implicit`."""

from imitation_lab.rewards.implicit import policy_log_prob_reward

__all__ = ["policy_log_prob_reward"]
