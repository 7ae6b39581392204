"""Scenes that lie a little beside where they should: which one they are moved onto, by how much, and a record of it.

Film and old satellites are georeferenced to a few pixels only. A shift is measured against a reference scene before anything is
written, is believed only if many windows agree, and moves the image; elevation and labels stay where the map says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import zarr
from odc.geo.geobox import GeoBox
from pydantic import Field

from vigie.core.errors import VigieError, nearest
from vigie.core.grid import cover, crop, pixel_m
from vigie.core.scene import Band, Scene
from vigie.harmonize.coregister import BandImage, CoregisterSettings, Shift, measure_shift
from vigie.harmonize.grids import apart, bounds_in, target_grid
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import HarmonizeSettings

FIRST = "first in group"
SHIFT = "coregistration"
"""Attribute of a scene's node that holds its shift as JSON."""


class CoregisterPlan(CoregisterSettings):
    """Which scenes are moved onto which, and when a shift is believed."""

    reference: str = Field(
        default=FIRST,
        description="name of the scene that others are moved onto, or 'first in group': the first one of each group",
    )
    bands: tuple[str, ...] = Field(
        default=("pan", "red", "green", "nir"),
        min_length=1,
        description="bands to compare: the first that a scene has",
    )
    scenes: tuple[str, ...] = Field(default=("*",), description="names of the scenes to move; * stands for any text")


@dataclass(frozen=True)
class Moved:
    """A measured shift and the scene it was measured against."""

    reference: str
    shift: Shift

    def __str__(self) -> str:
        """Tell the shift in words."""
        told = f"moved {self.shift.dx_m:+.2f} m in x and {self.shift.dy_m:+.2f} m in y onto {self.reference}"
        return f"{told}: {self.shift.n} windows agree ({self.shift.quality:.0%}), spread {self.shift.spread_m:.2f} m"


def references(scenes: Sequence[Scene], settings: HarmonizeSettings, plan: CoregisterPlan) -> dict[str, Scene]:
    """Choose the reference of every scene that is to be moved.

    A scene that shares no ground with its reference has none.

    Raises
    ------
    VigieError: no scene is called like the reference, or none of those to move is there.
    """
    by_id = {scene.id: scene for scene in scenes}
    if plan.reference != FIRST and plan.reference not in by_id:
        raise VigieError(
            f"there is no scene '{plan.reference}' to co-register with",
            expected=f"'{FIRST}', or one of {', '.join(by_id)}",
            do=nearest(plan.reference, list(by_id)) or "set harmonize.coregister.reference",
        )
    first: dict[str, Scene] = {}
    for scene in scenes:
        first.setdefault(scene.group or scene.id, scene)
    moving = [scene for scene in scenes if any(fnmatchcase(scene.id, wanted) for wanted in plan.scenes)]
    if not moving:
        raise VigieError(
            "no scene is to be moved",
            found=f"harmonize.coregister.scenes = {list(plan.scenes)}",
            expected=", ".join(by_id),
            do="name some of these in harmonize.coregister.scenes, or leave harmonize.coregister out",
        )
    chosen = {scene.id: by_id.get(plan.reference) or first[scene.group or scene.id] for scene in moving}
    pairs = {name: [target_grid([scene], settings.grid) for scene in (by_id[name], other)] for name, other in chosen.items()}
    return {name: other for name, other in chosen.items() if other.id != name and not apart(*pairs[name])}


def measured_move(scene: Scene, reference: Scene, settings: HarmonizeSettings, plan: CoregisterPlan) -> Moved:
    """Measure how far a scene must be moved to lie on its reference.

    Raises
    ------
    VigieError: they have none of the bands, or their windows do not agree on a shift.
    """
    bands = _band(scene, plan), _band(reference, plan)
    grid = shared_grid(scene, reference, settings, max(band.gsd_m for band in bands))
    moving, still = (BandImage(SceneReader(s, grid, settings=settings), b.name) for s, b in zip((scene, reference), bands))
    try:
        shift = measure_shift(moving, still, grid, plan)
    except VigieError as error:
        raise VigieError(
            f"scene '{scene.id}' cannot be moved onto '{reference.id}': {error.problem}",
            found=error.found,
            expected=error.expected,
            do=f"choose another reference or bands in [harmonize.coregister], or leave '{scene.id}' out of its scenes",
        ) from error
    return Moved(reference.id, shift)


def shared_grid(scene: Scene, reference: Scene, settings: HarmonizeSettings, coarsest_m: float) -> GeoBox:
    """Lay a grid over the ground that two scenes share, in the target CRS of the first.

    It is the first one's own grid, cut, unless a band is coarser than that: then its pixels are `coarsest_m` wide.
    """
    own, other = (target_grid([s], settings.grid) for s in (scene, reference))
    crs = str(own.crs)
    mine, theirs = bounds_in(own, crs), bounds_in(other, crs)
    west, south, east, north = *map(max, mine[:2], theirs[:2]), *map(min, mine[2:], theirs[2:])
    if coarsest_m > 1.01 * pixel_m(own):
        return cover((west, south, east, north), crs, coarsest_m)
    (left, top), (right, bottom) = own.wld2pix(west, north), own.wld2pix(east, south)
    return crop(own, {"y": slice(round(top), round(bottom)), "x": slice(round(left), round(right))})


def record(path: Path, group: str, moved: Moved) -> None:
    """Write a shift into the attributes of the scene's node."""
    text = json.dumps({"reference": moved.reference, **asdict(moved.shift)}, sort_keys=True)
    zarr.open_group(path, path=group, mode="r+").attrs[SHIFT] = text


def _band(scene: Scene, plan: CoregisterPlan) -> Band:
    bands = {band.name: band for band in scene.bands}
    found = next((bands[name] for name in plan.bands if name in bands), None)
    if found is None:
        raise VigieError(
            f"scene '{scene.id}' has none of the bands to co-register with",
            found=", ".join(bands),
            expected=f"one of {', '.join(plan.bands)}",
            do="set harmonize.coregister.bands",
        )
    return found
