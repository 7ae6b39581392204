"""Find reseau crosses on film by normalised cross-correlation, and fill them in from what surrounds them.

A reseau is a lattice of thin crosses exposed onto the film to measure its deformation. To a network they are dark lines that no
landscape has; to a digital elevation model they are spikes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal, sparse
from scipy.sparse.linalg import spsolve

from vigie.core.errors import VigieError


@dataclass(frozen=True)
class Cross:
    """What a cross looks like: half length of an arm, width of its line, and the clear space beside it, pixels."""

    arm_px: int
    width_px: int
    margin_px: int

    def __post_init__(self) -> None:
        """Refuse what is no cross."""
        if not (0 < self.width_px < self.arm_px and self.margin_px > 0):
            raise VigieError("this is no cross", found=self, expected="0 < width_px < arm_px and margin_px > 0")

    def lines(self, spread_px: int = 0) -> NDArray[np.bool_]:
        """Draw the cross, its lines widened by `spread_px` on every side, in a square of 2 (arm + spread) + 1 pixels."""
        reach = self.arm_px + spread_px
        near = np.abs(np.arange(-reach, reach + 1)) <= self.width_px / 2 + spread_px
        return near[:, None] | near[None, :]


def correlation(image: NDArray[np.floating], cross: Cross) -> NDArray[np.float64]:
    """Correlate every pixel's surroundings with a dark cross centred there, -1 to 1.

    The normalised cross-correlation (Lewis 1995) over the cross and the margin beside its lines, not over the whole square: the
    landscape between the arms has no say. It does not depend on the film's brightness and contrast.

    Parameters
    ----------
    image
        (y, x), finite.

    Returns
    -------
    NDArray
        (y, x); 0 where the cross would reach over the edge, or where all is flat.
    """
    support = cross.lines(cross.margin_px).astype(np.float64)
    dark = np.pad(cross.lines(), cross.margin_px)
    count = support.sum()
    template = np.where(support > 0, dark[support > 0].mean() - dark, 0.0)
    if min(image.shape) < len(support):
        raise VigieError("the image is smaller than the cross", found=image.shape, expected=f"at least {support.shape}")
    # Correlation is convolution with the mirrored kernel, and a cross is its own mirror image.
    centred = image.astype(np.float64) - float(image.mean())
    total = signal.fftconvolve(centred, support, mode="same")
    spread = signal.fftconvolve(centred**2, support, mode="same") - total**2 / count
    match = signal.fftconvolve(centred, template, mode="same")
    norm = np.sqrt(np.maximum(spread, 0.0) * (template**2).sum())
    found = np.divide(match, norm, out=np.zeros_like(match), where=norm > 1e-6 * max(1.0, float(norm.max())))
    inside = np.zeros(image.shape, dtype=bool)
    edge = len(support) // 2
    inside[edge:-edge, edge:-edge] = True
    return np.where(inside, found, 0.0)


def detect(image: NDArray[np.floating], cross: Cross, threshold: float = 0.6) -> NDArray[np.intp]:
    """Find the centres (row, column) of crosses: maxima of the correlation above `threshold`, at most one within an arm.

    Examples
    --------
    >>> film = np.random.default_rng(0).normal(120, 10, (80, 90))
    >>> cross = Cross(arm_px=12, width_px=2, margin_px=4)
    >>> film[30:55, 49:52] = film[41:44, 38:63] = 20
    >>> detect(film, cross)
    array([[42, 50]])
    """
    score = correlation(image, cross)
    peaks = (score == ndimage.maximum_filter(score, size=2 * cross.arm_px + 1)) & (score > threshold)
    return np.argwhere(peaks)


def cross_mask(shape: tuple[int, int], centres: NDArray[np.intp], cross: Cross, spread_px: int = 1) -> NDArray[np.bool_]:
    """Mark the pixels of crosses at `centres`, their lines widened by `spread_px` for blur and tilt."""
    drawn = cross.lines(spread_px)
    reach = len(drawn) // 2
    mask = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach), dtype=bool)
    for row, column in centres:
        mask[row : row + len(drawn), column : column + len(drawn)] |= drawn
    return mask[reach : reach + shape[0], reach : reach + shape[1]]


def inpaint(image: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with the harmonic function that their surroundings bound.

    Solves Laplace's equation on the mask (five-point stencil; no flux through the image's edge): no new extremes, and what is
    linear across a line stays linear.

    Raises
    ------
    VigieError
        If everything is masked.

    Examples
    --------
    >>> ramp = np.tile(np.arange(5.0), (3, 1))
    >>> mask = np.zeros((3, 5), bool); mask[:, 2] = True
    >>> inpaint(np.where(mask, 99, ramp), mask)[1]
    array([0., 1., 2., 3., 4.], dtype=float32)
    """
    if mask.all():
        raise VigieError("nothing is left to fill the crosses from", found="a mask over the whole image")
    laplacian, known = _laplace_equation(image, mask)
    filled = image.astype(np.float32)
    filled[mask] = spsolve(laplacian, known)
    return filled


def _laplace_equation(image: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[sparse.csc_matrix, NDArray[np.float64]]:
    """Say of every masked pixel that it is the mean of its neighbours: the matrix, and the sum of its known neighbours."""
    size = int(mask.sum())
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(size)
    y, x = np.nonzero(mask)
    neighbours, known, pairs = np.zeros(size), np.zeros(size), []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        inside = (y + dy >= 0) & (y + dy < mask.shape[0]) & (x + dx >= 0) & (x + dx < mask.shape[1])
        here, there = np.flatnonzero(inside), (y[inside] + dy, x[inside] + dx)
        neighbours[here] += 1
        known[here] += np.where(mask[there], 0.0, image[there])
        pairs.append(np.stack([here, number[there]])[:, mask[there]])
    joined = np.concatenate(pairs, axis=1)
    links = sparse.coo_matrix((np.ones(joined.shape[1]), tuple(joined)), shape=(size, size))
    return sparse.csc_matrix(sparse.diags(neighbours) - links), known
