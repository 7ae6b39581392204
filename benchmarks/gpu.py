"""How much of a GPU do training and prediction use? bf16 products, channels last, the default network.

`python benchmarks/gpu.py --peak-tflops 989` prints windows a second, million pixels a second, TFLOP/s as torch's counter counts
the network's operations, and their share of the peak given (989 is an H100 SXM's in bf16 without sparsity, by its data sheet).
Training is `vigie.learn.fit.fit` with everything it does, on batches that are in memory; prediction is
`vigie.learn.model.Model.probabilities` on patches that are in memory. Where there is no CUDA device it says so and measures
nothing; `--device cpu` is there to try the program.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vigie.apps.glaciers.classes import LEGEND
from vigie.learn.bands import WIDTH
from vigie.learn.fit import FitSettings, Task, connect, fit
from vigie.learn.heads import ClassHead
from vigie.learn.model import Model
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling
from vigie.learn.windows import Batch

CLASSES = len(LEGEND.classes)
LOG_EVERY = 20


def main() -> None:
    """Measure both, or say that there is no GPU."""
    wanted = arguments()
    if wanted.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here: nothing measured")
        return
    name = torch.cuda.get_device_name() if wanted.device == "cuda" else "CPU"
    told = {"device": name, "torch": torch.__version__, "network": f"unet-groupnorm {wanted.widths}", "precision": "bf16-mixed"}
    torch.manual_seed(0)
    network = build(NetworkSettings(widths=tuple(wanted.widths)), CLASSES).to(wanted.device)
    print(json.dumps({**told, "train": train(wanted, network), "predict": predict(wanted, network)}, indent=1))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--peak-tflops", type=float, help="the device's peak in bf16, dense")
    parser.add_argument("--widths", type=int, nargs="+", default=list(NetworkSettings().widths))
    parser.add_argument("--bands", type=int, default=9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=256, help="side of windows and patches, pixels")
    parser.add_argument("--steps", type=int, default=200)
    return parser.parse_args()


def train(wanted: argparse.Namespace, network: nn.Module) -> dict[str, float | None]:
    """The training loop on batches in memory: the median of its own reports but the first, which warms up."""
    pool = [random_batch(wanted, seed) for seed in range(4)]
    settings = FitSettings(
        steps=wanted.steps, warmup_steps=1, precision="bf16-mixed", log_every=LOG_EVERY, checkpoint_every=wanted.steps
    )
    speeds: list[float] = []

    def report(facts: Mapping[str, float]) -> None:
        speeds.append(facts["samples_per_s"])

    with tempfile.TemporaryDirectory() as folder:
        task = Task(network, ClassHead(LEGEND).loss, lambda step: pool[step % len(pool)])
        fit(task, settings, Path(folder), connect(settings, wanted.device), report)
    batch = pool[0].to(wanted.device)
    operations = flops(lambda: network(batch.x, batch.mask, batch.bands).sum().backward()) / wanted.batch
    return figures(wanted, statistics.median(speeds[1:] or speeds), operations)


def predict(wanted: argparse.Namespace, network: nn.Module) -> dict[str, float | None]:
    """Calibrated probabilities of patches in memory."""
    network = network.eval().requires_grad_(False)
    model = Model([network], [NetworkSettings()], LEGEND, RobustScaling(), precision="bf16-mixed")
    batch = random_batch(wanted, 0).to(wanted.device)

    def ask() -> torch.Tensor:
        return model.probabilities(batch.x, batch.mask, batch.bands, "made")

    ask()
    synchronise(wanted)
    begin = time.perf_counter()
    for _ in range(wanted.steps):
        ask()
    synchronise(wanted)
    return figures(wanted, wanted.batch * wanted.steps / (time.perf_counter() - begin), flops(ask) / wanted.batch)


def figures(wanted: argparse.Namespace, windows_a_second: float, operations: float) -> dict[str, float | None]:
    """What a speed means in pixels, operations, and share of the peak."""
    tflops = windows_a_second * operations / 1e12
    return {
        "windows_a_second": round(windows_a_second, 2),
        "megapixels_a_second": round(windows_a_second * wanted.size**2 / 1e6, 3),
        "gflop_a_window": round(operations / 1e9, 2),
        "tflop_a_second": round(tflops, 3),
        "share_of_peak": round(tflops / wanted.peak_tflops, 4) if wanted.peak_tflops else None,
    }


def flops(work: Callable[[], object]) -> float:
    """Operations of convolutions and matrix products, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def synchronise(wanted: argparse.Namespace) -> None:
    """Wait for the device."""
    if wanted.device == "cuda":
        torch.cuda.synchronize()


def random_batch(wanted: argparse.Namespace, seed: int) -> Batch:
    """Windows of noise, every pixel labelled."""
    generator = torch.Generator().manual_seed(seed)
    shape = (wanted.batch, wanted.size, wanted.size)
    x = torch.randn(wanted.batch, wanted.bands, wanted.size, wanted.size, generator=generator)
    rows = torch.randint(0, CLASSES, shape, generator=generator)
    bands = torch.rand(wanted.bands, WIDTH, generator=generator)
    mask = torch.ones(wanted.batch, 2, wanted.size, wanted.size)
    return Batch(x, mask, bands, rows, torch.eye(CLASSES), torch.ones(shape), ("noise",) * wanted.batch)


if __name__ == "__main__":
    main()
