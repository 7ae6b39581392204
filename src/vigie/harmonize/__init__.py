"""Scenes of any sensor onto one grid, in physical units, with explicit masks and truth beside the inputs."""
