"""Sacred's side of the engine; importing this needs the extra `cli`."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from imitation_lab.scripts import _console, _names, _schema, _values, config, output

with warnings.catch_warnings():
    # Sacred 0.8 imports pkg_resources, which complains; that is why the extra holds setuptools back.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    import sacred
    from sacred.config import ConfigDict
    from sacred.config.config_summary import ConfigSummary
    from sacred.observers import FileStorageObserver


_about: contextvars.ContextVar[str | None] = contextvars.ContextVar("_about", default=None)
"""The command that a configuration is for."""


class _Documented(ConfigDict):
    """A configuration whose values are explained in `print_config`."""

    def __init__(self, values: Mapping[str, Any], docs: Mapping[str, str]) -> None:
        super().__init__(_names.with_names(values))
        self._docs = docs

    def __call__(self, fixed: Any = None, preset: Any = None, fallback: Any = None) -> ConfigSummary:
        summary = super().__call__(fixed, preset, fallback)
        summary.docs.update(self._docs)
        return summary


class _NamedValues(ConfigDict):
    """A named configuration, whose values may depend on the command."""

    def __init__(self, named: _values.Named) -> None:
        super().__init__(_names.with_names(named.values))
        self._own = {key: ConfigDict(_names.with_names(named.of(key))) for key in named.by_command}
        self.__doc__ = named.doc  # what print_named_configs shows

    def __call__(self, fixed: Any = None, preset: Any = None, fallback: Any = None) -> ConfigSummary:
        own = self._own.get(_about.get() or "")
        return super().__call__(fixed, preset, fallback) if own is None else own(fixed, preset, fallback)


def make_ingredient(name: str, instance: Any) -> sacred.Ingredient:
    """The ingredient of a dataclass, whose defaults are those of `instance`."""
    group = _schema.group(instance)
    made = sacred.Ingredient(name, save_git_info=False)
    made.doc = group.doc
    _fill(made, group.keys, config.of(name))
    return made


def _fill(made: sacred.Ingredient, keys: Mapping[str, Any], named: Mapping[str, _values.Named]) -> None:
    """Gives an experiment or ingredient its keys, Sacred knowing of the seed already, and named configurations."""
    plain = {key: entry for key, entry in keys.items() if key != "seed"}
    made.configurations.append(_Documented(_schema.defaults(plain), _schema.flat_docs(keys)))
    for key, found in named.items():
        made._add_named_config(key, _NamedValues(found))


def _ingredient(key: str, group: _schema.Group, known: Mapping[type, sacred.Ingredient]) -> sacred.Ingredient:
    """The ingredient that all experiments share; defaults of its own need an ingredient of its own."""
    instance = group.cls(**{name: entry.default for name, entry in group.keys.items()})
    return known[group.cls] if group.cls in known and instance == group.cls() else make_ingredient(key, instance)


class Experiment(sacred.Experiment):
    """A `sacred.Experiment` that checks names and keys before a run begins, and says what is wrong with them.

    Its arguments are those of `_engine.experiment`, and the ingredients by dataclass.
    """

    def __init__(
        self,
        name: str,
        commands: Sequence[Callable[..., Any]],
        named: Mapping[str, _values.Named],
        ingredients: Mapping[type, sacred.Ingredient],
    ) -> None:
        self.schema = _schema.of(commands)
        self.functions = {function.__name__: function for function in commands}
        groups = {key: entry for key, entry in self.schema.items() if isinstance(entry, _schema.Group)}
        parts = [_ingredient(key, group, ingredients) for key, group in groups.items()]
        super().__init__(name, parts, interactive=True, save_git_info=False)
        self.doc = (commands[0].__doc__ or "").strip().partition("\n")[0]
        _fill(self, {key: entry for key, entry in self.schema.items() if key not in groups}, named)
        for function in commands:
            self._add(function)
        self.default_command = commands[0].__name__  # type: ignore[assignment]

    def _add(self, function: Callable[..., Any]) -> None:
        """Makes a typed function a command."""

        def command(_config: Any, _run: Any) -> Any:
            with output.recording(_run), output.one_thread():
                return function(**_schema.bind(function, _config))

        command.__name__ = command.__qualname__ = function.__name__
        command.__doc__ = function.__doc__
        self.command(command)

    def run(
        self,
        command_name: str | None = None,
        config_updates: dict[str, Any] | None = None,
        named_configs: Sequence[str] = (),
        info: dict[str, Any] | None = None,
        meta_info: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        about: str | None = None,
    ) -> Any:
        """Runs a command; as `sacred.Experiment.run`.

        Args:
            command_name: the command, by default the experiment's first.
            config_updates: nested, or with dotted keys. Classes may stand for their names.
            named_configs: names, and JSON files with keys and values, such as the `config.json` of an earlier run.
            info: see Sacred.
            meta_info: see Sacred.
            options: see Sacred.
            about: the command whose configuration print_config and the like show; None is the experiment's first.

        Raises:
            ValueError: if there is no such command, named configuration or key, or a value is of the wrong type. The
                text names the nearest that there is.
        """
        files, names = self.check_names(command_name, named_configs)
        given = [*map(_values.read_config_file, files), _values.nested(config_updates or {})]
        updates = self.check_updates(functools.reduce(_values.merged, given))
        settings = {"--force": True, "--capture": "sys", **(options or {})}
        token = _about.set(command_name if command_name in self.functions else about or self.default_command)
        try:
            with _light_host_info():
                return super().run(command_name, updates, names, info, meta_info, settings)
        finally:
            _about.reset(token)

    @contextlib.contextmanager
    def recorded(self, folder: str | pathlib.Path | None) -> Iterator[FileStorageObserver | None]:
        """Records the runs made inside below a folder; None records none."""
        observer = None if folder is None else FileStorageObserver(folder, copy_sources=False)
        self.observers += [] if observer is None else [observer]
        try:
            yield observer
        finally:
            if observer is not None:
                self.observers.remove(observer)

    def run_commandline(self, argv: Sequence[str] | None = None) -> None:
        """Runs what a command line asks for and exits if that fails: our own reading, as Sacred's makes objects."""
        if status := _console.run(self, list(sys.argv if argv is None else argv)[1:]):
            sys.exit(status)

    def check_names(self, command: str | None, named_configs: Sequence[str]) -> tuple[list[str], list[str]]:
        """Checks the command and sorts configuration files from names."""
        commands = [name for name, _ in self.gather_commands()]
        if command is not None and command not in commands:
            raise ValueError(f"{self.path!s} has no command {command!r}. {_schema.nearest(command, commands)}")
        known = [name for name, _ in self.gather_named_configs()]
        given = [named_configs] if isinstance(named_configs, str) else list(named_configs)
        names = [name for name in given if name in known]
        files = [name for name in given if name not in known and os.path.isfile(name)]
        for name in given:
            if name not in names and name not in files:
                where = "no such file" if name.endswith(".json") else f"{self.path!s} has no named configuration of it"
                raise ValueError(f"{name!r}: {where}. {_schema.nearest(name, known)}")
            if name in names and os.path.exists(name):  # Sacred would take the file
                raise ValueError(f"{name!r} is a named configuration and a file here; work in another folder.")
        return files, names

    def check_updates(self, updates: Mapping[str, Any]) -> dict[str, Any]:
        """Checks keys and types; classes become names."""
        _values.refuse_tags(updates)
        rest = dict(updates)
        seed = rest.pop("seed", None)
        seeded = {} if seed is None else {"seed": _schema.convert(seed, _schema.Natural, "seed")}
        return {**_names.with_names(_schema.checked(self.schema, rest)), **seeded}


@contextlib.contextmanager
def _light_host_info() -> Iterator[None]:
    """Leaves out the processor's details, which take Sacred a second and a process to find."""
    settings = sacred.SETTINGS["HOST_INFO"]
    before = settings["INCLUDE_CPU_INFO"]
    settings["INCLUDE_CPU_INFO"] = False
    try:
        yield
    finally:
        settings["INCLUDE_CPU_INFO"] = before
