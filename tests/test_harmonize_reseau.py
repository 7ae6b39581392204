"""Reseau crosses: found whatever their tilt, filled in from around them, flagged, and nothing else of the film is touched."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy import ndimage

from vigie.acquire.sensor import load_sensor, parse_sensor
from vigie.acquire.sources import SourceSettings, gather
from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError
from vigie.core.scene import Cross, Reseau, Scene
from vigie.harmonize.crosses import Look, drawn
from vigie.harmonize.cube import begin, harmonize_scene, open_scene
from vigie.harmonize.grids import target_grid
from vigie.harmonize.inpaint import fill_crosses, inpaint
from vigie.harmonize.levels import measured
from vigie.harmonize.reader import Levels, SceneReader
from vigie.harmonize.reseau import MARGIN_PX, Search, find_crosses, likeness
from vigie.harmonize.settings import GridSettings, HarmonizeSettings
from vigie.harmonize.warp import whole

SENSOR = """
name = "toy-film"
title = "An invented mapping camera"
source = "this test"
bands = [{ name = "pan", kind = "pan", units = "DN", nodata = 0, saturated = 255 }]
[reseau]
arm_m = 240
width_m = 24
spacing_m = 1600
[[products]]
name = "film"
id = 'film_[a-z]+'
pattern = '{id}\\.tif'
files = [{ bands = ["pan"] }]
"""
GSD_M, ARM, WIDTH = 8.0, 30.0, 3.0
RESEAU = Reseau(240, 24, 1600)
SHAPE = (430, 510)


def landscape(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Film of hills with grain."""
    rng = np.random.default_rng(seed)
    hills = ndimage.gaussian_filter(rng.normal(0, 1, shape), 4)
    return np.clip(np.rint(120 + 30 * hills / hills.std() + rng.normal(0, 5, shape)), 1, 254).astype(np.float32)


