"""Simulate declassified film (KH-9, KH-4B) from multispectral reflectance, so that a network learns film from modern labels.

The order is that of a camera and a scanner: the scene is weighed by an unknown spectral sensitivity, dimmed towards the frame's
corners, blurred by optics and motion, turned into density by the film's characteristic curve, grained, scanned with an exposure
that saturates the brightest snow, and finally carries dust, scratches and reseau crosses. The formulation is ours (notes, M4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import xarray as xr
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional as F

from vigie.core.errors import VigieError

Range = tuple[float, float]


class FilmSettings(BaseModel, extra="forbid", frozen=True):
    """Ranges from which one film is drawn per sample; every draw is uniform in its range.

    Attributes
    ----------
    contrast
        Slope g of the characteristic curve per decade of exposure.
    speed
        Exposure E0 (reflectance) at the middle of the curve.
    blur_px
        Standard deviation of the point spread function, pixels.
    coarsening
        Effective pixel size over that of the input, for a film that resolves less than its scan.
    grain_dn, grain_px
        Standard deviation of grain, DN, and of its blur, pixels.
    field_angle_deg
        Half field of view at the corner of the crop's frame, for cos^4 vignetting.
    saturated
        Share of valid pixels that the scan saturates.
    scratches, dust
        Number of scratches a crop; share of pixels where a speck of dust lies.
    reseau_px, reseau_arm_px, reseau_width_px
        Spacing of reseau crosses, half length of an arm, width of a line, pixels.
    reseau_share
        Share of samples that carry crosses.
    """

    contrast: Range = (2.0, 6.0)
    speed: Range = (0.1, 0.5)
    blur_px: Range = (0.5, 2.0)
    coarsening: Range = (1.0, 2.0)
    grain_dn: Range = (2.0, 10.0)
    grain_px: float = Field(default=0.7, gt=0)
    field_angle_deg: Range = (0.0, 20.0)
    saturated: Range = (0.0, 0.4)
    scratches: int = Field(default=2, ge=0)
    dust: float = Field(default=5e-5, ge=0, le=0.1)
    reseau_px: Range = (60.0, 200.0)
    reseau_arm_px: Range = (4.0, 10.0)
    reseau_width_px: Range = (1.0, 2.0)
    reseau_share: float = Field(default=0.5, ge=0, le=1)


class Film(NamedTuple):
    """Simulated film: dn (N, 1, H, W) float32 in 0-255, 0 where missing; saturated (N, 1, H, W) bool."""

    dn: Tensor
    saturated: Tensor


def film_bands(scene: xr.Dataset) -> list[int]:
    """List the bands of a scene that film may be mixed from: reflectance between 0.4 and 0.95 um.

    Examples
    --------
    >>> film_bands(xr.Dataset(coords={"kind": ("band", ["reflectance", "reflectance", "terrain"]),
    ...                               "wavelength_um": ("band", [0.56, 1.6, float("nan")])}))
    [0]
    """
    pairs = zip(scene["kind"].values.tolist(), scene["wavelength_um"].values.tolist())
    return [i for i, (kind, micron) in enumerate(pairs) if kind == "reflectance" and 0.4 <= micron <= 0.95]


def simulate(reflectance: Tensor, valid: Tensor, settings: FilmSettings, generator: torch.Generator) -> Film:
    """Simulate one film for every sample of a batch.

    Parameters
    ----------
    reflectance
        (N, B, H, W) physical reflectance of the bands `film_bands` lists, about 0-1; anything where not valid.
    valid
        (N, H, W) bool.
    settings
        Ranges of what is unknown about the film.
    generator
        Source of all randomness, on the CPU: the same seed gives the same film on any device.

    Examples
    --------
    >>> snow = torch.full((2, 3, 32, 32), 0.8)
    >>> film = simulate(snow, torch.ones(2, 32, 32, dtype=torch.bool), FilmSettings(), torch.Generator().manual_seed(0))
    >>> film.dn.shape, bool(film.dn.max() <= 255)
    (torch.Size([2, 1, 32, 32]), True)
    """
    if reflectance.ndim != 4 or reflectance.shape[1] == 0 or valid.shape != (len(reflectance), *reflectance.shape[2:]):
        raise VigieError(
            "film cannot be simulated",
            found=f"reflectance {tuple(reflectance.shape)}, valid {tuple(valid.shape)}",
            expected="reflectance (N, B >= 1, H, W) and valid (N, H, W)",
        )
    draw = _Draw(len(reflectance), reflectance.device, generator)
    seen = valid.unsqueeze(1)
    exposure = _mix(reflectance, seen, draw) * _vignetting(reflectance, settings, draw)
    exposure = _blur_exposure(exposure, seen, settings, draw)
    density = _characteristic_curve(exposure, settings, draw)
    dn = _scan(density, seen, draw.uniform(settings.saturated))
    dn = dn + _grain(dn, settings, draw)
    saturated = (dn >= 255.0) & seen
    dn = _damage(dn.clamp(0.0, 255.0), settings, draw)
    # Film that is exposed at all is at least 1: 0 is nodata.
    return Film(torch.where(seen, dn.clamp(1.0, 255.0), 0.0), saturated & (dn >= 255.0))


class _Draw:
    """Random numbers, one (N, 1, 1, 1) per call unless a shape is asked for, drawn on the CPU and moved."""

    def __init__(self, samples: int, device: torch.device, generator: torch.Generator) -> None:
        self.samples, self.device, self.generator = samples, device, generator

    def uniform(self, limits: Range, *shape: int) -> Tensor:
        low, high = limits
        drawn = torch.rand((self.samples, *(shape or (1, 1, 1))), generator=self.generator)
        return (low + (high - low) * drawn).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn((self.samples, *shape), generator=self.generator).to(self.device)


def _mix(reflectance: Tensor, seen: Tensor, draw: _Draw) -> Tensor:
    """E = sum_b w_b rho_b with w ~ Dirichlet(1): the spectral sensitivity of the film is not known."""
    shares = -torch.log(draw.uniform((1e-6, 1.0), reflectance.shape[1], 1, 1))
    shares = shares / shares.sum(dim=1, keepdim=True)
    clean = torch.where(seen, reflectance, 0.0)
    return (shares * clean).sum(dim=1, keepdim=True).clamp(min=1e-3)


def _vignetting(like: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """cos^4 of the field angle; the optical axis lies anywhere within a frame twice the crop's size."""
    height, width = like.shape[-2:]
    y = torch.linspace(-1, 1, height, device=like.device).view(1, 1, height, 1) - draw.uniform((-1.0, 1.0))
    x = torch.linspace(-1, 1, width, device=like.device).view(1, 1, 1, width) - draw.uniform((-1.0, 1.0))
    edge = torch.tan(draw.uniform(settings.field_angle_deg) * math.pi / 180)
    return (1 + edge**2 * (y**2 + x**2) / 2) ** -2


