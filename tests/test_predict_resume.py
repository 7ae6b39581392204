"""A prediction, and a whole run, killed again and again, go on and end with the bytes of an unbroken one.

Processes are killed by SIGKILL at chosen moments: in the middle of a tile, before and after a file is renamed into place. This
file is also the program that is killed; children are forked from one process, so that torch is imported once.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

ROOMS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
EXPERIMENT = """
app = "glaciers"
name = "tiny"
[[acquire.sources]]
images = "images/synthetic_*.tif"
sensor = "synthetic-multispectral.toml"
truth = "images/truth_*.tif"
legend = "classes"
[harmonize]
tile = 64
chunk = 32
[train]
folds = { by = "scene" }
final = false
network = { name = "unet-groupnorm", widths = [8, 8], stem_channels = 8 }
windows = { size = 32, batch = 2 }
fit = { steps = 4, warmup_steps = 1, checkpoint_every = 2 }
[predict]
patch = 32
overlap = 8
lines = 32
[verify]
bootstrap = 5
"""
RAIN = """
app = "precipitation"
name = "tiny"
[[acquire.sources]]
files = "orbits/*.nc"
[train]
folds = { by = "orbit" }
final = false
members = 2
network = { name = "unet", widths = [4, 8] }
head = { levels = [0.1, 0.5, 0.9] }
windows = { size = 8, batch = 2 }
fit = { steps = 4, warmup_steps = 1, checkpoint_every = 2 }
[predict]
levels = [0.1, 0.5, 0.9]
scans = 8
[verify]
bootstrap = 5
draws = 2
"""


def program(mode: str, folder: Path) -> int:
    """Run this file as a program; give the number of times it was killed."""
    command = [sys.executable, __file__, mode, str(folder)]
    done = subprocess.run(command, env={**os.environ, **ROOMS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1])


def digests(folder: Path) -> dict[str, str]:
    """Hash every file below a folder but the drafts that Zarr leaves behind when it is killed."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".partial"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, a model and an unbroken prediction."""
    folder = tmp_path_factory.mktemp("resume")
    assert program("whole", folder) == 0
    return folder


def test_a_prediction_killed_in_every_tile_ends_with_the_same_bytes(place: Path) -> None:
    assert program("killed", place) >= 10
    assert digests(place / "killed.zarr") == digests(place / "whole.zarr")
    assert digests(place / ".killed.zarr.done").keys() == digests(place / ".whole.zarr.done").keys()


def test_a_prediction_survives_the_death_of_a_worker(place: Path) -> None:
    assert program("dask", place) == 1
    assert digests(place / "dask.zarr") == digests(place / "whole.zarr")


def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert program("run", tmp_path) >= 10
    whole, killed = (tmp_path / name / "tiny" for name in ("whole", "killed"))
    for artefact in ("cube.zarr", "prediction.zarr"):
        assert digests(killed / artefact) == digests(whole / artefact)
    assert len(digests(whole / "prediction.zarr")) > 20
    assert weights(killed) == weights(whole) != {}
    xr.testing.assert_identical(xr.load_dataset(killed / "scores.nc"), xr.load_dataset(whole / "scores.nc"))
    assert names(killed / "products") == names(whole / "products")
    for name in ("synthetic_2021-08-21_almaz", "synthetic_2021-08-21_burhan"):
        assert digests(killed / "products" / name / "inventory") == digests(whole / "products" / name / "inventory")
    rasters = sorted((whole / "products").rglob("*.tif"))
    assert len(rasters) == 10
    for raster in rasters:  # their tags tell when they were made
        assert (pixels(raster) == pixels(killed / raster.relative_to(whole))).all()


