"""The demonstration: synthetic orbits through the whole story."""

from __future__ import annotations

from pathlib import Path


def demo(folder: Path) -> dict[str, object]:
    """Write synthetic orbits into a folder; give the experiment that runs on them."""
    raise NotImplementedError
