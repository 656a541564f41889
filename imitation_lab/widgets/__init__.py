"""Thin ipywidgets views over :mod:`imitation_lab.viz` and the algorithms (extra ``notebooks``)."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
