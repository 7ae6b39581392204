"""The demo: a synthetic Earth seen by a satellite and a spy camera over fifty years, and the experiment that maps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vigie.core.store import make_folder, write_text
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

AREAS = (
    Area("almaz", seed=3, size=256, west=450_000.0),
    Area("burhan", seed=29, size=256, west=480_000.0),
    Area("chandra", seed=17, size=256, west=510_000.0),
)
SATELLITE_DATES = {
    "almaz": ("1994-09-14", "2003-08-30", "2012-09-05", "2021-08-21"),
    "burhan": ("1999-08-12", "2020-09-02"),
    "chandra": ("2001-09-20", "2019-08-25"),
}
FILM_DATES = {"almaz": "1975-08-20", "burhan": "1976-09-11", "chandra": "1974-08-03"}


def demo(folder: Path) -> dict[str, Any]:
    """Write the synthetic Earth into a folder and give the experiment that maps it."""
    make_folder(folder)
    for area in AREAS:
        for date in SATELLITE_DATES[area.name]:
            write_multispectral(folder, area, date)
        write_film(folder, area, FILM_DATES[area.name])
    write_text(folder / sensor_file().name, sensor_file().read_text(encoding="utf-8"))
    return experiment(folder.resolve())


def experiment(folder: Path) -> dict[str, Any]:
    """The experiment: every area is mapped by a model that never saw it; glaciers and lakes are followed through time."""
    source = {"legend": "classes", "region": "synthetic Earth"}
    satellite = {
        "images": str(folder / "synthetic_*.tif"),
        "sensor": str(folder / sensor_file().name),
        "truth": str(folder / "truth_*.tif"),
        **source,
    }
    film = {"images": str(folder / "kh9_*.tif"), "sensor": "hexagon-kh9", "truth": str(folder / "truth_*.tif"), **source}
    return {
        "app": "glaciers",
        "name": "glaciers-demo",
        "summary": "Three mountain areas of the synthetic Earth, 1974-2021, each mapped by a model that never saw it.",
        "acquire": {"sources": [satellite, film]},
        "train": {
            "folds": {"by": "scene", "count": 2},
            "network": {"name": "unet-groupnorm", "widths": [16, 32, 64, 64], "stem_channels": 16},
            "loss": {"smoothing": 0.02},
            "windows": {"size": 96, "batch": 8, "balance": 0.3},
            "augment": {"drop_bands": 0.1, "blots": 1, "haze": 0.1},
            "fit": {
                "steps": 220,
                "learning_rate": 4e-3,
                "schedule": "one-cycle",
                "warmup_steps": 25,
                "precision": "auto",
            },
        },
        "verify": {"baselines": ["random-forest"]},
    }
