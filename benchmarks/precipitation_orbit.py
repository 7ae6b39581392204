"""What does retrieving an orbit cost beside the network alone? Same network, same tiles already in memory.

`python benchmarks/precipitation_orbit.py` writes an orbit of GMI's size (2963 x 221 x 13, made values) into a cube, takes a
quantile U-Net with random weights, drier than not as rain is, and times in turn, `--repeats` times,
  network    the forward pass up to the head's raw output, as many tiles at a time as torch has threads, one thread each
  quantiles  the whole forward pass: the 99 quantiles of every pixel that is kept
  predict    everything `vigie` does: read the cube, standardise, network, quantiles, mean, probabilities, distance, write Zarr
Ratios are medians over the repeats, by clock and by processor time; the latter is what other programs on the machine disturb
least. Tiles overlap, in all three alike; `overlap` says how many scans go through the network for each one that is kept.

Then it retrieves an orbit four times as long, and this one in tiles half and twice as long, in processes of their own, and
prints the peak memory of each above that of the imports. The bars: 0.85 of the forward pass, and a peak that goes with
`predict.scans` and not with the orbit. Leaves with exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import nn

from vigie.acquire.granules.instruments import instrument
from vigie.acquire.granules.layout import swath
from vigie.apps.precipitation.prediction import tiling
from vigie.apps.precipitation.settings import LEVELS, FamiliarSettings, PredictSettings
from vigie.core import store
from vigie.core.granule import Granule
from vigie.harmonize.swath import SwathFill, SwathReader
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.retrieval_model import Familiar, Member, Reference, RetrievalModel, load
from vigie.learn.swaths import ChannelScaling, standardised
from vigie.predict.forward import processor_streams
from vigie.predict.swath import Kept, SwathPrediction, template
from vigie.verify.drift import FITS

CHANNELS = instrument("GMI").channels()
NAMES = tuple(channel.name for channel in CHANNELS)
HEAD = RainHeadSettings()
WET_SHARE = 0.1
"""Of the footprints, those where rain is possible: of the others all quantiles are 0, as they are over most of an orbit."""
MEAN_K, DEVIATION_K, NOISE_K = 240.0, 25.0, 0.5
AXES = 4
PIECE = 512
"""Scans that are drawn; a longer orbit repeats them, with other noise."""
BAR = 0.85
LONGER = 4
MEMORY_BAR = 1.25
"""How much more than the orbit's peak one so many times as long may take: how many tiles wait for the disk is chance."""

Seen = tuple[torch.Tensor, tuple[str, ...], torch.Tensor, slice]
"""Standardised columns (1, B, scan, pixel), their names and descriptors, and the scans that are kept."""


def main() -> int:
    """Make the inputs, time every mode, measure memory, and print what came out."""
    wanted = arguments()
    if wanted.only:
        imported = peak_mb()
        Prediction(wanted)()
        print(peak_mb() - imported)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        wanted.folder = Path(scratch)
        write_model(wanted)
        for length in (wanted.length, LONGER * wanted.length):
            write_orbit(wanted.folder, length, wanted.pixels)
        found = {**timings(wanted), **memory(wanted)}
    print(json.dumps(found, indent=1))
    return 0 if found["throughput_met"] and found["memory_met"] else 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=2963, help="scans of the orbit")
    parser.add_argument("--pixels", type=int, default=221)
    parser.add_argument("--scans", type=int, default=PredictSettings().scans, help="predict.scans, of a tile")
    parser.add_argument("--widths", type=int, nargs="+", default=RetrievalSettings().widths, help="of the U-Net")
    parser.add_argument("--doubt", choices=FITS, default=FamiliarSettings().methods[0], help="how pixels are compared")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="used by the benchmark itself")
    parser.add_argument("--only", action="store_true", help="used by the benchmark itself")
    return parser.parse_args()


