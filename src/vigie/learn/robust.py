"""Learning for the worst climate instead of the mean one, and knowing where an ensemble disagrees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vigie.core.errors import VigieError, counted


class GroupRobust(nn.Module):
    """Weigh groups of rows by how badly they are learnt: online group-DRO (Sagawa et al. 2020, arXiv:1911.08731, algorithm 1).

    At each step the weight of a group is multiplied by exp(rate times its mean loss), and weights are divided by their sum; the
    loss is the weighted sum of the groups' mean losses. A group that is not in the batch has a loss of 0 there, as in the
    authors' code. In evaluation mode weights stay.

    Weights are a buffer: as a part of the network that is trained, they are in its checkpoints.

    Parameters
    ----------
    groups
        How many there are, for instance bins of column vapour or of latitude.
    rate
        Step of the exponentiated gradient, in 1 / unit of the loss.

    Examples
    --------
    >>> robust = GroupRobust(groups=2, rate=1.0)
    >>> loss = robust(torch.tensor([1.0, 1.0, 3.0]), torch.tensor([0, 0, 1]))
    >>> robust.weights, round(float(loss), 3)
    (tensor([0.1192, 0.8808]), 2.762)
    """

    weights: Tensor

    def __init__(self, groups: int, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("weights", torch.full((groups,), 1.0 / groups))

    def forward(self, losses: Tensor, group: Tensor) -> Tensor:
        """Weigh losses (N,) of rows whose groups are (N,) int64.

        Raises
        ------
        VigieError: a row is of no group.
        """
        means = group_means(losses, group, len(self.weights))
        if self.training:
            with torch.no_grad():
                raised = self.weights.log() + self.rate * means.detach()
                self.weights.copy_(raised.softmax(0))
        return (self.weights * means).sum()


def group_means(losses: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean loss (groups,) of each group, 0 where the batch has no row of it.

    Raises
    ------
    VigieError: a row is of no group.
    """
    if ((group < 0) | (group >= groups)).any():
        raise VigieError(
            "rows are of no group", found=sorted(set(group.tolist()) - set(range(groups))), expected=f"groups 0 to {groups - 1}"
        )
    total = losses.new_zeros(groups).index_add(0, group, losses)
    return total / torch.bincount(group, minlength=groups).clamp(min=1)


def disagreement(quantiles: Tensor) -> Tensor:
    """How far the members of an ensemble (M, N, ..., Q) are from each other, in the unit of their quantiles: (N, ...).

    The root of the quantiles' variance over members (with M - 1), averaged over levels: the root mean square 2-Wasserstein
    distance of the members' distributions to their barycentre. With one quantile, the members' standard deviation.

    Raises
    ------
    VigieError: there is one member only.

    Examples
    --------
    >>> disagreement(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
    tensor([1.4142])
    """
    if len(quantiles) < 2:
        raise VigieError("one member cannot disagree", found=counted(len(quantiles), "member"), expected="2 or more")
    return quantiles.var(dim=0).mean(dim=-1).sqrt()
