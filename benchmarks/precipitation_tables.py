"""What the benchmarks of tables of footprints share: reading and writing them, learning from them, resampling days."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.acquire.granules import pairs
from vigie.acquire.samples import fetch
from vigie.apps.precipitation import app
from vigie.learn.retrieval_model import load
from vigie.predict.swath import Kept, retrieved
from vigie.story.app import perform
from vigie.story.progress import Silent
from vigie.story.reading import validate
from vigie.story.run import STAGES, Run

Floats = NDArray[np.float64]
LEVELS = tuple(k / 100 for k in range(1, 100))
REPLICATES = 2000
Method = Callable[[xr.Dataset], Floats]
"""Footprints -> quantiles (level, row)."""


def table(name: str, source: str) -> xr.Dataset:
    """Read a table of footprints from the samples."""
    return pairs.read(fetch(f"precipitation/gmi_pairs/{name}.npz"), source)


def write(swath: xr.Dataset, path: Path) -> None:
    """Write rows of a table as a swath file of vigie's own layout."""
    swath.assign_attrs(swath=path.stem).to_netcdf(path, engine="h5netcdf")


def learn(content: dict[str, Any], folder: Path) -> Path:
    """Train the final model of an experiment through the application's own stages; give the model's folder."""
    _, experiment = validate(content, "benchmark")
    run = Run(experiment, folder / "run", Silent(), base=folder)
    perform(app, run, STAGES[:3])
    return run.artefact("train") / "all"


def retrieval(folder: Path) -> Method:
    """Retrieve with a trained model."""
    model = load(folder)

    def quantiles(swath: xr.Dataset) -> Floats:
        found = retrieved(model, swath, model.inputs.channels, Kept(LEVELS))
        return found["rainfall_rate_quantile"].values[:, :, 0].astype(np.float64)

    return quantiles


def resampled(values: Floats, swath: xr.Dataset) -> Floats:
    """Means (replicate,) of values of footprints over resampled days."""
    groups, at = np.unique(swath["group"].values.astype(np.str_), return_inverse=True)
    drawn = np.random.default_rng(0).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=REPLICATES)
    return (drawn @ np.bincount(at, values)) / (drawn @ np.bincount(at))
