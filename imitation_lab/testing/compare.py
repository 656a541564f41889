"""The former place of `imitation_lab.scripts.compare`, which this is: `imitation-lab compare` in a terminal."""

import sys

from imitation_lab.scripts import compare

__all__ = []

if __name__ == "__main__":
    compare.main()
sys.modules[__name__] = compare
