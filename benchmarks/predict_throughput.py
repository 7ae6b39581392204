"""What does prediction cost beside the network alone? Same network, same patches (overlaps included) already in memory.

`python benchmarks/predict_throughput.py --size 2048` writes a 4-band uint16 COG of that size once, and runs in processes of
their own
  bare       the network's forward pass alone, patches of `--batch` in torch's own threads: what most code does
  streams    the same, each patch alone in one thread and as many at a time as there are threads: the fastest we know
  predict    everything `vigie` does: read the COG, measure its percentiles, standardise, network, softmax, blend, write Zarr
and prints seconds, million pixels of the scene a second, peak memory, and the ratios of predict to both. The bars: at least
0.85 of the bare pass, less than 2.5 GB above its memory, and no more for a larger scene.

`--lines 1024` predicts only the first lines (of any size of scene), `--widths 8 16` takes a smaller network. The ratio by
processor time is what other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import torch
from affine import Affine

from vigie.apps.glaciers.classes import LEGEND
from vigie.core import store
from vigie.core.grid import coordinates
from vigie.core.scene import Band, Scene
from vigie.harmonize.grids import scene_grid
from vigie.harmonize.reader import SceneReader
from vigie.learn.bands import WIDTH
from vigie.learn.heads import ClassHead
from vigie.learn.model import Model
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling, measure
from vigie.predict.forward import streams_of
from vigie.predict.lattice import Lattice
from vigie.predict.scene import Job, ScenePrediction, cached_model, template
from vigie.predict.settings import PredictSettings

BANDS = (("blue", 0.49), ("green", 0.56), ("red", 0.665), ("nir", 0.842))
FRAME = Affine(10, 0, 450_000, 0, -10, 3_100_000)
CRS, BLOCK, POOL = "EPSG:32645", 512, 4
MODES = ("bare", "streams", "predict")


def main() -> None:
    """Make the inputs, run every mode, and print what they took."""
    wanted = arguments()
    if wanted.only:
        print(json.dumps({"bare": bare, "streams": streams, "predict": predict}[wanted.only](wanted)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = wanted.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write_scene(folder / f"scene-{wanted.size}.tif", wanted.size)
        write_model(folder / "model", wanted.widths)
        runs = [{mode: child(mode, folder) for mode in MODES} for _ in range(wanted.repeats)]
    print(json.dumps(summary(wanted, runs), indent=1))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the scene, pixels")
    parser.add_argument("--lines", type=int, default=None, help="predict only so many lines from the top")
    parser.add_argument("--widths", type=int, nargs="+", default=list(NetworkSettings().widths))
    parser.add_argument("--patch", type=int, default=PredictSettings().patch)
    parser.add_argument("--overlap", type=int, default=PredictSettings().overlap)
    parser.add_argument("--batch", type=int, default=PredictSettings().batch)
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the scene and the model here")
    parser.add_argument("--only", choices=MODES, help="used by the benchmark itself")
    return parser.parse_args()


def child(mode: str, folder: Path) -> dict[str, float]:
    """Run one mode in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", mode, "--folder", str(folder)]
    told: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(mode, told, file=sys.stderr)
    return told


