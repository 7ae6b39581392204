"""Means and differences on a C-grid: tracers at centres, u on faces across x, v on faces across y, shear at corners.

Shapes are (..., y, x) at centres, (..., y, x + 1) on u-faces, (..., y + 1, x) on v-faces and (..., y + 1, x + 1) at corners.
Rows go with y: index 0 is the smallest y. The rim of the grid is closed, so that whatever is brought to faces or corners
is zero there. Differences are per cell: divide by the spacing.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad


def to_u(centre: Tensor) -> Tensor:
    """Mean of the two cells beside each u-face.

    Examples
    --------
    >>> import torch
    >>> to_u(torch.tensor([[1.0, 3.0]])).tolist()
    [[0.0, 2.0, 0.0]]
    """
    return pad(0.5 * (centre[..., 1:] + centre[..., :-1]), (1, 1))


def to_v(centre: Tensor) -> Tensor:
    """Mean of the two cells beside each v-face."""
    return pad(0.5 * (centre[..., 1:, :] + centre[..., :-1, :]), (0, 0, 1, 1))


def to_corners(centre: Tensor) -> Tensor:
    """Mean of the four cells around each corner."""
    return to_v(to_u(centre))


def least_at_corners(centre: Tensor) -> Tensor:
    """Least of the four cells around each corner; zero on the rim."""
    beside = centre[..., 1:].minimum(centre[..., :-1])
    return pad(beside[..., 1:, :].minimum(beside[..., :-1, :]), (1, 1, 1, 1))


def from_u(u: Tensor) -> Tensor:
    """Mean of a cell's two u-faces."""
    return 0.5 * (u[..., 1:] + u[..., :-1])


def from_v(v: Tensor) -> Tensor:
    """Mean of a cell's two v-faces."""
    return 0.5 * (v[..., 1:, :] + v[..., :-1, :])


def from_corners(corner: Tensor) -> Tensor:
    """Mean of a cell's four corners."""
    rows = corner[..., 1:, :] + corner[..., :-1, :]
    return 0.25 * (rows[..., 1:] + rows[..., :-1])


def u_to_v(u: Tensor) -> Tensor:
    """Mean of the four u-faces around each v-face."""
    return to_v(from_u(u))


def v_to_u(v: Tensor) -> Tensor:
    """Mean of the four v-faces around each u-face."""
    return to_u(from_v(v))


def step_x(face: Tensor) -> Tensor:
    """Difference along x: of u-faces at centres, of corners on v-faces."""
    return face[..., 1:] - face[..., :-1]


def step_y(face: Tensor) -> Tensor:
    """Difference along y: of v-faces at centres, of corners on u-faces."""
    return face[..., 1:, :] - face[..., :-1, :]


def rise_x(inner: Tensor) -> Tensor:
    """Difference along x: of centres on u-faces, of v-faces at corners; zero on the rim."""
    return pad(step_x(inner), (1, 1))


def rise_y(inner: Tensor) -> Tensor:
    """Difference along y: of centres on v-faces, of u-faces at corners; zero on the rim."""
    return pad(step_y(inner), (0, 0, 1, 1))
