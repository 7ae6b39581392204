"""The whole story on a tiny synthetic Earth: six artefacts, nothing done twice, finished products, a model for new images."""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import xarray as xr
from rio_cogeo.cogeo import cog_validate

from vigie.acquire.catalog import read_catalog
from vigie.apps.glaciers.classes import CLASSES
from vigie.cli import main
from vigie.core.cube import FLAGS
from vigie.core.vocabulary import named
from vigie.harmonize.cube import open_scene
from vigie.learn.model import load as load_model
from vigie.learn.model import read_card
from vigie.story import products, training, verification
from vigie.story.apply import with_overrides
from vigie.story.applying import Request
from vigie.story.map_apply import experiment_of
from vigie.story.reading import load
from vigie.story.report import score_sections
from vigie.story.run import ARTEFACTS, Run
from vigie.story.scenes import settings_of, weight_files
from vigie.story.training import LIMIT
from vigie.synthetic.files import sensor_file, write_film, write_multispectral
from vigie.synthetic.glaciers import Area

EXPERIMENT = """
app = "glaciers"
name = "tiny"
summary = "Two areas of the synthetic Earth, one of them at two dates."

[[acquire.sources]]
images = "labelled/synthetic_*.tif"
sensor = "sensor.toml"
truth = "labelled/truth_*.tif"
legend = "classes"
region = "synthetic Earth"

[[acquire.sources]]
images = "unlabelled/*.tif"
sensor = "sensor.toml"
group = "almaz"

[harmonize]
chunk = 64
tile = 64

[train]
network = { widths = [8, 16], stem_channels = 8 }
windows = { size = 64, batch = 2 }
fit = { steps = 3, warmup_steps = 1 }

[predict]
patch = 64
overlap = 16

[verify]
bootstrap = 20
"""
ALMAZ, BURHAN = Area("almaz", seed=3, size=96), Area("burhan", seed=29, size=96, west=480_000.0)
LABELLED = ("synthetic_2021-08-21_almaz", "synthetic_2021-08-21_burhan")
UNLABELLED = "synthetic_1994-09-14_almaz"
SUBJECT = re.compile(r"glacier|debris|\bice\b|\blakes?\b", re.IGNORECASE)
"""What belongs to one application, and not to the story that all share."""
REPORT_IMAGE = re.compile(r"base64,[A-Za-z0-9+/=]+")
REPORT = re.compile(r"(?:src|href)=[\"']?(?!#|data:|[\"'])([^\"' >]+)")

# A network of three steps leaves classes without a score in any resample.
pytestmark = pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")

Told = tuple[int | None, str, str]


@pytest.fixture
def vigie(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """The command line, in this process: exit code, standard output, standard error."""

    def command(*words: object) -> Told:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        return left.value.code, *capsys.readouterr()

    return command


def write_earth(folder: Path) -> Path:
    """Write the tiny Earth; give its experiment."""
    for name in ("labelled", "unlabelled"):
        (folder / name).mkdir(parents=True)
    for area in (ALMAZ, BURHAN):
        write_multispectral(folder / "labelled", area, "2021-08-21")
    write_multispectral(folder / "unlabelled", ALMAZ, "1994-09-14")
    (folder / "unlabelled" / "truth_1994-09-14_almaz.tif").unlink()
    shutil.copy(sensor_file(), folder / "sensor.toml")
    (folder / "tiny.toml").write_text(EXPERIMENT)
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_earth(tmp_path_factory.mktemp("earth"))


class Noon(datetime):
    """A clock that stands still: products tell when they were made."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2026, 1, 2, 12, tzinfo=tz)


@contextlib.contextmanager
def at_noon() -> Iterator[None]:
    """Let products, GeoPackages among them, be made at one and the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "datetime", Noon)
        patch.setenv("OGR_CURRENT_DATE", "2026-01-02T12:00:00Z")
        yield


@pytest.fixture(scope="module")
def finished(experiment: Path) -> Path:
    """The run after `vigie run`; tests leave it as it is."""
    with pytest.raises(SystemExit) as left, at_noon():
        main(["run", str(experiment), "--out", str(experiment.parent / "runs"), "--quiet"])
    assert left.value.code is None
    return experiment.parent / "runs" / "tiny"


@pytest.fixture
def copied(experiment: Path, finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "tiny", symlinks=True))


def ages(run: Path) -> dict[str, int]:
    """When each artefact was last touched, nanoseconds."""
    return {stage: newest(run / name) for stage, name in ARTEFACTS.items()}


def newest(path: Path) -> int:
    return max(entry.stat().st_mtime_ns for entry in (path, *path.rglob("*")))


