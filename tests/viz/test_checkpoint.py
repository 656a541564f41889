import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from imitation_lab.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet, NormalizedRewardNet, RewardEnsemble
from imitation_lab.rewards.serialize import inspect_reward, save_reward
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import RunningNorm
from imitation_lab.viz import tampering
from imitation_lab.viz.checkpoint import TAMPERINGS, Checkpoint, checkpoint_figure, outline, verdict_table

BOX, TWO = spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(2)


def net() -> NormalizedRewardNet:
    return NormalizedRewardNet(BasicShapedRewardNet(BOX, TWO), RunningNorm)


@pytest.fixture(params=["native", "torch"])
def path(request, tmp_path):
    path = tmp_path / "reward.pt"
    save_reward(net(), path) if request.param == "native" else th.save(net(), path)
    return path


def test_every_tampering_is_refused_and_nothing_runs(path):
    before = path.read_bytes()
    checkpoint = Checkpoint(path)
    verdicts = checkpoint.verdicts()
    assert [v.tampering for v in verdicts] == ["untouched", *TAMPERINGS]
    assert [v.accepted for v in verdicts] == [True] + [False] * len(TAMPERINGS)
    assert not any(v.code_ran for v in verdicts)
    assert all(v.changed for v in verdicts[1:] if v.tampering != "truncate")
    assert path.read_bytes() == before  # only the copy was touched
    said = {v.tampering: v.message for v in verdicts}
    assert "checksum" in said["flip a byte"]
    assert "has shape (5, 32) in the file, expected (32, 5)" in said["change a shape"]
    assert "somebodys.package.RewardNet" in said["rename the class"]
    assert "pickle" in said["swap in a pickle"] or "os.system" in said["swap in a pickle"]
    assert "25000000000" in said["declare 100 GB"]
    folder = str(checkpoint._path.parent)
    assert not any(folder in message for message in said.values())  # the same on every run
    table = verdict_table(verdicts)
    assert table.endswith("code in the file was run: 0 of 7 times")
    assert table.startswith("untouched         loaded    loaded a NormalizedRewardNet")


def test_refusals_never_advise_to_open_the_file_regardless(path):
    for verdict in Checkpoint(path).verdicts():
        assert "weights_only=False" not in verdict.message
        assert "`False`" not in verdict.message
        assert "safe_globals" not in verdict.message


def test_the_payload_is_real(path):
    """Else the test above would show nothing: a plain pickle module does run it."""
    import pickle

    checkpoint = Checkpoint(net())
    checkpoint.tamper("swap in a pickle")
    pickle.loads(checkpoint.data)
    assert checkpoint.load().code_ran


def test_parts_cover_the_tensors(path):
    data = path.read_bytes()
    parts = tampering.regions(data)
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(parts))
    info = inspect_reward(path)
    if info.format == "native":
        sizes = {name: end - begin for name, begin, end in parts[1:]}
        assert set(sizes) == set(info.tensors)
        assert parts[-1][2] == len(data)
    assert tampering.regions(b"what?") == [("unreadable", 0, 5)]
    assert tampering.regions(tampering.payload("true"))[0][0] == "pickle"
    with pytest.raises(ValueError, match="unknown tampering 'burn'"):
        tampering.apply("burn", data, path)


def test_one_flipped_byte_is_one(path):
    data = path.read_bytes()
    changed = np.frombuffer(tampering.flip_byte(data), np.uint8) != np.frombuffer(data, np.uint8)
    assert changed.sum() == 1


def test_outline_of_native_files():
    checkpoint = Checkpoint(NormalizedRewardNet(RewardEnsemble(BOX, TWO, [net(), net()]), RunningNorm))
    lines = outline(checkpoint.inspect())
    assert [depth for depth, _ in lines] == [0, 1, 2, 3, 2, 3]
    assert lines[0][1] == "NormalizedRewardNet(normalize_output_layer=RunningNorm)"
    assert lines[2][1] == "members[0]: NormalizedRewardNet(normalize_output_layer=RunningNorm)"


def test_outline_shows_arguments_shortly():
    info = Checkpoint(BasicRewardNet(BOX, TWO, use_done=True, hid_sizes=(8,), activation=th.nn.Tanh)).inspect()
    assert outline(info) == [(0, "BasicRewardNet(use_done=True, kwargs=hid_sizes=(8,), activation=Tanh)")]


def test_the_picture_marks_what_differs(path):
    checkpoint = Checkpoint(path)
    figure = checkpoint_figure(checkpoint)
    assert figure.axes[0].get_title(loc="left") == "untouched: accepted"
    assert not any(bar.get_hatch() for bar in figure.axes[0].patches)
    checkpoint.tamper("flip a byte")
    figure = checkpoint_figure(checkpoint)
    assert sum(bool(bar.get_hatch()) for bar in figure.axes[0].patches) == 1
    assert "flip a byte: refused" in figure.alt


def test_only_intact_rewards_are_taken(tmp_path):
    with pytest.raises(FileNotFoundError):
        Checkpoint(tmp_path / "none")
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(ArtifactError, match="no reward network"):
        Checkpoint(tmp_path / "x")


def test_the_copy_is_removed():
    checkpoint = Checkpoint(net())
    folder = checkpoint._path.parent.parent
    assert folder.exists()
    checkpoint.close()
    assert not folder.exists()
    assert repr(checkpoint) == "Checkpoint('reward', untouched)"


def test_linear_networks_can_be_tampered_with_too():
    small = BasicRewardNet(gym.spaces.Discrete(2), gym.spaces.Discrete(2), hid_sizes=())
    assert not any(v.accepted for v in Checkpoint(small).verdicts()[1:])
