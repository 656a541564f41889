"""Policies: baselines, networks, exploration, replay relabelling, saving and loading."""
