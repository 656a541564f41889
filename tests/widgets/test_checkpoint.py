import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet
from imitation_lab.util.networks import RunningNorm
from imitation_lab.widgets.checkpoint import CheckpointInspector


@pytest.fixture
def net():
    return NormalizedRewardNet(BasicRewardNet(spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)), RunningNorm)


def test_each_button_tampers_and_shows_what_the_loader_says(net):
    inspector = CheckpointInspector(net)
    assert repr(inspector) == "CheckpointInspector(reward, untouched: accepted)"
    pictures = {inspector.image.value}
    for name, button in inspector.buttons.items():
        button.click()
        assert repr(inspector) == f"CheckpointInspector(reward, {name}: refused)"
        assert "no code in the file was run" in inspector.status.value
        pictures.add(inspector.image.value)
    assert len(pictures) == 7
    inspector.restore.click()
    assert inspector.verdict.accepted
    assert inspector.table().count("refused") >= 6
    assert inspector.table().endswith("run: 0 of 8 times")


def test_the_tree_shows_what_the_file_holds(net):
    tree = CheckpointInspector(net).tree.value
    for part in ("native file, format version 1", "base: BasicRewardNet()", "9 tensors", "[32, 5]"):
        assert part in tree
    inspector = CheckpointInspector(net)
    inspector.buttons["rename the class"].click()
    assert "somebodys.package.RewardNet" in inspector.tree.value  # inspection builds nothing, so it can still read it
    inspector.buttons["truncate"].click()
    assert "cannot read it" in inspector.tree.value


def test_torch_files(net, tmp_path):
    th.save(net, tmp_path / "r.pt")
    inspector = CheckpointInspector(tmp_path / "r.pt")
    inspector.buttons["swap in a pickle"].click()
    assert "os.system" in inspector.status.value
    assert "os.system" in inspector.tree.value


def test_what_a_file_says_is_escaped(net):
    inspector = CheckpointInspector(net)
    inspector.model.inspect = lambda: "<script>"
    inspector.restore.click()
    assert "<script>" not in inspector.tree.value
    assert "&lt;script&gt;" in inspector.tree.value


def test_controls_are_labelled_and_closing_removes_the_copy(net):
    inspector = CheckpointInspector(net)
    assert all(b.description and b.tooltip for b in [*inspector.buttons.values(), inspector.restore])
    folder = inspector.model._path.parent
    assert inspector.figure().alt.startswith("Bytes of reward, untouched: accepted")
    inspector.close()
    assert not folder.exists()
