"""Reward networks, their wrappers and files, and measures of how alike two rewards are."""
