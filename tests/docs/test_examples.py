"""The Python on the documentation's pages runs, with tiny budgets, and logs no metric that its page leaves out."""

import pathlib
import re
import tempfile

import pytest
from stable_baselines3.common import logger as sb_logger

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "```python" in path.read_text(encoding="utf-8"))
PAGES = [path for path in PAGES if path.parent in (DOCS, DOCS / "algorithms")]
BUDGETS = {
    "EPOCHS": 1,
    "EPISODES": 2,
    "LABELS": 600,
    "STEPS": 4_000,
    "STEPS_ANEW": 2_048,
    "COMPARISONS": 20,
    "ROUNDS": 1,
    "ITERATIONS": 20,
}
"""What the constants of the examples become."""
FEWER = {"density.md": {"STEPS": 420}, "sqil.md": {"STEPS": 200}, "preference_comparisons.md": {"STEPS": 3_200}}
OF_THE_LEARNER = re.compile(r"((raw|mean)/(gen|agent)/)?(time|train|rollout)/")


def text_of(page: pathlib.Path) -> str:
    """A page with what it includes, and the pages to which it leaves metrics."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"^```\{include\} (\S+)$|\((\w+\.md)#logged-metrics\)", text, flags=re.M):
        name = "".join(name)
        if (page.parent / name).exists():
            text += (page.parent / name).read_text(encoding="utf-8")
    return text


def example(page: pathlib.Path) -> str:
    """The page's blocks of Python, one after another, with small numbers."""
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S))
    budgets = {**BUDGETS, **FEWER.get(page.name, {})}

    def small(match: re.Match) -> str:
        return f"{match[1]} = {budgets[match[1]]}"  # a KeyError here: give the new constant a budget above

    return re.sub(r"^([A-Z_]{3,}) = [\d_]+", small, code, flags=re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_page(page, tmp_path, monkeypatch, capsys):
    keys, loggers = set(), []
    make, record = sb_logger.Logger.__init__, sb_logger.Logger.record

    def made(self, *args, **kwargs):
        loggers.append(self)
        make(self, *args, **kwargs)

    def noted(self, key, value, exclude=None):
        keys.add(key)
        record(self, key, value, exclude)

    monkeypatch.setattr(sb_logger.Logger, "__init__", made)
    monkeypatch.setattr(sb_logger.Logger, "record", noted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(example(page), str(page), "exec"), {"__name__": "example"})
    finally:
        for logger in loggers:
            sb_logger.Logger.close(logger)
    capsys.readouterr()
    if page.parent.name == "algorithms":
        text = text_of(page)
        own = {key for key in keys if not OF_THE_LEARNER.match(key)}
        missing = sorted(key for key in own if key.rsplit("/", 1)[-1] not in text)
        assert not missing, f"{page.name} does not explain {missing}"
        assert own or page.stem in ("density", "sqil"), "the example logs nothing"


def test_every_algorithm_has_a_page_of_the_same_parts():
    expected = {"bc", "dagger", "density", "sqil", "gail", "airl", "preference_comparisons", "mce_irl"}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "algorithms").glob("[a-z]*.md")}
    assert set(pages) == expected | {"index"}
    for name in expected:
        parts = re.findall(r"^## (.+)$", text_of(DOCS / "algorithms" / f"{name}.md"), flags=re.M)
        assert {"Can I use it with …", "Example", "Logged metrics", "Results"} <= set(parts), name
        assert ".. automodule:: imitation_lab.algorithms" in pages[name]