def _blur_exposure(exposure: Tensor, seen: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """Blur what is seen by optics and by the coarser effective pixel, without letting missing pixels bleed in."""
    sigma, coarse = draw.uniform(settings.blur_px), draw.uniform(settings.coarsening)
    # A box of side c has the variance c^2 / 12; that of the input's own pixel is there already.
    sigma = torch.sqrt(sigma**2 + (coarse**2 - 1).clamp(min=0) / 12)
    weight = seen.to(exposure.dtype)
    return gaussian_blur(exposure * weight, sigma) / gaussian_blur(weight, sigma).clamp(min=1e-6)


def gaussian_blur(image: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each sample of (N, 1, H, W) with its own Gaussian, sigma (N, 1, 1, 1) pixels; edges are repeated."""
    radius = max(1, math.ceil(3 * float(sigma_px.max())))
    at = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    taps = torch.exp(-0.5 * (at / sigma_px.view(-1, 1)) ** 2)
    taps = taps / taps.sum(dim=1, keepdim=True)
    samples = len(image)
    padded = F.pad(image, (radius,) * 4, mode="replicate").transpose(0, 1)
    along_x = F.conv2d(padded, taps.view(samples, 1, 1, -1), groups=samples)
    return F.conv2d(along_x, taps.view(samples, 1, -1, 1), groups=samples).transpose(0, 1)


def _characteristic_curve(exposure: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """Relative density 0-1: the logistic curve 1 / (1 + exp(-g (log10 E - log10 E0)))."""
    middle = torch.log10(draw.uniform(settings.speed))
    return torch.sigmoid(draw.uniform(settings.contrast) * (torch.log10(exposure.clamp(min=1e-4)) - middle))


def _scan(density: Tensor, seen: Tensor, saturated: Tensor) -> Tensor:
    """Scale density to DN so that a drawn share of the seen pixels reaches 255."""
    # Ten thousand pixels place a percentile; sorting all of them would cost more than the rest.
    stride = 1 + density[0].numel() // 10_000
    values = torch.where(seen, density, torch.nan).flatten(1)[:, ::stride]
    ordered = values.nan_to_num(nan=math.inf).sort(dim=1).values
    count = torch.isfinite(ordered).sum(dim=1, keepdim=True)
    rank = ((1 - saturated.flatten(1)) * (count - 1)).round().long().clamp(min=0)
    white = ordered.gather(1, rank).nan_to_num(posinf=1.0).view(-1, 1, 1, 1)
    return 255.0 * density / white.clamp(min=1e-3)


def _grain(like: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """Gaussian noise blurred to the grain's size, rescaled to the drawn standard deviation."""
    noise = draw.normal(*like.shape[1:])
    blurred = gaussian_blur(noise, torch.full((len(like), 1, 1, 1), settings.grain_px, device=like.device))
    return blurred / blurred.std(dim=(1, 2, 3), correction=0, keepdim=True).clamp(min=1e-6) * draw.uniform(settings.grain_dn)


def _damage(dn: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """Lay scratches, dust and reseau crosses over the scan."""
    height, width = dn.shape[-2:]
    y = torch.arange(height, device=dn.device).view(1, 1, height, 1).float()
    x = torch.arange(width, device=dn.device).view(1, 1, 1, width).float()
    for _ in range(settings.scratches):
        dn = torch.where(_scratch(y, x, draw), draw.uniform((0.0, 255.0)).round(), dn)
    speck = F.max_pool2d((draw.uniform((0.0, 1.0), *dn.shape[1:]) < settings.dust).to(dn.dtype), 3, 1, 1) > 0
    dn = torch.where(speck, draw.uniform((0.0, 255.0)).round(), dn)
    crossed = _reseau(y, x, settings, draw) & (draw.uniform((0.0, 1.0)) < settings.reseau_share)
    return torch.where(crossed, dn * draw.uniform((0.05, 0.4)), dn)


def _scratch(y: Tensor, x: Tensor, draw: _Draw) -> Tensor:
    """Part of a line about 1 px wide: scratches run along the film, here within 10 degrees of a column."""
    tilt = draw.uniform((-10.0, 10.0)) * math.pi / 180
    start = draw.uniform((0.0, 1.0)) * x.shape[-1]
    top, length = draw.uniform((-0.5, 1.0)) * y.shape[-2], draw.uniform((0.0, 1.0)) * y.shape[-2]
    distance = ((x - start) * torch.cos(tilt) - y * torch.sin(tilt)).abs()
    return (distance < 0.6) & (y >= top) & (y < top + length)


def _reseau(y: Tensor, x: Tensor, settings: FilmSettings, draw: _Draw) -> Tensor:
    """Crosses on a square lattice with a drawn spacing, offset, arm and line width."""
    step = draw.uniform(settings.reseau_px)
    arm, half = draw.uniform(settings.reseau_arm_px), draw.uniform(settings.reseau_width_px) / 2

    def offset(at: Tensor) -> Tensor:
        return (torch.remainder(at - draw.uniform((0.0, 1.0)) * step + step / 2, step) - step / 2).abs()

    dy, dx = offset(y), offset(x)
    return ((dy <= half) & (dx <= arm)) | ((dx <= half) & (dy <= arm))
