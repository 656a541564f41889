"""What every other part uses: networks, logging, files, seeds, registries, vectorized environments and video."""
