"""Scenes into a cube and out again: layout, resuming, engines, refusals."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from vigie.core.cube import check
from vigie.core.engine import Serial, Threads
from vigie.core.errors import VigieError
from vigie.core.scene import Band, Scene, Truth
from vigie.harmonize.cube import fill, harmonize_scene, open_scene
from vigie.harmonize.grids import bounds_in, scene_grid, target_grid
from vigie.harmonize.reader import SceneReader
from vigie.harmonize.settings import GridSettings, HarmonizeSettings
from vigie.harmonize.warp import whole

SETTINGS = HarmonizeSettings(chunk=32, tile=64, shadow="affine", relief_box_m=200)
FRAME = GeoBox((150, 130), Affine(10, 0, 445700.838, 0, -10, 3082129.248609597), "EPSG:32645")


def make(folder: Path) -> Scene:
    """Write a scene of two bands, elevation and labels."""
    rng = np.random.default_rng(0)
    stored = rng.integers(1, 9000, (3, *FRAME.shape)).astype(np.uint16)
    stored[2] = 4000 + np.add.outer(np.arange(150), np.arange(130))
    stored[:2, :70, :40] = 0
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "crs": str(FRAME.crs),
        "transform": FRAME.affine,
        "height": 150,
        "width": 130,
    }
    with rasterio.open(folder / "image.tif", "w", count=3, **profile) as out:
        out.write(stored)
    with rasterio.open(folder / "label.tif", "w", count=1, **profile | {"dtype": "uint8"}) as out:
        out.write((stored[:1] % 3).astype(np.uint8))
    href = str(folder / "image.tif")
    bands = (
        Band("red", "reflectance", href, 1, 10, "1", 0.66, 0.03, 1e-4, 0.0, 0, 8990),
        Band("nir", "reflectance", href, 2, 10, "1", 0.84, 0.1, 1e-4, 0.0, 0, 8990),
        Band("elevation", "terrain", href, 3, 10, "m"),
    )
    truth = Truth(str(folder / "label.tif"), "three")
    return Scene("made", "maker", None, bands, str(FRAME.crs), tuple(FRAME.affine)[:6], tuple(FRAME.shape), {}, truth=truth)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return make(tmp_path)


def digest(path: Path) -> dict[str, str]:
    files = (f for f in sorted(path.rglob("*")) if f.is_file())
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_a_scene_comes_back_as_its_reader_gives_it(tmp_path, scene):
    path, seen = tmp_path / "cube.zarr", []
    counts = harmonize_scene(scene, path, "grid/made", SETTINGS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 9) for i in range(1, 10)]
    assert counts["pixels"] == 150 * 130 and counts["nodata"] == 70 * 40 and counts["shadow"] > 0
    node = pickle.loads(pickle.dumps(open_scene(path, "grid/made")))  # noqa: S301
    assert node.grid == scene_grid(scene) and node.sizes == {"y": 150, "x": 130}
    window = {"y": slice(31, 140), "x": slice(5, 66)}
    got = node(window)
    check(got)
    from vigie.harmonize.levels import measured

    expected = measured(SceneReader(scene, FRAME, settings=SETTINGS))(window)
    for name in ("observation", "flags", "truth", "band", "kind", "units", "wavelength_um", "bandwidth_um", "gsd_m"):
        assert np.array_equal(got[name].values, expected[name].values, equal_nan=got[name].dtype.kind == "f"), name
    assert got["band"].dtype.kind == "U"
    assert got.attrs.items() >= {"scene": "made", "sensor": "maker", "datetime": "", "legend": "three"}.items()
    assert got["x"].values[0] == pytest.approx(445700.838 + 55)


def test_a_cube_is_a_tree_that_any_reader_opens(tmp_path, scene):
    path = tmp_path / "cube.zarr"
    for group in ("grid/one", "grid/two"):
        harmonize_scene(scene, path, group, SETTINGS)
    with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
        assert set(tree.groups) == {"/", "/grid", "/grid/one", "/grid/two"}
        assert tree["grid/one"]["flags"].attrs["flag_meanings"].startswith("nodata saturated")


class Backwards:
    """Another process would get the work pickled, and in any order."""

    def map(self, work, keys):
        yield from map(pickle.loads(pickle.dumps(work)), reversed(list(keys)))  # noqa: S301


class Dies:
    """Leaves after some tiles."""

    def map(self, work, keys):
        for number, key in enumerate(keys):
            if number == 4:
                raise KeyboardInterrupt
            yield work(key)


def test_engines_and_a_killed_run_leave_the_same_bytes(tmp_path, scene):
    for name, engine in (("a", Serial()), ("b", Threads(3)), ("c", Backwards())):
        harmonize_scene(scene, tmp_path / name / "cube.zarr", "grid/made", SETTINGS, engine)
    expected = digest(tmp_path / "a" / "cube.zarr")
    assert len(expected) > 30
    with pytest.raises(KeyboardInterrupt):
        harmonize_scene(scene, tmp_path / "d" / "cube.zarr", "grid/made", SETTINGS, Dies())
    with pytest.raises(VigieError, match="not complete; found"):
        open_scene(tmp_path / "d" / "cube.zarr", "grid/made")
    seen = []
    harmonize_scene(scene, tmp_path / "d" / "cube.zarr", "grid/made", SETTINGS, progress=lambda *n: seen.append(n))
    assert seen == [(i, 9) for i in range(5, 10)]
    for name in "bcd":
        assert digest(tmp_path / name / "cube.zarr") == expected


KILLED = """
import os, signal, sys
from pathlib import Path
from test_harmonize_cube import SETTINGS, make
from vigie.core import store
from vigie.harmonize.cube import harmonize_scene
folder, mark = Path(sys.argv[1]), store.mark
def killing(path, name, *rest):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(path, name, *rest)
store.mark = killing
harmonize_scene(make(folder), folder / "cube.zarr", "grid/made", SETTINGS)
"""


@pytest.mark.parametrize("moment", ["begun", "y64_x64"])
def test_a_run_that_is_killed_outright_goes_on(tmp_path, moment):
    (tmp_path / "killed").mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    run = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), moment]
    assert subprocess.run(run, env=environment, check=False).returncode == -signal.SIGKILL
    scene = make(tmp_path / "killed")
    harmonize_scene(scene, tmp_path / "killed" / "cube.zarr", "grid/made", SETTINGS)
    harmonize_scene(scene, tmp_path / "cube.zarr", "grid/made", SETTINGS)
    assert digest(tmp_path / "killed" / "cube.zarr") == digest(tmp_path / "cube.zarr")


def test_tile_sizes_change_nothing_and_other_settings_are_refused(tmp_path, scene):
    path = tmp_path / "cube.zarr"
    harmonize_scene(scene, path, "grid/made", SETTINGS)
    before = digest(path)
    harmonize_scene(scene, path, "grid/made", SETTINGS.model_copy(update={"tile": 96}))
    assert digest(path) == before
    harmonize_scene(scene, tmp_path / "other.zarr", "grid/made", SETTINGS.model_copy(update={"tile": 128}))
    assert digest(tmp_path / "other.zarr") == before
    with pytest.raises(VigieError, match="another scene or with other settings"):
        harmonize_scene(scene, path, "grid/made", SETTINGS.model_copy(update={"shadow": "gain"}))
    with pytest.raises(VigieError, match="another scene or with other settings"):
        fill(SceneReader(scene, FRAME, settings=SETTINGS, moved_m=(1.0, 0.0)), path, "grid/made")


def test_scenes_without_a_valid_pixel_and_missing_nodes_are_refused(tmp_path, scene):
    empty = replace(scene, bands=tuple(replace(b, saturated=None) for b in scene.bands[:2]))
    corner = GeoBox((60, 30), FRAME.affine, FRAME.crs)
    with pytest.raises(VigieError, match="no valid pixel"):
        fill(SceneReader(empty, corner, settings=SETTINGS), tmp_path / "cube.zarr", "grid/made")
    with pytest.raises(VigieError, match=r"has no node 'grid/none'.*harmonize"):
        open_scene(tmp_path / "cube.zarr", "grid/none")


def test_settings_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="shadows"):
        HarmonizeSettings(shadows="gain")
    with pytest.raises(ValueError, match="multiple of chunk"):
        HarmonizeSettings(tile=100, chunk=64)


def test_target_grids(scene):
    assert target_grid([scene]) == FRAME
    coarse = target_grid([scene], GridSettings(resolution_m=30))
    assert coarse.resolution.x == 30 and coarse.affine.c % 30 == 0 and coarse.affine.f % 30 == 0
    west, south, east, north = bounds_in(FRAME, str(FRAME.crs))
    box = coarse.boundingbox
    assert box.left <= west < box.left + 30 and box.bottom <= south and box.right >= east and box.top >= north
    other = target_grid(
        [scene, replace(scene, transform=(10.0, 0.0, 445900.0, 0.0, -10.0, 3082129.0))], GridSettings(crs="EPSG:32646")
    )
    assert other.crs.epsg == 32646 and other.resolution.x == 10 and other.shape[1] > FRAME.shape[1]
    with pytest.raises(VigieError, match="without a scene"):
        target_grid([], GridSettings(crs="EPSG:32645"))


@pytest.mark.realdata
def test_chips_come_out_as_rasterio_reads_them(tmp_path, samples):
    href = samples / "glaciers/s2_debris_chips_everest_sikkim/image157.tif"
    with rasterio.open(href) as dataset:
        frame, stored = GeoBox(dataset.shape, dataset.transform, str(dataset.crs)), dataset.read()
    names = ("blue", "green", "red", "nir", "swir1")
    bands = tuple(Band(n, "reflectance", str(href), i, 10, "1", 0.5, scale=1e-4) for i, n in enumerate(names, start=1))
    bands += (Band("elevation", "terrain", str(href), 9, 10, "m"),)
    label = str(href.with_name("label157.tif"))
    scene = Scene(
        "chip157", "s2", None, bands, str(frame.crs), tuple(frame.affine)[:6], tuple(frame.shape), {}, truth=Truth(label, "d")
    )
    harmonize_scene(scene, tmp_path / "cube.zarr", "grid/chip157", HarmonizeSettings(chunk=128, tile=256))
    node = open_scene(tmp_path / "cube.zarr", "grid/chip157")
    got = node(whole(node.grid))
    assert np.array_equal(got["observation"].values[:5], stored[:5] * np.float32(1e-4))
    assert np.array_equal(got["observation"].sel(band="elevation").values, stored[8])
    assert round(float((got["truth"] == 1).mean()), 3) == 0.070