def drafts(run: Path) -> list[Path]:
    return [path for path in run.rglob(".*") if re.match(r"\.[0-9a-f]{32}\.|\.vigie-", path.name)]


def test_six_stages_leave_six_artefacts(finished):
    assert all((finished / name).exists() for name in ARTEFACTS.values())
    assert (finished / "products" / "report.html").is_file()
    assert drafts(finished) == []


def test_labelled_scenes_are_mapped_by_who_did_not_see_them_and_others_by_the_final_model(finished):
    prediction = xr.open_datatree(finished / "prediction.zarr", engine="zarr", consolidated=False)
    model = {name: node.attrs["model"] for name, node in prediction["grid"].children.items()}
    assert model[UNLABELLED] == "all"
    assert {model[name] for name in LABELLED} == {"fold-0", "fold-1"}
    for name in LABELLED:
        card = json.loads((finished / "model" / model[name] / "card.json").read_text())
        assert name not in card["facts"]["trained_on"]


def test_the_card_tells_the_limits_that_the_application_states(finished):
    for fold in ("fold-0", "all"):
        assert read_card(finished / "model" / fold)["facts"]["limits"] == [LIMIT, *CLASSES.limits]
    assert CLASSES.limits[0] in (finished / "model" / "all" / "card.md").read_text(encoding="utf-8")


def test_the_story_names_no_subject_of_an_application():
    sources = {path.name: path.read_text(encoding="utf-8") for path in Path(training.__file__).parent.glob("*.py")}
    assert [name for name, text in sources.items() if SUBJECT.search(text)] == []


def test_rasters_are_cloud_optimised_and_georeferenced(finished):
    for part in (*LABELLED, UNLABELLED):
        folder = finished / "products" / part
        for product in ("class", "probability", "confidence", "spread", "flags"):
            valid, errors, warnings = cog_validate(folder / f"{product}.tif", strict=True)
            assert valid, (errors, warnings)
        with rasterio.open(folder / "class.tif") as raster:
            codes = np.unique(raster.read(1))
            assert raster.crs.to_epsg() == 32645
            assert raster.shape == (96, 96)
            assert set(codes.tolist()) <= {0, 1, 2, 3, 255}
        described = xr.load_dataset(folder / "prediction.nc", engine="h5netcdf")
        assert described.attrs["Conventions"].startswith("CF")
        assert list(described.data_vars) == sorted(described.data_vars)


def test_every_product_calls_a_variable_the_same(finished):
    folder = finished / "products" / UNLABELLED
    stored = xr.open_zarr(finished / "prediction.zarr", group=f"grid/{UNLABELLED}", consolidated=False)
    netcdf = xr.load_dataset(folder / "prediction.nc", engine="h5netcdf")
    item = json.loads((folder / f"{UNLABELLED}.json").read_text())
    for product, name in {"class": "map", "probability": "probability", "spread": "spread", "flags": "flags"}.items():
        said = named(name).long_name
        assert stored[name].attrs["long_name"] == netcdf[name].attrs["long_name"] == item["assets"][product]["title"] == said
        with rasterio.open(folder / f"{product}.tif") as raster:
            assert raster.tags(1)["DESCRIPTION"].startswith(said)
    with rasterio.open(folder / "spread.tif") as raster:
        assert raster.scales == (named("spread").step,)
    low, *_, high = re.findall(r'<item value="([^"]+)"', (folder / "spread.qml").read_text())
    assert (float(low), float(high)) == named("spread").shown


def test_inventories_are_read_by_others(finished):
    for part in (*LABELLED, UNLABELLED):
        file = finished / "products" / part / "inventory" / "inventory.gpkg"
        layers = set(gpd.list_layers(file)["name"])
        assert {"glaciers", "lakes"} <= layers
        assert gpd.read_file(file, layer="glaciers").crs is not None


def test_the_report_needs_nothing_else_and_tells_the_history(finished):
    page = (finished / "products" / "report.html").read_text(encoding="utf-8")
    assert REPORT.findall(page) == []
    assert "History: almaz" in page
    assert "2 maps of 2 days from 1994-09-14 to 2021-08-21" in page
    assert "Scores: classes" in page
    assert (finished / "products" / "history" / "almaz" / "glaciers" / "history.gpkg").is_file()


