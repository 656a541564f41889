"""Runs of the experiments in a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quiet():
    """Named configurations and options that keep a run off the screen."""
    return {"named_configs": ["logging.quiet"], "options": {"--loglevel": "ERROR"}}