def timings(wanted: argparse.Namespace) -> dict[str, object]:
    """Time the modes in turn, so that what disturbs one disturbs the others, too."""
    model, work = load(wanted.folder / "model"), Prediction(wanted)
    tiles = in_memory(model, work.work)
    modes: dict[str, Callable[[], object]] = {
        "network": lambda: through(lambda tile: model.raw(*tile[:3]), tiles),
        "quantiles": lambda: through(lambda tile: quantiles(model, *tile), tiles),
        "predict": work,
    }
    modes["network"]()
    runs = [{name: timed(mode) for name, mode in modes.items()} for _ in range(wanted.repeats)]
    pixels = wanted.length * wanted.pixels / 1e6

    def ratio(to: str, clock: int) -> float:
        return round(statistics.median(run[to][clock] / run["predict"][clock] for run in runs), 3)

    scans = sum(tile[0].shape[-2] for tile in tiles)
    return {
        "orbit": f"{wanted.length} x {wanted.pixels} x {len(CHANNELS)}, {len(tiles)} tiles of {wanted.scans} scans",
        "doubt": wanted.doubt,
        "network": f"unet {tuple(wanted.widths)}, {len(LEVELS)} quantiles",
        "threads": torch.get_num_threads(),
        "overlap": round(scans / wanted.length, 3),
        "seconds": {name: round(statistics.median(run[name][0] for run in runs), 2) for name in modes},
        "processor_seconds": {name: round(statistics.median(run[name][1] for run in runs), 2) for name in modes},
        "megapixels_a_second": round(pixels / statistics.median(run["predict"][0] for run in runs), 4),
        "written_share": round(size(wanted.folder / "prediction.zarr") / (4e6 * pixels * (len(LEVELS) + 6)), 3),
        **{f"ratio_to_{to}": ratio(to, 0) for to in ("network", "quantiles")},
        **{f"ratio_to_{to}_by_processor_time": ratio(to, 1) for to in ("network", "quantiles")},
        "throughput_met": ratio("quantiles", 0) >= BAR,
    }


def through(forward: Callable[[Seen], object], tiles: Sequence[Seen]) -> int:
    """Run tiles as predicting does, which is faster than all threads at one tile; what comes out is dropped."""
    return sum(1 for _ in processor_streams().map(forward, tiles))


def quantiles(model: RetrievalModel, x: torch.Tensor, names: Sequence[str], bands: torch.Tensor, kept: slice) -> object:
    """Run the whole forward pass: quantiles of what is kept alone, as predicting does."""
    return model.distribution_of([output[:, :, kept] for output in model.raw(x, names, bands)], LEVELS)