def test_a_run_over_orbits_killed_in_every_stage_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert program("rain", tmp_path) >= 5
    whole, killed = (tmp_path / name / "tiny" for name in ("whole", "killed"))
    for artefact in ("cube.zarr", "prediction.zarr"):
        assert digests(killed / artefact) == digests(whole / artefact)
    assert len(digests(whole / "prediction.zarr")) > 20
    assert len(weights(whole)) >= 4
    assert weights(killed) == weights(whole)
    with xr.open_datatree(killed / "scores.nc") as ours, xr.open_datatree(whole / "scores.nc") as theirs:
        xr.testing.assert_identical(ours, theirs)
    assert names(killed / "products") == names(whole / "products")
    for file in sorted((whole / "products").rglob("*.nc")):  # their attributes tell when they were made
        xr.testing.assert_equal(xr.load_dataset(killed / file.relative_to(whole)), xr.load_dataset(file))


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read()).view(np.uint8)


def weights(run: Path) -> dict[str, str]:
    return {name: digest for name, digest in digests(run / "model").items() if name.startswith("fold")}


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


# What follows is the program.


def main(mode: str, folder: Path) -> None:
    """Do one of the modes, and print how often it was killed."""
    if mode == "whole":
        prepare(folder)
    modes: dict[str, Callable[[Path], int]] = {"whole": whole, "killed": killed, "dask": dask, "run": run, "rain": rain}
    print(modes[mode](folder))


