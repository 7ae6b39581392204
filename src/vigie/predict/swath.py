"""A swath through a retrieval model, some scans at a time: quantiles, mean, probabilities, and where it extrapolates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from vigie.learn.generative.noise import noise_at
from vigie.learn.generative.retrieval import GenerativeRetrieval
from vigie.learn.generative.retrieval import load as load_generative
from vigie.learn.regimes import REGIME_FIELDS, regime_names, regimes
from vigie.learn.retrieval_inputs import Table
from vigie.learn.retrieval_model import Covering, RetrievalModel, load
from vigie.learn.swaths import standardised
from vigie.learn.windows import prefetch
from vigie.predict.forward import processor_streams
from vigie.predict.quality import QUALITY, distances, judged, unseen
from vigie.verify.conformal import Conformal
from vigie.verify.quantiles import exceedance, inverse, quantile_at

THRESHOLDS_MM_H = (0.1, 1.0, 5.0, 10.0)
"""Rain rates whose probability of being exceeded is written."""
PIXELS = 2**16
"""Pixels that go through a network of single footprints together."""
BLOCK = 4096
"""Pixels whose quantiles are summed up together: few enough to stay in a processor's cache."""
ZSTD_LEVEL = -1
"""Of the quantiles' compression, which are nearly all that is written: half the time of Zarr's own for a tenth more bytes."""

TAIL_LEVELS = (0.995, 0.998, 0.999, 0.9995, 0.9999)
"""Levels that are looked at besides those that are kept: what a head says of the far tail is in probabilities and members."""
BOUNDS = ("low", "high")
GENERATIVE = "generative"
"""Folder, beside a model's weights, of what generates members."""

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

    @property
    def where(self) -> slice | list[int]:
        """Where the kept levels stand among `dense`: a slice where they stand together, for which nothing is copied.

        Examples
        --------
        >>> Kept((0.5, 0.9)).where, Kept((0.9, 0.997)).where
        (slice(0, 2, None), [0, 2])
        """
        at = [self.dense.index(level) for level in self.levels]
        together = slice(at[0], at[-1] + 1)
        return together if at == list(range(together.start, together.stop)) else at


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

    def __call__(self, todo: Sequence[Tile]) -> int:
        """Retrieve tiles and write them; give their number."""
        return sum(1 for _ in self.run(todo))

    def run(self, todo: Sequence[Tile]) -> Iterator[Tile]:
        """Retrieve tiles and write them, yielding each as soon as it is on disk.

        The next tile is read and compared with what was learnt from while the network runs; each stream writes what it found.
        """
        model, drawing = _loaded(self.model, self.card)
        needed = self.read.dataset[wanted(model, self.read.dataset)]

        def look(tile: Tile) -> tuple[Tile, xr.Dataset, Floats]:
            swath = needed.isel(scan=tile.read["scan"]).load()
            return tile, swath, distances(model, swath.isel(tile.inner), self.channels)

        def write(seen: tuple[Tile, xr.Dataset, Floats]) -> Tile:
            tile, swath, distance = seen
            made, spread_mm_h = said(model, swath, self.channels, self.kept, tile.inner["scan"], tile.keep["scan"].start)
            if drawing and self.kept.members:
                drawn = generated(drawing, swath, self.channels, self.kept, tile.read["scan"].start)[:, tile.inner["scan"]]
                nothing = np.isnan(made["rainfall_rate"].values)
                made["rainfall_rate_member"].values[:] = np.where(nothing, np.float32("nan"), drawn)
            made = made.assign(judged(model, swath.isel(tile.inner), self.channels, distance, spread_mm_h))
            store.write(self.path, Tile(tile.keep, tile.keep), made, self.group)
            return tile

        yield from processor_streams().map(write, prefetch(map(look, todo), depth=1))


@lru_cache(maxsize=4)
def _loaded(folder: Path, card: str) -> tuple[RetrievalModel, GenerativeRetrieval | None]:
    """Load a model once, and what generates members beside it; trained again, it has another card."""
    there = (folder / GENERATIVE).is_dir()
    return load(folder), load_generative(folder / GENERATIVE) if there else None


def retrieved(
    model: RetrievalModel,
    swath: xr.Dataset,
    channel_names: Sequence[str],
    kept: Kept,
    inner: slice = slice(None),
    first_scan: int = 0,
) -> xr.Dataset:
    """Retrieve rain from a loaded swath: what `said` and `judged` give."""
    made, spread_mm_h = said(model, swath, channel_names, kept, inner, first_scan)
    swath = swath.isel(scan=inner)
    return made.assign(judged(model, swath, channel_names, distances(model, swath, channel_names), spread_mm_h))


