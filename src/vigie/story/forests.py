"""What a forest asks of scenes and networks do not: bands of one sensor, few enough, and those it was grown on.

All of it is known before any pixel is read, so that nothing is copied or learnt in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from torch import Tensor

from vigie.core.cube import band_coordinates
from vigie.core.errors import VigieError
from vigie.core.scene import Scene
from vigie.harmonize.grids import target_grid
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.settings import HarmonizeSettings
from vigie.learn.bands import describe
from vigie.learn.forest import Forest, check_room
from vigie.learn.inputs import inputs_of
from vigie.learn.model import Model
from vigie.learn.networks import FOREST
from vigie.learn.scaling import RobustScaling
from vigie.story.settings import TrainSettings


def check_growable(scenes: Sequence[Scene], harmonize: HarmonizeSettings, train: TrainSettings) -> None:
    """Refuse scenes that a forest among the networks could not learn from.

    Raises
    ------
    VigieError: scenes are of several sensors, or a labelled one has more bands than a forest has room for.
    """
    if all(kind.name != FOREST for kind in train.networks):
        return
    sensors = sorted({scene.sensor for scene in scenes})
    if len(sensors) > 1:
        raise VigieError(
            "a forest knows the bands of one sensor",
            found=f"scenes of {', '.join(sensors)}",
            expected="scenes of one sensor, or networks only",
            do="leave the forest out of train.network and train.beside, or make an experiment of each sensor",
        )
    for scene in scenes:
        if scene.truth is not None:
            check_room(len(shown_bands(scene, harmonize, train.scaling)), scene.id)


def check_known(model: Model, scenes: Sequence[Scene], harmonize: HarmonizeSettings) -> None:
    """Refuse scenes of other bands than those that a forest of the model was grown on."""
    for forest in model.members:
        if isinstance(forest, Forest):
            for scene in scenes:
                forest.check(shown_bands(scene, harmonize, model.scaling))


def shown_bands(scene: Scene, harmonize: HarmonizeSettings, scaling: RobustScaling) -> Tensor:
    """Describe the bands (B, D) that a model will be shown of a scene, before any pixel of it is read.

    Thermal bands are taken to have an anomaly wherever there is elevation: only scenes of hardly a clear pixel lack it.
    """
    reader = SceneReader(scene, target_grid([scene], harmonize.grid), settings=harmonize)
    if reader.elevation is not None:
        warm = tuple((band.name, ()) for band in reader.stored if band.kind == "thermal")
        reader = replace(reader, levels=Levels(thermal=warm))
    nothing = np.empty((len(reader.bands), 0, 0), dtype=np.float32)
    bands = xr.Dataset({"observation": (("band", "y", "x"), nothing)}, band_coordinates(reader.bands))
    return describe(inputs_of(bands, scaling))
