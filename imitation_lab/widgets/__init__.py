"""Thin ipywidgets views over :mod:`imitation_lab.viz` and the algorithms (extra ``notebooks``)."""
