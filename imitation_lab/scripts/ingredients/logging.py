"""Where and how a run logs."""

from __future__ import annotations

import dataclasses
import logging as python_logging
from collections.abc import Mapping, Sequence
from typing import Any

from imitation_lab.scripts import _engine, output
from imitation_lab.util import checks, logger

__all__ = ["Logging", "logging_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """Where and how a run logs.

    Attributes:
        log_root: folder of the script's results; None is output/<script>.
        log_dir: folder of this run; None is <log_root>/<environment>/<timestamp>.
        log_level: of Python's logging, such as "INFO" or 20.
        log_format_strs: formats: stdout, log, csv, json, tensorboard, wandb.
        log_format_strs_additional: more formats, as keys, so that a named configuration can add one.
        wandb_kwargs: for `wandb.init`, where wandb is among the formats.
    """

    log_root: str | None = None
    log_dir: str | None = None
    log_level: int | str = "INFO"
    log_format_strs: Sequence[str] = dataclasses.field(default_factory=lambda: ["stdout", "log", "csv", "tensorboard"])
    log_format_strs_additional: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    wandb_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"project": "imitation_lab"})

    def start(self, script: str, subject: str) -> output.Output:
        """Makes the run's folder and its logger.

        Args:
            script: name of the script.
            subject: what it is about, such as the environment's id.
        """
        try:
            python_logging.getLogger("imitation_lab").setLevel(self.log_level)
        except ValueError as error:
            raise ValueError(f"logging.log_level={self.log_level!r} is no level of Python's logging: {error}") from None
        formats = list(dict.fromkeys([*self.log_format_strs, *self.log_format_strs_additional]))
        logger.check_formats(formats)
        folder = output.make_folder(script, subject, self.log_root, self.log_dir)
        if "wandb" in formats:
            wandb = checks.optional("wandb", "wandb", "logging to wandb needs")
            wandb.init(dir=str(folder), name=f"{script}-{subject}-{folder.name}", **self.wandb_kwargs)
        return output.Output(folder, logger.configure(folder / "log", formats))


logging_ingredient = _engine.ingredient("logging", Logging)