def forked(action: Callable[[], None]) -> int:
    """Do something in a child process; give its exit code, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until_done(attempt: Callable[[int], None], most: int) -> int:
    """Try again as long as SIGKILL ends the attempt; give how often it did."""
    import_what_children_need()
    for kills in range(most):
        code = forked(lambda number=kills: attempt(number))  # type: ignore[misc]
        if code == 0:
            return kills
        if code != -signal.SIGKILL:
            sys.exit(f"attempt {kills} ended with {code}")
    sys.exit(f"not done after {most} kills")


def import_what_children_need() -> None:
    import vigie.apps.glaciers
    import vigie.apps.precipitation
    import vigie.predict.scene
    import vigie.story.reading  # noqa: F401


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(folder: Path) -> None:
    """Make a cube of one scene, and a model."""
    import torch

    from vigie.acquire.sources import SourceSettings, gather
    from vigie.apps.glaciers.classes import LEGEND
    from vigie.harmonize.cube import harmonize_scene
    from vigie.learn.model import Model
    from vigie.learn.networks import NetworkSettings, build
    from vigie.learn.scaling import RobustScaling
    from vigie.synthetic.files import sensor_file, write_multispectral
    from vigie.synthetic.glaciers import Area

    (folder / "images").mkdir()
    write_multispectral(folder / "images", Area("almaz", seed=3, size=400), "2021-08-21")
    (scene,) = gather([SourceSettings(images=str(folder / "images/synthetic_*.tif"), sensor=str(sensor_file()))])
    harmonize_scene(scene, folder / "cube.zarr", "grid/almaz")
    torch.manual_seed(0)
    network = NetworkSettings(widths=(8, 8), stem_channels=8)
    Model([build(network, len(LEGEND.classes)).eval()], [network], LEGEND, RobustScaling()).save(folder / "model")


def work_in(folder: Path, name: str, reader_of: Callable[[object, Path], object] = lambda reader, folder: reader) -> object:
    """Prepare or take up the prediction of that name."""
    from vigie.apps.glaciers.classes import LEGEND
    from vigie.core import store
    from vigie.core.grid import coordinates
    from vigie.harmonize.cube import open_scene
    from vigie.learn.heads import ClassHead
    from vigie.learn.scaling import RobustScaling, measure
    from vigie.predict.scene import ScenePrediction, template
    from vigie.predict.settings import PredictSettings

    reader = open_scene(folder / "cube.zarr", "grid/almaz")
    settings = PredictSettings(patch=64, overlap=16, lines=32, device="cpu")
    statistics = measure(reader, reader.sizes, RobustScaling())
    sizes, path = (400, 400), folder / f"{name}.zarr"
    if not store.marked(path, "begun", "almaz"):
        store.create(path, template(coordinates(reader.grid), sizes, ClassHead(LEGEND)), {"y": 32, "x": 512}, "almaz")
        store.mark(path, "begun", "almaz")
    shown = reader_of(reader, folder)
    return ScenePrediction(folder / "model", shown, sizes, statistics, path, "almaz", settings)  # type: ignore[arg-type]


def whole(folder: Path) -> int:
    """Predict without a break."""
    from vigie.core.engine import Serial

    work = work_in(folder, "whole")
    return 0 * len(list(Serial().map(work, work.jobs())))  # type: ignore[attr-defined]


def killed(folder: Path) -> int:
    """Predict, and die in every tile: before its first, second, third, fourth variable, before its marker, or after it."""
    from vigie.core import store

    def attempt(number: int) -> None:
        work = work_in(folder, "killed")
        left = [5 + number % 6]
        check, mark = store._check_region, store.mark

        def count() -> None:
            left[0] -= 1
            if left[0] < 0:
                die()

        store._check_region = lambda *given: (count(), check(*given))[1]
        store.mark = lambda *given: (count(), mark(*given), count())[1]
        for job in work.jobs():  # type: ignore[attr-defined]
            work(job)  # type: ignore[operator]

    return until_done(attempt, most=60)


class DieOnce:
    """A reader whose first process dies while it reads the third window."""

    def __init__(self, reader: object, folder: Path) -> None:
        self.reader, self.died, self.calls = reader, folder / "died", 0

    def __call__(self, window: object) -> xr.Dataset:
        self.calls += 1
        if self.calls == 3 and not self.died.exists():
            self.died.touch()
            die()
        found: xr.Dataset = self.reader(window)  # type: ignore[operator]
        return found


def dask(folder: Path) -> int:
    """Predict on a Dask cluster, a worker of which dies."""
    from vigie.core.engine import Dask

    work = work_in(folder, "dask", DieOnce)
    sum(Dask(workers=2).map(work, work.jobs(5)))  # type: ignore[attr-defined]
    return int((folder / "died").exists())


def run(folder: Path) -> int:
    """Run the tiny experiment of glaciers."""
    from vigie.synthetic.files import sensor_file, write_multispectral
    from vigie.synthetic.glaciers import Area

    (folder / "images").mkdir()
    for name, west in (("almaz", 450_000.0), ("burhan", 480_000.0)):
        write_multispectral(folder / "images", Area(name, seed=3, size=96, west=west), "2021-08-21")
    (folder / sensor_file().name).write_text(sensor_file().read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "tiny.toml").write_text(EXPERIMENT, encoding="utf-8")
    return killed_runs(folder, first=16, step=4)


def rain(folder: Path) -> int:
    """Run the tiny experiment of precipitation."""
    from vigie.physics.antenna import observe
    from vigie.synthetic.orbit import Granule, make_swath, save_swath

    (folder / "orbits").mkdir()
    for number in range(2):
        granule = Granule(f"orbit-{number}", number, f"2020-01-0{number + 1}T06:00:00", 10.0 + number, 10.0, 24, 16)
        save_swath(folder / "orbits" / f"orbit-{number}.nc", make_swath(granule, observe))
    (folder / "tiny.toml").write_text(RAIN, encoding="utf-8")
    return killed_runs(folder, first=8, step=1)


def killed_runs(folder: Path, first: int, step: int) -> int:
    """Run a whole experiment in one go, and another that dies around every n-th file that it puts into place."""
    import_what_children_need()
    if forked(lambda: experiment(folder, "whole")) != 0:
        sys.exit("the unbroken run failed")

    def attempt(number: int) -> None:
        die_around_rename(first + step * number, before=number % 2 == 0)
        experiment(folder, "killed")

    return until_done(attempt, most=60)


def die_around_rename(count: int, before: bool) -> None:
    """Arrange for this process to die before or after the count-th file or folder that it renames into place."""
    replace, left = Path.replace, [count]

    def dying(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == 0 and before:
            die()
        moved = replace(self, target)
        if left[0] == 0:
            die()
        return moved

    Path.replace = dying  # type: ignore[method-assign, assignment]


def experiment(folder: Path, out: str) -> None:
    """Run the tiny experiment."""
    from vigie.story.app import perform
    from vigie.story.reading import load
    from vigie.story.run import Run

    app, settings = load(folder / "tiny.toml")
    with np.errstate(all="ignore"):
        perform(app, Run(settings, folder / out / settings.name, base=folder))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
