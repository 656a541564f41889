import collections
from types import SimpleNamespace

import pytest

from imitation_lab.util.registry import (
    Registry,
    RegistryError,
    build_loader_fn_require_env,
    build_loader_fn_require_space,
    load_attr,
)


def test_load_attr():
    assert load_attr("collections:OrderedDict") is collections.OrderedDict
    assert load_attr("collections:OrderedDict.fromkeys") == collections.OrderedDict.fromkeys
    for bad in ("collections", "collections:", ":OrderedDict", "a:b:c"):
        with pytest.raises(ValueError, match='Expected a name like "module.path:attribute"'):
            load_attr(bad)
    with pytest.raises(ValueError, match="module 'collections' has no attribute 'Nothing'"):
        load_attr("collections:Nothing")
    with pytest.raises(ImportError):
        load_attr("no_such_module_anywhere:x")


def test_register_and_get():
    registry = Registry()
    registry.register("zero", value=1)
    registry.register("dict", indirect="collections:OrderedDict")
    assert registry.keys() == ["dict", "zero"] == list(registry)
    assert "dict" in registry
    assert "other" not in registry
    assert registry.get("zero") == 1
    assert registry.get("dict") is collections.OrderedDict
    assert registry.get("dict") is collections.OrderedDict


def test_indirect_values_are_imported_when_asked_for():
    registry = Registry()
    registry.register("later", indirect="no_such_module_anywhere:x")
    with pytest.raises(ImportError):
        registry.get("later")


def test_errors():
    registry = Registry()
    registry.register("random", value=1)
    registry.register("ppo", value=2)
    with pytest.raises(
        ValueError, match=r"^Unknown key 'randm'\. Did you mean 'random'\? Registered are: ppo, random\.$"
    ):
        registry.get("randm")
    with pytest.raises(KeyError):
        registry.get("xyz")
    with pytest.raises(RegistryError, match="Key 'ppo' is already registered"):
        registry.register("ppo", indirect="a:b")
    with pytest.raises(ValueError, match="needs value= or indirect=, got neither"):
        registry.register("new")
    with pytest.raises(ValueError, match="needs value= or indirect=, got both"):
        registry.register("new", value=1, indirect="a:b")
    with pytest.raises(ValueError, match='Expected indirect="module.path:attribute"'):
        registry.register("new", indirect="no colon")
    assert registry.keys() == ["ppo", "random"]


def test_loader_functions():
    venv = SimpleNamespace(observation_space="obs", action_space="act")
    load = build_loader_fn_require_space(lambda *args, **kwargs: (args, kwargs), a=1, b=2)
    assert load(venv) == (("obs", "act"), {"a": 1, "b": 2})
    assert load(venv, b=3) == (("obs", "act"), {"a": 1, "b": 3})
    load = build_loader_fn_require_env(lambda *args, **kwargs: (args, kwargs), a=1)
    assert load(venv, c=2) == ((venv,), {"a": 1, "c": 2})
