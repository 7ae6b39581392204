"""A swath through a retrieval model, some scans at a time: quantiles, mean, probabilities, and where it extrapolates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from vigie.learn import channels
from vigie.learn.retrieval_model import RetrievalModel, load
from vigie.learn.swaths import observed, shown_mask, standardised
from vigie.learn.windows import prefetch
from vigie.predict.forward import processor_streams
from vigie.verify.drift import Mahalanobis
from vigie.verify.quantiles import exceedance, mean_of_quantiles

THRESHOLDS_MM_H = (0.1, 1.0, 5.0, 10.0)
"""Rain rates whose probability of being exceeded is written."""
QUALITY = {"good": 0, "missing_channel": 1, "out_of_distribution": 2, "no_retrieval": 3}
"""Codes of `quality_flag`; the highest that holds is written."""
PIXELS = 2**16
"""Pixels that go through a network of single footprints together."""
BLOCK = 4096
"""Pixels whose quantiles are summed up together: few enough to stay in a processor's cache."""
ZSTD_LEVEL = -1
"""Of the quantiles' compression, which are nearly all that is written: half the time of Zarr's own for a tenth more bytes."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SwathPrediction:
    """The work of one tile of scans; it pickles, and each process loads the model once: `card` is the digest of its card."""

    model: Path
    card: str
    read: SwathReader
    channels: tuple[str, ...]
    levels: tuple[float, ...]
    path: Path
    group: str
    scans: int
    halo: int

    def tiles(self) -> list[Tile]:
        """All tiles of the swath, those of an image network with a halo of scans."""
        return tiles({"scan": self.read.sizes["scan"]}, {"scan": self.scans}, {"scan": self.halo})

    def __call__(self, todo: Sequence[Tile]) -> int:
        """Retrieve tiles and write them; give their number."""
        return sum(1 for _ in self.run(todo))

    def run(self, todo: Sequence[Tile]) -> Iterator[Tile]:
        """Retrieve tiles and write them, yielding each as soon as it is on disk.

        The next tile is read while the network runs, and what is found is written while it goes on.
        """
        model = _loaded(self.model, self.card)
        needed = self.read.dataset[["brightness_temperature", *model.ancillary]]
        read = prefetch(((tile, needed.isel(scan=tile.read["scan"]).load()) for tile in todo), depth=1)

        def found(loaded: tuple[Tile, xr.Dataset]) -> tuple[Tile, xr.Dataset]:
            tile, swath = loaded
            return tile, retrieved(model, swath, self.channels, self.levels, tile.inner["scan"])

        for tile, made in processor_streams().map(found, read):
            store.write(self.path, Tile(tile.keep, tile.keep), made, self.group)
            yield tile


@lru_cache(maxsize=4)
def _loaded(folder: Path, card: str) -> RetrievalModel:
    """Load a model once; trained again, it has another card."""
    return load(folder)


def retrieved(
    model: RetrievalModel,
    swath: xr.Dataset,
    channel_names: Sequence[str],
    levels: Sequence[float],
    inner: slice = slice(None),
) -> xr.Dataset:
    """Retrieve rain from a loaded swath.

    Parameters
    ----------
    channel_names: those of the swath that the model is shown; others are missing to it.
    levels: of the quantiles that are kept.
    inner: scans that are kept; the others are a halo, which only the network sees.

    Returns
    -------
    `rainfall_rate_quantile` (quantile, scan, pixel), `rainfall_rate`, their mean, `probability_exceeding` (threshold, scan,
    pixel), `ood_score` and `quality_flag` (scan, pixel); NaN where no channel has data.
    """
    x = observed(swath, channel_names, model.ancillary)
    bands = channels.describe(swath.sel(channel=list(channel_names)), model.ancillary)
    z = standardised(x, (*channel_names, *model.ancillary), model.scaling)
    quantiles = _quantiles(model, z, bands, levels, inner)
    x, z = x[inner], z[inner]
    nothing = np.asarray(~np.isfinite(x[..., : len(channel_names)]).any(axis=-1))
    quantiles[:, nothing] = np.nan
    alike = tuple(channel_names) == model.channels
    score = distance(model, z.numpy()) if alike else np.full(z.shape[:-1], np.nan)
    mean, beyond = _summed_up(quantiles, np.asarray(levels, dtype=np.float64))
    maps = ("scan", "pixel")
    return xr.Dataset(
        {
            "rainfall_rate_quantile": (("quantile", *maps), quantiles),
            "rainfall_rate": (maps, mean),
            "probability_exceeding": (("threshold", *maps), np.where(nothing, np.float32("nan"), beyond)),
            "ood_score": (maps, score.astype(np.float32)),
            "quality_flag": (maps, quality(model, x[..., : len(channel_names)], channel_names, score, nothing)),
        }
    )


def _quantiles(model: RetrievalModel, z: torch.Tensor, bands: torch.Tensor, levels: Sequence[float], inner: slice) -> Floats:
    """Quantiles (K, scan, pixel) of inner scans of standardised channels (scan, pixel, B), pixel by pixel or as one image."""
    scans, pixels, count = z.shape
    if model.network.name == "pixel":
        rows = z[inner].reshape(-1, count, 1, 1)
        parts = [model.quantiles(part, shown_mask(part), bands, levels) for part in torch.split(rows, PIXELS)]
        return np.asarray(torch.cat(parts)[:, :, 0, 0].T.reshape(len(levels), -1, pixels).numpy())
    multiple = int(model.members[0].multiple)  # type: ignore[arg-type]
    image = z.movedim(-1, 0)[None]
    padding = (0, -pixels % multiple, 0, -scans % multiple)
    padded = torch.nn.functional.pad(image, padding, value=torch.nan)
    raw = [part[:, :, :scans, :pixels][:, :, inner] for part in model.raw(padded, shown_mask(padded), bands)]
    return np.asarray(model.quantiles_of(raw, levels)[0].numpy())


def _summed_up(quantiles: Floats, levels: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean (scan, pixel) of quantiles (K, scan, pixel), and probabilities (threshold, scan, pixel), computed in 64 bits."""
    rows = quantiles.reshape(len(levels), -1)
    mean = np.empty(rows.shape[1], dtype=np.float32)
    beyond = np.empty((len(THRESHOLDS_MM_H), rows.shape[1]), dtype=np.float32)
    for start in range(0, rows.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        part = rows[:, block].astype(np.float64)
        mean[block], beyond[:, block] = mean_of_quantiles(part, levels), exceedance(part, levels, THRESHOLDS_MM_H)
    return mean.reshape(quantiles.shape[1:]), beyond.reshape(-1, *quantiles.shape[1:])


def distance(model: RetrievalModel, z: Floats) -> NDArray[np.float64]:
    """Measure how far standardised pixels (scan, pixel, B) are from what the model learnt from; NaN where that is not known."""
    if model.familiar is None:
        return np.full(z.shape[:-1], np.nan)
    known = Mahalanobis(np.array(model.familiar.mean), np.array(model.familiar.precision))
    return known.score(z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


def quality(
    model: RetrievalModel,
    temperature: Floats,
    channel_names: Sequence[str],
    score: NDArray[np.float64],
    nothing: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Say how far each pixel can be trusted, by the codes of `QUALITY`; a channel that was learnt from may be missing."""
    incomplete = ~np.isfinite(temperature).all(axis=-1) | bool(set(model.channels) - set(channel_names))
    found = np.where(incomplete, QUALITY["missing_channel"], QUALITY["good"])
    if model.familiar is not None:
        found = np.where(score > model.familiar.threshold, QUALITY["out_of_distribution"], found)
    return np.where(nothing, QUALITY["no_retrieval"], found).astype(np.uint8)


def template(swath: xr.Dataset, levels: Sequence[float], attributes: dict[str, object]) -> xr.Dataset:
    """Make the empty node of a swath's prediction: its positions and times, and room for what is retrieved."""
    from zarr.codecs import ZstdCodec

    sizes = swath.sizes["scan"], swath.sizes["pixel"]
    coordinates = {
        "time": swath["time"],
        "group": swath["group"],
        "quantile": ("quantile", np.asarray(levels, dtype=np.float64)),
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
    for name, (first, dtype) in shapes.items():
        shape = tuple(len(node[dim]) for dim in first) + sizes
        node[name] = store.empty((*first, "scan", "pixel"), shape, dtype, named(name).attributes)
        if dtype == "uint8":
            node[name].encoding["fill_value"] = QUALITY["no_retrieval"]
        else:
            node[name].encoding["_FillValue"] = np.nan
    node["rainfall_rate_quantile"].encoding["compressors"] = (ZstdCodec(level=ZSTD_LEVEL),)
    node["quality_flag"].attrs |= {
        "flag_values": np.array(list(QUALITY.values()), dtype=np.uint8),
        "flag_meanings": " ".join(QUALITY),
    }
    return node
