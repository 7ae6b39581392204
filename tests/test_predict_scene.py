"""Prediction of scenes: the same bytes for any tiling, engine and number of threads; what is known stays known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from vigie.core import store
from vigie.core.cube import FLAGS, band_coordinates
from vigie.core.engine import Dask, Engine, Serial, Threads
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.scene import Band
from vigie.core.tiles import Window, tiles
from vigie.harmonize.cube import CubeReader
from vigie.learn.calibration import Calibration
from vigie.learn.heads import ClassHead
from vigie.learn.model import Model, read_card
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling, measure
from vigie.predict.blend import RowBlender
from vigie.predict.forward import even_batch, run, streams_of
from vigie.predict.memory import check_memory, needed_gib, network_bytes, networks_gib, panel_gib
from vigie.predict.rows import Look
from vigie.predict.scene import Job, ScenePrediction, template
from vigie.predict.settings import PredictSettings

LEGEND = Legend(
    "cover", (LegendClass(2, "land", "#aaaaaa"), LegendClass(5, "ice", "#3fa9f5"), LegendClass(9, "lake", "#0000ff"))
)
TINY = NetworkSettings(widths=(8, 8), stem_channels=8)
FINE = PredictSettings(patch=32, overlap=8, lines=32, panel=512, device="cpu")


@dataclass(frozen=True)
class Scene:
    """A scene in memory, as a reader."""

    dataset: xr.Dataset

    def __call__(self, window: Window) -> xr.Dataset:
        return self.dataset.isel({d: window[d] for d in ("y", "x")}).copy(deep=True)

    @property
    def sizes(self) -> tuple[int, int]:
        return self.dataset.sizes["y"], self.dataset.sizes["x"]


def scene_of(observation: NDArray[np.float32], flags: NDArray[np.uint8] | None = None) -> Scene:
    wavelengths = np.linspace(0.45, 2.2, len(observation))
    bands = [Band(f"b{i}", "reflectance", "", 1, 10.0, "1", float(w), 0.05) for i, w in enumerate(wavelengths)]
    flags = np.zeros(observation.shape[1:], dtype=np.uint8) if flags is None else flags
    variables = {"observation": (("band", "y", "x"), observation.astype(np.float32)), "flags": (("y", "x"), flags)}
    return Scene(xr.Dataset(variables, band_coordinates(bands), {"scene": "made", "sensor": "made"}))


def noisy(height: int, width: int, bands: int = 4, seed: int = 0) -> Scene:
    """Noise with a corner without data, a few NaN and a few saturated pixels."""
    random = np.random.default_rng(seed)
    observation = random.gamma(2.0, 0.1, (bands, height, width)).astype(np.float32)
    flags = np.zeros((height, width), dtype=np.uint8)
    flags[random.random((height, width)) < 0.01] = FLAGS["saturated"]
    corner = np.add.outer(np.arange(height), np.arange(width)) < min(height, width) // 2
    observation[:, corner], flags[corner] = np.nan, FLAGS["nodata"]
    return scene_of(observation, flags)


def save(
    folder: Path, members: int = 1, network: NetworkSettings = TINY, scaling: RobustScaling | None = None, seed: int = 7
) -> Path:
    torch.manual_seed(seed)
    networks = [build(network, len(LEGEND.classes)).eval() for _ in range(members)]
    for member in networks:
        for parameter in member.body.head.parameters():
            nn.init.normal_(parameter, std=2.0)  # fresh networks say 1/3 of everything
    Model(networks, [network] * members, LEGEND, scaling or RobustScaling(), {"*": Calibration(1.3)}).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "one")


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "three", members=3)


def prepare(
    path: Path, scene: Scene, model: Path, settings: PredictSettings = FINE, scaling: RobustScaling | None = None
) -> ScenePrediction:
    """Make the empty store, in chunks of 32 lines whatever the tiles are, and the work that fills it."""
    y, x = scene.sizes
    coordinates = {"y": np.arange(y, dtype=np.float64), "x": np.arange(x, dtype=np.float64)}
    store.create(path, template(coordinates, scene.sizes, ClassHead(LEGEND)), {"y": 32, "x": 512}, "node")
    statistics = measure(scene, {"y": y, "x": x}, scaling or RobustScaling())
    return ScenePrediction(model, scene, scene.sizes, statistics, path, "node", settings)


def predict(path: Path, scene: Scene, model: Path, settings: PredictSettings = FINE) -> xr.Dataset:
    work = prepare(path, scene, model, settings)
    for job in work.jobs():
        assert work(job) == len(job.tiles)
    return xr.open_zarr(path, group="node", consolidated=False, chunks=None, mask_and_scale=False).load()


def read_scaling(model: Path) -> RobustScaling:
    return RobustScaling.model_validate(read_card(model)["scaling"])


def digest(path: Path) -> str:
    """Hash the names and bytes of every file of a store."""
    found = hashlib.sha256()
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        found.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def filled(
    path: Path, scene: Scene, model: Path, settings: PredictSettings, engine: Engine, tiles_a_job: int | None = None
) -> str:
    work = prepare(path, scene, model, settings, read_scaling(model))
    jobs = work.jobs(tiles_a_job)
    assert sum(engine.map(work, jobs)) == len(work.tiles())
    assert work.jobs() == []
    return digest(path)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_tiling_changes_no_byte(tmp_path: Path, model: Path) -> None:
    scene = noisy(100, 1100)
    whole = filled(tmp_path / "whole", scene, model, FINE.model_copy(update={"lines": 160, "panel": 2048}), Serial())
    for number, (lines, panel, tiles_a_job) in enumerate([(32, 512, None), (64, 1024, 1), (96, 2048, 1)]):
        settings = FINE.model_copy(update={"lines": lines, "panel": panel})
        assert filled(tmp_path / str(number), scene, model, settings, Serial(), tiles_a_job) == whole


@pytest.mark.parametrize(
    "scaling", [RobustScaling(reflectances=kind) for kind in ("percentiles", "colour")], ids=["percentiles", "colour"]
)
def test_threads_change_no_byte(tmp_path: Path, scaling: RobustScaling) -> None:
    scene, model = noisy(100, 600), save(tmp_path / "model", scaling=scaling)
    here = filled(tmp_path / "serial", scene, model, FINE, Serial())
    assert filled(tmp_path / "threads", scene, model, FINE, Threads(3), 1) == here


@pytest.mark.filterwarnings("ignore")  # Dask warns of its own habits
def test_dask_changes_no_byte(tmp_path: Path, model: Path) -> None:
    scene = noisy(100, 600)
    here = filled(tmp_path / "serial", scene, model, FINE, Serial())
    work = replace(prepare(tmp_path / "dask", scene, model), reader=cube(tmp_path / "cube.zarr", scene))
    assert sum(Dask(workers=2).map(work, work.jobs(1))) == len(work.tiles())
    assert digest(tmp_path / "dask") == here


def cube(path: Path, scene: Scene) -> CubeReader:
    """Keep a scene on disk: a worker of its own process cannot import what a test made."""
    y, x = scene.sizes
    store.create(path, scene.dataset, {"y": 32, "x": 32}, "node")
    store.write(path, tiles({"y": y, "x": x}, {"y": y, "x": x})[0], scene.dataset, "node")
    return CubeReader(path, "node")


@pytest.mark.parametrize("name", ["unet-groupnorm", "unet-channelnorm"])
@pytest.mark.parametrize("threads", [2, 3])
def test_number_of_threads_changes_no_byte(tmp_path: Path, name: str, threads: int) -> None:
    # Wide enough for convolutions to round differently where several threads share a patch.
    model = save(tmp_path / "model", network=NetworkSettings(name=name, widths=(16, 32), stem_channels=16))
    scene, settings = noisy(128, 256), FINE.model_copy(update={"patch": 128, "overlap": 32})
    with torch_threads(1):
        alone = filled(tmp_path / "alone", scene, model, settings, Serial())
    with torch_threads(threads):
        assert filled(tmp_path / "together", scene, model, settings, Serial()) == alone
        assert torch.get_num_threads() == threads


def test_the_next_job_begins_anywhere(tmp_path: Path, model: Path) -> None:
    scene = noisy(192, 512)
    whole = filled(tmp_path / "whole", scene, model, FINE, Serial())
    work = prepare(tmp_path / "parts", scene, model)
    for number in np.random.default_rng(0).permutation(len(work.tiles())):
        assert work(Job((work.tiles()[number],))) == 1
    assert digest(tmp_path / "parts") == whole


def test_a_network_that_sees_one_pixel_gives_the_image_back(tmp_path: Path) -> None:
    # An oracle: with a network that has no neighbourhood, blending must change nothing.
    scene, model = noisy(70, 90, bands=1), Model([Pixelwise()], [TINY], LEGEND, RobustScaling(), {"*": Calibration(0.5)})
    work = prepare(tmp_path / "store", scene, tmp_path)
    for job in work.jobs():
        list(work.run(job, model))
    found = xr.open_zarr(work.store, group="node", consolidated=False, mask_and_scale=False).load()
    middle, low, high = (float(work.statistics[name][0]) for name in ("p50", "p16", "p84"))
    z = np.clip((scene.dataset["observation"].values[0].astype(float) - middle) / (high - low), -10, 10)
    odds = np.exp(np.stack([0 * z, z, -z]) / 0.5)
    expected = odds / odds.sum(axis=0)
    valid = (scene.dataset["flags"].values & FLAGS["nodata"]) == 0
    assert np.abs(found["probability"].values * 1e-4 - expected)[:, valid].max() < 0.6e-4
    margin = np.sort(expected, axis=0)
    clear = valid & (margin[-1] - margin[-2] > 1e-5)
    assert (found["map"].values == np.array([2, 5, 9])[expected.argmax(axis=0)])[clear].all()


class Pixelwise(nn.Module):
    """Logits 0, z, -z of the first band."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([0.0, 1.0, -1.0]), requires_grad=False)

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        return x[:, :1] * self.gain[:, None, None]


