import builtins
import copy
import functools
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from imitation_lab.rewards import serialize
from imitation_lab.rewards.reward_nets import (
    AddSTDRewardWrapper,
    BasicPotentialCNN,
    BasicPotentialMLP,
    BasicRewardNet,
    BasicShapedRewardNet,
    CnnRewardNet,
    NormalizedRewardNet,
    RewardEnsemble,
    RewardNet,
    ShapedRewardNet,
    register_module,
    wrapper_chain,
)
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.rewards.serialize import (
    ValidateRewardFn,
    inspect_reward,
    load_net,
    load_reward,
    load_zero,
    reward_registry,
    save_reward,
)
from imitation_lab.util import artifacts
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import EMANorm, RunningNorm

OBS = spaces.Box(-2, 2, (3,), np.float32)
ACT = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (6, 5, 3), np.uint8)
GOLDEN = Path(__file__).parent / "golden"


class Custom(RewardNet):
    """A user's own network, written as the tutorials show it: no line about saving."""

    def __init__(self, observation_space, action_space, width=4, *, scale=1.0, **options):
        super().__init__(observation_space, action_space)
        self.body = nn.Sequential(nn.Linear(3, width), nn.ELU(), nn.Linear(width, 1))
        self.scale = scale
        self.options = options
        self.offsets = np.arange(2.0)

    def forward(self, state, action, next_state, done):
        return self.scale * self.body(state).squeeze(-1) + self.options.get("shift", 0)


@register_module
class Trunk(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(3, size)

    def forward(self, x):
        return self.linear(x).sum(1)


class WithTrunk(RewardNet):
    def __init__(self, observation_space, action_space, trunk, more=()):
        super().__init__(observation_space, action_space)
        self.trunk, self.more = trunk, nn.ModuleList(more)

    def forward(self, state, action, next_state, done):
        return self.trunk(state) + sum(module(state) for module in self.more)


def phi(state):
    return state[:, 0]


def basic(obs=OBS, acts=ACT, **kwargs):
    return BasicRewardNet(obs, acts, **kwargs)


def full_stack():
    members = [NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), RunningNorm) for _ in range(2)]
    return NormalizedRewardNet(AddSTDRewardWrapper(RewardEnsemble(OBS, ACT, members), 0.7), EMANorm)


NETS = {
    "basic": basic,
    "basic with options": lambda: basic(
        hid_sizes=[5], activation=nn.Tanh, use_done=True, dropout_prob=0.1, normalize_input_layer=RunningNorm
    ),
    "multi": lambda: basic(spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)),
    "dict": lambda: basic(spaces.Dict(a=OBS, b=spaces.Discrete(3, start=2)), OBS),
    "double": lambda: basic().double(),
    "half": lambda: basic(normalize_input_layer=RunningNorm).half(),
    "bfloat16": lambda: NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), EMANorm).bfloat16(),
    "float": lambda: NormalizedRewardNet(basic(normalize_input_layer=EMANorm), RunningNorm).float(),
    "ensemble in bfloat16": lambda: full_stack().to(th.bfloat16),
    "cnn in float16": lambda: CnnRewardNet(IMAGE, ACT, hid_channels=(4,)).to(th.float16),
    "layer norm in half": lambda: NormalizedRewardNet(basic(normalize_input_layer=nn.LayerNorm), nn.LayerNorm).half(),
    "two dtypes": lambda: NormalizedRewardNet(basic().double(), nn.LayerNorm),
    "three dtypes": lambda: RewardEnsemble(OBS, ACT, [basic().bfloat16(), basic().double(), basic()]),
    "cnn": lambda: CnnRewardNet(IMAGE, ACT, use_done=True, hid_channels=(4,)),
    "cnn shaped": lambda: ShapedRewardNet(CnnRewardNet(IMAGE, ACT), BasicPotentialCNN(IMAGE, (4,)), 0.9),
    "shaped": lambda: BasicShapedRewardNet(OBS, ACT, reward_hid_sizes=(8,), discount_factor=0.5),
    "shaped by hand": lambda: ShapedRewardNet(basic(), BasicPotentialMLP(OBS, (4,)), 0.9),
    "normalized": lambda: NormalizedRewardNet(basic(), RunningNorm),
    "normalized shaped": lambda: NormalizedRewardNet(BasicShapedRewardNet(OBS, ACT), EMANorm),
    "normalized by nothing": lambda: NormalizedRewardNet(base=basic(), normalize_output_layer=nn.Identity),
    "ensemble": lambda: RewardEnsemble(OBS, ACT, (basic() for _ in range(3))),
    "everything": full_stack,
    "custom": lambda: Custom(OBS, ACT, 7, scale=3.0, shift=1),
    "custom wrapped": lambda: NormalizedRewardNet(
        ShapedRewardNet(Custom(OBS, ACT, scale=2.5), BasicPotentialMLP(OBS, (4,)), 0.9), RunningNorm
    ),
    "custom trunk": lambda: WithTrunk(OBS, ACT, Trunk(5), more=[Trunk(2), Trunk(3)]),
}


