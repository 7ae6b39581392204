"""Noise that is a function of seed, member and place in the swath, whatever tile it is asked for.

A member is a function of the noise that it starts from: where the noise of two tiles agrees, members can agree.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vigie.core.errors import VigieError


def noise_at(seed: int, members: int, scans: range, pixels: range) -> Tensor:
    """Draw standard normal numbers (members, scan, pixel) for a window of a swath.

    Those of a member do not depend on how many members there are. A table of footprints is a swath one pixel wide, whose rows
    are scans. Give each swath a seed of its own.

    Raises
    ------
    VigieError: there are no members, or the window begins before the swath.

    Examples
    --------
    >>> whole = noise_at(seed=1, members=3, scans=range(0, 8), pixels=range(0, 5))
    >>> bool((noise_at(1, 2, range(4, 6), range(2, 5)) == whole[:2, 4:6, 2:5]).all())
    True
    """
    if members < 1 or min(seed, scans.start, pixels.start) < 0:
        raise VigieError(
            "noise cannot be drawn there",
            found=f"seed {seed}, {members} members, scans from {scans.start}, pixels from {pixels.start}",
            expected="at least one member, and nothing negative",
        )
    drawn = np.empty((members, len(scans), len(pixels)), dtype=np.float32)
    for member in range(members):
        for row, scan in enumerate(scans):
            line = np.random.default_rng((seed, member, scan)).standard_normal(pixels.stop, dtype=np.float32)
            drawn[member, row] = line[pixels.start :]
    return torch.from_numpy(drawn)