def said(
    model: RetrievalModel,
    swath: xr.Dataset,
    channel_names: Sequence[str],
    kept: Kept,
    inner: slice = slice(None),
    first_scan: int = 0,
) -> tuple[xr.Dataset, Floats | None]:
    """Take from networks what they say of a loaded swath, and how far members disagree (scan, pixel), mm/h, where that counts.

    Parameters
    ----------
    channel_names: those of the swath that the model is shown; others are missing to it.
    kept: what is kept of the distributions.
    inner: scans that are kept; the others are a halo, which only networks see.
    first_scan: number in its orbit of the first kept scan: members depend on where a scan is, not on how it was cut out.

    Returns
    -------
    `rainfall_rate_quantile` (quantile, scan, pixel), `rainfall_rate`, their mean, `probability_exceeding` (threshold, scan,
    pixel), and where they are asked for `rainfall_rate_member` (member, scan, pixel) and `rainfall_rate_interval` (bound, scan,
    pixel); NaN where no channel has data.
    """
    quantiles, mean, *spread_mm_h = distributions(model, model.inputs.of(swath, channel_names), kept.dense, inner)
    swath, levels = swath.isel(scan=inner), np.asarray(kept.dense)
    nothing = unseen(swath["brightness_temperature"].sel(channel=list(channel_names)).values)
    quantiles[:, nothing], mean[nothing] = np.nan, np.nan
    beyond = probability_exceeding(quantiles, levels)
    maps = ("scan", "pixel")
    found = {
        "rainfall_rate_quantile": (("quantile", *maps), quantiles[kept.where]),
        "rainfall_rate": (maps, mean),
        "probability_exceeding": (("threshold", *maps), np.where(nothing, np.float32("nan"), beyond)),
    }
    if kept.members:
        u = uniform(kept, first_scan, nothing.shape)
        drawn = in_blocks(lambda part, levels_: inverse(part, levels, levels_), quantiles, u)
        found["rainfall_rate_member"] = (("member", *maps), drawn)
    if model.covering is not None:
        found["rainfall_rate_interval"] = (("bound", *maps), interval(model.covering, swath, quantiles, levels))
    return xr.Dataset(found), spread_mm_h[0] if spread_mm_h else None


