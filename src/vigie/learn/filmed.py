"""Multispectral scenes seen again as film: a reader whose image is a simulated panchromatic exposure, labels and all.

Each copy is another film of the same scene (band mix, contrast, speed, blur, grain, damage), so that a network meets one-band
film of many kinds, with labels that film itself never comes with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.cube import FLAGS, Reader, band_coordinates, flagged
from vigie.core.scene import Band
from vigie.core.tiles import Tile, Window
from vigie.learn.film import Film, FilmSettings, Image, density, draw_film, film_bands, scan, white_level
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, lattice, measure

WAVELENGTH_UM, BANDWIDTH_UM = 0.6, 0.2
"""What a network is told of simulated film: the same as of KH-9's."""

KEPT = ("nodata", "cloud", "shadow")
"""Flags that are as true of a scene on film."""

WHITE_PIXELS = 2**20
"""Pixels of the scene's lattice that the scan's exposure is chosen on."""


@dataclass(frozen=True)
class Filmed:
    """Read a multispectral scene as one-band film, 1-255 DN; saturation is flagged, cloud and shadow stay.

    The film is one for the whole scene, its grain and its scratches too: any window holds the same pixels of it.

    read, sizes: the scene. white: density that the scan shows as 255.
    """

    read: Reader
    sizes: Mapping[str, int]
    film: Film
    white: float = 1.0

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window."""
        scene, seen, developed = self.developed(window)
        dn, saturated = scan(self.film, developed, self.white, (window["y"].start, window["x"].start))
        bits = sum(FLAGS[name] for name in KEPT)
        flags = scene["flags"].values & np.uint8(bits)
        flags |= np.where(seen, np.uint8(FLAGS["saturated"]) * saturated, np.uint8(FLAGS["nodata"]))
        gsd_m = float(scene["gsd_m"].values[film_bands(scene)].min())
        pan = Band("pan", "pan", "", 1, gsd_m, "DN", WAVELENGTH_UM, BANDWIDTH_UM)
        kept = scene.drop_vars(["observation", "flags", *band_coordinates([pan])])
        return kept.assign_coords(band_coordinates([pan])).assign(
            observation=(("band", "y", "x"), np.where(seen, dn, np.float32(np.nan))[None]), flags=(("y", "x"), flags)
        )

    def developed(self, window: Window) -> tuple[xr.Dataset, NDArray[np.bool_], Image]:
        """Read the scene of a window, what film shows of it, and its density."""
        tile = _with_halo(window, self.sizes, self.film.halo_px)
        wide = self.read(tile.read)
        reflectance = wide["observation"].values[film_bands(wide)]
        seen = ~flagged(wide["flags"], "nodata").values & np.isfinite(reflectance).all(axis=0)
        exposed = density(self.film, reflectance, seen, (tile.read["y"].start, tile.read["x"].start))
        inner = tile.inner["y"], tile.inner["x"]
        return wide.isel(y=inner[0], x=inner[1]), seen[inner], exposed[inner]


def filmed(
    read: Reader, sizes: Mapping[str, int], bands: int, seed: tuple[int, ...], settings: FilmSettings | None = None
) -> Filmed:
    """Draw a film for a scene with so many `film_bands`, and choose the scan's exposure on all of it."""
    film = draw_film(settings or FilmSettings(), bands, (sizes["y"], sizes["x"]), seed)
    blank = Filmed(read, sizes, film)
    looked = [blank.developed(window) for window in lattice(sizes, WHITE_PIXELS)]
    return replace(blank, white=white_level(film, np.concatenate([exposed[seen] for _, seen, exposed in looked])))


def film_copies(scene: LabelledScene, copies: int, scaling: RobustScaling, seed: int) -> list[LabelledScene]:
    """Make labelled film copies of a scene; none where it has no band that film could be mixed from."""
    bands = len(film_bands(scene.read({"y": slice(0, 1), "x": slice(0, 1)})))
    if not bands:
        return []
    readers = [filmed(scene.read, scene.sizes, bands, (seed, copy, *scene.id.encode())) for copy in range(copies)]
    return [replace(scene, read=read, statistics=measure(read, scene.sizes, scaling)) for read in readers]


def _with_halo(window: Window, sizes: Mapping[str, int], halo_px: int) -> Tile:
    """Read a window with what lies around it in the scene."""
    wide = {d: slice(max(0, part.start - halo_px), min(sizes[d], part.stop + halo_px)) for d, part in window.items()}
    return Tile(read=wide, keep=window)