def memory(wanted: argparse.Namespace) -> dict[str, object]:
    """Measure the peak memory of predicting orbits and tiles of several lengths, each in a process of its own."""
    length, scans = wanted.length, wanted.scans
    peaks = {case: child(wanted, *case) for case in ((length, scans // 2), (length, scans), (length, 2 * scans))}
    longer = child(wanted, LONGER * length, scans)
    return {
        "peak_mb_above_imports": {f"tiles of {tile} scans": peak for (_, tile), peak in peaks.items()},
        f"peak_mb_above_imports_of_{LONGER}_times_the_orbit": longer,
        "memory_met": longer <= MEMORY_BAR * peaks[length, scans],
    }


def child(wanted: argparse.Namespace, length: int, scans: int) -> int:
    """Predict in a process of its own; give its peak memory above what its programs take, MB."""
    command = [
        sys.executable,
        __file__,
        "--only",
        "--folder",
        str(wanted.folder),
        "--length",
        str(length),
        "--scans",
        str(scans),
    ]
    command += ["--length", str(length), "--scans", str(scans), "--widths", *map(str, wanted.widths)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Give the clock and processor seconds that something takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_mb() -> int:
    """Peak memory of this program. (`getrusage` would give the peak of the parent it was forked from, where that is larger.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 // 10**6


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Prediction:
    """The work of predicting an orbit, each time into an empty store."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        folder, group = wanted.folder, f"swath/{wanted.length}"
        scans, halo = tiling([network_settings(wanted)], wanted.scans)
        reader = SwathReader(folder / "cube.zarr", group)
        store_path = folder / "prediction.zarr"
        self.work = SwathPrediction(folder / "model", "", reader, NAMES, Kept(LEVELS), store_path, group, scans, halo)

    def __call__(self) -> None:
        """Predict all tiles."""
        empty = template(self.work.read.dataset, self.work.kept, (), {})
        store.create(self.work.path, empty, {"scan": self.work.scans}, self.work.group)
        self.work(self.work.tiles())


def in_memory(model: RetrievalModel, work: SwathPrediction) -> list[Seen]:
    """Tiles as the network takes them."""
    tiles = []
    for tile in work.tiles():
        table = model.inputs.of(work.read({"scan": tile.read["scan"]}), NAMES)
        x = standardised(table.x, table.names, model.scaling).movedim(-1, 0)[None]
        beyond = (0, -x.shape[-1] % model.multiple, 0, -x.shape[-2] % model.multiple)
        tiles.append((torch.nn.functional.pad(x, beyond, value=torch.nan), table.names, table.bands, tile.inner["scan"]))
    return tiles


def network_settings(wanted: argparse.Namespace) -> RetrievalSettings:
    """Tell the network that is measured."""
    return RetrievalSettings(name="unet", widths=tuple(wanted.widths))


def write_model(wanted: argparse.Namespace) -> None:
    """Keep a network with random weights as a trained model, and pixels of the orbit to compare new ones with."""
    torch.manual_seed(0)
    settings, pixels = network_settings(wanted), wanted.pixels
    network = build(settings, head_of(HEAD).channels).eval()
    scaling = ChannelScaling(mean=dict.fromkeys(NAMES, MEAN_K), deviation=dict.fromkeys(NAMES, DEVIATION_K))
    reference = Reference(method=wanted.doubt, fields=NAMES, rows="reference-0", scale=1.0)
    familiar = Familiar(references=(reference,), threshold=1.0, false_alarm_rate=0.05)
    known = scans_of(piece(pixels), PIECE, slice(None))["brightness_temperature"].values.reshape(-1, len(NAMES))
    rows = {"reference-0": torch.from_numpy(known[:: len(known) // FamiliarSettings().rows])}
    model = RetrievalModel([Member(network, settings, HEAD)], Inputs(NAMES), scaling, familiar, rows=rows)
    table = model.inputs.of(scans_of(piece(pixels), PIECE, slice(0, 256)), NAMES)
    columns = standardised(table.x, table.names, scaling).movedim(-1, 0)[None, ..., : pixels // model.multiple * model.multiple]
    dry(network, torch.quantile(model.distribution(columns, table.names, table.bands, HEAD.levels)[0][:, -1], 1 - WET_SHARE))
    model.save(wanted.folder / "model")


@torch.no_grad()
def dry(network: nn.Module, by_mm_h: torch.Tensor) -> None:
    """Lower the quantiles, all of which follow from the first."""
    first = network.get_submodule("body.head.1").get_parameter("bias")
    first[0] -= by_mm_h


def write_orbit(folder: Path, length: int, pixels: int) -> None:
    """Write an orbit into the cube, as the harmonize stage does."""
    name = str(length)
    outline = {"type": "Polygon", "coordinates": []}
    granule = Granule(name, name, "GMI", "GPM", "made", NAMES, length, pixels, outline)
    read = partial(scans_of, piece(pixels), length)
    fill = SwathFill(granule, read, lambda scans: scans, folder / "cube.zarr", f"swath/{name}")
    fill.begin()
    for tile in fill.tiles():
        fill(tile)


def piece(pixels: int) -> NDArray[np.float32]:
    """Draw temperatures (scan, pixel, channel), K: smooth as those of an antenna, and going together as those of GMI do.

    Of standardised temperatures over rain two principal axes explain nine tenths, four almost all.
    """
    random = np.random.default_rng(0)
    drawn = gaussian_filter(random.standard_normal((PIECE, pixels, AXES)), (2, 2, 0), mode="wrap")
    together = (drawn / drawn.std() * [1.0, 0.8, 0.3, 0.2]) @ random.standard_normal((AXES, len(CHANNELS)))
    return (MEAN_K + DEVIATION_K * together / together.std()).astype(np.float32)


def scans_of(drawn: NDArray[np.float32], length: int, window: slice) -> xr.Dataset:
    """Give some scans of the orbit, the same whatever the window."""
    scans = np.arange(*window.indices(length))
    noise = [np.random.default_rng(int(scan)).normal(0.0, NOISE_K, drawn.shape[1:]) for scan in scans]
    temperature = (drawn[scans % PIECE] + np.stack(noise)).astype(np.float32)
    latitude = np.broadcast_to(65 * np.sin(2 * np.pi * scans / length)[:, None], temperature.shape[:2])
    longitude = np.broadcast_to(np.linspace(-4, 4, drawn.shape[1]), temperature.shape[:2])
    fields: dict[str, NDArray[np.generic]] = {
        "brightness_temperature": temperature,
        "latitude": latitude.astype(np.float32),
        "longitude": longitude.astype(np.float32),
        "flags": np.zeros(temperature.shape[:2], np.uint8),
    }
    time_of = np.datetime64("2020-01-01", "ns") + (scans * 1_875_000_000).astype("timedelta64[ns]")
    facts = {"swath": str(length), "sensor": "GMI", "platform": "GPM", "product": "made"}
    return swath(fields, time_of, "GPM-000001", facts, CHANNELS)


if __name__ == "__main__":
    sys.exit(main())
