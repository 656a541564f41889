"""The command line: the console script `imitation-lab` and what it starts."""