def generated(
    model: GenerativeRetrieval, swath: xr.Dataset, channel_names: Sequence[str], kept: Kept, first_scan: int
) -> Floats:
    """Generate members (member, scan, pixel) of a loaded swath, whose noise is that of the place of each scan in its orbit.

    Single footprints are told alone; an image is seen with its halo, and what lies further away is felt by little
    (`GenerativeRetrieval.reach`).
    """
    table = model.inputs.of(swath, channel_names)
    z = standardised(table.x, table.names, model.scaling)
    scans, pixels, count = z.shape
    noise = noise_at(kept.seed, kept.members, range(first_scan, first_scan + scans), range(pixels))
    if model.multiple == 1:
        rows, starts = z.reshape(-1, count, 1, 1), noise.reshape(kept.members, -1, 1, 1)
        cut = zip(
            torch.split(rows, PIXELS // kept.members + 1), torch.split(starts, PIXELS // kept.members + 1, dim=1), strict=True
        )
        made = [model.members(part, table.names, table.bands, start) for part, start in cut]
        return torch.cat(made, dim=1).reshape(kept.members, scans, pixels).numpy()
    image = padded(z, model.multiple)
    beyond = (0, image.shape[-1] - pixels, 0, image.shape[-2] - scans)
    found = model.members(image, table.names, table.bands, torch.nn.functional.pad(noise, beyond)[:, None])
    return found[:, 0, :scans, :pixels].numpy()


def wanted(model: RetrievalModel, swath: xr.Dataset) -> list[str]:
    """Name the variables of a swath that a retrieval reads: what networks see, what is compared, what regimes are told by."""
    compared = [name for reference in model.familiar.references for name in reference.fields] if model.familiar else []
    names = ("brightness_temperature", "latitude", *model.inputs.needed(), *compared, *REGIME_FIELDS)
    return [name for name in dict.fromkeys(names) if name in swath.data_vars]


def probability_exceeding(quantiles: Floats, levels: NDArray[np.float64]) -> Floats:
    """Compute the probabilities (threshold, scan, pixel) of thresholds, which are 0 where the highest quantile reaches none."""
    maps = quantiles.shape[1:]
    rows = quantiles.reshape(len(levels), -1)
    wet = np.flatnonzero(rows[-1] >= min(THRESHOLDS_MM_H))
    found = np.zeros((len(THRESHOLDS_MM_H), rows.shape[1]), dtype=np.float32)
    if wet.size:
        found[:, wet] = in_blocks(lambda part: exceedance(part, levels, THRESHOLDS_MM_H), rows[:, wet, None])[..., 0]
    return found.reshape(-1, *maps)


def in_blocks(compute: Callable[..., NDArray[np.float64]], *fields: NDArray[np.floating]) -> Floats:
    """Compute (F, scan, pixel) in 64 bits from fields (K, scan, pixel), some pixels at a time."""
    shape = fields[0].shape[1:]
    rows = [field.reshape(len(field), -1) for field in fields]
    starts = range(0, rows[0].shape[1], BLOCK)
    parts = [
        compute(*(row[:, start : start + BLOCK].astype(np.float64) for row in rows)).astype(np.float32) for start in starts
    ]
    return np.concatenate(parts, axis=1).reshape(-1, *shape)


def uniform(kept: Kept, first_scan: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw levels (member, scan, pixel) for members: a function of the seed and of the number of a scan in its orbit.

    Footprints are independent: members have the right extremes of single footprints, and no spatial texture.
    """
    scans = range(first_scan, first_scan + shape[0])
    return np.stack([np.random.default_rng((kept.seed, scan)).random((kept.members, shape[1])) for scan in scans], axis=1)


def interval(covering: Covering, swath: xr.Dataset, quantiles: Floats, levels: NDArray[np.float64]) -> Floats:
    """Move the ends (bound, scan, pixel) of an interval as far as the regime of each pixel asks; no end is below 0.

    A regime that was not calibrated has no interval: NaN.
    """
    low, high = in_blocks(lambda part: quantile_at(part, levels, covering.levels), quantiles)
    names = np.array(regime_names(covering.regimes))[regimes(swath, covering.regimes)]
    known = np.isin(names, list(covering.widening_mm_h))
    conformal = Conformal(covering.widening_mm_h, 1 - (covering.levels[1] - covering.levels[0]))
    ends = np.full((2, *names.shape), np.nan, dtype=np.float32)
    ends[:, known] = np.stack(conformal.apply(low[known], high[known], names[known])).clip(min=0.0)
    return ends


def distributions(model: RetrievalModel, table: Table, levels: Sequence[float], inner: slice = slice(None)) -> list[Floats]:
    """Quantiles (K, scan, pixel) and mean (scan, pixel) of inner scans of what is seen, mm/h, pixel by pixel or as one image.

    Where the model doubts itself, also how far its members disagree (scan, pixel), mm/h.
    """

    def asked(raw: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return *model.distribution_of(raw, levels), *([model.spread_of(raw)] if model.doubts_itself else ())

    return of_outputs(model, table, asked, inner)


def of_outputs(
    model: RetrievalModel,
    table: Table,
    ask: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
    inner: slice = slice(None),
) -> list[Floats]:
    """Ask something of the raw output (N, C, H, W) of each member: maps (..., scan, pixel) of answers (N, ..., H, W)."""
    z = standardised(table.x, table.names, model.scaling)
    scans, pixels, count = z.shape
    if model.image:
        raw = model.raw(padded(z, model.multiple), table.names, table.bands)
        return [answer[0].numpy() for answer in ask([output[:, :, :scans, :pixels][:, :, inner] for output in raw])]
    rows = z[inner].reshape(-1, count, 1, 1)
    made = [ask(model.raw(part, table.names, table.bands)) for part in torch.split(rows, PIXELS)]
    answers = [torch.cat(list(parts))[..., 0, 0].movedim(0, -1) for parts in zip(*made, strict=True)]
    return [answer.unflatten(-1, (-1, pixels)).numpy() for answer in answers]  # type: ignore[no-untyped-call]


def padded(z: torch.Tensor, multiple: int) -> torch.Tensor:
    """Make an image (1, B, H, W) of columns (scan, pixel, B), whose sides are multiples; beyond the swath all is missing."""
    scans, pixels, _ = z.shape
    return torch.nn.functional.pad(z.movedim(-1, 0)[None], (0, -pixels % multiple, 0, -scans % multiple), value=torch.nan)


def template(swath: xr.Dataset, kept: Kept, covered: Sequence[float], attributes: dict[str, object]) -> xr.Dataset:
    """Make the empty node of a swath's prediction: its positions and times, and room for what is retrieved.

    `covered` are the levels between which intervals were calibrated, none where nobody did.
    """
    from zarr.codecs import ZstdCodec

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
    node["rainfall_rate_quantile"].encoding["compressors"] = (ZstdCodec(level=ZSTD_LEVEL),)
    node["quality_flag"].attrs |= {
        "flag_values": np.array(list(QUALITY.values()), dtype=np.uint8),
        "flag_meanings": " ".join(QUALITY),
    }
    if kept.members:
        node["rainfall_rate_member"].attrs["seed"] = kept.seed
    if covered:
        node["rainfall_rate_interval"].attrs["levels"] = list(covered)
    return node
