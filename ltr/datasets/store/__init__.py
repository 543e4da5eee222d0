"""The store: raw files converted once, split, described by a manifest, memory-mapped afterwards."""
