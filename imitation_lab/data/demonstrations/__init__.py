"""Demonstrations from anywhere, and their check before anything is trained on them.

| from | by |
|---|---|
| flat arrays, all episodes one after another | `from_arrays` |
| a list of episodes, in whatever form | `from_episodes` |
| a pandas frame or a CSV file with named columns | `from_frame`, `from_csv`; back by `to_frame` |
| a Minari data set | `from_minari`; back by `to_minari` |
| a Hugging Face data set | `from_huggingface`; back by `huggingface_utils.trajectories_to_dataset` |
| anything that acts, run in an environment | `from_policy` |
| a native file | `data.serialize.load`; for one larger than memory `DiskBatches` |

Each gives a sequence of trajectories that algorithms take as they are and `data.serialize.save` writes. With `env=` it
is fitted to the environment's spaces and checked by `validate`.
"""

from imitation_lab.util.doors import door

__getattr__, __dir__ = door(
    __name__,
    *("arrays", "tables", "policies", "validation"),
    **dict.fromkeys(("from_minari", "to_minari"), "minari"),
    from_huggingface="huggingface",
    DiskBatches="imitation_lab.data.disk",
)
