"""Imitation learning and reward learning algorithms."""