def lattice_of(tilt_deg: float, arm_px: float = ARM, width_px: float = WIDTH) -> list[Cross]:
    """Four crosses of a tilted lattice, within the film."""
    turn = np.exp(1j * np.radians(tilt_deg))
    places = [turn * 200 * (x + 1j * y) + 250.3 + 215.8j for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    return [Cross(place.imag, place.real, tilt_deg, arm_px, width_px) for place in places]


def crossed(film: np.ndarray, crosses: Sequence[Cross], dn: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw crosses; give the film and where they lie."""
    span = (0, film.shape[0]), (0, film.shape[1])
    mask = np.any([drawn(cross, *span) for cross in crosses], axis=0)
    return np.where(mask, np.float32(dn), film), mask


def exposed(film: np.ndarray, crosses: Sequence[Cross], dn: float = 25.0, fine: int = 5) -> np.ndarray:
    """Draw crosses as a scanner sees them: a pixel is darkened by the share of it that they cover."""
    shape = tuple(fine * n for n in film.shape)
    span = (0, shape[0]), (0, shape[1])
    scaled = [Cross(fine * c.row, fine * c.column, c.tilt_deg, fine * c.arm_px, fine * c.width_px) for c in crosses]
    mask = np.any([drawn(cross, *span) for cross in scaled], axis=0)
    share = mask.reshape(film.shape[0], fine, film.shape[1], fine).mean(axis=(1, 3))
    return (film * (1 - share) + dn * share).astype(np.float32)


def looking_at(film: np.ndarray) -> Look:
    wide = np.pad(film, 900, constant_values=np.nan)
    return lambda rows, columns: wide[rows[0] + 900 : rows[1] + 900, columns[0] + 900 : columns[1] + 900]


def found_on(film: np.ndarray) -> tuple[Cross, ...]:
    return find_crosses(looking_at(film), film.shape, RESEAU, GSD_M)


@pytest.mark.parametrize("tilt", [0.0, 12.7, -33.0, 44.0])
def test_every_cross_and_nothing_else_is_found(tilt):
    film, _ = crossed(landscape(), lattice_of(tilt))
    found = found_on(film)
    assert len(found) == 4
    for cross in found:
        known = min(lattice_of(tilt), key=lambda c: np.hypot(c.row - cross.row, c.column - cross.column))
        assert np.hypot(known.row - cross.row, known.column - cross.column) < 0.5
        assert abs((known.tilt_deg - cross.tilt_deg + 45) % 90 - 45) < 0.5 and 29.5 <= cross.arm_px <= 34.5
    gained = found_on(0.4 * film + 70)
    assert [(c.row, c.column, c.tilt_deg) for c in gained] == [(c.row, c.column, c.tilt_deg) for c in found]


@pytest.mark.parametrize(("width", "arm"), [(1.0, 20.0), (1.5, 20.0), (1.9, 20.0), (2.5, 60.0)])
@pytest.mark.parametrize("tilt", [7.3, -33.0, 44.0])
def test_every_cross_is_found_whatever_the_width_of_its_lines(width, arm, tilt):
    lattice = lattice_of(tilt, arm, width)
    film = exposed(landscape(seed=1), lattice)
    found = find_crosses(looking_at(film), film.shape, Reseau(GSD_M * arm, GSD_M * width, 1600), GSD_M)
    assert len(found) == 4
    for cross in found:
        known = min(lattice, key=lambda c: np.hypot(c.row - cross.row, c.column - cross.column))
        assert np.hypot(known.row - cross.row, known.column - cross.column) < 0.5
        assert abs(cross.arm_px - arm) < max(2, 0.08 * arm)


def test_the_search_takes_no_more_memory_on_a_finer_scan():
    reseau = Reseau(760, 11, 6000)

    def look(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        return np.full((rows[1] - rows[0], columns[1] - columns[0]), 100, np.float32)

    tracemalloc.start()
    Search(look, (9000, 9000), reseau, 0.9).seen({"y": slice(0, 8000), "x": slice(0, 8000)}, np.array([7.0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_scratches_roads_and_plain_film_are_no_crosses():
    film = landscape()
    assert found_on(film) == () and found_on(np.full(SHAPE, 100, np.float32)) == ()
    assert found_on(np.full(SHAPE, np.nan, np.float32)) == ()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    scratch = (x - 220) * np.cos(0.05) - (y - 200) * np.sin(0.05)
    road = (y - 200) - 0.9 * (x - 300)
    film[np.abs(scratch) <= 1.5] = 20
    film[np.abs(road) <= 2] = 30
    assert found_on(film) == ()


def test_a_cross_whose_arm_runs_off_the_scan_is_found_where_half_of_it_is_seen():
    near, far = Cross(20.0, 250.0, 10.0, ARM, WIDTH), Cross(8.0, 250.0, 10.0, ARM, WIDTH)
    assert [round(c.row) for c in found_on(crossed(landscape(), [near])[0])] == [20]
    assert found_on(crossed(landscape(), [far])[0]) == ()


def test_likeness_is_the_lesser_correlation_with_two_lines():
    film, _ = crossed(landscape(shape=(120, 130)), [Cross(60, 65, 20.0, ARM, WIDTH)])
    (like,) = likeness(film, 12.0, 2.0, [20.0])
    half = 15
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    for row, column in ((60, 65), (61, 64), (40, 80), (90, 30)):
        around = film[row - half : row + half + 1, column - half : column + half + 1]
        expected = []
        for turn in np.radians([20.0, 110.0]):
            along, across = np.abs(x * np.cos(turn) + y * np.sin(turn)), np.abs(y * np.cos(turn) - x * np.sin(turn))
            beside = np.clip(12.5 - along, 0, 1) * np.clip(1.5 + MARGIN_PX - across, 0, 1) >= 0.5
            covered = np.clip(12.5 - along, 0, 1) * np.clip(1.5 - across, 0, 1)
            expected.append(np.corrcoef(around[beside], -covered[beside])[0, 1])
        assert like[row, column] == pytest.approx(min(expected), abs=1e-9)
    with pytest.raises(VigieError, match="smaller than the cross"):
        next(likeness(np.zeros((20, 20)), 12.0, 2.0, [0.0]))


def test_a_plane_is_filled_exactly():
    y, x = np.mgrid[:60, :70]
    plane, cross = (3.0 * y - 2.0 * x).astype(np.float32), Cross(30.5, 35.5, 20.0, 20.0, 1.0)
    film, _ = crossed(plane, [cross], dn=-500.0)
    assert fill_crosses(film, (0, 0), [cross], looking_at(film.copy())).any()
    np.testing.assert_allclose(film, plane, atol=1e-3)


def test_what_is_missing_stays_missing_and_nothing_bleeds_out_of_it():
    plane, cross = np.full((60, 70), 100, np.float32), Cross(30.5, 35.5, 20.0, 20.0, 1.0)
    plane[:, 18:24] = np.nan
    film, _ = crossed(plane, [cross])
    film[np.isnan(plane)] = np.nan
    done = fill_crosses(film, (0, 0), [cross], looking_at(film.copy()))
    assert done.any() and not done[np.isnan(plane)].any()
    np.testing.assert_allclose(film, plane, rtol=1e-6)
    alone = np.full((5, 5), np.nan)
    alone[2, 2] = 7.0
    assert inpaint(alone, np.isfinite(alone))[2, 2] == 7.0


# --- film through acquire and harmonize -------------------------------------------------------------------------------------


def save(path: Path, film: np.ndarray, gsd_m: float = GSD_M, crs: str = "EPSG:32627") -> None:
    frame = Affine(gsd_m, 0, 500_000, 0, -gsd_m, 7_200_000)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": crs, "transform": frame, "nodata": 0}
    with rasterio.open(path, "w", height=film.shape[0], width=film.shape[1], **profile) as out:
        out.write(film.astype(np.uint8), 1)


@pytest.fixture
def films(tmp_path) -> tuple[Scene, Scene, np.ndarray]:
    """A film with crosses and the same without, and where they lie; both have a border without data and bright snow."""
    (tmp_path / "toy.toml").write_text(SENSOR)
    clean = landscape()
    clean[:40], clean[260:280, 150:180] = 0, 255
    film, mask = crossed(clean, lattice_of(12.7))
    for name, image in (("clean", clean), ("crossed", np.where(clean == 0, 0, film))):
        save(tmp_path / f"film_{name}.tif", image)
    source = SourceSettings(images="film_*.tif", sensor="toy.toml", group="{scene}")
    without, with_crosses = gather([source], tmp_path)
    return with_crosses, without, mask & (clean != 0)


def test_film_leaves_harmonize_without_crosses_and_with_all_else_as_it_was(films, tmp_path, caplog):
    with_crosses, without, mask = films
    cube = tmp_path / "cube.zarr"
    with caplog.at_level("INFO", "vigie"):
        counts = harmonize_scene(with_crosses, cube, "grid/crossed")
        harmonize_scene(without, cube, "grid/clean")
    assert caplog.messages == [
        f"harmonize: film_{name}, reseau crosses on pan: {n} found and filled" for name, n in (("crossed", 4), ("clean", 0))
    ]
    filled, clean = (open_scene(cube, f"grid/{name}")(whole(target_grid([without]))) for name in ("crossed", "clean"))
    flags, values, truth = filled["flags"].values, filled["observation"].values[0], clean["observation"].values[0]
    there = flags & FLAGS["filled"] != 0
    assert there[mask].all() and there.sum() < 3.5 * mask.sum() and counts["filled"] == there.sum()
    assert values[~there].tobytes() == truth[~there].tobytes()
    assert np.array_equal(flags[~there], clean["flags"].values[~there])
    # A straight line across 7 pixels of hills and grain: as near as the landscape is smooth.
    assert np.abs(values - truth)[mask].mean() < 0.15 * np.abs(25 - truth)[mask].mean()
    assert found_on(values) == ()


@pytest.mark.parametrize(
    "grid", [GridSettings(), GridSettings(resolution_m=20), GridSettings(crs="EPSG:32628", resolution_m=8)]
)
def test_any_tiling_fills_the_same_bits(films, tmp_path, grid):
    scene = films[0]
    cubes = []
    for tile in (1024, 64):
        settings = HarmonizeSettings(grid=grid, tile=tile, chunk=32)
        harmonize_scene(scene, tmp_path / f"cube-{tile}.zarr", "grid/film", settings)
        target = target_grid([scene], grid)
        cubes.append(open_scene(tmp_path / f"cube-{tile}.zarr", "grid/film")(whole(target)))
    for name in ("observation", "flags"):
        assert cubes[0][name].values.tobytes() == cubes[1][name].values.tobytes()
    assert (cubes[0]["flags"].values & FLAGS["filled"]).any()


def test_crosses_stay_where_the_settings_say_so(films):
    scene, _, mask = films
    reader = measured(SceneReader(scene, target_grid([scene]), settings=HarmonizeSettings(reseau="none")))
    read = reader(whole(target_grid([scene])))
    assert (read["observation"].values[0][mask] == 25).all() and not (read["flags"].values & FLAGS["filled"]).any()


def test_a_part_of_the_film_has_the_crosses_that_it_shows(films):
    scene, everything = films[0], target_grid([films[0]])
    east = everything.boundingbox.left + 300 * GSD_M
    box = everything.boundingbox
    part = target_grid([scene], GridSettings(crs="EPSG:32627", resolution_m=8, bounds=(east, box.bottom, box.right, box.top)))
    whole_film, right = (dict(measured(SceneReader(scene, grid)).levels.crosses)["pan"] for grid in (everything, part))
    assert len(right) == 2 and all(
        min(np.hypot(c.row - d.row, c.column - d.column) for d in whole_film) < 0.2 and c.column > 290 for c in right
    )


def test_a_run_that_goes_on_knows_the_crosses(films, tmp_path):
    reader = SceneReader(films[0], target_grid([films[0]]))
    first, again = (begin(reader, tmp_path / "cube.zarr", "grid/film") for _ in range(2))
    assert len(first.levels.crosses[0][1]) == 4 and first.levels == again.levels
    assert Levels.from_dict(json.loads(json.dumps(asdict(first.levels)))) == first.levels
    assert Scene.from_dict(json.loads(json.dumps(films[0].to_dict()))) == films[0]


def test_lines_too_thin_to_be_found_and_scans_in_degrees_are_told_once(tmp_path, caplog):
    (tmp_path / "toy.toml").write_text(SENSOR)
    film, _ = crossed(landscape(), lattice_of(0.0))
    save(tmp_path / "film_coarse.tif", film, gsd_m=75.0)
    save(tmp_path / "film_degrees.tif", film, gsd_m=1e-4, crs="EPSG:4326")
    with rasterio.open(tmp_path / "film_degrees.tif", "r+") as out:
        out.transform = Affine(1e-4, 0, 86, 0, -1e-4, 28)
    coarse, degrees = gather([SourceSettings(images="film_*.tif", sensor="toy.toml")], tmp_path)
    grid = GridSettings(crs="EPSG:32645", resolution_m=10)
    with caplog.at_level("INFO", "vigie"):
        harmonize_scene(coarse, tmp_path / "cube.zarr", "grid/coarse", HarmonizeSettings(tile=256))
        harmonize_scene(degrees, tmp_path / "cube.zarr", "grid/degrees", HarmonizeSettings(grid=grid, tile=256))
    assert caplog.messages == [
        "harmonize: film_coarse, reseau crosses on pan stay: their lines are 0.32 px wide at 75 m",
        "harmonize: film_degrees, reseau crosses on pan stay: the scan counts in degrees, in which a cross is none",
    ]


def test_mapping_cameras_declare_their_reseau_and_panoramic_ones_have_none():
    assert load_sensor("hexagon-kh9").reseau is not None
    assert load_sensor("corona-kh4").reseau is None and load_sensor("hexagon-kh9-panoramic").reseau is None
    with pytest.raises(VigieError, match=r"2 \* width_m < arm_m"):
        parse_sensor(SENSOR.replace("arm_m = 240", "arm_m = 40"), "toy.toml")


@pytest.mark.realdata
def test_the_cross_of_a_kh9_detail_is_filled(samples, tmp_path):
    from matplotlib.image import imread

    figure = 255 * imread(samples / "glaciers/kh9_iceland/fixed_cross.png")[..., :3].mean(-1)
    # Two panels of a figure (notes, trap 9), before and after removal; pixels of the scan are drawn 4.94 times too large.
    pixels = ((np.arange(400) + 0.5) * 4.94).astype(int)
    before, after = (figure[np.ix_(30 + pixels, left + pixels)] for left in (46, 2418))
    save(tmp_path / "DZB1216-500280L002001.tif", np.clip(np.rint(before), 1, 255), gsd_m=4.2)
    (scene,) = gather([SourceSettings(images="*.tif")], tmp_path)
    harmonize_scene(scene, tmp_path / "cube.zarr", "grid/film")
    film = open_scene(tmp_path / "cube.zarr", "grid/film")(whole(target_grid([scene])))
    values, there = film["observation"].values[0], film["flags"].values & FLAGS["filled"] != 0
    removed = after - before > 20
    assert removed.sum() > 1500 and there[removed].mean() > 0.995 and there.mean() < 0.035
    assert np.abs(values - after)[there].mean() < 8 < 20 < np.abs(before - after)[there].mean()
    np.testing.assert_array_equal(values[~there], np.clip(np.rint(before), 1, 255)[~there])


@pytest.mark.realdata
def test_film_of_75_m_is_left_as_it_is(samples, caplog):
    source = SourceSettings(images=str(samples / "glaciers/kh9_iceland/kh9_1980-08-22_langjokull.tif"), sensor="hexagon-kh9")
    (scene,) = gather([source])
    with caplog.at_level("INFO", "vigie"):
        assert measured(SceneReader(scene, target_grid([scene]))).levels.crosses == ()
    assert "0.15 px wide at 75 m" in caplog.text
