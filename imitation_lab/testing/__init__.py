"""Helpers for users' own tests: significance tests, mock reward networks, expert data, hypothesis strategies."""