def test_our_own_model_is_called_a_model_by_the_report(finished):
    """It may hold forests: nothing that tells how good it is calls it a network."""
    page = (finished / "products" / "report.html").read_text(encoding="utf-8")
    scores = page[page.index("<h2>Scores: classes") : page.index("<h2>Glaciers")]
    assert scores.count('<tr class="ours"><th scope="row">model</th>') == 4
    assert "mapped by a model that never saw it; the reference methods learnt from what the model learnt from." in scores
    assert "Intervals come from 2 groups of scenes: with fewer than 10 they are too narrow for 95 %" in scores
    assert scores.count("How pixels are decided") == scores.count("★ best of its column") == 1
    assert "network" not in REPORT_IMAGE.sub("", scores)


def test_the_model_is_told_with_its_limits_first(finished):
    page = REPORT_IMAGE.sub("", (finished / "products" / "report.html").read_text(encoding="utf-8"))
    model = page[page.index("<h2>Model") : page.index("<h2>Provenance")]
    assert model.index("test elsewhere before use") < model.index("Which model made which map") < model.index("share")
    for part in (*LABELLED, UNLABELLED):
        assert part in model
    assert "1 × unet-groupnorm" in model and "{" not in model
    assert "publish, up to this page" in page[page.index("<h2>How to reproduce") :]


def test_scores_count_what_has_truth(finished):
    scores = xr.load_dataset(finished / "scores.nc", engine="h5netcdf", group="classes")
    assert scores["model"].values.tolist() == ["model"]
    assert scores["scene"].values.tolist() == sorted(LABELLED)
    confusion = xr.load_dataset(finished / "scores.nc", engine="h5netcdf", group="classes/confusion")["confusion"]
    shown, hits = 0, 0
    for name in LABELLED:
        node = open_scene(finished / "cube.zarr", f"grid/{name}").dataset
        counts = (node["flags"].values & (FLAGS["nodata"] | FLAGS["cloud"]) == 0) & (node["truth"].values != 255)
        mapped = prediction_of(finished, name)["map"].values
        shown, hits = shown + counts.sum(), hits + (counts & (mapped == node["truth"].values)).sum()
    assert int(confusion.sum()) == shown
    # Probabilities are stored in steps of 1e-4: equal ones may be decided otherwise than by the map.
    assert abs(int(np.trace(confusion.values[:, :4])) - hits) < 0.01 * shown
    assert "2 groups of scenes" in scores.attrs["intervals"]


def test_what_was_learnt_from_is_not_scored_and_that_is_said(experiment, copied):
    _, settings = load(experiment, ["train.folds.by='none'"])
    run = Run(settings, copied, base=experiment.parent)
    verification.verify(run, CLASSES, {})
    (section,) = score_sections(run, {})
    assert "every scene with truth was learnt from" in section.text


def test_a_model_trained_anew_is_predicted_with_anew(vigie, experiment, copied):
    """As after a retraining of the same settings that ends with other weights."""
    folder = copied / "model" / "all"
    before = {name: prediction_of(copied, name) for name in (UNLABELLED, LABELLED[0])}
    model = load_model(folder)
    for parameter in model.members[0].parameters():
        parameter.data.add_(0.1)
    model.save(folder)
    (copied / ".stages" / "predict.json").unlink()
    assert vigie("predict", experiment, "--out", copied.parent, "--quiet")[0] is None
    after = {name: prediction_of(copied, name) for name in before}
    assert not after[UNLABELLED]["probability"].equals(before[UNLABELLED]["probability"])
    assert after[LABELLED[0]]["probability"].equals(before[LABELLED[0]]["probability"])
    weights = json.loads(after[UNLABELLED].attrs["weights_sha256"])
    digest = hashlib.sha256((folder / "member-00.safetensors").read_bytes()).hexdigest()
    assert weights == {"member-00.safetensors": digest}


def prediction_of(run: Path, name: str) -> xr.Dataset:
    return xr.open_zarr(run / "prediction.zarr", group=f"grid/{name}", consolidated=False).load()


def test_the_machine_of_the_training_is_not_that_of_the_map(finished, tmp_path):
    card = read_card(finished / "model" / "all")
    card["facts"]["origin"]["predict"] |= {"device": "cuda:3", "precision": "bf16-mixed", "memory_gib": 900.0}
    assert experiment_of(card, Request(("a.tif",)), tmp_path)["predict"] == {"patch": 64, "overlap": 16}


def test_the_place_of_the_training_is_not_that_of_the_map(finished, tmp_path):
    card = read_card(finished / "model" / "all")
    grid = {"crs": "EPSG:32645", "resolution_m": 30.0, "bounds": [0.0, 0.0, 3000.0, 3000.0]}
    card["facts"]["origin"]["harmonize"]["grid"] = grid
    wanted = experiment_of(card, Request(("a.tif",)), tmp_path)
    assert wanted["harmonize"]["grid"] == {"resolution_m": 30.0}
    chosen = with_overrides(experiment_of(card, Request(("a.tif",)), tmp_path), ["harmonize.grid.crs=EPSG:32646"])
    assert chosen["harmonize"]["grid"] == {"resolution_m": 30.0, "crs": "EPSG:32646"}


