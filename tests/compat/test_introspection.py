"""The public names of `imitation` 1.0.1 are here, with its parameters; what differs on purpose is listed, with why.

The facts about `imitation` are stored (tests/compat/collect.py made them), so that it need not be installed.
"""

import fnmatch
import importlib
import inspect
import json
import pathlib
import re

from imitation_lab.scripts import differences
from tests.compat.collect import signature

FACTS = json.loads(pathlib.Path(__file__).with_name("imitation-1.0.1.json").read_text(encoding="utf-8"))


def read(parameters):
    """Name to (star, keyword-only, default) of `signature`'s texts."""
    found = {}
    for text in parameters:
        star, name, keyword, default = re.fullmatch(r"(\**)(\w+)( \(keyword\))?(?:=(.*))?", text, re.DOTALL).groups()
        found[name] = (star, keyword is not None, default and default.replace("imitation_lab.", "imitation."))
    return found


def compare_signatures(where, old, new):
    if old is None or new is None:
        return
    old, new = read(old), read(new)
    takes_all = any(star == "**" for star, _, _ in new.values())
    places = [name for name, (star, keyword, _) in new.items() if not star and not keyword]
    for place, (name, (star, keyword, default)) in enumerate(old.items()):
        if star:
            continue
        if name not in new:
            if not takes_all:
                yield f"{where}: no parameter {name}"
            continue
        if default is not None and new[name][2] != default:
            yield f"{where}: {name} is {new[name][2]} by default, there {default}"
        if not keyword and (new[name][1] or places.index(name) != place):
            yield f"{where}: {name} is given by name only or at another place"
    for name, (star, _, default) in new.items():
        if not star and default is None and name not in old and not any(star for star, _, _ in old.values()):
            yield f"{where}: {name} is needed"


def compare(module, name, fact):
    where = f"{module}.{name}"
    found = importlib.import_module(f"imitation_lab.{module}")
    if not hasattr(found, name):
        yield f"{where}: missing"
        return
    value = getattr(found, name)
    if "function" in fact:
        if callable(value):
            yield from compare_signatures(where, fact["function"], signature(value))
        else:
            yield f"{where}: no function"
    elif "class" in fact:
        if not inspect.isclass(value):
            yield f"{where}: no class"
            return
        ours = {c.__name__ for c in value.__mro__}
        for base in fact["bases"]:
            if base not in ours | {"ABC", "Protocol"}:
                yield f"{where}: no {base}"
        yield from compare_signatures(where, fact["class"], signature(value))
        annotated = {key for c in value.__mro__ for key in vars(c).get("__annotations__", {})}
        for member, old in fact["members"].items():
            if not hasattr(value, member):
                if member not in annotated:
                    yield f"{where}.{member}: missing"
            elif isinstance(old, list):
                yield from compare_signatures(f"{where}.{member}", old, signature(getattr(value, member)))


def all_differences():
    for module, names in FACTS.items():
        try:
            importlib.import_module(f"imitation_lab.{module}")
        except ModuleNotFoundError:
            yield f"{module}: missing"
            continue
        for name, fact in names.items():
            if fact.get("value") != "TypeVar":
                yield from compare(module, name, fact)


def test_what_differs_is_listed_and_what_is_listed_differs():
    found = list(all_differences())
    patterns = [pattern for row in differences.table() for pattern in row.patterns]
    unlisted = [text for text in found if not any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)]
    assert unlisted == []
    stale = [pattern for pattern in patterns if not fnmatch.filter(found, pattern)]
    assert stale == []
    assert len(differences.table()) <= 40


def test_the_page_shows_the_table():
    page = pathlib.Path(__file__).parents[2] / "docs" / "migration.md"
    assert differences.markdown() in page.read_text(encoding="utf-8")
