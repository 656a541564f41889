"""How well do they learn? Ours and the field's reference library, on the same demonstrations and budget, over seeds.

    python tests/benchmarks/quality.py --peer-python PEER_VENV/bin/python   # trains what is missing, prints the table
    python tests/benchmarks/quality.py --table                              # prints the table of what is there
    python tests/benchmarks/quality.py --tasks HalfCheetah Hopper --seeds 1  # MuJoCo: minutes for each run

Every finished seed is a line of `results/quality.jsonl`; a run that was stopped goes on with the next. A line counts as
long as the settings it was made with (`settings`, a digest) are today's. Both libraries get the same text: our preset's
demonstrations, generator, batches, updates and timesteps. What only ours has is left out for the peer: AIRL's bounded g
and its warm-up rounds, and penalties.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "quality.jsonl"
OURS, PEER = "imitation_lab", "imitation"
REFERENCE_EPISODES = 200


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned, and how long each policy is looked at."""

    env_id: str
    eval_episodes: int
    bc_epochs: int
    algorithms: tuple[str, ...] = ("bc", "gail", "airl")


TASKS = {
    "CartPole": Task("imitation_lab/CartPole-v0", 50, 40),
    "Pendulum": Task("Pendulum-v1", 200, 60),  # few starts decide how well it goes
    "HalfCheetah": Task("imitation_lab/HalfCheetah-v0", 50, 60, ("bc", "gail")),
    "Hopper": Task("imitation_lab/Hopper-v0", 50, 60, ("bc", "gail")),
}
QUICK = ("CartPole", "Pendulum")
BC = {name: {"batch_size": 32, "n_epochs": task.bc_epochs, "lr": 1e-3} for name, task in TASKS.items()}
"""For both libraries; the policy is `FeedForward32Policy` with `NormalizeFeaturesExtractor`."""


def settings(task: str, algorithm: str) -> str:
    """What a run depends on, as a digest."""
    if algorithm in ("random", "expert"):
        text = str(REFERENCE_EPISODES)
    elif algorithm == "bc":
        text = repr((BC[task], TASKS[task].eval_episodes))
    else:
        from imitation_lab.algorithms.adversarial.presets import presets

        p = presets(task, algorithm)
        schedule = vars(p.gen_kwargs["learning_rate"])
        episodes = TASKS[task].eval_episodes
        text = repr((p.n_demonstrations, p.n_envs, p.total_timesteps, sorted(schedule.items()), episodes))
        text += "" if p.normalize_reward else "not normalized"
        text += repr([sorted((k, v) for k, v in d.items() if k != "learning_rate") for d in _plain(p)])
    return hashlib.sha1(text.encode()).hexdigest()[:10]


def _plain(preset: Any) -> list[dict[str, Any]]:
    net = {k: getattr(v, "__name__", v) for k, v in preset.reward_net_kwargs.items()}
    return [dict(preset.gen_kwargs), net, dict(preset.trainer_kwargs)]


def returns_of(policy: Any, task: str, episodes: int, deterministic: bool) -> float:
    """Mean return of whole episodes, by the same code for both libraries."""
    import numpy as np

    from imitation_lab.data import rollout
    from imitation_lab.util import util

    venv = util.make_vec_env(TASKS[task].env_id, rng=np.random.default_rng(1000), n_envs=10)
    found = rollout.generate_trajectories(
        policy,
        venv,
        rollout.make_min_episodes(episodes),
        np.random.default_rng(1000),
        deterministic_policy=deterministic,
    )
    return float(np.mean([t.rews.sum() for t in found[:episodes]]))


def train_bc(package: str, task: str, seed: int, demos: Any, venv: Any, quiet: Any) -> Any:
    """The cloned policy."""
    import numpy as np
    from workloads import part

    base = part(package, "policies.base")
    chosen = BC[task]
    policy = base.FeedForward32Policy(
        venv.observation_space,
        venv.action_space,
        lr_schedule=lambda _: chosen["lr"],
        features_extractor_class=base.NormalizeFeaturesExtractor,
    )
    trainer = part(package, "algorithms.bc").BC(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        policy=policy,
        demonstrations=demos,
        batch_size=chosen["batch_size"],
        optimizer_kwargs={"lr": chosen["lr"]},
        rng=np.random.default_rng(seed),
        device="cpu",
        custom_logger=quiet,
    )
    trainer.train(n_epochs=int(chosen["n_epochs"]), progress_bar=False)
    return trainer.policy