def test_apply_tells_that_the_grid_of_the_training_does_not_count(vigie, experiment, copied, own, tmp_path):
    path = copied / "model" / "all" / "card.json"
    card = json.loads(path.read_text())
    card["facts"]["origin"]["harmonize"]["grid"] = {"crs": "EPSG:32646", "resolution_m": 30.0, "bounds": None}
    path.write_text(json.dumps(card))
    image, sensor = own / "synthetic_2015-08-21_dolma.tif", experiment.parent / "sensor.toml"
    code, _, err = vigie("apply", copied, image, "--sensor", sensor, "--out", tmp_path / "map")
    assert code is None
    assert "the training's grid does not count, images keep their own (--set harmonize.grid.*): crs = EPSG:32646" in err
    assert open_scene(tmp_path / "map" / "cube.zarr", f"grid/{image.stem}").grid.crs.to_epsg() == 32645


def test_weights_lie_where_the_experiment_says(experiment, tmp_path):
    own, shared = 'network={name="unet",weights="own/encoder.safetensors"}', 'beside=[{name="unet",weights="hub"}]'
    run = Run(load(experiment, [f"train.{own}", f"train.{shared}"])[1], tmp_path, base=experiment.parent)
    assert [kind.weights for kind in settings_of(run).train.networks] == [f"{experiment.parent}/own/encoder.safetensors", "hub"]
    assert weight_files(run) == [experiment.parent / "own" / "encoder.safetensors"]
    assert run.experiment.train.network.weights == "own/encoder.safetensors"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("train.network", '{name="unet",weights="shiped"}', "shiped'; expected"),
        ("train.network", '{name="unet",encoder="resnet18",weights="shipped"}', "'resnet18' come with vigie"),
        ("train.windows.size", "33", "cannot halve train.windows.size evenly; found 33 px"),
    ],
)
def test_what_no_network_could_take_is_told_before_anything_is_removed(vigie, experiment, copied, key, value, told):
    before = ages(copied)
    for command in ("explain", "run"):
        code, _, err = vigie(command, experiment, "--out", copied.parent, "--set", f"{key}={value}")
        assert code == 2 and told in err
    assert ages(copied) == before


def test_a_second_run_touches_nothing(vigie, experiment, finished):
    before = ages(finished)
    code, out, err = vigie("run", experiment, "--out", finished.parent)
    assert code is None
    assert err.count("done already, unchanged") == 6
    assert str(finished / "products" / "report.html") in out
    assert ages(finished) == before


def test_a_changed_setting_reruns_from_its_stage_on(vigie, experiment, copied):
    before = ages(copied)
    changed = ("--out", copied.parent, "--set", "predict.overlap=32")
    assert vigie("explain", experiment, *changed)[1].splitlines()[1].split() == ["to", "do", "predict,", "verify,", "publish"]
    assert vigie("predict", experiment, *changed)[0] is None
    code, _, err = vigie("publish", experiment, *changed)
    assert code == 2
    assert "run `vigie verify` first" in err
    assert vigie("verify", experiment, *changed)[0] is None
    after = ages(copied)
    assert {stage for stage in ARTEFACTS if after[stage] != before[stage]} == {"predict", "verify"}
    node = xr.open_zarr(copied / "prediction.zarr", group=f"grid/{UNLABELLED}", consolidated=False)
    assert json.loads(node.attrs["experiment"])["predict"]["overlap"] == 32
    assert int((node["map"] <= 3).sum()) > 9000


