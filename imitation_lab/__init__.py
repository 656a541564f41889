"""Imitation learning and reward learning for PyTorch, Stable-Baselines3 and Gymnasium."""

__version__ = "0.1.0"
