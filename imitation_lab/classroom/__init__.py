"""What assignments import to check answers, and the course folder that nbgrader grades them in."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__)