@pytest.fixture
def venv():
    import gymnasium as gym

    class Env(gym.Env):
        observation_space, action_space = OBS, ACT

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(3, np.float32), {}

        def step(self, action):
            return np.ones(3, np.float32), 1.0, False, False, {}

    return DummyVecEnv([Env, Env])


def check_same(net, loaded, batch):
    data = batch(net, seed=3)
    frozen = lambda n: n.predict_processed(*data, update_stats=False)
    np.testing.assert_array_equal(frozen(loaded), frozen(net))
    np.testing.assert_array_equal(loaded.predict(*data), net.predict(*data))
    assert [type(link) for link in wrapper_chain(loaded)] == [type(link) for link in wrapper_chain(net)]
    assert loaded.observation_space == net.observation_space
    assert loaded.dtype == net.dtype
    for name, value in net.state_dict().items():
        assert th.equal(loaded.state_dict()[name], value)
        assert loaded.state_dict()[name].dtype == value.dtype
    net.predict_processed(*data)
    loaded.predict_processed(*data)
    np.testing.assert_array_equal(frozen(loaded), frozen(net))


# -- round trips --


@pytest.mark.parametrize("make", NETS.values(), ids=list(NETS))
def test_native_round_trip(make, batch, tmp_path):
    net = make()
    net.observation_space.sample()  # gives the space a random generator
    net.predict_processed(*batch(net))
    path = tmp_path / "new" / "folder" / "reward.safetensors"
    save_reward(net, path)
    check_same(net, load_net(path), batch)


@pytest.mark.parametrize("name", list(NETS))
def test_torch_round_trip(name, batch, tmp_path):
    net = NETS[name]()
    net.action_space.sample()
    net.predict_processed(*batch(net))
    path = tmp_path / "reward.pt"
    th.save(net, path)
    check_same(copy.deepcopy(net), th.load(path), batch)
    loaded = load_net(path)
    check_same(net, loaded, batch)
    save_reward(th.load(path), tmp_path / "again.safetensors")  # the record of arguments travels along
    assert type(load_net(tmp_path / "again.safetensors")) is type(net)
    assert net.action_space._np_random is not None


def test_rebuilding_disturbs_no_random_state(tmp_path):
    save_reward(basic(), tmp_path / "r")
    th.manual_seed(3)
    load_net(tmp_path / "r")
    first = th.rand(1)
    th.manual_seed(3)
    assert th.equal(first, th.rand(1))


def test_infinite_arguments_survive(tmp_path):
    save_reward(Custom(OBS, ACT, scale=float("inf")), tmp_path / "r")
    assert load_net(tmp_path / "r").scale == float("inf")