def test_another_patch_calibrates_anew_and_trains_nothing_anew(vigie, experiment, copied):
    other = ("train", experiment, "--out", copied.parent, "--set", "predict.patch=32")
    checkpoints, card = copied / "model" / ".training" / "fold-0", read_card(copied / "model" / "fold-0")
    before = {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*.safetensors")}
    code, _, err = vigie(*other)
    assert code is None
    assert "removed" not in err
    assert before and before == {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*.safetensors")}
    again = read_card(copied / "model" / "fold-0")
    assert again["members"] == card["members"]
    assert again["calibration"] != card["calibration"]
    assert "train: done already" in vigie(*other)[2]
    assert vigie("train", experiment, "--out", copied.parent)[0] is None
    assert read_card(copied / "model" / "fold-0")["calibration"] == card["calibration"]


def test_an_artefact_that_is_gone_is_made_again(vigie, experiment, copied):
    shutil.rmtree(copied / "prediction.zarr")
    assert vigie("predict", experiment, "--out", copied.parent)[0] is None
    before, after = (xr.open_zarr(r / "prediction.zarr", group=f"grid/{UNLABELLED}", consolidated=False).load()
                     for r in (experiment.parent / "runs" / "tiny", copied))  # fmt: skip
    assert before["probability"].identical(after["probability"])


def test_another_engine_leaves_the_same_products(vigie, experiment, finished, copied):
    for artefact in ("cube.zarr", "prediction.zarr", "products"):
        shutil.rmtree(copied / artefact)
    with at_noon():
        assert vigie("run", experiment, "--out", copied.parent, "--quiet", "--set", "engine={kind='dask',workers=1}")[0] is None
    page = html.unescape((copied / "products" / "report.html").read_text(encoding="utf-8"))
    assert '[engine]\nkind = "dask"' in page
    serial, dask = digests(finished), digests(copied)
    assert len(serial) > 100
    assert sorted(name for name, _ in serial.items() ^ dask.items()) == []


def digests(run: Path) -> dict[str, str]:
    """Hash what stages leave; the report tells of the engine and of the time that stages took."""
    artefacts = [run / name for name in ("cube.zarr", "prediction.zarr", "products")]
    files = [file for folder in artefacts for file in folder.rglob("*") if file.is_file() and file.name != "report.html"]
    files.append(run / "scores.nc")
    return {file.relative_to(run).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_quiet_says_nothing_and_a_log_says_what_where_and_how_long(vigie, experiment, copied):
    (copied / ".stages" / "verify.json").unlink()
    assert vigie("verify", experiment, "--out", copied.parent, "--quiet") == (None, "", "")
    (copied / ".stages" / "verify.json").unlink()
    code, _, err = vigie("verify", experiment, "--out", copied.parent)
    assert code is None
    assert re.search(rf"verify: left {copied}/scores.nc after [\d.]+ s", err)
    assert "\x1b" not in err
    assert "\r" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_stopped_run_leaves_nothing_half_written_and_goes_on(vigie, experiment, copied, monkeypatch, number, code):
    before = signal.getsignal(number)
    (copied / ".stages" / "publish.json").unlink()
    shutil.rmtree(copied / "products")
    write = products.write_netcdf

    def stopped(path: Path, *rest: object) -> None:
        write(path, *rest)
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(products, "write_netcdf", stopped)
        found, _, err = vigie("publish", experiment, "--out", copied.parent, "--quiet")
    assert found == code
    assert err == "vigie: stopped; run the same command again to go on where it was\n"
    assert drafts(copied) == []
    assert not (copied / "products" / "report.html").exists()
    assert not (copied / ".stages" / "publish.json").exists()
    assert (copied / "products" / LABELLED[0] / "prediction.nc").is_file()
    assert signal.getsignal(number) == before


def test_drafts_of_a_killed_run_are_removed(vigie, experiment, copied):
    draft = copied / f".{'0' * 32}.scores.nc"
    draft.write_bytes(b"half")
    (copied / ".stages" / "verify.json").unlink()
    assert vigie("verify", experiment, "--out", copied.parent)[0] is None
    assert drafts(copied) == []


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's own images of a third area: a satellite scene, a film, an elevation model, and outlines."""
    folder = tmp_path_factory.mktemp("own")
    area = Area("dolma", seed=7, size=96, west=540_000.0)
    scene = write_multispectral(folder, area, "2015-08-21")
    write_film(folder, area, "1973-08-20")
    with rasterio.open(scene) as source:
        profile = source.profile | {"count": 1, "dtype": "float32", "nodata": -9999.0}
        elevation = source.read(7).astype("float32")
    with rasterio.open(folder / "dem.tif", "w", **profile) as target:
        target.write(elevation, 1)
    for truth in folder.glob("truth_*"):
        truth.unlink()
    box = shapely.box(540_300, 3_097_900, 541_700, 3_099_400)
    outlines = gpd.GeoDataFrame({"rgi_id": ["RGI2000-v7.0-G-15-00001"]}, geometry=[box], crs="EPSG:32645")
    outlines.to_file(folder / "outlines.gpkg")
    outlines.translate(300_000).to_file(folder / "elsewhere.gpkg")
    return folder


@pytest.fixture(scope="module")
def mapped(finished: Path, own: Path) -> tuple[Path, str]:
    """The film with elevation and known outlines, mapped by `vigie apply`: its folder and what was said."""
    said, out = io.StringIO(), own / "mapped"
    words = ["apply", finished, own / "kh9_1973-08-20_dolma.tif", "--out", out]
    words += ["--dem", own / "dem.tif", "--outlines", own / "outlines.gpkg"]
    with pytest.raises(SystemExit) as left, contextlib.redirect_stderr(said):
        main([str(word) for word in words])
    assert left.value.code is None
    return out, said.getvalue()


def test_apply_maps_an_image_without_labels(vigie, experiment, finished, own, tmp_path):
    image, sensor = own / "synthetic_2015-08-21_dolma.tif", experiment.parent / "sensor.toml"
    words = ("apply", finished, image, "--sensor", sensor, "--out", tmp_path / "map")
    code, out, err = vigie(*words)
    assert code is None
    assert str(tmp_path / "map" / "products" / "report.html") in out
    assert "never saw" not in err
    folder = tmp_path / "map" / "products" / image.stem
    assert cog_validate(folder / "class.tif", strict=True)[0]
    assert (folder / "inventory" / "inventory.gpkg").is_file()
    page = (tmp_path / "map" / "products" / "report.html").read_text(encoding="utf-8")
    assert REPORT.findall(page) == []
    assert vigie(*words)[2].count("done already") == 4


def test_apply_maps_film_with_elevation_and_known_outlines(mapped):
    folder, said = mapped
    assert "the model never saw hexagon-kh9 (it learnt from synthetic-multispectral)" in said
    (scene,) = read_catalog(folder / "catalog.parquet")
    cube = open_scene(folder / "cube.zarr", f"grid/{scene.id}")
    assert cube.dataset["band"].values.tolist()[:3] == ["pan", "elevation", "slope"]
    part = folder / "products" / scene.id
    glaciers = gpd.read_file(part / "inventory" / "inventory.gpkg", layer="glaciers")
    assert glaciers["zmin_m"].notna().all()
    assert set(glaciers["dem_source"]) == {"dem.tif"}
    lines = gpd.read_file(part / "inventory" / "inventory.gpkg", layer="centrelines")
    assert lines.loc[lines["is_main"] == 1, "length_m"].tolist() == glaciers["lmax_m"].tolist()
    assert (part / "area_deviation.csv").read_text(encoding="utf-8").startswith("rgi_id,glac_name,src_date")
    assert "Known outlines" in (folder / "products" / "report.html").read_text(encoding="utf-8")


def test_the_report_of_apply_says_what_was_really_done(mapped, finished, own):
    folder, _ = mapped
    page = html.unescape(REPORT_IMAGE.sub("", (folder / "products" / "report.html").read_text(encoding="utf-8")))
    warning = "The model never saw hexagon-kh9 (it learnt from synthetic-multispectral): test its maps before use."
    assert warning in page[page.index("<h2>Maps") : page.index("<h2>Glaciers")]
    image, outlines = own / "kh9_1973-08-20_dolma.tif", own / "outlines.gpkg"
    told = f"vigie apply {finished} {image} --out {folder} --dem {own / 'dem.tif'} --outlines {outlines}"
    assert told in page[page.index("<h2>How to reproduce") :]
    assert "[harmonize]" in page and "[train" not in page and "[verify" not in page and "vigie run" not in page
    with rasterio.open(folder / "products" / image.stem / "class.tif") as product:
        assert "train" not in json.loads(product.tags()["VIGIE_EXPERIMENT"])


def test_apply_publishes_again_when_the_outlines_have_changed(vigie, finished, own, mapped, tmp_path):
    out, outlines = shutil.copytree(mapped[0], tmp_path / "mapped", symlinks=True), own / "outlines.gpkg"
    later = outlines.stat().st_mtime_ns + 60 * 10**9
    os.utime(outlines, ns=(later, later))
    words = ("--dem", own / "dem.tif", "--outlines", outlines, "--out", out)
    code, _, err = vigie("apply", finished, own / "kh9_1973-08-20_dolma.tif", *words)
    assert code is None
    assert f"publish: {outlines} has changed since it was read" in err
    assert err.count("done already") == 3


def test_apply_tells_a_disk_that_fills_up_under_an_inventory(vigie, finished, own, mapped, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise pyogrio.errors.FeatureError("Could not add feature to layer at index 7: No space left on device")

    out = shutil.copytree(mapped[0], tmp_path / "mapped", symlinks=True)
    monkeypatch.setattr(pyogrio, "write_dataframe", full)
    code, _, err = vigie("apply", finished, own / "kh9_1973-08-20_dolma.tif", "--dem", own / "dem.tif", "--out", out, "--quiet")
    assert code == 2
    assert re.fullmatch(r"vigie: cannot write .*/inventory\.gpkg; found Could not add .* with --out, .*\n", err)
    assert drafts(out) == []


def test_apply_names_the_layer_of_the_outlines(vigie, finished, own, tmp_path):
    words = (
        "--out",
        tmp_path / "map",
        "--outlines",
        own / "outlines.gpkg",
        "--set",
        "publish.outlines_layer=outline",
        "--quiet",
    )
    code, _, err = vigie("apply", finished, own / "kh9_1973-08-20_dolma.tif", *words)
    assert code == 2
    assert "outlines.gpkg has no layer 'outline'; found outlines; to mend it: did you mean 'outlines'?" in err
    assert not (tmp_path / "map").exists()


def test_apply_refuses_outlines_of_another_place_before_work(vigie, finished, own, tmp_path):
    image = own / "kh9_1973-08-20_dolma.tif"
    code, _, err = vigie("apply", finished, image, "--out", tmp_path / "map", "--outlines", own / "elsewhere.gpkg", "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "touch none of the images; found outlines at lon/lat" in err
    assert not (tmp_path / "map").exists()


REFUSED = {
    "nothing there": (["none.tif"], "check the path; relative ones start from "),
    "no sensor": (["synthetic_2015-08-21_dolma.tif"], "name the sensor (`sensor`, or --sensor of `vigie apply`)"),
    "no grid": (["kh9_1973-08-20_dolma.tif", "--set", "harmonize.grid.crs=EPSG:4326"], "a grid needs metres; found EPSG:4326"),
    "elsewhere": (
        ["kh9_1973-08-20_dolma.tif", "--set", "harmonize.grid.bounds=[0, 0, 30, 30]"],
        "to 542880 E, 3097120 to 3100000 N in EPSG:32645, grid 0 to 30 E",
    ),
}


@pytest.mark.parametrize(("words", "told"), REFUSED.values(), ids=REFUSED)
def test_a_refused_apply_leaves_nothing_and_takes_nothing_away(vigie, finished, own, tmp_path, words, told):
    mine = tmp_path / "mine" / "model"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("my own")
    (mine.parent / "catalog.parquet.txt").write_text("my own")
    before = {path: path.stat().st_mtime_ns for path in mine.parent.rglob("*") if path.is_file()}
    for out in (tmp_path / "new" / "map", mine.parent):
        code, _, err = vigie("apply", finished, own / words[0], *words[1:], "--out", out, "--quiet")
        assert (code, err.count("\n")) == (2, 1)
        assert told in err
    assert sorted(tmp_path.rglob("*")) == sorted([mine.parent, mine, *before])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_refused_apply_leaves_finished_maps_as_they_are(vigie, finished, mapped, own):
    before = {path: path.read_bytes() for path in mapped[0].rglob("*") if path.is_file() and not path.name.endswith(".begun")}
    code, _, err = vigie("apply", finished, own / "nothere.tif", "--out", mapped[0], "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    left = {path: path.read_bytes() for path in before if path.exists()}
    # The stage that was refused is not done any more.
    assert {path for path in before if path not in left} == {mapped[0] / ".stages" / "acquire.json"}
    assert all(left[path] == before[path] for path in left)


@pytest.mark.parametrize("name", ["catalog.parquet", "cube.zarr/mine.txt", "products/mine.txt"])
def test_what_no_run_has_left_is_not_removed(vigie, experiment, finished, own, tmp_path, name):
    for out, words in (
        (tmp_path / "map", ("apply", finished, own / "kh9_1973-08-20_dolma.tif", "--out", tmp_path / "map")),
        (tmp_path / "tiny", ("run", experiment, "--out", tmp_path)),
    ):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("my own")
        code, _, err = vigie(*words, "--quiet")
        assert (code, err.count("\n")) == (2, 1)
        assert f"would remove what a run did not make; found {out / Path(name).parts[0]}; expected a new folder" in err
        assert [path.name for path in out.rglob("*") if path.is_file()] == [Path(name).name]


@pytest.mark.parametrize("verb", ["run", "apply", "compare"])
def test_a_file_is_no_folder_to_write_to(vigie, experiment, finished, own, tmp_path, verb):
    (tmp_path / "file").write_text("my own")
    words = {"run": [experiment], "apply": [finished, own / "kh9_1973-08-20_dolma.tif"], "compare": [finished]}[verb]
    code, _, err = vigie(verb, *words, "--out", tmp_path / "file")
    assert (code, err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'file'} is a file; to mend it: choose another folder for --out" in err
    assert (tmp_path / "file").read_text() == "my own"


def test_runs_and_models_of_other_versions_are_told(vigie, experiment, copied, own, tmp_path, monkeypatch):
    monkeypatch.setattr("vigie.story.run.FORMAT", 1)
    code, _, err = vigie("publish", experiment, "--out", copied.parent)
    assert code == 2 and "'publish' works on what 'acquire' leaves, which is not done; found" in err
    card = copied / "model" / "all" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"format": 3}))
    code, _, err = vigie("apply", copied, own / "kh9_1973-08-20_dolma.tif", "--out", tmp_path / "map")
    assert code == 2 and "is of another version of vigie; found format 3" in err and "train it again" in err


def test_apply_refuses_a_folder_that_holds_maps_of_another_model(vigie, copied, mapped, own):
    before = newest(mapped[0])
    card = copied / "model" / "all" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"calibration": {"*": {"temperature": 2.0, "bias": []}}}))
    code, _, err = vigie("apply", copied, own / "kh9_1973-08-20_dolma.tif", "--out", mapped[0], "--quiet")
    assert code == 2
    assert "holds maps of another model" in err
    assert newest(mapped[0]) == before


