"""Regularization whose strength adapts to the gap between validation and training loss."""