def test_saving_is_deterministic(tmp_path):
    net = full_stack()
    save_reward(net, tmp_path / "a")
    save_reward(load_net(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_cell_that_runs_twice_loads_its_newest_class(tmp_path):
    source = "class Cell(RewardNet):\n    def forward(self, s, a, n, d):\n        return {} * d\n"
    namespace = {"RewardNet": RewardNet, "__name__": __name__}
    for value in (1, 2):
        exec(source.format(value), namespace)
        globals()["Cell"] = namespace["Cell"]
    th.save(namespace["Cell"](OBS, ACT), tmp_path / "r.pt")
    save_reward(namespace["Cell"](OBS, ACT), tmp_path / "r")
    assert type(th.load(tmp_path / "r.pt")) is namespace["Cell"]
    assert type(load_net(tmp_path / "r")) is namespace["Cell"]


def test_golden_file(tmp_path):
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)
    net = load_net(GOLDEN / "reward_v1.safetensors")
    expected = json.loads((GOLDEN / "reward_v1.json").read_text())
    data = golden.example_batch()
    np.testing.assert_allclose(net.predict(*data), expected["predict"], rtol=1e-5, atol=1e-6)
    frozen = net.predict_processed(*data, update_stats=False)
    np.testing.assert_allclose(frozen, expected["predict_processed"], rtol=1e-5, atol=1e-6)
    assert inspect_reward(GOLDEN / "reward_v1.safetensors").version == 1


# -- what cannot be saved --


@pytest.mark.parametrize("function", [phi, lambda state: state[:, 0], partial(phi)])
def test_a_plain_function_is_named(function, tmp_path):
    net = ShapedRewardNet(basic(), function, 0.9)
    name = "'phi'" if function is phi else "lambda" if not isinstance(function, partial) else "partial"
    with pytest.raises(TypeError, match=f"plain function .*{name}.*register_module"):
        save_reward(net, tmp_path / "r")
    with pytest.raises(TypeError, match=f"ShapedRewardNet.potential is the plain function .*{name}"):
        th.save(NormalizedRewardNet(net, RunningNorm), tmp_path / "r.pt")
    assert not (tmp_path / "r").exists()


def test_what_native_files_cannot_hold_is_named(tmp_path):
    with pytest.raises(TypeError, match="WithTrunk|Linear were not recorded"):
        save_reward(WithTrunk(OBS, ACT, nn.Linear(3, 1)), tmp_path / "r")
    with pytest.raises(TypeError, match="saves a RewardNet, got a Linear"):
        save_reward(nn.Linear(1, 1), tmp_path / "r")
    with pytest.raises(TypeError, match="Custom's argument 'scale' is a .*Generator"):
        save_reward(Custom(OBS, ACT, scale=np.random.default_rng()), tmp_path / "r")
    net = basic()
    net.mlp = nn.Sequential(nn.Linear(5, 1))
    with pytest.raises(ValueError, match=r"cannot be rebuilt .* was it changed after construction\? torch.save"):
        save_reward(net, tmp_path / "r")
    net = NormalizedRewardNet(basic(), RunningNorm)
    net._base = basic()
    with pytest.raises(TypeError, match="no longer among the network's submodules"):
        save_reward(net, tmp_path / "r")
    with pytest.raises(TypeError, match="expected a class derived from"):
        register_module(3)
    assert not list(tmp_path.iterdir())


# -- load_reward --


@pytest.fixture(params=["native", "torch"])
def save(request):
    return save_reward if request.param == "native" else lambda net, path: th.save(net, path)


def test_the_examples_of_the_documentation(venv, batch, tmp_path):
    net = NormalizedRewardNet(Custom(venv.observation_space, venv.action_space), RunningNorm)
    RewardVecEnvWrapper(venv, net.predict_processed).step(np.array([0, 1]))
    RewardVecEnvWrapper(venv, partial(net.predict_processed, update_stats=False)).step(np.array([0, 1]))
    path = tmp_path / "reward.pt"
    th.save(net, path)
    loaded = th.load(path)
    data = batch(net)
    raw, processed = net.predict(*data), net.predict_processed(*data, update_stats=False)
    np.testing.assert_array_equal(loaded.predict(*data), raw)
    for _ in range(2):  # frozen
        np.testing.assert_array_equal(load_reward("RewardNet_normalized", path, venv)(*data), processed)
    np.testing.assert_array_equal(load_reward("RewardNet_unnormalized", path, venv)(*data), raw)
    moving = load_reward("RewardNet_normalized", path, venv, update_stats=True)
    np.testing.assert_array_equal(moving(*data), processed)
    assert not np.allclose(moving(*data), processed)


def test_stripping_finds_its_wrapper_anywhere(save, venv, batch, tmp_path):
    base = basic()
    shaped = ShapedRewardNet(base, BasicPotentialMLP(OBS, (4,)), 0.9)
    twice = ShapedRewardNet(shaped, BasicPotentialMLP(OBS, (4,)), 0.9)
    net = NormalizedRewardNet(twice, RunningNorm)
    data = batch(net)
    net.predict_processed(*data)
    path = tmp_path / "r"
    save(net, path)
    load = lambda kind, **kwargs: load_reward(kind, path, venv, **kwargs)(*data)
    np.testing.assert_array_equal(load("RewardNet_unshaped"), base.predict(*data))
    np.testing.assert_array_equal(load("RewardNet_shaped"), twice.predict(*data))
    np.testing.assert_array_equal(load("RewardNet_unnormalized"), twice.predict(*data))
    np.testing.assert_array_equal(load("RewardNet_normalized"), net.predict_processed(*data, update_stats=False))


def test_added_std(save, venv, batch, tmp_path):
    net = full_stack()
    data = batch(net)
    net.predict_processed(*data)
    save(net, tmp_path / "r")
    for alpha in (None, 0.0, -2.0):
        reward_fn = load_reward("RewardNet_std_added", tmp_path / "r", venv, alpha=alpha)
        expected = net.predict_processed(*data, update_stats=False, alpha=alpha)
        np.testing.assert_array_equal(reward_fn(*data), expected)
        np.testing.assert_array_equal(reward_fn(*data), expected)  # the members' statistics stay as well
    expected = net.base.predict_processed(*data, update_stats=False)
    np.testing.assert_array_equal(load_reward("RewardNet_unnormalized", tmp_path / "r", venv)(*data), expected)


def ensemble_of(wrap):
    return RewardEnsemble(OBS, ACT, [wrap(basic()) for _ in range(2)])


def test_ensembles_whose_members_are_wrapped(save, venv, batch, tmp_path):
    normalized = ensemble_of(lambda net: NormalizedRewardNet(net, RunningNorm))
    shaped = ensemble_of(
        lambda net: NormalizedRewardNet(ShapedRewardNet(net, BasicPotentialMLP(OBS, (4,)), 0.9), EMANorm)
    )
    data = batch(normalized)
    for net in (normalized, shaped):
        for seed in range(3):
            net.predict_processed(*batch(net, seed=seed))
    frozen = lambda net: net.predict_processed(*data, update_stats=False)
    raw = np.mean([member.base.predict(*data) for member in normalized.members], axis=0)
    base = np.mean([member.base.predict(*data) for member in shaped.members], axis=0)
    save(normalized, tmp_path / "r")
    save(shaped, tmp_path / "s")
    load = lambda kind, name="r": load_reward(kind, tmp_path / name, venv)(*data)
    np.testing.assert_array_equal(load("RewardNet_normalized"), frozen(normalized))
    np.testing.assert_allclose(load("RewardNet_unnormalized"), raw, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(load("RewardNet_unnormalized", "s"), base, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(load("RewardNet_shaped", "s"), frozen(shaped))
    unshaped = [NormalizedRewardNet(member.base.base, EMANorm) for member in shaped.members]
    for new, old in zip(unshaped, shaped.members, strict=True):
        new.normalize_output_layer.load_state_dict(old.normalize_output_layer.state_dict())
    expected = np.mean([frozen(member) for member in unshaped], axis=0)
    np.testing.assert_allclose(load("RewardNet_unshaped", "s"), expected, rtol=1e-5, atol=1e-6)


def test_each_member_needs_the_wrapper(save, venv, tmp_path):
    save(RewardEnsemble(OBS, ACT, [basic(), NormalizedRewardNet(basic(), RunningNorm)]), tmp_path / "r")
    with pytest.raises(ValueError, match="has no NormalizedRewardNet. It has, outermost first: RewardEnsemble"):
        load_reward("RewardNet_normalized", tmp_path / "r", venv)


def test_a_stripped_network_can_be_saved(venv, tmp_path):
    save_reward(ensemble_of(lambda net: NormalizedRewardNet(net, RunningNorm)), tmp_path / "r")
    stripped = serialize._strip(load_net(tmp_path / "r"), NormalizedRewardNet)
    save_reward(stripped, tmp_path / "s")
    assert [type(member) for member in load_net(tmp_path / "s").members] == [BasicRewardNet] * 2


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("RewardNet_normalized", "NormalizedRewardNet"),
        ("RewardNet_shaped", "ShapedRewardNet"),
        ("RewardNet_std_added", "AddSTDRewardWrapper"),
    ],
)
def test_a_missing_wrapper_is_an_error_that_names_those_there_are(save, kind, missing, venv, tmp_path):
    net = {
        "RewardNet_normalized": BasicShapedRewardNet(OBS, ACT),
        "RewardNet_shaped": NormalizedRewardNet(basic(), RunningNorm),
        "RewardNet_std_added": NormalizedRewardNet(basic(), RunningNorm),
    }[kind]
    save(net, tmp_path / "r")
    names = " → ".join(type(link).__name__ for link in wrapper_chain(net))
    with pytest.raises(ValueError, match=f"has no {missing}. It has, outermost first: {names}"):
        load_reward(kind, tmp_path / "r", venv)


def test_spaces_must_fit_the_environment(save, venv, tmp_path):
    save(basic(spaces.Box(-1, 1, (4,), np.float32)), tmp_path / "obs")
    save(basic(acts=spaces.Discrete(3)), tmp_path / "act")
    save(basic(spaces.Box(-9, 9, (3,), np.float32)), tmp_path / "bounds")
    with pytest.raises(ValueError, match=r"observation_space Box.*\(4,\).* the environment has Box.*\(3,\)"):
        load_reward("RewardNet_unshaped", tmp_path / "obs", venv)
    with pytest.raises(ValueError, match=r"action_space Discrete\(3\), the environment has Discrete\(2\)"):
        load_reward("RewardNet_unshaped", tmp_path / "act", venv)
    load_reward("RewardNet_unshaped", tmp_path / "bounds", venv)


def test_zero_and_types_of_ones_own(venv, batch, tmp_path):
    data = batch(basic())
    assert load_reward("zero", "nowhere", venv)(*data).tolist() == [0] * 8
    assert load_zero("nowhere", venv)(*data).shape == (8,)
    if "mine" not in reward_registry:
        reward_registry.register("mine", value=lambda path, venv, k=1: lambda s, a, n, d: np.full(len(d), k))
    assert load_reward("mine", "x", venv, k=4)(*data).tolist() == [4] * 8
    with pytest.raises(ValueError, match=r"Unknown key 'RewardNet_normalised'.*RewardNet_normalized"):
        load_reward("RewardNet_normalised", "x", venv)
    with pytest.raises(FileNotFoundError):
        load_reward("RewardNet_shaped", tmp_path / "none", venv)
    expected = {"RewardNet_shaped", "RewardNet_unshaped", "RewardNet_normalized", "RewardNet_unnormalized"}
    assert expected | {"RewardNet_std_added", "zero"} <= set(reward_registry.keys())


def test_validate_reward_fn(batch):
    data = batch(basic())
    assert ValidateRewardFn(lambda s, a, n, d: np.ones(len(d)))(*data).tolist() == [1] * 8
    with pytest.raises(ValueError, match=r"returned shape \(8, 1\) for 8 transitions; expected \(8,\)"):
        ValidateRewardFn(lambda s, a, n, d: np.ones((len(d), 1)))(*data)


# -- hostile and damaged files --


@pytest.fixture
def saved(save, tmp_path):
    path = tmp_path / "reward"
    save(full_stack(), path)
    return path


def test_every_tampered_byte_is_refused(saved):
    original = saved.read_bytes()
    rng = np.random.default_rng(0)
    names = {info.filename for info in zipfile.ZipFile(saved).infolist()} if original[:2] == b"PK" else set()
    for position in rng.choice(len(original), 40, replace=False):
        changed = bytearray(original)
        changed[position] ^= 0xFF
        saved.write_bytes(changed)
        try:
            load_net(saved)
        except ArtifactError:
            continue
        # Zip files have bytes that carry nothing: padding, dates, attributes.
        assert names
        with zipfile.ZipFile(saved) as file, zipfile.ZipFile(io.BytesIO(original)) as before:
            assert all(file.read(name) == before.read(name) for name in names)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError):
        load_net(saved)
    with pytest.raises(ArtifactError):
        inspect_reward(saved)


