"""Logging of single values and of means over them, on Stable-Baselines3's logger.

A training loop records with `record` and writes with `dump`. Within `accumulate_means("gen")` each value goes two ways:
into a logger of its own as `raw/gen/<key>`, written at each `dump` inside the context, and into a running mean
`mean/gen/<key>`, written at the next `dump` outside. Scalar tensors may be recorded as they are: they stay on
their device, and all of them are fetched together at `dump`, or when somebody looks into `name_to_value`.
"""

import contextlib
import datetime
import io
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from stable_baselines3.common import logger as sb_logger

from imitation_lab.util import checks
from imitation_lab.util._deferred import Deferred, Exclude, has_mean
from imitation_lab.util.paths import AnyPath
from imitation_lab.util.util import parse_path

__all__ = [
    "FORMATS", "Exclude", "WandbOutputFormat", "make_output_format", "HierarchicalLogger", "AnyLogger", "as_logger",
    "configure", "check_formats",
]  # fmt: skip

FORMATS = ("stdout", "log", "csv", "json", "tensorboard", "wandb")


def check_formats(formats: Sequence[str]) -> None:
    """Asks for formats out of `FORMATS`.

    Raises:
        ValueError: naming the first that is none of them.
    """
    for fmt in formats:
        if fmt not in FORMATS:
            raise ValueError(f"Unknown log format {fmt!r}; expected one of {', '.join(FORMATS)}.")


