"""Gradients through long loops in bounded memory: what lies between checkpoints is computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def repeat(step: Callable[[T], T], first: T, times: int, every: int) -> T:
    """Apply a step many times; gradients keep one in `every` of what lies between, and compute the rest again.

    Parameters
    ----------
    step: a pure function; `first` and what it returns are tensors or tuples of tensors.
    times: how often.
    every: how many steps are computed again at once; 0 keeps everything. `torch.func.vjp` and `grad` need that, because they
        take no checkpoints; `torch.func.jvp` and `backward` do.

    Examples
    --------
    >>> one = torch.tensor(1.0, requires_grad=True)
    >>> repeat(lambda x: x * 2.0, one, times=10, every=3).backward()
    >>> float(one.grad)
    1024.0
    """

    def several(now: T, count: int) -> T:
        for _ in range(count):
            now = step(now)
        return now

    if not every or not torch.is_grad_enabled():
        return several(first, times)
    now = first
    for done in range(0, times, every):
        now = checkpoint(several, now, min(every, times - done), use_reentrant=False, preserve_rng_state=False)
    return now
