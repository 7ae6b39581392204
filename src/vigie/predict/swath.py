"""A swath through a retrieval model, some scans at a time: quantiles, mean, probabilities, and where it extrapolates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from vigie.core import store
from vigie.core.tiles import Tile, tiles
from vigie.core.vocabulary import named
from vigie.harmonize.swath import SwathReader
from vigie.learn.regimes import regime_names, regimes
from vigie.learn.retrieval_model import Covering, Reference, RetrievalModel, load
from vigie.learn.swaths import standardised
from vigie.verify.conformal import Conformal
from vigie.verify.drift import Neighbours, fit_neighbours
from vigie.verify.quantiles import exceedance, inverse, quantile_at

THRESHOLDS_MM_H = (0.1, 1.0, 5.0, 10.0)
"""Rain rates whose probability of being exceeded is written."""
QUALITY = {"good": 0, "missing_channel": 1, "out_of_distribution": 2, "no_retrieval": 3}
"""Codes of `quality_flag`; the highest that holds is written."""
PIXELS = 2**16
"""Pixels that go through a network of single footprints together."""

TAIL_LEVELS = (0.995, 0.998, 0.999, 0.9995, 0.9999)
"""Levels that are looked at besides those that are kept: what a head says of the far tail is in probabilities and members."""
BOUNDS = ("low", "high")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kept:
    """What is kept of every predicted distribution: quantiles at levels, and members drawn with a seed."""

    levels: tuple[float, ...]
    members: int = 0
    seed: int = 0

    @property
    def dense(self) -> tuple[float, ...]:
        """Levels at which distributions are looked at: those kept, and some of the far tail."""
        return tuple(sorted({*self.levels, *TAIL_LEVELS}))


@dataclass(frozen=True)
class SwathPrediction:
    """The work of one tile of scans; it pickles, and each process loads the model once: `card` is the digest of its card."""

    model: Path
    card: str
    read: SwathReader
    channels: tuple[str, ...]
    kept: Kept
    path: Path
    group: str
    scans: int
    halo: int

    def tiles(self) -> list[Tile]:
        """All tiles of the swath, those of an image network with a halo of scans."""
        return tiles({"scan": self.read.sizes["scan"]}, {"scan": self.scans}, {"scan": self.halo})

    def __call__(self, tile: Tile) -> int:
        """Retrieve one tile and write it; give its scans."""
        model = _loaded(self.model, self.card)
        swath = self.read({"scan": tile.read["scan"]})
        found = retrieved(model, swath, self.channels, self.kept, tile.read["scan"].start).isel(scan=tile.inner["scan"])
        store.write(self.path, Tile(tile.keep, tile.keep), found, self.group)
        return int(tile.keep["scan"].stop - tile.keep["scan"].start)


@lru_cache(maxsize=4)
def _loaded(folder: Path, card: str) -> RetrievalModel:
    """Load a model once; trained again, it has another card."""
    return load(folder)


def retrieved(
    model: RetrievalModel, swath: xr.Dataset, channel_names: Sequence[str], kept: Kept, first_scan: int = 0
) -> xr.Dataset:
    """Retrieve rain from a loaded swath.

    Parameters
    ----------
    channel_names: those of the swath that the model is shown; others are missing to it.
    kept: what is kept of the distributions.
    first_scan: number of the first scan in its orbit: what members draw depends on where a scan is, not on how an orbit is cut.

    Returns
    -------
    `rainfall_rate_quantile` (quantile, scan, pixel), `rainfall_rate`, their mean, `probability_exceeding` (threshold, scan,
    pixel), `ood_score` and `quality_flag` (scan, pixel), and where they are asked for `rainfall_rate_member` (member, scan,
    pixel) and `rainfall_rate_interval` (bound, scan, pixel); NaN where no channel has data.
    """
    temperature = swath["brightness_temperature"].sel(channel=list(channel_names)).values
    nothing = np.asarray(~np.isfinite(temperature).any(axis=-1))
    found_quantiles, mean = distributions(model, swath, channel_names, kept.dense)
    found_quantiles[:, nothing], mean[nothing] = np.nan, np.nan
    quantiles = found_quantiles.astype(np.float64)
    score = doubt(model, swath, channel_names)
    levels = np.asarray(kept.dense)
    beyond = exceedance(quantiles, levels, THRESHOLDS_MM_H)
    maps = ("scan", "pixel")
    found = {
        "rainfall_rate_quantile": (("quantile", *maps), found_quantiles[np.searchsorted(levels, kept.levels)]),
        "rainfall_rate": (maps, mean),
        "probability_exceeding": (("threshold", *maps), np.where(nothing, np.float32(np.nan), beyond).astype(np.float32)),
        "ood_score": (maps, score.astype(np.float32)),
        "quality_flag": (maps, quality(model, temperature, channel_names, score, nothing)),
    }
    if kept.members:
        u = uniform(kept, first_scan, nothing.shape)
        found["rainfall_rate_member"] = (("member", *maps), inverse(quantiles, levels, u).astype(np.float32))
    if model.covering is not None:
        found["rainfall_rate_interval"] = (("bound", *maps), interval(model.covering, swath, quantiles, levels))
    return xr.Dataset(found)


def uniform(kept: Kept, first_scan: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw levels (member, scan, pixel) for members: a function of the seed and of the number of a scan in its orbit.

    Footprints are independent: members have the right extremes of single footprints, and no spatial texture.
    """
    scans = range(first_scan, first_scan + shape[0])
    return np.stack([np.random.default_rng((kept.seed, scan)).random((kept.members, shape[1])) for scan in scans], axis=1)


