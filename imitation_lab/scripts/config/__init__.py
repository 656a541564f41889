"""The named configurations of each experiment, as data; what experiments share is in `environments` and `tuned`."""
