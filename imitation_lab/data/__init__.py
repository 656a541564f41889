"""Trajectories and transitions: their types, how they are rolled out, buffered, checked, saved and loaded."""