def interval(covering: Covering, swath: xr.Dataset, quantiles: NDArray[np.float64], levels: NDArray[np.float64]) -> Floats:
    """Move the ends (bound, scan, pixel) of an interval as far as the regime of each pixel asks; no end is below 0.

    A regime that was not calibrated has no interval: NaN.
    """
    low, high = (quantile_at(quantiles, levels, (level,))[0] for level in covering.levels)
    names = np.array(regime_names(covering.regimes))[regimes(swath, covering.regimes)]
    known = np.isin(names, list(covering.widening_mm_h))
    conformal = Conformal(covering.widening_mm_h, 1 - (covering.levels[1] - covering.levels[0]))
    ends = np.full((2, *names.shape), np.nan, dtype=np.float32)
    ends[:, known] = np.stack(conformal.apply(low[known], high[known], names[known])).clip(min=0.0)
    return ends


def distributions(
    model: RetrievalModel, swath: xr.Dataset, channel_names: Sequence[str], levels: Sequence[float]
) -> tuple[Floats, Floats]:
    """Quantiles (K, scan, pixel) and mean (scan, pixel) of a loaded swath, by single pixels or as one image."""
    table = model.inputs.of(swath, channel_names)
    z = standardised(table.x, table.names, model.scaling)
    scans, pixels, count = z.shape
    if not model.image:
        parts = torch.split(z.reshape(-1, count, 1, 1), PIXELS)
        made = [model.distribution(part, table.names, table.bands, levels) for part in parts]
        quantiles, mean = (torch.cat(found)[..., 0, 0] for found in zip(*made, strict=True))
        return quantiles.T.reshape(len(levels), scans, pixels).numpy(), mean.reshape(scans, pixels).numpy()
    padding = (0, -pixels % model.multiple, 0, -scans % model.multiple)
    padded = torch.nn.functional.pad(z.movedim(-1, 0)[None], padding, value=torch.nan)
    quantiles, mean = model.distribution(padded, table.names, table.bands, levels)
    return quantiles[0, :, :scans, :pixels].numpy(), mean[0, :scans, :pixels].numpy()


def doubt(model: RetrievalModel, swath: xr.Dataset, channel_names: Sequence[str]) -> NDArray[np.float64]:
    """Measure how far pixels (scan, pixel) are from what the model learnt from, the largest over its references.

    A reference is left out where a pixel lacks what it compares; NaN where that leaves none.
    """
    shape = swath["latitude"].shape
    if model.familiar is None:
        return np.full(shape, np.nan)
    found = [np.full(shape, np.nan)]
    for reference in model.familiar.references:
        columns = [values_of(swath, name, channel_names) for name in reference.fields]
        near = neighbours(model, reference).score(np.stack(columns, axis=-1).reshape(-1, len(columns)))
        found.append(near.reshape(shape) / reference.scale)
    return np.asarray(np.fmax.reduce(found))


