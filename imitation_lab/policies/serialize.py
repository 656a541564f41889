"""Saving and loading policies: the native format, SB3 zips without unpickling, and a registry of loaders.

`load_policy("ppo", venv, path=...)` takes a native file or an SB3 zip; see `native` and `sb3_zip` for the
two.
"""

import functools
import inspect
import os
import pathlib
import warnings
from typing import Any, TypeVar

import torch as th
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EventCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import ConstantSchedule, get_device
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.policies import base
from imitation_lab.policies import hub as policy_hub
from imitation_lab.policies.native import build_policy, load_policy_file, save_policy
from imitation_lab.policies.sb3_zip import Sb3Zip, read_sb3_zip
from imitation_lab.util import artifacts, bundled, hub, registry
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath, atomic_path

__all__ = [
    "STABLE_BASELINES_CLASSES", "PolicyLoaderFn", "policy_registry", "load_policy", "load_policy_file",
    "load_stable_baselines_model", "save_policy", "save_stable_model", "SavePolicyCallback",
]  # fmt: skip

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)

PolicyLoaderFn = registry.LoaderFn[BasePolicy]
STABLE_BASELINES_CLASSES = {"ppo": "stable_baselines3:PPO", "sac": "stable_baselines3:SAC"}
"""SB3's algorithms whose policies `load_policy` opens, by policy type."""

policy_registry: registry.Registry[registry.LoaderFn[BasePolicy]] = registry.Registry()
"""Loaders by policy type; each is called as `loader(venv, **kwargs)`."""


def load_policy(policy_type: str, venv: VecEnv, **kwargs: Any) -> BasePolicy:
    """Loads a policy for an environment.

    Args:
        policy_type: a key of `policy_registry`: "random", "zero", "ppo", "sac", "ppo-huggingface",
            "sac-huggingface", or one of your own.
        venv: the environment; its spaces are those of the policy.
        **kwargs: for the loader. "ppo" and "sac" take `path`, and optionally `device`, `trust`,
            `policy_class` and `policy_kwargs`; the Hugging Face ones `env_name` and `organization`, or
            `repo_id`, `filename`, `revision`, and `token`, `cache_dir` and the same options but `path`. Without
            `filename` a file of `hub.push_policy` is taken, or else the zip named like the repository.

    Raises:
        ValueError: the type is unknown, or the file does not fit the environment.
        FileNotFoundError: there is no such file, repository or revision.
        ArtifactError: (a ValueError) the file is damaged or would run code.
        ConnectionError: the hub cannot be reached and the file is not in the cache.
    """
    return policy_registry.get(policy_type)(venv, **kwargs)


