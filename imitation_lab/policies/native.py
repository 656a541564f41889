"""The native policy format of `util.policy_files`, with this room's own classes among those that files may name."""

import imitation_lab.policies.base  # noqa: F401 (registers them)
from imitation_lab.util.policy_files import KIND, VERSION, build_policy, load_policy_file, save_policy

__all__ = ["save_policy", "load_policy_file", "build_policy", "KIND", "VERSION"]