def test_no_data_stays_no_data_and_flags_are_kept(tmp_path: Path, ensemble: Path) -> None:
    scene = noisy(120, 130)
    found, flags = predict(tmp_path / "store", scene, ensemble), scene.dataset["flags"].values
    missing = (flags & FLAGS["nodata"]) != 0
    assert missing.any() and not missing.all()
    assert (found["flags"].values == flags).all()
    assert (found["map"].values[missing] == LEGEND.unknown).all()
    assert (found["probability"].values[:, missing] == 65535).all() and (found["spread"].values[missing] == 65535).all()
    assert set(np.unique(found["map"].values[~missing])) <= {2, 5, 9}
    assert (found["probability"].values[:, ~missing] <= 10000).all() and (found["spread"].values[~missing] <= 10000).all()


def test_what_lies_in_pixels_without_data_changes_nothing_else(tmp_path: Path, model: Path) -> None:
    scene = noisy(100, 100)
    dirty = scene_of(np.nan_to_num(scene.dataset["observation"].values, nan=7.0), scene.dataset["flags"].values)
    assert filled(tmp_path / "a", scene, model, FINE, Serial()) == filled(tmp_path / "b", dirty, model, FINE, Serial())


def test_a_patch_without_data_is_not_looked_at(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = noisy(64, 200)
    scene.dataset["flags"][:, 60:] = FLAGS["nodata"]
    asked: list[int] = []
    ask = Model.logits
    monkeypatch.setattr(Model, "logits", lambda self, x, mask, bands: asked.append(len(x)) or ask(self, x, mask, bands))
    found = predict(tmp_path / "store", scene, model)
    assert len(asked) == 3 * 3  # of 3 x 8 patches
    assert (found["map"].values[:, 60:] == LEGEND.unknown).all()


def test_probabilities_sum_to_one_and_the_map_is_the_most_probable(tmp_path: Path, ensemble: Path) -> None:
    found = predict(tmp_path / "store", noisy(90, 90), ensemble)
    valid = found["map"].values != LEGEND.unknown
    probability = found["probability"].values[:, valid].astype(int)
    assert abs(probability.sum(axis=0) - 10000).max() <= 2
    code = np.searchsorted(LEGEND.codes, found["map"].values[valid])
    assert (probability[code, np.arange(code.size)] >= probability.max(axis=0) - 1).all()
    assert np.unique(found["map"].values[valid]).size > 1


def test_probability_reads_back_in_its_units(tmp_path: Path, model: Path) -> None:
    predict(tmp_path / "store", noisy(40, 40), model)
    found = xr.open_zarr(tmp_path / "store", group="node", consolidated=False)
    assert np.isnan(found["probability"].values[:, 0, 0]).all()
    assert float(found["probability"].max()) <= 1.0 and found["class_name"].values.tolist() == ["land", "ice", "lake"]


def test_spread_is_zero_for_one_member_and_for_members_that_agree(tmp_path: Path, model: Path, ensemble: Path) -> None:
    scene = noisy(64, 64)
    one = predict(tmp_path / "one", scene, model)
    valid = one["map"].values != LEGEND.unknown
    assert (one["spread"].values[valid] == 0).all()
    three = predict(tmp_path / "three", scene, ensemble)
    assert three["spread"].values[valid].max() > 100
    assert not (three["probability"].values == one["probability"].values).all()
    single = predict_with(tmp_path / "twins", scene, [Pixelwise(), Pixelwise()])
    assert (single["spread"].values[valid] == 0).all()


def test_spread_is_one_when_sure_members_contradict_each_other(tmp_path: Path) -> None:
    scene = noisy(40, 40)
    found = predict_with(tmp_path / "store", scene, [Always(i) for i in range(3)])
    valid = found["map"].values != LEGEND.unknown
    assert (found["spread"].values[valid] == 10000).all()
    assert abs(found["probability"].values[:, valid].astype(int) - 3333).max() == 0


class Always(Pixelwise):
    """Sure of one class."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor, mask: Tensor, bands: Tensor) -> Tensor:
        logits = torch.full((len(x), 3, *x.shape[2:]), -200.0)
        logits[:, self.number] = 200.0
        return logits


def predict_with(path: Path, scene: Scene, members: Sequence[nn.Module]) -> xr.Dataset:
    work, model = prepare(path, scene, path), Model(members, [TINY] * len(members), LEGEND, RobustScaling())
    for job in work.jobs():
        list(work.run(job, model))
    return xr.open_zarr(path, group="node", consolidated=False, mask_and_scale=False).load()


def test_a_constant_field_gives_the_same_everywhere_but_near_patch_borders(tmp_path: Path) -> None:
    model = save(tmp_path / "model", network=NetworkSettings(name="unet-channelnorm", widths=(8, 8), stem_channels=8))
    scene = scene_of(np.full((3, 100, 140), 0.4, dtype=np.float32))
    found = predict_with(tmp_path / "pixelwise", scene, [Pixelwise()])
    assert np.unique(found["probability"].values) == pytest.approx([3333])
    deep = predict(tmp_path / "deep", scene, model, FINE.model_copy(update={"patch": 64, "overlap": 16}))
    # Patches start 38 lines and 36 to 40 columns apart: what two of them see alike they map alike.
    centre = deep["probability"].values[:, 26:30, 26:28]
    assert (centre == centre[:, :1, :1]).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (20, 20), (33, 31), (300, 5)])
def test_scenes_of_awkward_size(tmp_path: Path, model: Path, height: int, width: int) -> None:
    observation = np.random.default_rng(0).random((2, height, width))
    found = predict(tmp_path / "store", scene_of(observation), model)
    assert found["map"].shape == (height, width)
    assert (found["map"].values != LEGEND.unknown).all()
    assert abs(found["probability"].values.astype(int).sum(axis=0) - 10000).max() <= 2


@pytest.mark.parametrize("bands", [1, 2, 13])
def test_any_number_of_bands(tmp_path: Path, model: Path, bands: int) -> None:
    found = predict(tmp_path / "store", noisy(40, 60, bands), model)
    assert np.unique(found["probability"].values).size > 100


def test_a_model_that_was_trained_anew_is_read_anew(tmp_path: Path) -> None:
    scene, folder = noisy(64, 64), save(tmp_path / "model")
    first, planned = predict(tmp_path / "first", scene, folder), prepare(tmp_path / "planned", scene, folder)
    save(folder, seed=8)
    with pytest.raises(VigieError, match="has changed while it was predicted with"):
        planned(planned.jobs()[0])
    again = predict(tmp_path / "again", scene, folder)
    assert not again["probability"].equals(first["probability"])
    assert again.equals(predict(tmp_path / "fresh", scene, save(tmp_path / "other", seed=8)))


def test_memory_is_refused_before_any_work() -> None:
    settings = FINE.model_copy(update={"panel": 2**20, "memory_gib": 0.5})
    with pytest.raises(VigieError, match=r"does not fit in memory.*GiB.*predict.panel") as refused:
        check_memory(settings, (10**6, 10**6), 3, [TINY])
    assert "memory_gib = 0.5" in str(refused.value)
    check_memory(settings.model_copy(update={"panel": 512}), (10**6, 10**6), 3, [TINY])


def test_memory_counts_the_networks_of_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = TINY.model_copy(update={"widths": (64, 64)})
    assert network_bytes(wide, 3, 32) > 4 * network_bytes(TINY, 3, 32)
    assert network_bytes(TINY, 3, 64) == pytest.approx(4 * network_bytes(TINY, 3, 32), rel=0.1)
    assert network_bytes(TINY, 3, 64) > 64**2 * 4 * (12 + 8 + 3)  # a patch, its features and its classes at the least
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    each = network_bytes(wide, 3, FINE.patch) / 2**30
    assert networks_gib([TINY, wide], 3, FINE.patch, "cpu") == pytest.approx(6 * each)
    assert needed_gib(FINE, (99, 99), 3, [wide]) == pytest.approx(panel_gib(FINE, (99, 99), 3, 1) + 6 * each)
    assert networks_gib([wide], 3, FINE.patch, "cuda:0") == 0


def test_what_is_in_memory_is_bounded_by_the_panel(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the scene: rows read are a patch high, lines blended a tile and a patch, both as wide as a panel."""
    scene, windows, buffers = noisy(400, 1300), [], []
    add = RowBlender.add

    def watched(self: RowBlender, *given: object) -> None:
        add(self, *given)  # type: ignore[arg-type]
        buffers.append(self._sum.shape[1:])

    monkeypatch.setattr(RowBlender, "add", watched)
    work = prepare(tmp_path / "store", scene, model)
    object.__setattr__(work, "reader", lambda window: (windows.append(window), scene(window))[1])
    for job in work.jobs():
        work(job)
    assert max(window["y"].stop - window["y"].start for window in windows) <= FINE.patch
    assert max(window["x"].stop - window["x"].start for window in windows) <= FINE.panel + 2 * FINE.patch
    assert max(buffers)[0] <= FINE.lines + FINE.patch and max(width for _, width in buffers) <= FINE.panel


@pytest.mark.parametrize("wrong", [{"patch": 64, "overlap": 64}, {"patch": 32}, {"device": "gpu"}, {"device": "cuda:"}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fewer pixels than predict.patch|'auto', 'cpu', 'cuda', or one GPU"):
        PredictSettings(**wrong)


def test_a_patch_that_the_network_cannot_halve_is_one_clear_error(tmp_path: Path, model: Path) -> None:
    work = prepare(tmp_path / "store", noisy(64, 64), model, FINE.model_copy(update={"patch": 33}))
    with pytest.raises(VigieError, match="cannot halve this crop"):
        work(work.jobs()[0])


def test_what_fails_while_reading_ahead_is_told(tmp_path: Path, model: Path) -> None:
    work = prepare(tmp_path / "store", noisy(64, 64), model)

    def broken(window: Window) -> xr.Dataset:
        raise VigieError("cannot read the scene")

    object.__setattr__(work, "reader", broken)
    with pytest.raises(VigieError, match="cannot read the scene"):
        work(work.jobs()[0])
    assert len(work.jobs()) == 1


def test_batches_of_a_row_have_one_size_and_padding_is_dropped(model: Path) -> None:
    from vigie.predict.scene import cached_model

    scene, network = noisy(32, 200), cached_model(model, "cpu", "32-true")
    scaling = RobustScaling(reflectances="percentiles")
    statistics = measure(scene, {"y": 32, "x": 200}, scaling)
    row = Look(scene, scene.sizes, statistics, scaling, 32)(0, np.arange(0, 161, 40))
    batches = list(row.batches(even_batch(5, 4)))
    assert [batch.inputs[0].shape for batch in batches] == [(3, 4, 32, 32)] * 2
    alone = [run(network, batch)[1][0] for batch in row.batches(1)]
    together = np.concatenate([run(network, batch)[1] for batch in batches])
    np.testing.assert_allclose(together, np.stack(alone), atol=2e-5)
    assert streams_of(network).count == torch.get_num_threads()
