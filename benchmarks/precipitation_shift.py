"""From dry to moist: rain learnt in dry air alone and retrieved in moist air, and the flag of what was never seen.

Learnt from: the 60 % driest footprints by vapour (at most 47.04 kg m-2) of days 1 to 14. Retrieved: the moistest 15 % (more
than 59.84 kg m-2) of days 15 to 21. The same methods also learn from all footprints of days 1 to 14 and retrieve all of days 15
to 21, which says what robustness costs. Clear sky is fitted on footprints without rain of all vapours, of days 1 to 14 alone.

    boosting              boosted trees on temperatures: the failure to mend
    quantile network      `examples/precipitation-gmi.toml` with its first kind of members alone: temperatures
    views                 members that see temperatures; also departures from clear sky; also differences

The flag of the last is asked for snow that CloudSat saw on days 15 to 21, and for the rain of these days, which is familiar.

    python benchmarks/precipitation_shift.py [--epochs 60]

It needs the samples (VIGIE_SAMPLES) and takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from precipitation_tables import LEVELS, Floats, Method, learn, resampled, retrieval, table, write
from sklearn.ensemble import HistGradientBoostingRegressor

from vigie.learn.retrieval_model import load
from vigie.predict.quality import QUALITY
from vigie.predict.swath import Kept, retrieved
from vigie.verify.quantile_scores import crps

DRIEST_KG_M2, MOISTEST_KG_M2 = 47.04, 59.84
LAST_DAY = 14
BATCH = 256
METEOROLOGY = ("total_column_water_vapour", "air_temperature_2m", "skin_temperature")
VIEWS: dict[str, tuple[tuple[str, ...], ...]] = {
    "quantile network": (("temperature",),),
    "views": (("temperature",), ("temperature", "departure"), ("temperature", "departure", "invariant")),
}
"""What the members of each model see."""


def main() -> None:
    """Learn in dry air and in all air, retrieve moist air and all air, print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60, help="times that a member sees each footprint")
    options = parser.parse_args()
    began = time.monotonic()
    rain = table("dpr_rain_rate_open", "dpr")
    vapour = rain["total_column_water_vapour"].values[:, 0]
    early = rain["day"].values <= LAST_DAY
    learnt = {"dry": early & (vapour <= DRIEST_KG_M2), "all": early}
    tested = {"moist": ~early & (vapour > MOISTEST_KG_M2), "all": ~early}
    print(
        f"{int(learnt['dry'].sum())} dry and {int(early.sum())} footprints to learn from, {int(tested['moist'].sum())} moist of"
    )
    print(f"{int((~early).sum())} retrieved\n\n{'':18} learnt on  retrieved      bias, %                RMSE   CRPS")
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in learnt.items():
            said = {"boosting": boosting(rain.isel(scan=rows))}
            for model, views in VIEWS.items():
                made = trained(rain, rows, views, options.epochs, Path(folder) / f"{model}-{name}")
                said[model] = retrieval(made)
                if model == "views":
                    flagged(made, rain.isel(scan=~early)) if name == "all" else None
            for model, quantiles in said.items():
                for place in ("moist",) if name == "dry" else ("moist", "all"):
                    held = rain.isel(scan=tested[place])
                    print(f"{model:18} {name:10} {place:10} {line(quantiles(held), held)}")
    print(f"\n{time.monotonic() - began:.0f} s")


def trained(rain: xr.Dataset, rows: NDArray[np.bool_], views: tuple[tuple[str, ...], ...], epochs: int, folder: Path) -> Path:
    """Train a model through the application's own stages; give its folder."""
    folder.mkdir(parents=True)
    phase = table("dpr_phase_open", "dpr")
    write(rain.isel(scan=rows), folder / "rain.nc")
    write(phase.isel(scan=phase["day"].values <= LAST_DAY), folder / "sky.nc")
    steps = epochs * -(-int(rows.sum()) // BATCH)
    fit = {"steps": steps, "learning_rate": 2e-3, "weight_decay": 1e-3, "warmup_steps": 20, "average": 0.0}
    kinds: list[dict[str, Any]] = [
        {"members": 2, "layers": view, "network": {"hidden": [128, 128], "stem": "named"}, "fit": fit} for view in views
    ]
    content = {
        "app": "precipitation",
        "name": "shift",
        "acquire": {"sources": [{"files": str(folder / "*.nc"), "label_source": "dpr"}]},
        "train": {
            **kinds[0],
            "more": kinds[1:],
            "folds": {"by": "none"},
            "familiar": {"methods": ["neighbours"], "compared": [[], METEOROLOGY]},
        },
    }
    return learn(content, folder)


def boosting(swath: xr.Dataset) -> Method:
    """Boost trees on temperatures; what they say is taken for certain."""
    x, y = swath["brightness_temperature"].values[:, 0], swath["truth"].values[:, 0]
    model = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, min_samples_leaf=30, random_state=0).fit(x, y)
    return lambda seen: np.tile(model.predict(seen["brightness_temperature"].values[:, 0]).clip(min=0), (len(LEVELS), 1))


def line(quantiles: Floats, held: xr.Dataset) -> str:
    """Tell bias with its interval over resampled days, RMSE, and CRPS."""
    truth, mean = held["truth"].values[:, 0].astype(np.float64), quantiles.mean(axis=0)
    biases = 100 * (resampled(mean, held) / resampled(truth, held) - 1)
    low, high = np.quantile(biases, [0.025, 0.975])
    bias, rmse = 100 * (mean.mean() / truth.mean() - 1), np.sqrt(((mean - truth) ** 2).mean())
    return f"{bias:+6.1f} [{low:+6.1f}, {high:+6.1f}]   {rmse:7.3f}  {crps(quantiles, np.array(LEVELS), truth).mean():.4f}"


def flagged(folder: Path, familiar: xr.Dataset) -> None:
    """Tell which shares of snow and of familiar rain are flagged, by the flag as it is written and by each of its parts."""
    model = load(folder)
    snow = table("cpr_snow_rate_open", "cpr")
    snow = snow.isel(scan=snow["day"].values > LAST_DAY)
    scenes = {"snow": snow, "rain": familiar}
    assert model.familiar is not None
    for reference in (None, *model.familiar.references):
        shown = "flag as written" if reference is None else f"{len(reference.fields)} fields, {reference.fields[0]} ..."
        shares = {}
        for name, scene in scenes.items():
            if reference is not None:
                known = model.familiar.model_copy(update={"references": (reference,), "threshold": 1.0})
                model = type(model)(**{**vars(model), "familiar": known, "drifts": {}})
            flag = retrieved(model, scene, model.inputs.channels, Kept(LEVELS))["quality_flag"].values
            shares[name] = float((flag == QUALITY["out_of_distribution"]).mean())
        print(f"flagged of snow {shares['snow']:.3f}, of rain {shares['rain']:.3f}: {shown}")
        model = load(folder)


if __name__ == "__main__":
    main()
