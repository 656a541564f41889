"""Adversarial imitation: a discriminator learns to tell the learner from the expert, and rewards who deceives it."""
