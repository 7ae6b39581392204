"""What streaming a scene takes of the memory, told before any work: rows, blended lines, and what a network holds at once."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vigie.core.errors import VigieError
from vigie.learn.bands import WIDTH
from vigie.learn.forest import Forest
from vigie.learn.networks import NetworkSettings, build
from vigie.predict.settings import PredictSettings

TYPICAL_BANDS = 12
"""Bands a scene is taken to have when memory is estimated."""

SCRATCH = 2.1
"""What a process grows by over the tensors that live at once: convolutions work in buffers of their own (measured on patches of
256 to 512 px: 1.3 to 1.5 with unet-groupnorm and local statistics, 1.1 to 2.04 with unet)."""


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow how much memory the tensors take that operations make and that live at once, in bytes.

    Examples
    --------
    >>> with Live() as memory:
    ...     kept = torch.ones(1000) + torch.ones(1000)
    >>> memory.most, memory.now
    (12000, 4000)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and follow what it makes."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._follow(tensor.untyped_storage())
        return made

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._known:
            self._known.add(storage)
            size = storage.nbytes()
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size


@cache
def network_bytes(kind: NetworkSettings, classes: int, patch: int) -> int:
    """Measure what one patch takes in a network on a CPU, by sending an empty one through an untrained network of the kind.

    Raises
    ------
    VigieError: the network does not accept patches of this side.
    """
    with torch.random.fork_rng([]):
        network = build(kind.model_copy(update={"weights": "none"}), classes).eval()
    x, mask = torch.zeros(1, TYPICAL_BANDS, patch, patch), torch.zeros(1, 2, patch, patch)
    bands = torch.zeros(TYPICAL_BANDS, WIDTH)
    if isinstance(network, Forest):
        network.accept(bands)
    with torch.inference_mode(), Live() as memory:
        network(x, mask, bands)
    return int(SCRATCH * memory.most)


def networks_gib(kinds: Sequence[NetworkSettings], classes: int, patch: int, device: str) -> float:
    """Estimate what networks at work take of the main memory, GiB: a patch for each of torch's threads, nothing on a GPU."""
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return 0.0
    return torch.get_num_threads() * max(network_bytes(kind, classes, patch) for kind in kinds) / 2**30


def panel_gib(settings: PredictSettings, sizes: tuple[int, int], classes: int, members: int) -> float:
    """Estimate the memory of streaming one panel, apart from the network itself, in GiB."""
    width = min(sizes[1], settings.panel) + 2 * settings.patch
    row = settings.patch * width * 4 * 2 * 3 * TYPICAL_BANDS
    buffers = (settings.lines + settings.patch) * width * (4 * (classes + 2) + 3 * (classes + 1))
    batch = settings.batch * settings.patch**2 * 4 * (TYPICAL_BANDS + 2 + 3 * classes * members)
    return float(row + buffers + batch) / 2**30


def needed_gib(settings: PredictSettings, sizes: tuple[int, int], classes: int, kinds: Sequence[NetworkSettings]) -> float:
    """Estimate the memory of predicting a scene: the widest panel of `sizes`, and the networks of all members at work, GiB."""
    networks = networks_gib(kinds, classes, settings.patch, settings.device)
    return panel_gib(settings, sizes, classes, len(kinds)) + networks


def check_memory(settings: PredictSettings, sizes: tuple[int, int], classes: int, kinds: Sequence[NetworkSettings]) -> None:
    """Refuse, before any work, tiles that would need more memory than the settings allow."""
    gib = needed_gib(settings, sizes, classes, kinds)
    if gib > settings.memory_gib:
        networks = networks_gib(kinds, classes, settings.patch, settings.device)
        raise VigieError(
            "a tile of predict does not fit in memory",
            found=f"about {gib:.2f} GiB for panels of {min(sizes[1], settings.panel)} px, {networks:.2f} of it in the network",
            expected=f"at most predict.memory_gib = {settings.memory_gib:g}",
            do="lower predict.panel or predict.patch, work in fewer threads (OMP_NUM_THREADS), or raise predict.memory_gib "
            "(for instance --set predict.panel=512)",
        )
