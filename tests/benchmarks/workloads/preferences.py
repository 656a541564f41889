"""Preference comparisons: an epoch of reward training, active selection, cutting fragments, a synthetic teacher."""

import itertools
from typing import Any

import numpy as np
import torch as th
import torch.nn.functional as F
from torch import nn

from workloads import Task, Workload, part
from workloads.data import ACT_SPACE, ACTS, OBS, OBS_SPACE, scratch
from workloads.rewards import fill

STEPS, MEMBERS, BATCH, CLIP, GAMMA, TEMPERATURE = 100, 3, 32, 50.0, 0.99, 10.0


def episodes(n: int, length: int) -> dict[str, np.ndarray]:
    """Arrays of `n` episodes: random, but for the first observation, which counts the steps."""
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((n, length + 1, OBS), dtype=np.float32)
    obs[..., 0] = np.arange(length + 1) / length
    acts = rng.uniform(-1, 1, (n, length, ACTS)).astype(np.float32)
    return {"obs": obs, "acts": acts, "rews": rng.standard_normal((n, length), dtype=np.float32)}


def trajectories(package: str, n: int, length: int) -> list[Any]:
    cls = part(package, "data.types").TrajectoryWithRew
    data = episodes(n, length)
    return [cls(infos=None, terminal=True, **{k: v[i] for k, v in data.items()}) for i in range(n)]


def fragment_pairs(package: str, pairs: int) -> list[tuple[Any, Any]]:
    fragments = trajectories(package, 2 * pairs, STEPS)
    return list(zip(fragments[0::2], fragments[1::2], strict=True))


def labels(pairs: int) -> np.ndarray:
    return (np.arange(pairs) % 2).astype(np.float32)


def quiet(package: str) -> Any:
    return part(package, "util.logger").configure(scratch(), [])


def reward_net(package: str, members: int) -> Any:
    """A reward network with known weights; an ensemble where there are several members."""
    nets = part(package, "rewards.reward_nets")
    made = [nets.BasicRewardNet(OBS_SPACE, ACT_SPACE) for _ in range(members)]
    net = made[0] if members == 1 else nets.RewardEnsemble(OBS_SPACE, ACT_SPACE, made)
    fill(net)
    return net


class Nets:
    """The same networks in bare torch: layers of weights `(members, in, out)` and biases `(members, 1, out)`."""

    def __init__(self, members: int) -> None:
        made = [
            nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise([OBS + ACTS, 32, 32, 1]))
            for _ in range(members)
        ]
        fill(nn.ModuleList(made))
        self.layers = [
            (
                th.stack([m.weight.detach().T for m in layer]).requires_grad_(),
                th.stack([m.bias.detach() for m in layer])[:, None].requires_grad_(),
            )
            for layer in zip(*made, strict=True)
        ]
        self.parameters = [p for layer in self.layers for p in layer]

    def differences(self, x: th.Tensor) -> th.Tensor:
        """Differences of returns `(members, pairs)`, from fragments `(members, 2 · pairs, STEPS, OBS + ACTS)`."""
        h = x.flatten(1, 2)
        for i, (w, b) in enumerate(self.layers):
            h = th.baddbmm(b, h.relu() if i else h, w)
        returns = h.view(len(x), -1, STEPS).sum(-1)
        return (returns[:, 0::2] - returns[:, 1::2]).clamp(-CLIP, CLIP)


def inputs(pairs: int) -> th.Tensor:
    """Fragments as the networks see them, `(2 · pairs, STEPS, OBS + ACTS)`."""
    data = episodes(2 * pairs, STEPS)
    return th.from_numpy(np.concatenate([data["obs"][:, :-1], data["acts"]], axis=-1))


def library_epoch(package: str, pairs: int, members: int) -> Task:
    pc = part(package, "algorithms.preference_comparisons")
    net = reward_net(package, members)
    compared, preferences = fragment_pairs(package, pairs), labels(pairs)
    loss = pc.CrossEntropyRewardLoss()
    with th.no_grad():
        nets = [net] if members == 1 else net.members
        first = [float(loss(compared, preferences, pc.PreferenceModel(one)).loss) for one in nets]
    dataset = pc.PreferenceDataset()
    dataset.push(compared, preferences)
    trainer = (pc.BasicRewardTrainer if members == 1 else pc.EnsembleTrainer)(
        pc.PreferenceModel(net), loss, rng=np.random.default_rng(0), batch_size=BATCH, custom_logger=quiet(package)
    )

    def run() -> int:
        trainer.train(dataset)
        return pairs

    return Task(run, lambda: sum(first))


def floor_epoch(pairs: int, members: int) -> Task:
    nets, x, y = Nets(members), inputs(pairs).view(pairs, 2, STEPS, -1), th.from_numpy(labels(pairs))
    optimizer = th.optim.AdamW(nets.parameters, lr=1e-3, weight_decay=0.0, fused=True)

    def losses(rows: th.Tensor) -> th.Tensor:
        """Of each member on its own pairs, `(members,)`; rows `(members, pairs)`."""
        d = nets.differences(x[rows].flatten(1, 2))
        return (F.softplus(d) - y[rows] * d).mean(-1)

    with th.no_grad():
        first = float(losses(th.arange(pairs).expand(members, -1)).sum())

    def run() -> int:
        order = th.randint(pairs, (members, pairs)) if members > 1 else th.randperm(pairs)[None]
        for rows in order.split(BATCH, dim=1):
            optimizer.zero_grad()
            losses(rows).sum().backward()
            optimizer.step()
        return pairs

    return Task(run, lambda: first)