class WandbOutputFormat(sb_logger.KVWriter):
    """Sends each dump to the Weights & Biases run that is active, or starts one in the project "imitation_lab".

    For settings of your own call `wandb.init` first. `WANDB_MODE=offline` needs neither network nor account.

    Args:
        folder: where a run that is started here keeps its files; None is the working directory.

    Raises:
        ImportError: if wandb is not installed; the text names the extra.
        RuntimeError: if a run cannot be started, as without an account.
    """

    def __init__(self, folder: AnyPath | None = None) -> None:
        self._wandb = wandb = checks.optional("wandb", "wandb", 'The "wandb" log format needs')
        if wandb.run is None:
            where = None if folder is None else os.fsdecode(folder)
            try:
                wandb.init(project="imitation_lab", dir=where)
            except wandb.Error as error:
                raise RuntimeError(
                    f"Weights & Biases starts no run: {error} Log in by `wandb login`, or set WANDB_MODE=offline to "
                    "keep the run on this computer."
                ) from error

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Logs all values but those that exclude "wandb", under `step`; of what is no number or text, figures alone."""
        shown = {k: self._value(v) for k, v in key_values.items() if "wandb" not in (key_excluded.get(k) or ())}
        self._wandb.log({k: v for k, v in shown.items() if v is not None}, step=step)

    def _value(self, value: Any) -> Any:
        if isinstance(value, sb_logger.Figure):
            from PIL import Image

            png = io.BytesIO()
            value.figure.savefig(png, format="png")  # given a figure, wandb would want pyplot
            return self._wandb.Image(Image.open(png))
        foreign = isinstance(value, sb_logger.Image | sb_logger.Video | sb_logger.HParam)
        return None if foreign else value

    def close(self) -> None:
        """Ends the active run."""
        self._wandb.finish()


def make_output_format(
    _format: str, log_dir: AnyPath, log_suffix: str = "", max_length: int = 50
) -> sb_logger.KVWriter:
    """Makes the writer of one log format.

    Args:
        _format: one of "stdout", "log", "csv", "json", "tensorboard", "wandb".
        log_dir: folder of the files; made if missing.
        log_suffix: goes between the file's name and its extension.
        max_length: longest key that "stdout" and "log" print, in characters; longer ones are cut.

    Raises:
        ValueError: if the format is unknown.
        ImportError: if the format needs a package that is not installed.
    """
    check_formats([_format])
    if _format == "wandb":
        return WandbOutputFormat(parse_path(log_dir))
    if _format == "stdout":
        return sb_logger.HumanOutputFormat(sys.stdout, max_length=max_length)
    folder = parse_path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if _format == "log":
        return sb_logger.HumanOutputFormat(str(folder / f"log{log_suffix}.txt"), max_length=max_length)
    return sb_logger.make_output_format(_format, str(folder), log_suffix)


@contextlib.contextmanager
def _pushed(stack: list[str], item: str) -> Iterator[None]:
    stack.append(item)
    try:
        yield
    finally:
        stack.pop()


class HierarchicalLogger(sb_logger.Logger):
    """A logger with contexts whose values are also averaged; see the module's text.

    Args:
        default_logger: receives what is recorded outside `accumulate_means`, and the means.
        format_strs: formats of the raw loggers, one per context, in `<dir>/raw/<prefixes>/<name>`.

    Raises:
        ValueError: if a format is unknown.
    """

    def __init__(self, default_logger: sb_logger.Logger, format_strs: Sequence[str] = ("stdout", "log", "csv")):
        check_formats(format_strs)
        # The writers are shared, so that one appended here is heard, as in any Logger.
        super().__init__(folder=default_logger.dir, output_formats=default_logger.output_formats)
        self.default_logger = default_logger
        self.format_strs = tuple(format_strs)
        self.level = default_logger.level
        self._default = Deferred(default_logger)
        self._raw: dict[str, Deferred] = {}
        self._current: Deferred | None = None
        self._context = ""
        self._accumulate_prefixes: list[str] = []
        self._key_prefixes: list[str] = []
        self._show_maps()

    def _show_maps(self) -> None:
        """Lets SB3's public maps be those of the logger that is recorded into."""
        active = (self._current or self._default).logger
        self.name_to_value = active.name_to_value
        self.name_to_count = active.name_to_count
        self.name_to_excluded = active.name_to_excluded

    @property
    def current_logger(self) -> sb_logger.Logger | None:
        """The raw logger of the active `accumulate_means`, or None outside."""
        return None if self._current is None else self._current.logger

    @contextlib.contextmanager
    def add_accumulate_prefix(self, prefix: str) -> Iterator[None]:
        """Puts `prefix` before the names of the `accumulate_means` contexts inside; nests.

        Raises:
            RuntimeError: inside an `accumulate_means` context.
        """
        if self._current is not None:
            raise RuntimeError(
                f"add_accumulate_prefix({prefix!r}) cannot start inside accumulate_means ({self._context!r}): "
                "put it around, or use add_key_prefix."
            )
        with _pushed(self._accumulate_prefixes, prefix):
            yield

    def get_accumulate_prefixes(self) -> str:
        """The prefixes that apply to `accumulate_means`, each with a slash after it: "a/b/", or ""."""
        return "".join(f"{prefix}/" for prefix in self._accumulate_prefixes)

    @contextlib.contextmanager
    def add_key_prefix(self, prefix: str) -> Iterator[None]:
        """Puts `prefix` and a slash before the keys recorded inside; nests."""
        with _pushed(self._key_prefixes, prefix):
            yield

    @contextlib.contextmanager
    def accumulate_means(self, name: str) -> Iterator[None]:
        """Inside, `record(key)` logs `raw/<name>/<key>` and adds to the mean `mean/<name>/<key>`.

        `dump` inside writes the raw values, the next `dump` outside the means.

        Raises:
            RuntimeError: inside another such context.
        """
        if self._current is not None:
            raise RuntimeError(f"accumulate_means({name!r}) cannot start inside accumulate_means ({self._context!r}).")
        context = self.get_accumulate_prefixes() + name
        if context not in self._raw:
            self._raw[context] = Deferred(self._make_raw_logger(context))
        self._current, self._context = self._raw[context], context
        self._show_maps()
        try:
            yield
        finally:
            self._current, self._context = None, ""
            self._show_maps()

    def _make_raw_logger(self, context: str) -> sb_logger.Logger:
        folder = pathlib.Path(self.get_dir() or os.curdir, "raw", *context.split("/"))
        formats = [make_output_format(fmt, folder) for fmt in self.format_strs]
        raw = sb_logger.Logger(folder=str(folder), output_formats=formats)
        raw.set_level(self.level)
        return raw

    def record(self, key: str, val: Any, exclude: Exclude = None) -> None:
        """Records a value for the next `dump`; a later one under the same key replaces it.

        Args:
            key: name, such as "loss" or "train/loss".
            val: anything Stable-Baselines3 logs, or a tensor with one element, which is copied and left on its device.
                What is no number (text, a figure) has no mean.
            exclude: formats that shall not show it.
        """
        key = "/".join([*self._key_prefixes, key])
        if self._current is None:
            self._default.record(key, val, exclude)
        else:
            self._current.record(f"raw/{self._context}/{key}", val, exclude)
            if has_mean(val):
                self._default.record_mean(f"mean/{self._context}/{key}", val, exclude)

    def record_mean(self, key: str, val: Any, exclude: Exclude = None) -> None:
        """Records a value to be averaged with the others under the same key until the next `dump`.

        Args:
            key: name.
            val: number or tensor with one element, which is added up on its device; None records None.
            exclude: formats that shall not show it.
        """
        key = "/".join([*self._key_prefixes, key])
        if self._current is None:
            self._default.record_mean(key, val, exclude)
        else:
            self._current.record_mean(f"raw/{self._context}/{key}", val, exclude)
            self._default.record_mean(f"mean/{self._context}/{key}", val, exclude)

    def dump(self, step: int = 0) -> None:
        """Writes what was recorded: inside `accumulate_means` the raw values, outside all else and the means."""
        (self._current or self._default).dump(step)

    def get_dir(self) -> str | None:
        """Folder of the default logger's files."""
        return self.default_logger.get_dir()

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Writes a line of text to the default logger's formats; see `stable_baselines3.common.logger.Logger.log`."""
        self.default_logger.log(*args, **kwargs)

    def set_level(self, level: int) -> None:
        """Sets the level of all loggers; `logger.DISABLED` silences them."""
        self.level = level
        for deferred in (self._default, *self._raw.values()):
            deferred.logger.set_level(level)

    def close(self) -> None:
        """Closes the files of all loggers."""
        for deferred in (self._default, *self._raw.values()):
            deferred.logger.close()


