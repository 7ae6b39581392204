"""Class maps that agree in time: the hidden Markov model of `hmm` on labelled arrays, one tile at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.glaciers.history.hmm import Floats, forward_backward, generator, likelihood, transitions, viterbi
from vigie.core import store
from vigie.core.engine import Engine
from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.core.tiles import Tile, Window, tiles

DAYS_A_YEAR = 365.2425
PIXELS_AT_ONCE = 1 << 15
"""Pixels treated together: bounds the working arrays (a few of dates x classes x this) however large the tile."""


@dataclass(frozen=True)
class Chain:
    """How classes follow each other in time: the legend, the model's class prior and the rates Q (K, K) per year."""

    legend: Legend
    prior: Floats
    rates: Floats


def chain(legend: Legend, dwell_years: Mapping[str, float], prior: Mapping[str, float]) -> Chain:
    """Build a chain from how many years a pixel stays in each class and the class prior of the model.

    When a class ends, every other one follows with the chance of its prior share, so that rare classes stay rare.

    Raises
    ------
    VigieError
        When a class of the legend has no dwell time or prior, or the prior does not add to 1.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> chain(ice, {"land": 200, "ice": 50}, {"land": 0.7, "ice": 0.3}).rates
    array([[-0.005,  0.005],
           [ 0.02 , -0.02 ]])
    """
    for what, values in {"dwell time": dwell_years, "prior": prior}.items():
        if set(values) != set(legend.names):
            raise VigieError(f"each class needs one {what}", found=sorted(values), expected=", ".join(legend.names))
    share = np.array([prior[name] for name in legend.names], dtype=np.float64)
    if (share <= 0).any() or abs(share.sum() - 1) > 1e-6:
        raise VigieError("the class prior is no distribution", found=dict(prior), expected="shares > 0 that add to 1")
    moves = np.tile(share, (len(share), 1)) * (1 - np.eye(len(share)))
    dwell = np.array([dwell_years[name] for name in legend.names], dtype=np.float64)
    return Chain(legend, share, generator(dwell, moves / moves.sum(axis=1, keepdims=True)))


def snow_chance(times: xr.DataArray, clearest_day: int, lowest: float, highest: float) -> xr.DataArray:
    """Give the chance that seasonal snow hides the ground on each date: lowest on the clearest day, highest half a year off.

    Parameters
    ----------
    times: dates (time).
    clearest_day: day of the year with least snow (about 235 in the north, 52 in the south).
    lowest, highest: chances on the clearest day and half a year from it, 0-1.

    Examples
    --------
    >>> dates = xr.DataArray(np.array(["2001-08-23", "2001-05-24"], dtype="datetime64[ns]"), dims="time")
    >>> snow_chance(dates, clearest_day=235, lowest=0.0, highest=0.8).values.round(2)
    array([0. , 0.4])
    """
    if not 0 <= lowest <= highest <= 1:
        raise VigieError("chances of snow are wrong", found=f"{lowest}, {highest}", expected="0 <= lowest <= highest <= 1")
    swing = np.sin(np.pi * (times.dt.dayofyear.values - clearest_day) / DAYS_A_YEAR) ** 2
    return xr.DataArray(lowest + (highest - lowest) * swing, dims=times.dims)


def snow_confusion(chance: xr.DataArray, legend: Legend, hidden: Sequence[str], seen_as: str) -> xr.DataArray:
    """Say what each class looks like when seasonal snow hides some: (time, true, apparent), rows of 1.

    Parameters
    ----------
    chance: chance of snow at each date (time), 0-1, for instance from `snow_chance`.
    legend: the classes.
    hidden: classes that snow hides.
    seen_as: the class they then look like.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> snow_confusion(xr.DataArray([0.3], dims="time"), ice, ["land"], "ice").values
    array([[[0.7, 0.3],
            [0. , 1. ]]])
    """
    confusion = np.tile(np.eye(len(legend.classes)), (chance.sizes["time"], 1, 1))
    for name in hidden:
        row = confusion[:, legend.channel(name)]
        row *= 1 - chance.values[:, None]
        row[:, legend.channel(seen_as)] += chance.values
    return xr.DataArray(confusion, dims=("time", "true", "apparent"))