def summary(wanted: argparse.Namespace, runs: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians over the repeats, and ratios to the bare passes."""

    def middle(mode: str, key: str) -> float:
        return statistics.median(run[mode][key] for run in runs)

    pixels = wanted.size * min(wanted.lines or wanted.size, wanted.size) / 1e6
    return {
        "scene": f"{wanted.size} x {wanted.size} x {len(BANDS)}, {pixels:.1f} Mpx predicted",
        "network": f"unet-groupnorm {wanted.widths}",
        "threads": torch.get_num_threads(),
        "patches": runs[0]["predict"]["patches"],
        "seconds": {mode: round(middle(mode, "seconds"), 2) for mode in MODES},
        "processor_seconds": {mode: round(middle(mode, "processor_seconds"), 2) for mode in MODES},
        "seconds_measuring_percentiles": round(middle("predict", "measuring"), 2),
        "megapixels_a_second": {mode: round(pixels / middle(mode, "seconds"), 4) for mode in MODES},
        "peak_gb": {mode: round(middle(mode, "peak_gb"), 3) for mode in MODES},
        "peak_gb_above_bare": round(middle("predict", "peak_gb") - middle("bare", "peak_gb"), 3),
        **{f"ratio_to_{m}": round(middle(m, "seconds") / middle("predict", "seconds"), 3) for m in MODES[:2]},
        **{
            f"ratio_to_{m}_by_processor_time": round(middle(m, "processor_seconds") / middle("predict", "processor_seconds"), 3)
            for m in MODES[:2]
        },
    }


@contextmanager
def timed(told: dict[str, float]) -> Iterator[None]:
    """Note clock and processor time of what is done inside, and the process's peak memory so far."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    told["seconds"], told["processor_seconds"] = time.perf_counter() - clock, time.process_time() - processor
    told["peak_gb"] = peak_gb()


def peak_gb() -> float:
    """Peak memory of this program. (`getrusage` would give the peak of the parent it was forked from, where that is larger.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return kilobytes * 1024 / 1e9


def predict(wanted: argparse.Namespace) -> dict[str, float]:
    """Predict the scene straight from its COG."""
    work, told = prediction(wanted), {"patches": float(patches(wanted))}
    model = cached_model(work.model, "cpu", wanted.precision)
    with timed(told):
        begin = time.perf_counter()
        y, x = work.sizes
        work.statistics.update(measure(work.reader, {"y": y, "x": x}, model.scaling))
        told["measuring"] = time.perf_counter() - begin
        for job in jobs(work, wanted):
            work(job)
    return told


def prediction(wanted: argparse.Namespace) -> ScenePrediction:
    """Everything the prediction needs but the percentiles, and its empty store."""
    bands = tuple(
        Band(name, "reflectance", str(wanted.folder / f"scene-{wanted.size}.tif"), i, 10.0, "1", um, 0.06, 1e-4, nodata=0)
        for i, (name, um) in enumerate(BANDS, start=1)
    )
    sizes = (wanted.size, wanted.size)
    scene = Scene("made", "made", None, bands, CRS, tuple(FRAME)[:6], sizes, {})  # type: ignore[arg-type]
    reader = SceneReader(scene, scene_grid(scene))
    settings = settings_of(wanted)
    path = wanted.folder / "prediction.zarr"
    store.create(path, template(coordinates(reader.grid), sizes, ClassHead(LEGEND)), {"y": settings.lines, "x": 512}, "made")
    import xarray as xr

    return ScenePrediction(wanted.folder / "model", reader, sizes, xr.Dataset(), path, "made", settings)


def settings_of(wanted: argparse.Namespace) -> PredictSettings:
    """Default settings but for what was asked."""
    chosen = {"patch": wanted.patch, "overlap": wanted.overlap, "batch": wanted.batch, "precision": wanted.precision}
    return PredictSettings(device="cpu", **chosen)


def jobs(work: ScenePrediction, wanted: argparse.Namespace) -> list[Job]:
    """Jobs that cover the lines asked for."""
    lines = wanted.lines or wanted.size
    return [Job(tuple(tile for tile in job.tiles if tile.keep["y"].start < lines)) for job in work.jobs()]


def patches(wanted: argparse.Namespace) -> int:
    """Count the patches of the scene that touch the lines asked for, each once."""
    settings = settings_of(wanted)
    lattice, lines = Lattice(settings.patch, settings.overlap), min(wanted.lines or wanted.size, wanted.size)
    lines = min(-(-lines // settings.lines) * settings.lines, wanted.size)
    return len(lattice.touching(wanted.size, 0, lines)) * len(lattice.starts(wanted.size))


def in_memory(wanted: argparse.Namespace) -> tuple[Model, list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
    """The network, and a few batches as it likes them best: float32, channels last."""
    model = cached_model(wanted.folder / "model", "cpu", wanted.precision)
    generator = torch.Generator().manual_seed(0)
    last = torch.channels_last
    shape = (wanted.batch, len(BANDS), wanted.patch, wanted.patch)
    x = [torch.randn(shape, generator=generator).contiguous(memory_format=last) for _ in range(POOL)]
    mask = torch.ones(wanted.batch, 2, wanted.patch, wanted.patch).contiguous(memory_format=last)
    return model, [(part, mask, torch.rand(len(BANDS), WIDTH, generator=generator)) for part in x]


def forward(model: Model, inputs: tuple[torch.Tensor, ...]) -> None:
    """The network alone, as `Model` runs it."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=model.precision == "bf16-mixed"):
        model.members[0](*inputs)


def bare(wanted: argparse.Namespace) -> dict[str, float]:
    """Batches one after another."""
    model, pool = in_memory(wanted)
    told: dict[str, float] = {}
    forward(model, pool[0])
    with timed(told):
        for number in range(-(-patches(wanted) // wanted.batch)):
            forward(model, pool[number % POOL])
    return told


def streams(wanted: argparse.Namespace) -> dict[str, float]:
    """Every patch alone, as many at a time as torch has threads."""
    model, pool = in_memory(wanted)
    told: dict[str, float] = {}
    single = [(x[i : i + 1], mask[i : i + 1], bands) for x, mask, bands in pool for i in range(wanted.batch)]
    forward(model, single[0])
    with timed(told):
        for _ in streams_of(model).map(lambda n: forward(model, single[n % len(single)]), range(patches(wanted))):
            pass
    return told


def write_model(folder: Path, widths: list[int]) -> None:
    """Keep a network with random weights as a trained model."""
    torch.manual_seed(0)
    network = NetworkSettings(widths=tuple(widths))
    Model([build(network, len(LEGEND.classes)).eval()], [network], LEGEND, RobustScaling()).save(folder)


def write_scene(path: Path, size: int) -> None:
    """Write a COG that packs like a satellite image: hills of reflectance with a little noise."""
    if path.is_file():
        return
    plain = path.with_suffix(".plain.tif")
    layout = {
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }
    shape = {"driver": "GTiff", "height": size, "width": size, "count": len(BANDS), "dtype": "uint16", "nodata": 0}
    with rasterio.open(plain, "w", crs=CRS, transform=FRAME, **shape, **layout) as file:
        for y in range(0, size, BLOCK):
            height = min(BLOCK, size - y)
            file.write(lines_of(y, height, size), window=((y, y + height), (0, size)))
    rasterio.shutil.copy(
        plain,
        path,
        driver="COG",
        BLOCKSIZE=BLOCK,
        COMPRESS="DEFLATE",
        PREDICTOR="YES",
        BIGTIFF="IF_SAFER",
        NUM_THREADS="ALL_CPUS",
    )
    plain.unlink()


def lines_of(y: int, height: int, width: int) -> np.ndarray:
    """Make lines of the image: waves of several lengths, and noise of 1 %."""
    random = np.random.default_rng(y)
    rows, columns = np.arange(y, y + height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    hills = sum(np.sin(rows / k + k) * np.cos(columns / (0.7 * k)) for k in (7.0, 31.0, 150.0, 900.0))
    bands = [1800 + 250 * (i + 1) * hills + random.normal(0, 18, hills.shape) for i in range(len(BANDS))]
    return np.clip(np.stack(bands), 1, 10_000).astype(np.uint16)


if __name__ == "__main__":
    main()