AnyLogger = HierarchicalLogger | str | Sequence[str]
"""What algorithms take as `custom_logger`: a logger, or the names of formats."""


def as_logger(log: AnyLogger | None) -> HierarchicalLogger:
    """The logger that `log` names.

        trainer = bc.BC(..., custom_logger="tensorboard")
        trainer.logger.get_dir()  # give this to `tensorboard --logdir`

    Args:
        log: a logger, as it is; one format or several, written as `configure(format_strs=log)` writes; None is
            `configure()`.

    Raises:
        TypeError: if it is neither.
        ValueError: if a format is unknown.
    """
    if isinstance(log, HierarchicalLogger) or hasattr(log, "record") or hasattr(log, "log"):
        return log  # type: ignore[return-value]  # one of the user's own
    if log is None or isinstance(log, str) or (isinstance(log, Sequence) and all(isinstance(f, str) for f in log)):
        return configure(format_strs=log)
    raise TypeError(
        f"The logger is a {type(log).__name__}, expected a HierarchicalLogger, as imitation_lab.util.logger.configure "
        f"makes them, or one or more of the formats {', '.join(FORMATS)}."
    )


def configure(folder: AnyPath | None = None, format_strs: str | Sequence[str] | None = None) -> HierarchicalLogger:
    """Makes a `HierarchicalLogger` that writes under `folder`.

    Args:
        folder: made if missing; None makes `imitation_lab-<time>` in the system's temporary folder.
        format_strs: one or more of "stdout", "log", "csv", "json", "tensorboard", "wandb"; None is stdout, log and csv.
            The raw loggers use them too, but for wandb, which has one stream of steps.

    Raises:
        ValueError: if a format is unknown.
    """
    if folder is None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
        path = pathlib.Path(tempfile.gettempdir(), f"imitation_lab-{stamp}")
    else:
        path = parse_path(folder)
    if format_strs is None:
        format_strs = ("stdout", "log", "csv")
    formats = (format_strs,) if isinstance(format_strs, str) else tuple(format_strs)
    check_formats(formats)
    path.mkdir(parents=True, exist_ok=True)
    default = sb_logger.Logger(str(path), [make_output_format(fmt, path) for fmt in formats])
    return HierarchicalLogger(default, [fmt for fmt in formats if fmt != "wandb"])