def consistent_classes(
    probabilities: xr.DataArray,
    model: Chain,
    confidence: xr.DataArray | float = 0.95,
    confusion: xr.DataArray | None = None,
) -> xr.Dataset:
    """Make the class maps of all dates agree: what is most probable at each date given every date.

    Parameters
    ----------
    probabilities: class probabilities (time, class, y, x), adding to 1, NaN where nothing was seen; times in order.
    model: legend, prior and rates.
    confidence: chance that an observation means something, 0-1, one number or (time, y, x); below 1 a single sure but wrong
        date is outvoted by its neighbours. Cloud, shadow and saturation flags become low values here.
    confusion: what a true class looks like at each date (time, true, apparent), for instance `snow_confusion`.

    Returns
    -------
    `map` (time, y, x) uint8 codes of the most probable sequence (Viterbi), the legend's unknown where a pixel was never seen;
    `probability` (time, class, y, x) float32 marginals; `confidence` (time, y, x) float32 marginal of the mapped class;
    `revised`: the map differs from that date's own; `changed`: it differs from the previous date's.

    Raises
    ------
    VigieError
        When dimensions, order of dates or sums of probabilities are wrong.

    Examples
    --------
    >>> from vigie.core.legend import LegendClass
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> model = chain(ice, {"land": 50, "ice": 50}, {"land": 0.5, "ice": 0.5})
    >>> p = np.array([0.9, 0.9, 0.2, 0.9, np.nan])
    >>> seen = xr.DataArray(np.stack([1 - p, p], axis=1)[:, :, None, None], dims=("time", "class", "y", "x"),
    ...     coords={"time": np.array(["2000", "2001", "2002", "2003", "2004"], dtype="datetime64[ns]")})
    >>> history = consistent_classes(seen, model)
    >>> history["map"].values.ravel(), history["revised"].values.ravel()
    (array([1, 1, 1, 1, 1], dtype=uint8), array([False, False,  True, False, False]))
    """
    years = _years_between(probabilities, model)
    dates, count, rows, columns = probabilities.shape
    chance = transitions(model.rates, years)
    flat = probabilities.values.reshape(dates, count, -1)
    _check_probabilities(flat)
    sure = np.broadcast_to(_in_order(confidence, ("time", "y", "x")), (dates, rows, columns)).reshape(dates, -1)
    mixing = None if confusion is None else _in_order(confusion, ("time", "true", "apparent"))
    path = np.empty((dates, flat.shape[2]), dtype=np.uint8)
    marginal = np.empty(flat.shape, dtype=np.float32)
    for begin in range(0, flat.shape[2], PIXELS_AT_ONCE):
        block = slice(begin, begin + PIXELS_AT_ONCE)
        seen = likelihood(flat[:, :, block].astype(np.float64), model.prior, sure[:, block], mixing)
        marginal[:, :, block] = forward_backward(seen, chance, model.prior)[0]
        path[:, block] = viterbi(seen, chance, model.prior)
    return _dataset(probabilities, model.legend, path.reshape(dates, rows, columns), marginal.reshape(probabilities.shape))


@dataclass(frozen=True)
class ClassesJob:
    """Everything the history of a large map needs; it pickles, so that any engine can run its tiles.

    `probabilities`, `confidence` and `confusion` are as for `consistent_classes`, opened lazily; only one tile of them is in
    memory at a time. `store` is the Zarr store to write.
    """

    probabilities: xr.DataArray
    model: Chain
    store: Path
    confidence: xr.DataArray | float = 0.95
    confusion: xr.DataArray | None = None

    def __call__(self, tile: Tile) -> str:
        """Write one tile and give its name."""
        store.write(self.store, tile, self.window(tile.keep))
        return tile.name

    def window(self, window: Window) -> xr.Dataset:
        """Make the classes of one window agree in time."""
        sure = self.confidence
        part = sure.isel(window, missing_dims="ignore") if isinstance(sure, xr.DataArray) else sure
        return consistent_classes(self.probabilities.isel(window), self.model, part, self.confusion)


