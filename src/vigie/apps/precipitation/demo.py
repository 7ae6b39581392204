"""The demonstration: synthetic orbits, whose true rain is known, through the whole story."""

from __future__ import annotations

from pathlib import Path

from vigie.physics.antenna import observe
from vigie.synthetic.orbit import write_orbits
from vigie.synthetic.rain import Climate

ORBITS = 10
SEED = 20


def demo(folder: Path) -> dict[str, object]:
    """Write synthetic orbits into a folder; give the experiment that retrieves their rain.

    The radiative transfer is handed to the synthetic Earth here: the one place that knows both.
    """
    write_orbits(folder, ORBITS, SEED, Climate(), observe)
    return experiment(folder)


def experiment(folder: Path) -> dict[str, object]:
    """Make the experiment: every orbit is retrieved by a network that never saw it."""
    return {
        "app": "precipitation",
        "name": "precipitation-demo",
        "summary": "Rain of synthetic GMI orbits, each retrieved by a network that never saw it.",
        "acquire": {"sources": [{"files": str(folder.resolve() / "*.nc")}]},
        "train": {
            "folds": {"by": "orbit", "count": 2},
            "final": False,
            "network": {"name": "unet", "widths": [16, 32, 64], "stem": "named"},
            "head": {"name": "quantile"},
            "windows": {"size": 32, "batch": 8},
            "fit": {"steps": 200, "learning_rate": 3e-3, "warmup_steps": 20, "schedule": "one-cycle", "precision": "auto"},
            # A network of single footprints beside it: the two err differently, and their mean errs less.
            "more": [
                {
                    "network": {"name": "pixel", "hidden": [64, 64], "stem": "named"},
                    "fit": {"steps": 1000, "learning_rate": 3e-3, "warmup_steps": 20, "precision": "auto"},
                }
            ],
        },
        "predict": {"scans": 96},
        "verify": {"baselines": ["climatology", "gradient-boosting"]},
    }
