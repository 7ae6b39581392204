"""Augmentation of training windows: what may differ between two images of the same ice.

Geometry (the eight symmetries of the square, scale), radiometry of standardised bands (gain, offset, curvature, haze, noise)
and what is missing (bands, blots). Terrain keeps its physical values; aspect turns with the image. Everything is drawn from
one `torch.Generator`, so a resumed training sees the same windows.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError
from vigie.learn import bands as descriptors
from vigie.learn.windows import Batch


class AugmentSettings(BaseModel, extra="forbid", frozen=True):
    """How far windows may be changed; 0 switches a change off (for `zoom` 1 does)."""

    symmetries: float = Field(default=1.0, ge=0, le=1, description="share of samples that are flipped and turned")
    zoom: float = Field(
        default=1.0,
        ge=1,
        le=4,
        description="largest factor of a random change of scale, one a batch; half of the batches keep their scale",
    )
    gain: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="largest change of contrast: ln gain in +- this, half common to a sample's bands, half of each",
    )
    offset: float = Field(
        default=0.3,
        ge=0,
        description="largest shift of brightness, in standardised units, half common to a sample's bands, half of each",
    )
    curvature: float = Field(
        default=0.15,
        ge=0,
        le=0.5,
        description="largest bend of the tone curve, convex or concave, half common to a sample's bands, half of each",
    )
    tint: float = Field(
        default=0.4, ge=0, description="largest shift of each colour, standardised: another calibration, sun or season"
    )
    haze: float = Field(
        default=0.3, ge=0, description="largest amplitude of a smooth additive field, another in each band, standardised"
    )
    noise: float = Field(default=0.1, ge=0, description="largest standard deviation of white noise, standardised")
    drop_bands: float = Field(
        default=0.3, ge=0, lt=1, description="largest probability of leaving a band out; half of the batches keep all bands"
    )
    blots: int = Field(default=2, ge=0, description="rectangles a sample that are made missing, at most")
    blot_size: float = Field(default=0.25, ge=0, le=1, description="their largest side, as a share of the window's")


def augment(batch: Batch, settings: AugmentSettings, generator: torch.Generator) -> Batch:
    """Change a batch at random; labels follow the geometry, and nothing else.

    Examples
    --------
    >>> from vigie.learn.bands import WIDTH
    >>> batch = Batch(x=torch.randn(2, 3, 16, 16), mask=torch.ones(2, 2, 16, 16), bands=torch.zeros(3, WIDTH),
    ...               rows=torch.zeros(2, 16, 16, dtype=torch.int64), matrix=torch.eye(2), weight=torch.ones(2, 16, 16),
    ...               scenes=("a", "b"))
    >>> changed = augment(batch, AugmentSettings(), torch.Generator().manual_seed(0))
    >>> changed.x.shape[2:] == batch.x.shape[2:] and 1 <= changed.x.shape[1] <= 3
    True
    """
    batch = turn(batch, settings.symmetries, generator)
    batch = zoom(batch, settings.zoom, generator)
    batch = radiometry(batch, settings, generator)
    batch = drop_bands(batch, settings.drop_bands, generator)
    return blot(batch, settings.blots, settings.blot_size, generator)


def turn(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """Flip and turn each sample by one of the eight symmetries of the square (of the four, where windows are not square)."""
    samples, _, height, width = batch.x.shape
    turned = torch.rand(samples, generator=generator) < share
    flips = (torch.rand(samples, generator=generator) < 0.5) & turned
    quarters = torch.randint(0, 4, (samples,), generator=generator) * turned
    if height != width:
        quarters = quarters // 2 * 2
    aspect = _aspect(batch.bands)
    moves = list(zip(flips.tolist(), quarters.tolist()))

    def move(tensor: Tensor) -> Tensor:
        return torch.stack([_turn(t, *m) for t, m in zip(tensor, moves)])

    x = torch.stack([turn_bands(t, *m, aspect) for t, m in zip(batch.x, moves)])
    return replace(batch, x=x, mask=move(batch.mask), rows=move(batch.rows), weight=move(batch.weight))


def turn_bands(x: Tensor, flip: bool, quarters: int, aspect: tuple[int, int] | None) -> Tensor:
    """Flip bands (B, H, W) left to right, then turn them by quarters counter-clockwise, and aspect with them.

    Aspect is the pair (east, north) = (sin a, cos a) of the downslope direction, azimuth a clockwise from north, with north up.
    A flip changes the sign of east; a quarter turn takes (e, n) to (-n, e).

    Parameters
    ----------
    aspect
        Positions of aspect_sin and aspect_cos among the bands.
    """
    moved = _turn(x, flip, quarters)
    if aspect is None:
        return moved
    east, north = moved[aspect[0]], moved[aspect[1]]
    if flip:
        east = -east
    for _ in range(quarters):
        east, north = -north, east
    moved = moved.clone()
    moved[aspect[0]], moved[aspect[1]] = east, north
    return moved


def zoom(batch: Batch, limit: float, generator: torch.Generator) -> Batch:
    """Change the scale by a factor within 1/limit..limit about each window's centre; what lies outside is missing.

    Bands are interpolated bilinearly over valid pixels, labels and flags take the nearest pixel, and the descriptors' sampling
    distance follows.
    """
    drawn = torch.rand(2, generator=generator)
    if limit == 1.0 or drawn[0] < 0.5:
        return batch
    factor = float(limit ** (2 * float(drawn[1]) - 1))
    samples, _, height, width = batch.x.shape
    theta = torch.eye(2, 3, device=batch.x.device).div(factor).expand(samples, 2, 3)
    grid = F.affine_grid(theta, [samples, 1, height, width], align_corners=False)
    seen = (batch.x != 0).to(batch.x.dtype)
    amount = F.grid_sample(seen, grid, align_corners=False)
    x = F.grid_sample(batch.x, grid, align_corners=False) / amount.clamp(min=1e-6)
    nearest = torch.cat([batch.mask, (batch.rows + 1).unsqueeze(1).float(), batch.weight.unsqueeze(1)], dim=1)
    nearest = F.grid_sample(nearest, grid, mode="nearest", align_corners=False)
    return replace(
        batch,
        x=torch.where((amount > 0.5) & (nearest[:, :1] > 0), x, 0.0),
        mask=nearest[:, :2],
        bands=descriptors.with_gsd_scaled(batch.bands, 1 / factor),
        rows=nearest[:, 2].round().long() - 1,
        weight=nearest[:, 3],
    )


def radiometry(batch: Batch, settings: AugmentSettings, generator: torch.Generator) -> Batch:
    """Change gain, offset and curvature of every measured band, lay haze and noise over them; terrain and gaps stay."""
    x = batch.x
    samples, count = x.shape[:2]

    def draw(limit: float) -> Tensor:
        shared = 2 * torch.rand((samples, 1, 1, 1), generator=generator) - 1
        alone = 2 * torch.rand((samples, count, 1, 1), generator=generator) - 1
        return (limit * (shared + alone) / 2).to(x.device)

    changed = bend(x, draw(settings.curvature)) * torch.exp(draw(settings.gain)) + draw(settings.offset)
    if settings.tint > 0:
        tinted = descriptors.is_kind(batch.bands, "colour").view(1, -1, 1, 1).to(x.device)
        shift = 2 * torch.rand((samples, count, 1, 1), generator=generator).to(x.device) - 1
        changed = changed + settings.tint * shift * tinted
    if settings.haze > 0:
        changed = changed + _field(x, generator) * draw(settings.haze).abs()
    if settings.noise > 0:
        changed = changed + torch.randn(x.shape, generator=generator).to(x.device) * draw(settings.noise).abs()
    measured = ~descriptors.is_kind(batch.bands, "terrain").view(1, -1, 1, 1).to(x.device)
    return replace(batch, x=torch.where(measured & (x != 0), changed, x))


def bend(z: Tensor, amount: Tensor) -> Tensor:
    """Bend standardised values monotonically, convex where amount > 0: (exp(a z) - 1) / a, which is z for a = 0.

    It is to standardised values what a gamma is to reflectance. Values beyond +-5 are bent as if at the limit's tangent.

    Examples
    --------
    >>> bend(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(0.5))
    tensor([-0.7869,  0.0000,  1.2974])
    """
    inner = z.clamp(-5.0, 5.0)
    straight = amount.abs() < 1e-4
    safe = torch.where(straight, 1.0, amount)
    return torch.where(straight, z, torch.expm1(safe * inner) / safe + (z - inner) * torch.exp(safe * inner))


def drop_bands(batch: Batch, limit: float, generator: torch.Generator) -> Batch:
    """Leave bands out of the whole batch, never the last measured one (the last band, where all are terrain)."""
    drawn = torch.rand(2, generator=generator).tolist()
    chances = torch.rand(len(batch.bands), generator=generator)
    if limit == 0.0 or drawn[0] < 0.5:
        return batch
    kept = chances >= limit * drawn[1]
    measured = ~descriptors.is_kind(batch.bands, "terrain").cpu()
    needed = measured if measured.any() else torch.ones_like(measured)
    if not (kept & needed).any():
        kept[int(torch.where(needed, chances, -1.0).argmax())] = True
    chosen = kept.nonzero().flatten().to(batch.x.device)
    return replace(batch, x=batch.x[:, chosen], bands=batch.bands[chosen])


def blot(batch: Batch, most: int, size: float, generator: torch.Generator) -> Batch:
    """Make rectangles of the input missing; the labels stay, so that gaps are bridged by what surrounds them."""
    samples, _, height, width = batch.x.shape
    keep = torch.ones(samples, 1, height, width, dtype=torch.bool)
    counts = torch.randint(0, most + 1, (samples,), generator=generator)
    y, x = torch.arange(height).view(1, height, 1), torch.arange(width).view(1, 1, width)
    for number in range(most):
        centre, half = torch.rand(2, samples, 2, 1, 1, generator=generator)
        half = half * size / 2
        inside = ((y / height - centre[:, 0]).abs() < half[:, 0]) & ((x / width - centre[:, 1]).abs() < half[:, 1])
        keep &= ~(inside & (counts > number).view(-1, 1, 1)).unsqueeze(1)
    keep = keep.to(batch.x.device)
    return replace(batch, x=batch.x * keep, mask=batch.mask * keep)


def _turn(tensor: Tensor, flip: bool, quarters: int) -> Tensor:
    return torch.rot90(tensor.flip(-1) if flip else tensor, quarters, (-2, -1))


def _aspect(bands: Tensor) -> tuple[int, int] | None:
    """Positions of the aspect pair; one without the other cannot be turned."""
    east, north = descriptors.position(bands, "aspect_sin"), descriptors.position(bands, "aspect_cos")
    if (east is None) != (north is None):
        raise VigieError("aspect cannot be turned", found="one of aspect_sin and aspect_cos", expected="both or none")
    return None if east is None or north is None else (east, north)


def _field(x: Tensor, generator: torch.Generator) -> Tensor:
    """Smooth fields (N, B, H, W) with values of about +-1, from 4 x 4 random nodes."""
    nodes = torch.randn((*x.shape[:2], 4, 4), generator=generator).to(x.device)
    return F.interpolate(nodes, size=x.shape[-2:], mode="bicubic", align_corners=True)
