"""Few observed labels and many simulated ones: 300 rows of GPM's radar, alone and with ERA5's rain, against held-out days.

Of days 1 to 14, 300 observed footprints are drawn; simulated ones are all of the table labelled by ERA5. Days 15 to 21 are
retrieved, whose labels are observed. Every way has the same networks (three views, named stem, dropout 0.2), steps and seeds;
scores are means over the draws, differences from observed labels alone are resampled by day, in pairs.

    alone                 observed labels alone
    together              both, each half of the weight
    told                  both, and the network is told which is which; asked as if observed
    matched               both, simulated rates given the distribution of the observed ones
    pretrain              simulated (matched) first, observed afterwards, gentler
    translated            both (matched), simulated temperatures carried to observed ones by a learnt flow

    python benchmarks/precipitation_hybrid.py [--draws 5] [--steps 560]

It needs the samples (VIGIE_SAMPLES) and takes about a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from precipitation_tables import LEVELS, Floats, learn, resampled, retrieval, table, write

from vigie.verify.quantile_scores import crps

ROWS, LAST_DAY = 300, 14
AIR = ("total_column_water_vapour", "air_temperature_2m", "skin_temperature", "land_fraction")
VIEWS: tuple[dict[str, Any], ...] = (
    {"layers": ["temperature"]},
    {"layers": ["temperature", "invariant"]},
    {"layers": ["temperature"], "ancillary": list(AIR)},
)
BOTH = {"observed": ["dpr"]}
WAYS: dict[str, dict[str, Any]] = {
    "alone": {},
    "together": BOTH,
    "told": BOTH,
    "matched": {**BOTH, "labels": "matched"},
    "pretrain": {**BOTH, "labels": "matched", "method": "pretrain"},
    "translated": {**BOTH, "labels": "matched", "temperatures": "translated"},
}


def main() -> None:
    """Learn every way on every draw, and print scores and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5, help="draws of the observed rows")
    parser.add_argument("--steps", type=int, default=560, help="steps of each member")
    options = parser.parse_args()
    began = time.monotonic()
    observed, simulated = table("dpr_rain_rate_open", "dpr"), table("era5_rain_rate_open", "era5")
    early, held = observed["day"].values <= LAST_DAY, observed.isel(scan=observed["day"].values > LAST_DAY)
    truth = held["truth"].values[:, 0].astype(np.float64)
    scores: dict[str, list[tuple[Floats, Floats]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(options.draws):
            rows = np.random.default_rng(draw).choice(np.flatnonzero(early), ROWS, replace=False)
            for name in WAYS:
                place = Path(folder) / f"{name}-{draw}"
                place.mkdir()
                write(observed.isel(scan=np.sort(rows)), place / "observed-dpr.nc")
                if name != "alone":
                    write(simulated.isel(scan=simulated["day"].values <= LAST_DAY), place / "simulated-era5.nc")
                quantiles = retrieval(learn(experiment(name, place, options.steps, draw), place))(held)
                error = (quantiles.mean(axis=0) - truth) ** 2
                scores[name].append((crps(quantiles, np.array(LEVELS), truth), error))
    print(f"{ROWS} observed footprints, {int((simulated['day'].values <= LAST_DAY).sum())} simulated, {len(truth)} retrieved")
    print(f"{'':12}  CRPS    RMSE    CRPS less than alone [95 %]     mean square less than alone [95 %]")
    for name, found in scores.items():
        told = [np.mean([draw[which] for draw in found], axis=0) for which in (0, 1)]
        alone = [np.mean([draw[which] for draw in scores["alone"]], axis=0) for which in (0, 1)]
        differences = "   ".join(difference(mine - his, held) for mine, his in zip(told, alone, strict=True))
        print(f"{name:12}  {told[0].mean():.4f}  {np.sqrt(told[1].mean()):.3f}   {differences if name != 'alone' else ''}")
    print(f"{time.monotonic() - began:.0f} s")


def experiment(name: str, folder: Path, steps: int, seed: int) -> dict[str, Any]:
    """Write the experiment of one way."""
    fit = {"steps": steps, "learning_rate": 2e-3, "weight_decay": 1e-3, "warmup_steps": 20, "average": 0.0}
    network = {"hidden": [128, 128], "stem": "named", "dropout": 0.2}
    kinds = [{"members": 1, "network": network, "fit": fit, **view} for view in VIEWS]
    if name == "told":
        kinds = [kind | {"ancillary": [*kind.get("ancillary", []), "observed_label"]} for kind in kinds]
    source = [{"files": str(folder / "observed-dpr.nc"), "label_source": "dpr"}]
    if name != "alone":
        source.append({"files": str(folder / "simulated-era5.nc"), "label_source": "era5"})
    return {
        "app": "precipitation",
        "name": "hybrid",
        "seed": seed,
        "acquire": {"sources": source},
        "train": {
            **kinds[0],
            "more": kinds[1:],
            "hybrid": WAYS[name],
            "folds": {"by": "none"},
            "windows": {"batch": 64 if name == "alone" else 128},
        },
    }


def difference(values: Floats, held: xr.Dataset) -> str:
    """Tell a mean difference and its interval over resampled days."""
    low, high = np.quantile(resampled(values, held), [0.025, 0.975])
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()