def library_active(package: str, pairs: int, kept: int) -> Task:
    pc = part(package, "algorithms.preference_comparisons")
    candidates = fragment_pairs(package, pairs)

    class Given(pc.Fragmenter):  # type: ignore[name-defined, misc]
        """The same candidates each time: only the selection is measured."""

        def __call__(self, *_: Any, **__: Any) -> Any:
            return candidates

    model = pc.PreferenceModel(reward_net(package, MEMBERS))
    fragmenter = pc.ActiveSelectionFragmenter(
        model, Given(custom_logger=quiet(package)), pairs / kept, "logit", custom_logger=quiet(package)
    )
    chosen: list[Any] = []

    def run() -> int:
        chosen[:] = fragmenter([], STEPS, kept)
        return pairs

    return Task(run, lambda: sum(float(first.rews.sum()) for first, _ in chosen))


def floor_active(pairs: int, kept: int) -> Task:
    nets, x = Nets(MEMBERS), inputs(pairs)
    rews = episodes(2 * pairs, STEPS)["rews"].sum(-1)[0::2]
    chosen = [np.empty(0, dtype=np.int64)]

    def run() -> int:
        with th.no_grad():
            parts = [nets.differences(own.expand(MEMBERS, -1, -1, -1)) for own in x.split(40)]
            chosen[0] = th.cat(parts, dim=1).var(0).topk(kept).indices.numpy()
        return pairs

    return Task(run, lambda: float(rews[chosen[0]].sum()))


def library_fragmenter(package: str, n: int, length: int, pairs: int) -> Task:
    pc = part(package, "algorithms.preference_comparisons")
    source = trajectories(package, n, length)
    fragmenter = pc.RandomFragmenter(np.random.default_rng(0), warning_threshold=0, custom_logger=quiet(package))
    found: list[Any] = []

    def run() -> int:
        found[:] = fragmenter(source, STEPS, pairs)
        return pairs

    return Task(run, lambda: sum(float(f.obs[-1, 0] - f.obs[0, 0]) for pair in found for f in pair))


def floor_fragmenter(n: int, length: int, pairs: int) -> Task:
    data, rng = episodes(n, length), np.random.default_rng(0)
    found: list[Any] = []

    def run() -> int:
        which = rng.integers(n, size=2 * pairs).tolist()
        begins = rng.integers(length - STEPS + 1, size=2 * pairs).tolist()
        obs, acts, rews = (data[key] for key in ("obs", "acts", "rews"))
        found[:] = [
            (obs[i, b : b + STEPS + 1], acts[i, b : b + STEPS], rews[i, b : b + STEPS])
            for i, b in zip(which, begins, strict=True)
        ]
        return pairs

    return Task(run, lambda: sum(float(obs[-1, 0] - obs[0, 0]) for obs, _, _ in found))


def library_gatherer(package: str, pairs: int) -> Task:
    pc = part(package, "algorithms.preference_comparisons")
    compared = fragment_pairs(package, pairs)
    kwargs = {"temperature": TEMPERATURE, "discount_factor": GAMMA, "custom_logger": quiet(package)}
    teacher = pc.SyntheticGatherer(rng=np.random.default_rng(0), **kwargs)
    probabilities = pc.SyntheticGatherer(sample=False, **kwargs)(compared)

    def run() -> int:
        teacher(compared)
        return pairs

    return Task(run, lambda: float(probabilities.sum()))


def floor_gatherer(pairs: int) -> Task:
    rews, rng = episodes(2 * pairs, STEPS)["rews"], np.random.default_rng(0)
    discounts = GAMMA ** np.arange(STEPS)

    def probabilities() -> np.ndarray:
        returns = rews @ discounts
        return 1 / (1 + np.exp(-(returns[0::2] - returns[1::2]) / TEMPERATURE))

    def run() -> int:
        (rng.random(pairs) < probabilities()).astype(np.float32)
        return pairs

    return Task(run, lambda: float(probabilities().sum()))


def _epoch(name: str, members: int, target: float) -> Workload:
    return Workload(
        name=f"preference_{name}",
        unit="pairs",
        target=target,
        size={"pairs": 200, "members": members},
        tiny={"pairs": 8, "members": members},
        library=library_epoch,
        floor=floor_epoch,
    )


WORKLOADS = [
    _epoch("epoch", 1, 7.0),
    _epoch("epoch_ensemble", MEMBERS, 6.0),
    Workload(
        name="active_selection",
        unit="candidates",
        target=5.0,
        size={"pairs": 500, "kept": 50},
        tiny={"pairs": 20, "kept": 2},
        library=library_active,
        floor=floor_active,
    ),
    Workload(
        name="random_fragmenter",
        unit="pairs",
        target=15.0,
        size={"n": 50, "length": 200, "pairs": 200},
        tiny={"n": 2, "length": 200, "pairs": 3},
        library=library_fragmenter,
        floor=floor_fragmenter,
    ),
    Workload(
        name="synthetic_gatherer",
        unit="pairs",
        target=20.0,
        size={"pairs": 1_000},
        tiny={"pairs": 5},
        library=library_gatherer,
        floor=floor_gatherer,
    ),
]