def rewrite(path, change):
    """Rewrites a native file, checksum and all, as an attacker would."""
    artifact = artifacts.read(path, kind="reward", version=1)
    meta, tensors = json.loads(json.dumps(artifact.meta)), dict(artifact.tensors)
    change(meta, tensors)
    artifacts.write(path, kind="reward", version=1, meta=meta, tensors=tensors)


def native(tmp_path, net=None):
    path = tmp_path / "native"
    save_reward(net or basic(), path)
    return path


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda m, t: t.update({"mlp.dense0.weight": np.zeros((2, 2), "f4")}),
            r"'mlp.dense0.weight' has shape \(2, 2\)",
        ),
        (lambda m, t: t.pop("mlp.dense0.bias"), "lacks 'mlp.dense0.bias'"),
        (lambda m, t: t.update(extra=np.zeros(1)), "holds 'extra', which"),
        (lambda m, t: t.update({"mlp.dense0.bias": np.zeros(32, "f8")}), "is float64 in the file, expected float32"),
        (lambda m, t: m["net"].update({"class": "os.system"}), "names the class 'os.system', which is not registered"),
        (lambda m, t: m["net"].update({"class": "torch.optim.Adam"}), "as a network, which it is not"),
        (lambda m, t: m["net"].update({"class": "torch.nn.Linear"}), "as a network, which it is not"),
        (
            lambda m, t: m["net"]["args"].update(kwargs={"activation": {"__class__": "builtins.eval"}}),
            "class 'builtins.eval'",
        ),
        (lambda m, t: m["net"]["args"].update(kwargs={"activation": {"__call__": "eval"}}), "unknown tag '__call__'"),
        (lambda m, t: m["net"]["args"].update(kwargs={"hid_sizes": "many"}), "do not fit BasicRewardNet"),
        (
            lambda m, t: m["net"]["args"].update(kwargs={"hid_sizes": [10**9, 10**9]}),
            r"expected \(1000000000, ",
        ),
        (lambda m, t: m["net"]["args"].update(use_state=False, use_action=False), "reward of nothing"),
        (lambda m, t: m["net"]["args"].pop("action_space"), "do not fit BasicRewardNet"),
        (lambda m, t: m["net"]["args"].update(self=3), "no argument 'self'"),
        (lambda m, t: m.pop("net"), "no class and arguments"),
        (lambda m, t: m.update(net=[1]), "no class and arguments"),
        (lambda m, t: m.update(dtype={"__class__": "torch.nn.ReLU"}), "gives no dtype"),
        (lambda m, t: m.update(dtypes={"mlp.dense0.bias": {"__dtype__": "int64"}}), "no floating-point dtype"),
        (lambda m, t: m.update(dtypes={"mlp.other": {"__dtype__": "float64"}}), "no floating-point dtype"),
        (lambda m, t: m.update(dtypes=3), "no floating-point dtype"),
        (lambda m, t: m["net"]["args"].update(observation_space={"__space__": {"type": "Evil"}}), "space is damaged"),
    ],
)
def test_altered_native_files_are_refused(change, text, tmp_path):
    path = native(tmp_path)
    rewrite(path, change)
    with pytest.raises(ArtifactError, match=text):
        load_net(path)


