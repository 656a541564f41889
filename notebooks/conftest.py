"""Notebook cells pass or fail: nbval's expected failures (a cell after a time-out) count as failures here."""

from collections.abc import Iterator

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if getattr(report, "wasxfail", None) is not None:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} did not run: {report.wasxfail}"
        del report.wasxfail