@pytest.mark.parametrize("place", ["", "model", "model/all", "model/all/maps"])
@pytest.mark.parametrize("model", ["", "model/all", "model/fold-0"])
def test_apply_does_not_map_into_the_folder_of_a_trained_model(vigie, finished, own, model, place):
    before = newest(finished)
    code, _, err = vigie("apply", finished / model, own / "kh9_1973-08-20_dolma.tif", "--out", finished / place, "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "where a trained model lies; found" in err and "choose another --out" in err and "delete" not in err
    assert newest(finished) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda card: card["facts"].pop("origin"),
            "found no facts.origin.app, facts.origin.harmonize, facts.origin.predict.patch",
        ),
        (lambda card: card["facts"]["origin"]["predict"].pop("overlap"), "found no facts.origin.predict.overlap; expected"),
        (
            lambda card: card["members"]["member-00.safetensors"].pop("network"),
            "no sha256 or network of 'member-00.safetensors'",
        ),
        (lambda card: card["members"]["member-00.safetensors"]["network"].update(widths=[8, 32]), "do not fit the network"),
    ],
    ids=["no origin", "no overlap", "no network", "another network"],
)
def test_apply_refuses_a_card_that_does_not_fit_before_anything_is_written(vigie, copied, own, tmp_path, change, told):
    path = copied / "model" / "all" / "card.json"
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    image, out = own / "synthetic_2015-08-21_dolma.tif", tmp_path / "map"
    code, _, err = vigie("apply", copied, image, "--sensor", sensor_file(), "--out", out, "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert told in err and "to mend it: " in err
    assert not out.exists()


def test_apply_refuses_a_model_of_another_legend(vigie, copied, own, tmp_path):
    card = copied / "model" / "all" / "card.json"
    record = json.loads(card.read_text())
    record["legend"]["classes"][3]["name"] = "lava"
    card.write_text(json.dumps(record))
    code, _, err = vigie("apply", copied, own / "kh9_1973-08-20_dolma.tif", "--out", tmp_path / "map")
    assert code == 2
    assert "is for another legend; found land, clean ice, debris-covered ice, lava; expected" in err
    assert not (tmp_path / "map").exists()


def test_truncated_weights_are_refused(vigie, copied, own, tmp_path):
    weights = copied / "model" / "all" / "member-00.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, _, err = vigie("apply", copied, own / "kh9_1973-08-20_dolma.tif", "--out", tmp_path / "map", "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "are not those of the card; found sha256" in err
    assert not (tmp_path / "map").exists()


def test_a_truncated_checkpoint_is_refused(vigie, experiment, copied):
    (copied / ".stages" / "train.json").unlink()
    (checkpoint,) = (copied / "model" / ".training" / "all" / "member-00").glob("step-*")
    (checkpoint / "weights.safetensors").write_bytes(b"\x10")
    code, _, err = vigie("train", experiment, "--out", copied.parent, "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "weights cannot be read" in err


def test_compare_gives_one_table_and_one_figure(vigie, finished, copied, tmp_path):
    other = copied.rename(copied.with_name("other"))
    code, out, _ = vigie("compare", finished, other, "--out", tmp_path / "comparison")
    assert code is None
    assert {path.name for path in (tmp_path / "comparison").iterdir()} == {"comparison.csv", "comparison.png"}
    table = (tmp_path / "comparison" / "comparison.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 4
    assert "tiny" in out
    assert "other" in out
    assert out.endswith("table: {0}/comparison.csv\nfigure: {0}/comparison.png\n".format(tmp_path / "comparison"))
