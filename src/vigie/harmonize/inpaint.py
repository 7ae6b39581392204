"""Fill reseau crosses in from what surrounds them, without new extremes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

from vigie.core.scene import Cross
from vigie.harmonize.crosses import Look, Span, drawn, reach

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
SPREAD_PX = 2.0
"""Pixels beside a line that are filled with it: optics, film and scan blur it so far (measured on a scan of 7 micrometres)."""


def fill_crosses(
    values: NDArray[np.float32], corner: tuple[int, int], crosses: Sequence[Cross], look: Look
) -> NDArray[np.bool_]:
    """Fill the crosses of a window in place, and say which pixels were filled.

    Each cross is filled as a whole, from all that surrounds it, whatever part of it the window shows: results do not depend on
    how a scan is cut into windows.

    Parameters
    ----------
    values
        The window (y, x), NaN where missing; what is missing stays so.
    corner
        Row and column of its first pixel on the scan.
    crosses
        The crosses of the scan; no two touch.
    look
        Reads the scan around a cross.
    """
    done = np.zeros(values.shape, dtype=bool)
    for cross in crosses:
        rows, columns = reach(cross, SPREAD_PX + 2)
        lines, samples = _shared(rows, corner[0], values.shape[0]), _shared(columns, corner[1], values.shape[1])
        if lines is None or samples is None:
            continue
        (here_y, there_y), (here_x, there_x) = lines, samples
        image = look(rows, columns)
        mask = drawn(cross, rows, columns, SPREAD_PX) & np.isfinite(image)
        part = mask[there_y, there_x]
        np.copyto(values[here_y, here_x], inpaint(image, mask)[there_y, there_x], where=part)
        done[here_y, here_x] |= part
    return done


def _shared(span: Span, start: int, size: int) -> tuple[slice, slice] | None:
    """The part that a span and a window share, counted in the window and in the span; None where they share nothing."""
    first, last = max(span[0], start), min(span[1], start + size)
    if first >= last:
        return None
    return slice(first - start, last - start), slice(first - span[0], last - span[0])


def inpaint(image: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with the harmonic function that their surroundings bound.

    Solves Laplace's equation on the mask (five-point stencil; no flux through the image's edge or into missing pixels): no new
    extremes, and what is linear across a line stays linear.

    Parameters
    ----------
    image
        (y, x), NaN where missing.
    mask
        (y, x), what to fill. Parts that touch no known pixel stay as they are.

    Examples
    --------
    >>> ramp = np.tile(np.arange(5.0), (3, 1))
    >>> mask = np.zeros((3, 5), bool); mask[:, 2] = True
    >>> inpaint(np.where(mask, 99, ramp), mask)[1]
    array([0., 1., 2., 3., 4.], dtype=float32)
    """
    known = np.isfinite(image) & ~mask
    parts, _ = ndimage.label(mask)
    bounded = np.unique(parts[ndimage.binary_dilation(known) & mask])
    filled, wanted = image.astype(np.float32), mask & np.isin(parts, bounded)
    if wanted.any():
        filled[wanted] = spsolve(*_laplace_equation(image, wanted, known))
    return filled


def _laplace_equation(
    image: NDArray[np.floating], mask: NDArray[np.bool_], known: NDArray[np.bool_]
) -> tuple[sparse.csc_matrix, NDArray[np.float64]]:
    """Say of every masked pixel that it is the mean of its neighbours: the matrix, and the sum of its known neighbours."""
    size = int(mask.sum())
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(size)
    y, x = np.nonzero(mask)
    neighbours, total, pairs = np.zeros(size), np.zeros(size), []
    for dy, dx in NEIGHBOURS:
        inside = (y + dy >= 0) & (y + dy < mask.shape[0]) & (x + dx >= 0) & (x + dx < mask.shape[1])
        here = np.flatnonzero(inside)
        there = y[here] + dy, x[here] + dx
        neighbours[here] += known[there] | mask[there]
        total[here] += np.where(known[there], image[there], 0.0)
        pairs.append(np.stack([here, number[there]])[:, mask[there]])
    joined = np.concatenate(pairs, axis=1)
    links = sparse.coo_matrix((np.ones(joined.shape[1]), tuple(joined)), shape=(size, size))
    return sparse.csc_matrix(sparse.diags(neighbours) - links), total