def train_ours(preset: Any, seed: int, quiet: Any) -> Any:
    """The generator's policy, by the preset as it is shipped."""
    import numpy as np

    trainer = preset.build(np.random.default_rng(seed), seed, custom_logger=quiet)
    trainer.train(preset.total_timesteps, progress_bar=False)
    return trainer.policy


def train_peer(preset: Any, seed: int, demos: Any, venv: Any, quiet: Any) -> Any:
    """The generator's policy, by the peer with the preset's settings."""
    from workloads import part

    nets, norm = part(PEER, "rewards.reward_nets"), part(PEER, "util.networks").RunningNorm
    gen_algo = preset.make_gen_algo(venv, seed)
    schedule = preset.gen_kwargs["learning_rate"]
    options: dict[str, Any] = {"use_action": preset.reward_net_kwargs.get("use_action", True)}
    spaces = venv.observation_space, venv.action_space
    if preset.algorithm == "gail":
        net = nets.BasicRewardNet(*spaces, normalize_input_layer=norm, **options)
    else:
        gamma = preset.reward_net_kwargs["discount_factor"]
        net = nets.BasicShapedRewardNet(*spaces, normalize_input_layer=norm, discount_factor=gamma, **options)
    kwargs = {k: v for k, v in preset.trainer_kwargs.items() if k not in ("disc_warmup_rounds", "penalties")}
    trainer = getattr(part(PEER, f"algorithms.adversarial.{preset.algorithm}"), preset.algorithm.upper())(
        demonstrations=demos,
        venv=venv,
        gen_algo=gen_algo,
        reward_net=nets.NormalizedRewardNet(net, norm) if preset.normalize_reward else net,
        custom_logger=quiet,
        log_dir=quiet.get_dir(),
        **kwargs,
    )
    n_rounds = preset.total_timesteps // trainer.gen_train_timesteps

    def keep_schedule(done: int) -> None:
        # The peer's learn() begins a schedule anew in each round; it should run over the whole training.
        gen_algo.lr_schedule = lambda _: schedule(1 - done / n_rounds)

    keep_schedule(0)
    trainer.train(preset.total_timesteps, lambda round_number: keep_schedule(round_number + 1))
    return trainer.policy


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate once, in this process."""
    import numpy as np
    import torch as th
    from workloads import part
    from workloads.data import scratch

    import imitation_lab  # noqa: F401 registers the environments
    from imitation_lab import experts
    from imitation_lab.util import util

    th.set_num_threads(1)
    task, algorithm, package, seed = job["task"], job["algorithm"], job["library"], job["seed"]
    if algorithm in ("random", "expert"):
        policy = experts.load_expert(task) if algorithm == "expert" else None
        return {"return": returns_of(policy, task, REFERENCE_EPISODES, deterministic=policy is not None)}
    from imitation_lab.algorithms.adversarial.presets import presets

    preset = presets(task, "gail" if algorithm == "bc" else algorithm)
    quiet = part(package, "util.logger").configure(scratch(), [])
    types = part(package, "data.types")
    demos = [
        types.TrajectoryWithRew(obs=t.obs, acts=t.acts, infos=None, terminal=t.terminal, rews=t.rews)
        for t in experts.load_demonstrations(preset.expert, n=preset.n_demonstrations)
    ]
    th.manual_seed(seed)
    start = time.process_time()
    venv = util.make_vec_env(TASKS[task].env_id, rng=np.random.default_rng(seed), n_envs=preset.n_envs)
    if algorithm == "bc":
        policy = train_bc(package, task, seed, demos, venv, quiet)
    elif package == OURS:
        policy = train_ours(preset, seed, quiet)
    else:
        policy = train_peer(preset, seed, demos, venv, quiet)
    seconds = time.process_time() - start
    return {
        "return": returns_of(policy, task, TASKS[task].eval_episodes, deterministic=False),
        "deterministic": returns_of(policy, task, TASKS[task].eval_episodes, deterministic=True),
        "cpu_seconds": round(seconds, 1),
    }


def jobs(tasks: Sequence[str], n_seeds: int, with_peer: bool) -> list[dict[str, Any]]:
    """All there is to do, seed by seed."""
    found = [
        {"task": task, "algorithm": name, "library": OURS, "seed": 0} for task in tasks for name in ("random", "expert")
    ]
    libraries = (OURS, PEER) if with_peer else (OURS,)
    found += [
        {"task": task, "algorithm": algorithm, "library": library, "seed": seed}
        for seed in range(n_seeds)
        for task in tasks
        for algorithm in TASKS[task].algorithms
        for library in libraries
    ]
    return [job | {"settings": settings(job["task"], job["algorithm"])} for job in found]


KEY = ("task", "algorithm", "library", "seed", "settings")


def stored() -> dict[tuple, dict[str, Any]]:
    """Finished jobs by what they are."""
    if not RESULTS.exists():
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines() if line.strip()]
    return {tuple(row[name] for name in KEY): row for row in rows}


def run(job: dict[str, Any], python: str) -> dict[str, Any]:
    """Do a job in a process of its own; RuntimeError with the last line of what went wrong."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    done = subprocess.run(
        [python, __file__, "--job", json.dumps(job)], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(rows: dict[tuple, dict[str, Any]], tasks: Sequence[str], n_seeds: int) -> str:
    """Markdown: interquartile mean and interval of the normalized score, ours beside the peer's."""
    import numpy as np

    from imitation_lab.testing.intervals import bootstrap_interval, interquartile_mean, normalized_score

    wanted = {tuple(job[name] for name in KEY): job for job in jobs(tasks, n_seeds, with_peer=True)}
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for key in wanted.keys() & rows.keys():
        groups.setdefault(key[:3], []).append(rows[key])
    lines = [
        "| task | algorithm | ours: IQM (95 %) | worst | return | imitation 1.0.1: IQM (95 %) | worst | return |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        ends = [groups.get((task, name, OURS)) for name in ("random", "expert")]
        if not all(ends):
            continue
        random, expert = (end[0]["return"] for end in ends if end)
        for algorithm in TASKS[task].algorithms:
            cells = []
            for library in (OURS, PEER):
                group = groups.get((task, algorithm, library), [])
                if not group:
                    cells += ["–"] * 3
                    continue
                returns = np.array([row["return"] for row in group])
                scores = normalized_score(returns, random, expert)
                low, high = bootstrap_interval(scores)
                short = "" if len(group) == n_seeds else f"; seeds: {len(group)}"
                cells.append(f"{interquartile_mean(scores):.3f} ({low:.3f} to {high:.3f}{short})")
                cells += [f"{scores.min():.2f}", f"{returns.mean():.0f}"]
            lines.append(f"| {task} | {algorithm.upper()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line; train what is missing; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the Python of an environment with the peer, see run.py --make-peer")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=QUICK)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="jobs whose description has all words")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        warnings.simplefilter("ignore")
        print(json.dumps(work(json.loads(args.job))))
        return
    rows = stored()
    if not args.table:
        RESULTS.parent.mkdir(exist_ok=True)
        for job in jobs(args.tasks, args.seeds, with_peer=bool(args.peer_python)):
            key = tuple(job[name] for name in KEY)
            if key in rows or not set(args.only) <= {str(value) for value in job.values()}:
                continue
            try:
                rows[key] = job | run(job, args.peer_python if job["library"] == PEER else sys.executable)
            except RuntimeError as e:
                print(f"failed: {job}: {e}", file=sys.stderr, flush=True)
                continue
            with RESULTS.open("a") as file:
                file.write(json.dumps(rows[key]) + "\n")
            print(json.dumps(rows[key]), file=sys.stderr, flush=True)
    print(table(rows, args.tasks, args.seeds))


if __name__ == "__main__":
    main()
