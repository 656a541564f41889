"""Fixed-horizon environments and the wrappers that make any environment fixed-horizon."""
