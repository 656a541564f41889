"""DAgger: the learner acts, the expert says what it should have done."""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(__name__, "dagger")