def test_unknown_arguments_are_refused(tmp_path):
    path = native(tmp_path, NormalizedRewardNet(basic(), RunningNorm))
    rewrite(path, lambda m, t: m["net"]["args"].update(evil=1))
    with pytest.raises(ArtifactError, match="NormalizedRewardNet has no argument 'evil'"):
        load_net(path)


@pytest.mark.parametrize("depth", [200, 300])
def test_deep_nesting_is_refused(depth, tmp_path):
    path = native(tmp_path)

    def nest(meta, tensors):
        spec = meta["net"]
        for _ in range(depth):
            spec = {
                "class": "imitation_lab.rewards.reward_nets.NormalizedRewardNet",
                "args": {"base": {"__module__": spec}, "normalize_output_layer": {"__class__": "torch.nn.Identity"}},
            }
        meta["net"] = spec

    rewrite(path, nest)
    with pytest.raises(ArtifactError, match="nested too deeply|lacks"):
        load_net(path)


def test_a_declared_100_gb_tensor_is_refused(tmp_path):
    path = native(tmp_path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["mlp.dense1.weight"].update(shape=[25_000_000_000], data_offsets=[0, 100_000_000_000])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    with pytest.raises(ArtifactError, match="100000000000|beyond|bytes"):
        load_net(path)


def test_other_kinds_and_newer_versions_are_refused(tmp_path):
    path = tmp_path / "file"
    artifacts.write(path, kind="policy", version=1, meta={}, tensors={})
    with pytest.raises(ArtifactError, match="policy"):
        load_net(path)
    artifacts.write(path, kind="reward", version=99, meta={}, tensors={})
    with pytest.raises(ArtifactError, match="99"):
        load_net(path)
    path.write_bytes(b"hello, this is no reward")
    with pytest.raises(ArtifactError, match="no reward network: its format is unknown"):
        load_net(path)
    th.save({"a": th.zeros(1)}, path)
    with pytest.raises(ArtifactError, match="holds a dict, not a RewardNet"):
        load_net(path)


class Payload:
    """Unpickling this would call `function(*args)`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def payloads(mark):
    command = f"{sys.executable} -c \"open(r'{mark}', 'w')\""
    return {
        "os.system": Payload(os.system, command),
        "eval": Payload(builtins.eval, f"open(r'{mark}', 'w')"),
        "getattr": Payload(builtins.getattr, "text", "upper"),
        "subprocess": Payload(subprocess.check_call, command),
        "partial": Payload(functools.partial, os.system, command),
        "load": Payload(th.load, mark),
    }


@pytest.mark.parametrize("name", ["os.system", "eval", "getattr", "subprocess", "partial", "load"])
@pytest.mark.parametrize("depth", ["top", "attribute", "module", "space", "dict in list"])
def test_pickle_payloads_are_refused_at_any_depth(name, depth, venv, tmp_path):
    mark = tmp_path / "executed"
    payload = payloads(mark)[name]
    net = NormalizedRewardNet(basic(), RunningNorm)
    if depth == "attribute":
        net.base.note = payload
    elif depth == "module":
        net.base.mlp[0].note = payload
    elif depth == "space":
        net.base.observation_space = spaces.Box(-2, 2, (3,), np.float32)
        net.base.observation_space.note = payload
    elif depth == "dict in list":
        net.note = [{"x": (1, payload)}]
    path = tmp_path / "evil.pt"
    th.save(payload if depth == "top" else net, path)
    with pytest.raises(ArtifactError, match="refused by torch.load") as error:
        load_net(path)
    assert "Nothing of it was run" in str(error.value)
    with pytest.raises(ArtifactError):
        load_reward("RewardNet_normalized", path, venv)
    with pytest.raises(pickle.UnpicklingError):
        th.load(path)
    assert inspect_reward(path).format == "torch"
    assert any(name.split(".")[-1].replace("subprocess", "check_call") in c for c in inspect_reward(path).classes)
    assert not mark.exists()


def test_bare_pickles_are_refused(tmp_path):
    mark = tmp_path / "executed"
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(payloads(mark)["os.system"]))
    for load in (load_net, inspect_reward):
        with pytest.raises(ArtifactError, match="pickle"):
            load(path)
    assert not mark.exists()


def test_the_variable_that_opens_plain_loads_opens_nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark = tmp_path / "executed"
    th.save(payloads(mark)["os.system"], tmp_path / "evil.pt")
    with pytest.raises(ArtifactError):
        load_net(tmp_path / "evil.pt")
    assert not mark.exists()


def rezip(path, change, **options):
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info.filename) for info in file.infolist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in members.items():
            file.writestr(name, content)


def test_altered_torch_files_are_refused(tmp_path):
    path = tmp_path / "reward.pt"
    net = basic()
    th.save(net, path)
    rezip(path, lambda members: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="compressed members"):
        load_net(path)

    def grow(members):
        name = next(name for name in members if name.endswith("data.pkl"))
        small, large = b"M\x00\x04", b"J\x00\xe4\x0bT"  # a storage's length: 1024, and 1.4 billion
        assert small in members[name]
        members[name] = members[name].replace(small, large)

    th.save(net, path)
    rezip(path, grow)
    with pytest.raises(ArtifactError, match="declares a storage of 1410065408 elements"):
        load_net(path)

    net.mlp[0].weight = nn.Parameter(th.zeros(4, 5))
    th.save(net, path)
    with pytest.raises(ArtifactError, match=r"'mlp.dense0.weight' has shape \(4, 5\) in the file, expected \(32, 5\)"):
        load_net(path)


# -- inspection --


def test_inspection_of_native_files(tmp_path):
    net = full_stack()
    save_reward(net, tmp_path / "r")
    info = inspect_reward(tmp_path / "r")
    assert (info.format, info.version, info.net_type) == ("native", 1, "NormalizedRewardNet")
    assert info.chain == ("NormalizedRewardNet", "AddSTDRewardWrapper", "RewardEnsemble")
    assert info.observation_space["type"] == "Box"
    assert {name: shape for name, (_, shape) in info.tensors.items()} == {
        name: tuple(value.shape) for name, value in net.state_dict().items()
    }
    assert info.statistics["normalize_output_layer.count"] == 0
    assert "imitation_lab.rewards.reward_nets.BasicShapedRewardNet" in info.classes
    assert "imitation_lab.util.networks.EMANorm" in info.classes
    text = str(info)
    for part in ("format version 1", "RewardEnsemble", "Box(shape=[3], dtype=float32)", "Discrete(n=2)", "count = 0"):
        assert part in text


def test_inspection_builds_nothing(tmp_path, monkeypatch):
    save_reward(basic(), tmp_path / "r")
    rewrite(tmp_path / "r", lambda m, t: m["net"].update({"class": "never.heard.Of"}))
    monkeypatch.setattr(nn.Module, "__init__", lambda *args: pytest.fail("built a module"))
    assert inspect_reward(tmp_path / "r").chain == ("Of",)


def test_inspection_of_torch_files(tmp_path):
    th.save(NormalizedRewardNet(Custom(OBS, ACT), RunningNorm), tmp_path / "r.pt")
    info = inspect_reward(tmp_path / "r.pt")
    assert (info.format, info.version) == ("torch", None)
    assert info.chain == ("NormalizedRewardNet", "Custom")
    assert "imitation_lab.util.networks.RunningNorm" in info.classes
    assert ("bytes", (4 * 3 * 4,)) in info.tensors.values()
    assert "torch reward file" in str(info)
