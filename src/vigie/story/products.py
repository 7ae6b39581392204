"""Raster products of a predicted part: classes, probabilities, confidence, spread and flags, as COG and as NetCDF."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core.grid import grid_of
from vigie.core.legend import Legend
from vigie.core.scene import Scene
from vigie.core.store import fill_value, write_text
from vigie.core.tiles import Window
from vigie.core.vocabulary import named
from vigie.publish.cog import write_cog
from vigie.publish.netcdf import write_netcdf
from vigie.publish.provenance import flat, provenance
from vigie.publish.qgis import class_style, variable_style, write_style
from vigie.publish.raster import ProductBand, Raster, ReadWindow, array_raster, class_raster, window_reader
from vigie.publish.stac import Asset
from vigie.story.apply import used_tables
from vigie.story.coregistration import SHIFT
from vigie.story.experiment import to_json
from vigie.story.run import Run
from vigie.story.scenes import Part, catalogued, fold_name, group_of, left_out, opened


def open_prediction(run: Run, part: Part) -> xr.Dataset:
    """Open a part's prediction as it is stored: packed integers, lazy."""
    node: xr.Dataset = xr.open_zarr(
        run.artefact("predict"), group=group_of(part.name), consolidated=False, mask_and_scale=False, chunks=None
    )
    return node


def write_rasters(run: Run, part: Part, legend: Legend, folder: Path) -> dict[str, Asset]:
    """Write every raster product of a part; give them by the keys of STAC assets."""
    prediction = open_prediction(run, part)
    grid, tags = grid_of(prediction), flat(part_provenance(run, part))
    assets = {
        "class": Asset(folder / "class.tif", named("map").long_name, legend=legend),
        "probability": Asset(folder / "probability.tif", named("probability").long_name),
        "confidence": Asset(folder / "confidence.tif", named("confidence").long_name),
        "spread": Asset(folder / "spread.tif", named("spread").long_name),
        "flags": Asset(folder / "flags.tif", named("flags").long_name, roles=("metadata",)),
        "netcdf": Asset(folder / "prediction.nc", "all variables, CF NetCDF"),
    }
    stored = {name: assets[name].path for name in ("class", "probability", "confidence", "spread", "flags")}
    _write_maps(prediction, grid, legend, tags, stored)
    write_netcdf(assets["netcdf"].path, _described(prediction, legend), f"vigie map of {part.name}", part_provenance(run, part))
    return assets


def _write_maps(
    prediction: xr.Dataset, grid: GeoBox, legend: Legend, tags: Mapping[str, str], paths: Mapping[str, Path]
) -> None:
    probability = prediction["probability"].assign_coords(class_name=("class", list(legend.names)))
    write_cog(paths["class"], class_raster(grid, legend, named("map").long_name, tags), window_reader(prediction["map"]))
    write_cog(paths["probability"], array_raster(probability, grid, tags), window_reader(probability))
    write_cog(paths["confidence"], _confidence(grid, tags), _winner(probability))
    write_cog(paths["spread"], array_raster(prediction["spread"], grid, tags), window_reader(prediction["spread"]))
    write_cog(paths["flags"], array_raster(prediction["flags"], grid, tags), window_reader(prediction["flags"]))
    write_style(paths["class"], class_style(legend))
    for name in ("probability", "confidence", "spread"):
        write_style(paths[name], variable_style(name))


def _confidence(grid: GeoBox, tags: Mapping[str, str]) -> Raster:
    stored = named("confidence")
    band = ProductBand(stored.name, stored.long_name, stored.units, stored.step)
    return Raster(grid, stored.stored, (band,), fill_value(np.dtype(stored.stored)), "average", None, dict(tags))


def _winner(probability: xr.DataArray) -> ReadWindow:
    """Read the largest probability of each pixel; no data, the largest integer, stays no data."""
    read_all = window_reader(probability)

    def read(window: Window) -> NDArray[Any]:
        return np.asarray(read_all(window).max(axis=0, keepdims=True))

    return read


def _described(prediction: xr.Dataset, legend: Legend) -> xr.Dataset:
    """The prediction with what CF asks for, decoded lazily; its variables by name, since a store lists them in any order."""
    decoded = xr.decode_cf(prediction.drop_vars("class_name", errors="ignore"), mask_and_scale=False)
    return decoded[sorted(map(str, decoded.variables))].assign_coords(class_name=("class", np.array(legend.names)))


def part_provenance(run: Run, *parts: Part) -> dict[str, Any]:
    """Record where the products of parts come from: the model is the first one's.

    It says, too, by how much images were moved, and which scenes of the run were left out since they show nothing.
    """
    scenes = {scene.id: scene for scene in (scene_of(run, part) for part in parts)}
    shifts = {name: opened(run, scene).dataset.attrs.get(SHIFT) for name, scene in scenes.items()}
    moved = {name: json.loads(shift) for name, shift in shifts.items() if shift is not None}
    record = provenance(
        to_json(run.experiment, used_tables(run)),
        created=datetime.now(UTC),
        catalogue=run.artefact("acquire"),
        model=run.artefact("train") / fold_name(parts[0].fold) / "card.json",
        scenes=list(scenes.values()),
        licence="",
    )
    missing = left_out(run)
    return record | ({SHIFT: moved} if moved else {}) | ({"left_out": missing} if missing else {})


def scene_of(run: Run, part: Part) -> Scene:
    """The scene that a part was cut from."""
    return next(scene for scene in catalogued(run) if scene.id == part.scene)


def write_model_card(run: Run, part: Part, folder: Path) -> Path:
    """Copy the model card beside the products."""
    text = (run.artefact("train") / fold_name(part.fold) / "card.md").read_text(encoding="utf-8")
    write_text(folder / "model-card.md", text)
    return folder / "model-card.md"
