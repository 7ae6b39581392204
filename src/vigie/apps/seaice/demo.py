"""The demonstration: three synthetic years of ice, two to learn from and one to forecast."""

from __future__ import annotations

from pathlib import Path

from vigie.synthetic.ice import write_years

YEARS = range(2001, 2004)


def demo(folder: Path) -> dict[str, object]:
    """Write synthetic years into a folder; give the experiment that forecasts the last of them."""
    write_years(folder, YEARS)
    return experiment(folder)


def experiment(folder: Path) -> dict[str, object]:
    """Make the experiment."""
    return {
        "app": "seaice",
        "name": "seaice-demo",
        "summary": "Forecasts of a synthetic ice cover, a week ahead, by a network that learnt from the two years before.",
        "acquire": {"sources": [{"files": str(folder.resolve() / "*.nc")}]},
        "train": {
            "periods": [{"begin": "2001-01-01", "end": "2002-12-31"}],
            "leads_days": 7,
            "network": {"widths": [16, 32]},
            "windows": {"size": 32, "batch": 8},
            "fit": {"steps": 400, "learning_rate": 3e-3, "warmup_steps": 20, "schedule": "one-cycle"},
        },
        "predict": {
            "periods": [{"begin": "2003-01-01", "end": "2003-12-31"}],
            "every_days": 12,
            "leads_days": [1, 3, 5, 7],
            "members": 20,
        },
        "verify": {"bootstrap": 200},
    }
