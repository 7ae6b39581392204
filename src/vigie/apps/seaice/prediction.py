"""The sea-ice `predict`: forecasts from every start, mean, probability, quantiles and members, into `prediction.zarr`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.seaice.fields import days_in, opened, settings_of
from vigie.apps.seaice.training import maps_of
from vigie.apps.seaice.usual import Maps, day_of_year
from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.sea_ice import EDGE
from vigie.core.tiles import Tile
from vigie.core.vocabulary import named
from vigie.harmonize.series import QUANTITY, SIDE
from vigie.learn.forecast.members import at_levels, shuffled
from vigie.learn.forecast.model import ForecastModel, load
from vigie.learn.forecast.network import LEVELS
from vigie.learn.forecast.samples import DAY, example, stacked, starts_of
from vigie.story.experiment import to_json
from vigie.story.run import Run, log

Floats = NDArray[np.float32]

GROUP = "forecast"
BEGUN = "begun"
KEPT = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels of the quantiles that are kept."""
SEASON_DAYS = 30
"""Past changes that order members are of days of the year this near."""
WHOLE = {"y": slice(None), "x": slice(None)}


@dataclass(frozen=True)
class Forecasting:
    """The work of one start: all leads, written together; it pickles, and each process loads the model once."""

    model: Path
    card: str
    maps: Maps
    starts: tuple[np.datetime64, ...]
    leads: tuple[int, ...]
    past: tuple[np.datetime64, ...]
    members: int
    seed: int
    path: Path

    def __call__(self, number: int) -> int:
        """Forecast from one start; give its number."""
        day, model = self.starts[number], _loaded(self.model, self.card)
        made = [self.lead(model, day, lead) for lead in self.leads]
        whole = xr.concat(made, "lead_time").expand_dims(forecast_reference_time=1)
        store.write(self.path, tile_of(number), whole, GROUP)
        return number

    def lead(self, model: ForecastModel, day: np.datetime64, lead: int) -> xr.Dataset:
        """Forecast one lead, packed as it is stored."""
        mean, quantiles = (found[0].numpy() for found in model.forecast(stacked([example(self.maps, day, lead, WHOLE)])))
        members = shuffled(quantiles, LEVELS, self.changes(day, lead))
        sea = self.maps.sea(WHOLE)
        maps = ("y", "x")
        fields = {
            QUANTITY: (maps, mean),
            "probability_of_ice": (maps, probability(quantiles)),
            f"{QUANTITY}_quantile": (("quantile", *maps), at_levels(quantiles, LEVELS, np.array(KEPT))),
            f"{QUANTITY}_member": (("realization", *maps), members),
        }
        return xr.Dataset({name: (dims, packed(name, values, sea)) for name, (dims, values) in fields.items()})

    def changes(self, day: np.datetime64, lead: int) -> Floats:
        """Draw past changes (member, y, x) over a lead, of that season; from every season where there are too few.

        Raises
        ------
        VigieError: the training holds fewer starts than there are members.
        """
        starts = starts_of(self.past, (lead,))[lead]
        apart = np.array([abs(day_of_year(one) - day_of_year(day)) for one in starts])
        near = np.flatnonzero(np.minimum(apart, 365 - apart) <= SEASON_DAYS)
        pool = near if len(near) >= self.members else np.arange(len(starts))
        if len(pool) < self.members:
            raise VigieError(
                "members are ordered by past changes, of which there are too few",
                found=f"{len(pool)} starts of {lead} days, {self.members} members",
                do="lengthen train.periods, or lower predict.members",
            )
        random = np.random.default_rng((self.seed, crc32(f"{day} {lead}".encode())))
        chosen = [starts[number] for number in random.choice(pool, self.members, replace=False)]
        return np.stack([self.state(one + lead * DAY) - self.state(one) for one in chosen])

    def state(self, day: np.datetime64) -> Floats:
        """Read the whole map of a day that is known to be there."""
        found = self.maps.state(day, WHOLE)
        assert found is not None
        return found


@lru_cache(maxsize=2)
def _loaded(folder: Path, card: str) -> ForecastModel:
    """Load a model once; trained again, it has another card."""
    return load(folder)


