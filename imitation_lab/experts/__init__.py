"""Bundled expert policies and demonstrations, trained here; each has a card and a recipe that reproduces it."""

from imitation_lab.experts.bundle import card, list_experts, load_demonstrations, load_expert

__all__ = ["card", "list_experts", "load_demonstrations", "load_expert"]