def values_of(swath: xr.Dataset, name: str, channel_names: Sequence[str]) -> NDArray[np.float64]:
    """A channel that is shown or an ancillary field (scan, pixel), NaN where a swath does not have it."""
    if name in channel_names:
        return swath["brightness_temperature"].sel(channel=name).values.astype(np.float64)
    if name in swath.data_vars:
        return swath[name].values.astype(np.float64)
    return np.full(swath["latitude"].shape, np.nan)


def neighbours(model: RetrievalModel, reference: Reference) -> Neighbours:
    """Pixels that new ones are compared with, in a tree that is built once."""
    assert model.familiar is not None
    if reference.rows not in model.trees:
        rows = model.rows[reference.rows].numpy().astype(np.float64)
        model.trees[reference.rows] = fit_neighbours(rows, model.familiar.neighbours)
    found: Neighbours = model.trees[reference.rows]
    return found


def quality(
    model: RetrievalModel,
    temperature: Floats,
    channel_names: Sequence[str],
    score: NDArray[np.float64],
    nothing: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Say how far each pixel can be trusted, by the codes of `QUALITY`; a channel that was learnt from may be missing."""
    incomplete = ~np.isfinite(temperature).all(axis=-1) | bool(set(model.inputs.channels) - set(channel_names))
    found = np.where(incomplete, QUALITY["missing_channel"], QUALITY["good"])
    if model.familiar is not None:
        found = np.where(score > model.familiar.threshold, QUALITY["out_of_distribution"], found)
    return np.where(nothing, QUALITY["no_retrieval"], found).astype(np.uint8)


def template(swath: xr.Dataset, kept: Kept, covered: Sequence[float], attributes: dict[str, object]) -> xr.Dataset:
    """Make the empty node of a swath's prediction: its positions and times, and room for what is retrieved.

    `covered` are the levels between which intervals were calibrated, none where nobody did.
    """
    sizes = swath.sizes["scan"], swath.sizes["pixel"]
    coordinates = {
        "time": swath["time"],
        "group": swath["group"],
        "quantile": ("quantile", np.asarray(kept.levels, dtype=np.float64)),
        "threshold": ("threshold", np.asarray(THRESHOLDS_MM_H)),
    }
    node = xr.Dataset(coords=coordinates, attrs=attributes)
    shapes: dict[str, tuple[tuple[str, ...], str]] = {
        "rainfall_rate_quantile": (("quantile",), "float32"),
        "rainfall_rate": ((), "float32"),
        "probability_exceeding": (("threshold",), "float32"),
        "ood_score": ((), "float32"),
        "quality_flag": ((), "uint8"),
    }
    if kept.members:
        node = node.assign_coords(member=np.arange(kept.members))
        shapes["rainfall_rate_member"] = (("member",), "float32")
    if covered:
        node = node.assign_coords(bound=list(BOUNDS))
        shapes["rainfall_rate_interval"] = (("bound",), "float32")
    for name, (first, dtype) in shapes.items():
        shape = tuple(len(node[dim]) for dim in first) + sizes
        node[name] = store.empty((*first, "scan", "pixel"), shape, dtype, named(name).attributes)
        if dtype == "uint8":
            node[name].encoding["fill_value"] = QUALITY["no_retrieval"]
        else:
            node[name].encoding["_FillValue"] = np.nan
    node["quality_flag"].attrs |= {
        "flag_values": np.array(list(QUALITY.values()), dtype=np.uint8),
        "flag_meanings": " ".join(QUALITY),
    }
    if kept.members:
        node["rainfall_rate_member"].attrs["seed"] = kept.seed
    if covered:
        node["rainfall_rate_interval"].attrs["levels"] = list(covered)
    return node