def stream_classes(job: ClassesJob, keep: Mapping[str, int], engine: Engine) -> Iterator[str]:
    """Write `consistent_classes` of a map of any size to a Zarr store, yielding the tiles' names as they finish.

    A killed run goes on where it was; what is written depends neither on the tiling nor on the engine.

    Parameters
    ----------
    job: the map, the model and the store.
    keep: tile size {"y": ..., "x": ...}.
    engine: runs the tiles.
    """
    sizes = {dim: job.probabilities.sizes[dim] for dim in ("y", "x")}
    if not job.store.exists():
        corner = job.window({"y": slice(0, 1), "x": slice(0, 1)})
        store.create(job.store, _template(corner, job.probabilities), keep)
    yield from engine.map(job, store.pending(job.store, tiles(sizes, keep)))


def _template(corner: xr.Dataset, probabilities: xr.DataArray) -> xr.Dataset:
    sizes = dict(zip(probabilities.dims, probabilities.shape, strict=True))
    arrays = {
        name: store.empty([str(d) for d in v.dims], [sizes[d] for d in v.dims], str(v.dtype), v.attrs)
        for name, v in corner.data_vars.items()
    }
    return xr.Dataset(arrays, coords={**probabilities.coords, "class_name": corner["class_name"]})


def _years_between(probabilities: xr.DataArray, model: Chain) -> Floats:
    expected = ("time", "class", "y", "x")
    if probabilities.dims != expected or probabilities.sizes["class"] != len(model.legend.classes):
        raise VigieError(
            "probabilities are not laid out as a history",
            found=dict(zip(probabilities.dims, probabilities.shape, strict=True)),
            expected=f"dimensions {expected} with {len(model.legend.classes)} classes",
        )
    times = probabilities["time"].values
    if not np.issubdtype(times.dtype, np.datetime64):
        raise VigieError("the time coordinate holds no dates", found=times.dtype, expected="datetime64")
    return np.asarray(np.diff(times) / np.timedelta64(1, "D") / DAYS_A_YEAR, dtype=np.float64)


def _check_probabilities(flat: NDArray[np.floating]) -> None:
    total = flat.sum(axis=1)
    wrong = (np.abs(total - 1) > 1e-2) | (flat.min(axis=1) < 0)
    if wrong.any():
        raise VigieError(
            "probabilities do not add to 1",
            found=f"{int(wrong.sum())} pixels, sums from {np.nanmin(total):.3f} to {np.nanmax(total):.3f}",
            expected="shares >= 0 that add to 1 over 'class', or NaN where nothing was seen",
        )


def _in_order(values: xr.DataArray | float, dims: tuple[str, ...]) -> Floats:
    if isinstance(values, xr.DataArray):
        return np.asarray(values.transpose(*dims).values, dtype=np.float64)
    return np.asarray(values, dtype=np.float64)


def _dataset(probabilities: xr.DataArray, legend: Legend, path: NDArray[np.uint8], marginal: NDArray[np.float32]) -> xr.Dataset:
    own = np.where(np.isnan(probabilities.values), -1.0, probabilities.values)
    seen = own.max(axis=1) >= 0
    never = ~seen.any(axis=0)
    confidence = np.take_along_axis(marginal, path[:, None].astype(np.intp), axis=1)[:, 0]
    codes = np.where(never, np.uint8(legend.unknown), legend.codes[path])
    changed = np.zeros(path.shape, dtype=bool)
    changed[1:] = path[1:] != path[:-1]
    maps = ("time", "y", "x")
    meanings = {"flag_values": legend.codes, "flag_meanings": " ".join(name.replace(" ", "_") for name in legend.names)}
    dataset = xr.Dataset(coords={**probabilities.coords, "class_name": ("class", np.array(legend.names, dtype=np.str_))})
    dataset["map"] = maps, codes, {"long_name": "most probable sequence of classes", **meanings}
    dataset["probability"] = probabilities.dims, marginal, {"long_name": "class probability given all dates", "units": "1"}
    dataset["confidence"] = maps, confidence, {"long_name": "probability of the mapped class", "units": "1"}
    dataset["revised"] = maps, seen & (own.argmax(axis=1) != path), {"long_name": "differs from this date's own map"}
    dataset["changed"] = maps, changed & ~never, {"long_name": "differs from the previous date"}
    return dataset
