"""Multispectral scenes seen again as film: a reader whose image is a simulated panchromatic exposure, labels and all.

Each copy is another film of the same scene (band mix, contrast, speed, blur, grain, damage), so that a network meets one-band
film of many kinds, with labels that film itself never comes with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import xarray as xr

from vigie.core.cube import FLAGS, Reader, band_coordinates
from vigie.core.scene import Band
from vigie.core.tiles import Window
from vigie.learn.film import FilmSettings, film_bands, simulate
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, measure

WAVELENGTH_UM, BANDWIDTH_UM = 0.6, 0.2
"""What a network is told of simulated film: the same as of KH-9's."""


@dataclass(frozen=True)
class Filmed:
    """Read a multispectral scene as one-band film, 0-255 DN; saturation is flagged.

    Grain and scratches are drawn for each window; the film itself (mix, curve, blur) is one for the whole scene.
    """

    read: Reader
    seed: int
    settings: FilmSettings = field(default_factory=FilmSettings)

    def __call__(self, window: Window) -> xr.Dataset:
        """Read a window."""
        scene = self.read(window)
        chosen = film_bands(scene)
        seen = (scene["flags"].values & np.uint8(FLAGS["nodata"])) == 0
        rho = torch.from_numpy(np.nan_to_num(scene["observation"].values[chosen]))[None]
        film = simulate(rho, torch.from_numpy(seen)[None], self.settings, torch.Generator().manual_seed(self.seed))
        gsd_m = float(scene["gsd_m"].values[chosen].min())
        pan = Band("pan", "pan", "", 1, gsd_m, "DN", WAVELENGTH_UM, BANDWIDTH_UM)
        dn = np.where(seen, film.dn[0, 0].numpy(), np.float32(np.nan))
        flags = scene["flags"].values & np.uint8(FLAGS["nodata"])
        flags |= np.where(film.saturated[0, 0].numpy() & seen, np.uint8(FLAGS["saturated"]), np.uint8(0))
        kept = scene.drop_vars(["observation", "flags", *band_coordinates([pan])])
        return kept.assign_coords(band_coordinates([pan])).assign(
            observation=(("band", "y", "x"), dn[None].astype(np.float32)), flags=(("y", "x"), flags)
        )


def film_copies(scene: LabelledScene, copies: int, scaling: RobustScaling, seed: int) -> list[LabelledScene]:
    """Make labelled film copies of a scene; none where it has no band that film could be mixed from."""
    corner = scene.read({"y": slice(0, 1), "x": slice(0, 1)})
    if not film_bands(corner):
        return []
    readers = [Filmed(scene.read, seed + number) for number in range(copies)]
    return [replace(scene, read=read, statistics=measure(read, scene.sizes, scaling)) for read in readers]