def probability(quantiles: Floats) -> Floats:
    """Give the probability (y, x) that concentration reaches `EDGE`: 1 less the level where the quantiles do, linear between.

    Examples
    --------
    >>> flat = np.linspace(0.0, 0.30, len(LEVELS), dtype=np.float32)[:, None, None]
    >>> probability(flat).round(2), probability(np.zeros_like(flat)), probability(np.ones_like(flat))
    (array([[0.5]], dtype=float32), array([[0.]], dtype=float32), array([[1.]], dtype=float32))
    """
    levels = np.asarray(LEVELS, dtype=np.float32).reshape(-1, 1, 1)
    above = quantiles >= EDGE
    first = above.argmax(axis=0)[None]
    upper = np.clip(first, 1, len(LEVELS) - 1)
    low, high = (np.take_along_axis(quantiles, at, axis=0) for at in (upper - 1, upper))
    begin, end = (np.take_along_axis(np.broadcast_to(levels, quantiles.shape), at, axis=0) for at in (upper - 1, upper))
    share = (EDGE - low) / np.maximum(high - low, 1e-6)
    inside = 1 - (begin + np.clip(share, 0, 1) * (end - begin))
    return np.where(above.all(axis=0), 1.0, np.where(above.any(axis=0), inside[0], 0.0)).astype(np.float32)


def packed(name: str, values: Floats, sea: NDArray[np.bool_]) -> NDArray[np.generic]:
    """Pack values as they are stored, nothing where there is no sea."""
    found = named(name).pack(values)
    found[..., ~sea] = store.fill_value(found.dtype)
    return found


def unpacked(stored: xr.DataArray) -> Floats:
    """Read packed values, NaN where there is none."""
    values = stored.values
    return np.where(
        values == store.fill_value(values.dtype), np.float32("nan"), values * np.float32(named(str(stored.name)).step)
    ).astype(np.float32)


def tile_of(number: int) -> Tile:
    """The part of the store that holds one start."""
    window = {"forecast_reference_time": slice(number, number + 1)}
    return Tile(window, window)


def starts(run: Run) -> tuple[np.datetime64, ...]:
    """Days that forecasts start on: every few of those that have a map."""
    settings = settings_of(run).predict
    days = days_in(opened(run), settings.periods, "predict.periods")
    return tuple(days[:: settings.every_days])


def predict(run: Run) -> None:
    """Forecast from every start; finished starts are kept."""
    settings, path = settings_of(run), run.artefact("predict")
    folder, maps = run.artefact("train") / "all", maps_of(run)
    past = tuple(days_in(maps.reader, settings.train.periods, "train.periods"))
    card = (folder / "card.json").read_text(encoding="utf-8")
    leads, members = settings.predict.leads_days, settings.predict.members
    work = Forecasting(folder, card, maps, starts(run), leads, past, members, run.experiment.seed, path)
    if not store.marked(path, BEGUN, GROUP):
        sizes = {"forecast_reference_time": 1, "lead_time": 1, "y": SIDE, "x": SIDE}
        store.create(path, template(run, work), sizes, GROUP)
        store.mark(path, BEGUN, GROUP)
    todo = [number for number in range(len(work.starts)) if not store.marked(path, tile_of(number).name, GROUP)]
    with run.progress.task("predict", len(todo)) as advance:
        for number in run.experiment.engine.start().map(work, todo):
            advance(note=str(work.starts[number]))
    log.info("predict: %d starts, %d leads, %d members", len(work.starts), len(leads), members)


def template(run: Run, work: Forecasting) -> xr.Dataset:
    """Make the empty node of the forecasts, in the words of CF for forecasts."""
    grid = work.maps.reader.dataset[["spatial_ref", "latitude", "longitude", "cell_area"]]
    coordinates = {
        "forecast_reference_time": np.array(work.starts, dtype="datetime64[ns]"),
        "lead_time": np.array(work.leads, dtype="timedelta64[D]").astype("timedelta64[ns]"),
        "quantile": np.asarray(KEPT),
        "realization": np.arange(work.members),
    }
    node = xr.Dataset(coords={**coordinates, **grid.coords}, attrs={"experiment": to_json(run.experiment)})
    node["forecast_reference_time"].attrs["standard_name"] = "forecast_reference_time"
    node["lead_time"].attrs["standard_name"] = "forecast_period"
    node["realization"].attrs["standard_name"] = "realization"
    each = ("forecast_reference_time", "lead_time")
    names: dict[str, Sequence[str]] = {
        QUANTITY: each,
        "probability_of_ice": each,
        f"{QUANTITY}_quantile": (*each, "quantile"),
        f"{QUANTITY}_member": (*each, "realization"),
    }
    for name, first in names.items():
        dims = (*first, "y", "x")
        node[name] = named(name).empty(dims, [node.sizes[dim] for dim in dims])
    return node
