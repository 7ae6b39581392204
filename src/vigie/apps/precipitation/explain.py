"""What a precipitation run would read, compute and write, told before any work."""

from __future__ import annotations

from collections.abc import Iterator

from vigie.apps.precipitation.climatology import cells_around
from vigie.apps.precipitation.counted import ROWS
from vigie.apps.precipitation.swaths import catalogued, gathered, settings_of
from vigie.core.errors import counted, sized
from vigie.publish.netcdf import CHUNK
from vigie.story.run import STAGES, Run

BYTES = 4
"""Of a stored number."""
SCORED = 6
"""Arrays of the size of the quantiles that scoring a block of footprints takes."""


def explain(run: Run) -> Iterator[str]:
    """Tell the size of every stage's work."""
    settings = settings_of(run)
    granules = catalogued(run) if run.done("acquire") else gathered(run)
    todo = [stage for stage in STAGES if not run.done(stage)]
    footprints = sum(granule.scans * granule.pixels for granule in granules)
    labelled = sum(bool(granule.label_source) for granule in granules)
    channels = max((len(granule.channels) for granule in granules), default=0)
    train, predict = settings.train, settings.predict
    widest = max((granule.pixels for granule in granules), default=0)
    tile = predict.scans * widest * (len(predict.levels) * 3 + channels) * BYTES
    written = footprints * (len(predict.levels) + 7) * BYTES
    rows = min(ROWS, max(footprints, 1)) * (len(predict.levels) + settings.verify.draws) * 8
    block = min(CHUNK, max((granule.scans for granule in granules), default=0)) * widest * (len(predict.levels) + 12) * BYTES
    cells = cells_around(granules, settings.publish.grid_deg)
    kinds = " and ".join(f"{kind.members} x {kind.network.name} with head {kind.head.name}" for kind in train.kinds)
    yield f"{run.experiment.name}: {run.experiment.app} in {run.folder}"
    yield f"to do      {', '.join(todo) if todo else 'nothing: every stage is done and unchanged'}"
    yield f"engine     {run.experiment.engine.kind}"
    yield f"acquire    {counted(len(granules), 'swath')}, {footprints:,} footprints, {labelled} with rain rates"
    yield f"harmonize  up to {channels} channels, {sized(footprints * (channels + 20) * BYTES)} before compression"
    yield (
        f"train      {kinds} a fold by {train.folds.by}"
        f"{' and one model on everything' if train.final else ''}; {train.fit.steps} steps a member, "
        f"{train.windows.batch} samples of {train.windows.size} px a step"
    )
    yield f"predict    writes {sized(written)} before compression; memory about {sized(tile)} a tile of {predict.scans} scans"
    yield f"verify     memory about {sized(SCORED * rows)}, some {ROWS:,} footprints at a time"
    yield (
        f"publish    writes {sized(written + footprints * 2 * BYTES)} before compression; memory about {sized(3 * block)} "
        f"a block of {CHUNK} scans, then {sized(cells.bytes)} for histograms of {cells.rows} x {cells.columns} cells"
    )
