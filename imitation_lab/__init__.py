"""Imitation learning and reward learning for PyTorch, Stable-Baselines3 and Gymnasium."""

from imitation_lab.envs import _register as _register

__version__ = "0.1.0"
