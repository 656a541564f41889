"""What has a logger."""

from imitation_lab.util import logger as lab_logger

__all__ = ["Logged"]


class Logged:
    """Holds a logger; without one given, one is made when it is first used.

    Args:
        custom_logger: where metrics go: a logger of `util.logger.configure`, or formats by name; None makes a new one.
    """

    def __init__(self, custom_logger: lab_logger.AnyLogger | None = None) -> None:
        self._logger = None if custom_logger is None else lab_logger.as_logger(custom_logger)

    @property
    def logger(self) -> lab_logger.HierarchicalLogger:
        """Where metrics go, those of all parts too."""
        if self._logger is None:
            self._logger = lab_logger.configure()
        return self._logger

    @logger.setter
    def logger(self, logger: lab_logger.HierarchicalLogger) -> None:
        self._logger = logger
        self._share(logger)

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        """Gives parts that log the new logger."""
