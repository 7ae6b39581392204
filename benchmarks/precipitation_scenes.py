"""How much of the rain brightness temperatures tell: in synthetic scenes, beside what GMI tells of a radar's.

The synthetic Earth of `vigie.synthetic.rain` ties cloud, ice and falling water closely to rain at the ground. `observe_loosely`
sees it with lognormal factors of their own in each: drop sizes, evaporation, graupel or snow, age of the storm. Their spread is
chosen so that trees explain as much of the rain as they do of the radar's in the real table of footprints, and so that rain,
vapour, cloud, warmth, wind and place leave as much of brightness temperatures open.

    python benchmarks/precipitation_scenes.py [--orbits 30]

It needs the samples (VIGIE_SAMPLES) and takes about two minutes on one core. What is printed, of footprints where
it rains, with those of the last third of the days left out of the training: correlation of predicted and true rain, the mean
absolute error over that of the constant mean, p99.9 of predictions over that of the truth, and for each channel what is left
open, K, with its deviation in brackets.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.swath import Channel
from vigie.physics.antenna import observe
from vigie.synthetic.orbit import RAINING_MM_H, Observe, write_orbits
from vigie.synthetic.rain import Climate, gaussian_field

Floats = NDArray[np.float64]

LOOSE = {"ice_water_path": 1.5, "rain_rate": 0.8, "cloud_liquid": 0.8}
"""Standard deviations of ln factor: of ice, of water in the column over rain at the ground, of cloud."""

LOOSE_SLOPE, LOOSE_KM = 3.0, 40.0
"""The factors' power falls as k^-slope below this size: storms differ, and so do their parts."""

DRAIN = ("36.64V", "36.64H", "89.00V", "89.00H")
"""The channels of DRAIN."""

AIR = ("total_column_water_vapour", "skin_temperature", "land_fraction", "total_column_cloud_liquid_water")
ROWS = 4240
"""Footprints that trees learn from: those of days 1 to 14 of the table."""

SEED = 77


def observe_loosely(
    state: Mapping[str, NDArray[np.floating]],
    channels: Sequence[Channel],
    spacing_km: tuple[float, float],
    nedt_k: Sequence[float],
    seed: int,
) -> NDArray[np.float32]:
    """See a state whose cloud, ice and falling water are only loosely tied to rain at the ground; factors have median 1."""
    rng, loose = np.random.default_rng([seed, 97]), dict(state)
    for name, spread in LOOSE.items():
        field = gaussian_field(state[name].shape, spacing_km[0], LOOSE_SLOPE, LOOSE_KM, rng)
        loose[name] = state[name] * np.exp(spread * field)
    return observe(loose, channels, spacing_km, nedt_k, seed)


@dataclass(frozen=True)
class Rows:
    """Footprints where it rains: brightness temperatures (row, channel) K with their names, rain mm h-1, what else is known of
    the air (row, field), and which rows are learnt from."""

    temperature: Floats
    channels: tuple[str, ...]
    rain: Floats
    air: Floats
    learnt: NDArray[np.bool_]


def main() -> None:
    """Print what trees make of the real table, of scenes as they are drawn, and of scenes seen loosely."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orbits", type=int, default=30, help="synthetic orbits of each kind, two thirds to learn from")
    wanted = parser.parse_args()
    told("real footprints of GMI", table_rows())
    with tempfile.TemporaryDirectory() as folder:
        looks: dict[str, Observe] = {"synthetic, as drawn": observe, "synthetic, seen loosely": observe_loosely}
        for number, (name, look) in enumerate(looks.items()):
            paths = write_orbits(Path(folder) / str(number), wanted.orbits, SEED, Climate(), look)
            told(name, orbit_rows([xr.load_dataset(path, engine="h5netcdf") for path in paths]))


def table_rows() -> Rows:
    """Rows of the table of radar rain with their ancillary fields; days 1 to 14 are learnt from."""
    from precipitation_tables import table

    rain = table("dpr_rain_rate_open", "dpr")
    air = air_of(rain)[:, 0]
    known = np.isfinite(air).all(axis=-1)
    return Rows(
        rain["brightness_temperature"].values[known, 0].astype(np.float64),
        tuple(map(str, rain["channel"].values)),
        rain["truth"].values[known, 0].astype(np.float64),
        air[known],
        rain["day"].values[known] <= 14,
    )


def orbit_rows(orbits: Sequence[xr.Dataset]) -> Rows:
    """Rows of synthetic orbits where it rains, as many to learn from as the table has; the first two thirds are learnt from."""
    parts = list(_raining(orbits))
    temperature, rain, air = (np.concatenate([part[k] for part in parts]) for k in range(3))
    early = np.repeat(np.arange(len(parts)) < len(parts) * 2 // 3, [len(part[1]) for part in parts])
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(np.flatnonzero(early == learnt))[:ROWS] for learnt in (True, False)]
    kept = np.concatenate(drawn)
    return Rows(temperature[kept], tuple(map(str, orbits[0]["channel"].values)), rain[kept], air[kept], early[kept])


def air_of(swath: xr.Dataset) -> Floats:
    """What is known of the air beside rain (scan, pixel, field): vapour, warmth, land, cloud, wind and latitude."""
    wind = np.hypot(swath["eastward_wind_10m"].values, swath["northward_wind_10m"].values)
    return np.stack([*(swath[name].values for name in AIR), wind, swath["latitude"].values], axis=-1).astype(np.float64)


def _raining(orbits: Sequence[xr.Dataset]) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield temperatures, rain and air of each orbit where rain, not snow, falls and no channel is missing."""
    for orbit in orbits:
        temperature, rain = orbit["brightness_temperature"].values.astype(np.float64), orbit["truth"].values.astype(np.float64)
        falls = (rain >= RAINING_MM_H) & (orbit["phase"].values == 1) & np.isfinite(temperature).all(axis=-1)
        yield temperature[falls], rain[falls], air_of(orbit)[falls]


def told(name: str, rows: Rows) -> None:
    """Print what trees make of rows."""
    print(f"{name}: {int(rows.learnt.sum())} footprints to learn from, {int((~rows.learnt).sum())} others")
    drain = [k for k, channel in enumerate(rows.channels) if channel in DRAIN]
    for shown, at in (("all channels", list(range(len(rows.channels)))), ("37 and 89 GHz", drain)):
        found, truth = predicted(rows.temperature[:, at], rows.rain, rows.learnt), rows.rain[~rows.learnt]
        error = np.abs(found - truth).mean() / np.abs(rows.rain[rows.learnt].mean() - truth).mean()
        rare = np.quantile(found, 0.999) / np.quantile(truth, 0.999)
        print(f"  {shown:13}  r {np.corrcoef(found, truth)[0, 1]:.3f}  MAE {error:.3f} of the mean's  p99.9 {rare:.2f}")
    known, left = np.column_stack([np.log(rows.rain), rows.air]), []
    for channel, seen in zip(rows.channels, rows.temperature.T, strict=True):
        error = np.sqrt(np.mean((predicted(known, seen, rows.learnt) - seen[~rows.learnt]) ** 2))
        left.append(f"{channel} {error:.1f} ({seen[~rows.learnt].std():.1f})")
    print("  left open, K:", ", ".join(left))


def predicted(known: Floats, wanted: Floats, learnt: NDArray[np.bool_]) -> Floats:
    """Predict rows that are not learnt from by boosted trees, with settings of the protocol of that table."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, min_samples_leaf=30, random_state=0)
    return np.asarray(trees.fit(known[learnt], wanted[learnt]).predict(known[~learnt]))


if __name__ == "__main__":
    main()