def load_stable_baselines_model(
    cls: type[Algorithm] | AnyPath | None = None,
    path: Any = None,
    venv: VecEnv | None = None,
    *,
    trust: bool = False,
    device: th.device | str = "auto",
    policy_class: type[BasePolicy] | None = None,
    policy_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Algorithm:
    """Loads an SB3 model from a zip without unpickling.

    Called as `(cls, path, venv)` or as `(path, venv)`; in the second form the class is inferred from the
    settings in the file. The model is made anew on `venv` with the settings that are readable (numbers,
    flags, text, constant schedules); weights, optimizer states and entropy coefficient are copied in.
    Settings that only a pickle could restore get their defaults, but for the learning rate, which stays at
    its last value; give them as `kwargs`. The replay buffer is empty.

    Args:
        cls: the algorithm, such as `PPO`.
        path: the zip, or a folder with a `model.zip`.
        venv: the environment.
        trust: open the file with `cls.load`, which unpickles: code inside runs.
        device: where to put the model.
        policy_class: in place of the one named in the file.
        policy_kwargs: in place of those in the file.
        **kwargs: settings of the algorithm, over those in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: (a ValueError) the file is damaged, or needs something that only a pickle could
            restore.
        ValueError: the spaces differ, or the algorithm cannot be inferred.
        TypeError: the arguments fit neither form.
    """
    if not isinstance(cls, type):
        if cls is not None:
            cls, path, venv = None, cls, path if venv is None else venv
    elif not issubclass(cls, BaseAlgorithm):
        raise TypeError(f"expected a Stable-Baselines3 algorithm class such as PPO, got {cls.__name__}.")
    if path is None or not isinstance(venv, VecEnv):
        raise TypeError(
            "call load_stable_baselines_model(cls, path, venv) or (path, venv), with a VecEnv; "
            f"got path={path!r} and venv of type {type(venv).__name__}."
        )
    file = _zip_path(path)
    if trust and cls is not None:
        return cls.load(file, env=venv, device=device, **kwargs)
    saved = read_sb3_zip(file)
    actual: Any = cls or _infer_algorithm(saved)
    if trust:
        return actual.load(file, env=venv, device=device, **kwargs)
    if policy_kwargs is None:  # without what the algorithm adds itself
        policy_kwargs = {name: value for name, value in saved.policy_kwargs().items() if name != "use_sde"}
    settings = _settings(actual, saved) | kwargs
    chosen = policy_class or saved.policy_class()
    model = actual(chosen, venv, policy_kwargs=policy_kwargs, device=device, **settings)
    saved.check_spaces(model.observation_space, model.action_space)
    try:
        model.set_parameters(saved.states, exact_match=True, device=device)
    except (ValueError, RuntimeError, KeyError) as error:
        raise ArtifactError(f"{file!r} does not fit {actual.__name__}: {error}") from None
    for name in model._get_torch_save_params()[1]:
        if name in saved.variables:
            getattr(model, name).data.copy_(saved.variables[name])
    if isinstance(steps := saved.data.get("num_timesteps"), int):
        model.num_timesteps = steps
    return model


def save_stable_model(output_dir: AnyPath, model: BaseAlgorithm, filename: str = "model.zip") -> None:
    """Writes an SB3 model to `output_dir/filename` with SB3's own `save`; atomic, folders are created.

    The zip holds pickles beside the weights; `load_policy` and `load_stable_baselines_model` do not need
    them. Only the model is written: if it was trained under a `VecNormalize` that normalizes observations, a
    warning says that its statistics are missing.
    """
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None and normalizer.norm_obs:
        warnings.warn(
            "the model sees observations normalized by VecNormalize, whose statistics are not saved with it: loaded "
            "elsewhere it will act badly. Train with NormalizeFeaturesExtractor, whose statistics are in the policy.",
            stacklevel=2,
        )
    target = pathlib.Path(os.fsdecode(output_dir)) / filename
    with atomic_path(target) as temporary, open(temporary, "wb") as file:
        model.save(file)


class SavePolicyCallback(EventCallback):
    """Saves the model each time it is called, to `policy_dir/<timesteps, 12 digits>/model.zip`.

    Meant for `EveryNTimesteps(n, SavePolicyCallback(policy_dir))`.
    """

    def __init__(self, policy_dir: AnyPath, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy_dir = pathlib.Path(os.fsdecode(policy_dir))

    def _on_step(self) -> bool:
        save_stable_model(self.policy_dir / f"{self.num_timesteps:012d}", self.model)
        return True


def _zip_path(path: AnyPath) -> str:
    """Resolves a folder to the `model.zip` in it."""
    found = pathlib.Path(os.fsdecode(path))
    if found.is_dir():
        statistics, zipped = [p.name for p in found.glob("vec*normalize.pkl")], found / "model.zip"
        if statistics:
            raise _statistics_error(str(found), statistics[0], f"give the path of the zip, {str(zipped)!r}")
        found = zipped
    if not found.exists():
        raise FileNotFoundError(f"no such file: {str(found)!r}.")
    return str(found)


class _StatisticsError(ArtifactError, FileExistsError):
    """Statistics in a pickle lie beside the policy: older code calls that a file too many."""


def _statistics_error(where: str, file: str, then: str) -> ArtifactError:
    return _StatisticsError(
        f"{where!r} holds {file}: the policy expects observations normalized with statistics that only a pickle "
        f"restores. If you trust the file, wrap the environment with VecNormalize.load of it yourself and {then}."
    )


_TELLING: dict[str, Any] = {
    "clip_range": PPO, "target_entropy": SAC, "exploration_fraction": DQN, "target_policy_noise": TD3, "gae_lambda": A2C
}  # fmt: skip
"""Settings that tell the algorithm, the most telling first."""


def _infer_algorithm(saved: Sb3Zip) -> Any:
    for setting, algorithm in _TELLING.items():
        if setting in saved.data:
            return algorithm
    raise ValueError(f"{saved.path!r}: cannot tell the algorithm; call load_stable_baselines_model(cls, path, venv).")


def _settings(cls: type[BaseAlgorithm], saved: Sb3Zip) -> dict[str, Any]:
    """The algorithm's own arguments, as far as the file's JSON holds them."""
    skip = {"self", "policy", "env", "policy_kwargs", "device", "verbose", "tensorboard_log", "_init_setup_model"}
    accepted = inspect.signature(cls).parameters
    found = {k: v for k, v in saved.scalars().items() if k in accepted and k not in skip}
    rate = saved.learning_rate()
    if "learning_rate" not in found and rate is not None:
        found["learning_rate"] = rate
    for name in ("buffer_size", "n_steps"):  # they take memory: a file may not ask for more than SB3's default does
        if name in found and name in accepted:
            found[name] = min(found[name], max(int(accepted[name].default), 1 << 16))
    return found


def _load_trained(
    cls: type[BaseAlgorithm],
    venv: VecEnv,
    path: AnyPath,
    *,
    device: th.device | str = "auto",
    trust: bool = False,
    policy_class: type[BasePolicy] | None = None,
    policy_kwargs: dict[str, Any] | None = None,
) -> BasePolicy:
    """Loads the policy alone, from a native file or an SB3 zip; no algorithm and no buffers are made."""
    wrapped = BaseAlgorithm._wrap_env(venv, verbose=0, monitor_wrapper=False)
    here = (wrapped.observation_space, wrapped.action_space)
    if os.path.isfile(os.fsdecode(path)) and artifacts.sniff(path) == "native":
        policy = load_policy_file(path, device)
        for name, space in (("observation", here[0]), ("action", here[1])):
            if space != (own := getattr(policy, f"{name}_space")):
                raise ValueError(
                    f"{os.fsdecode(path)!r} is for the {name} space {own}, the environment's is {space}. Load it with "
                    "the environment it was trained on."
                )
        return policy
    file = _zip_path(path)
    if trust:
        return cls.load(file, env=venv, device=device).policy
    saved = read_sb3_zip(file)
    saved.check_spaces(*here)
    actual_class = policy_class or saved.policy_class()
    arguments = saved.policy_kwargs() if policy_kwargs is None else dict(policy_kwargs)
    parameters = inspect.signature(actual_class.__init__).parameters
    if "use_sde" in parameters or issubclass(actual_class, base.ActorCriticPolicy):
        arguments.setdefault("use_sde", bool(saved.data.get("use_sde", False)))
    arguments["lr_schedule"] = ConstantSchedule(saved.learning_rate() or 0.0)
    arguments |= {"observation_space": here[0], "action_space": here[1]}
    tensors = {name: tensor.numpy() for name, tensor in saved.states["policy"].items()}
    return build_policy(actual_class, arguments, tensors).to(get_device(device))


def _load_from_hub(
    cls: type[BaseAlgorithm],
    venv: VecEnv,
    env_name: str | None = None,
    organization: str = "HumanCompatibleAI",
    *,
    repo_id: str | None = None,
    filename: str | None = None,
    revision: str | None = None,
    cache_dir: AnyPath | None = None,
    token: str | bool | None = None,
    **kwargs: Any,
) -> BasePolicy:
    """Downloads a policy from the Hugging Face hub and opens it as a local file, without unpickling.

    Where the hub cannot be reached, the bundled expert of the environment serves if there is one; a warning says so.
    """
    if (env_name is None) == (repo_id is None):
        raise ValueError("give either env_name= (with organization=) or repo_id= to say which policy to download.")
    usual = env_name is not None and organization == "HumanCompatibleAI" and filename is revision is None
    if repo_id is None:
        assert env_name is not None
        repo_id = f"{organization}/{cls.__name__.lower()}-{env_name.replace('/', '-')}"
    try:
        if filename is None:
            filename = _file_on_hub(repo_id, revision, cache_dir, token)
        path = hub.download(repo_id, filename, revision=revision, cache_dir=cache_dir, token=token)
    except ConnectionError as error:
        if not usual:  # what is asked for is no policy for this environment, but that one
            raise
        try:
            home = bundled.folder(str(env_name))
        except ValueError:
            raise error from None
        policy = load_policy_file(home / bundled.POLICY_FILE, kwargs.get("device", "auto"))
        for own, there in (
            (policy.observation_space, venv.observation_space),
            (policy.action_space, venv.action_space),
        ):
            if (type(own), own.shape, own.dtype) != (type(there), there.shape, there.dtype):
                raise error
        warnings.warn(f"{error} The bundled expert {home.name!r} takes its place.", stacklevel=3)
        return policy
    return _load_trained(cls, venv, path, **kwargs)


def _file_on_hub(repo_id: str, revision: str | None, cache_dir: AnyPath | None, token: str | bool | None) -> str:
    """Our own file where there is one, else the zip named like the repository, as is the custom."""
    candidates = (policy_hub.FILE, repo_id.rpartition("/")[2] + ".zip")
    try:
        found = hub.files(repo_id, revision=revision, token=token)
    except ConnectionError:
        found = [name for name in candidates if hub.cached(repo_id, name, revision=revision, cache_dir=cache_dir)]
        if not found:
            raise
    name = next((name for name in candidates if name in found), None)
    if name is None:
        raise FileNotFoundError(
            f"the model {repo_id!r} (revision {revision or 'main'!r}) holds {sorted(found)}, neither {candidates[0]!r} "
            f"nor {candidates[1]!r}: say which one in filename=."
        )
    statistics = [n for n in found if n.endswith("normalize.pkl") and name != candidates[0]]
    if statistics:
        raise _statistics_error(repo_id, statistics[0], f"pass filename={name!r}")
    return name


policy_registry.register("random", value=registry.build_loader_fn_require_space(base.RandomPolicy))
policy_registry.register("zero", value=registry.build_loader_fn_require_space(base.ZeroPolicy))
for _name, _path in STABLE_BASELINES_CLASSES.items():
    _cls = registry.load_attr(_path)
    policy_registry.register(_name, value=functools.partial(_load_trained, _cls))
    policy_registry.register(f"{_name}-huggingface", value=functools.partial(_load_from_hub, _cls))
