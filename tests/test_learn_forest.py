"""The forest in tensors is scikit-learn's, knows its bands, and is a member like any other."""

import numpy as np
import pytest
import torch

from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.learn.bands import WIDTH
from vigie.learn.forest import FLOOR, GROWERS, LEAST_LEAF, MOST_BANDS, Forest
from vigie.learn.model import Model, load
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling
from vigie.learn.surroundings import surroundings
from vigie.learn.windows import Batch

LEGEND = Legend("three", tuple(LegendClass(i, n, "#00000" + str(i)) for i, n in enumerate(("land", "ice", "debris"))), 255)
SETTINGS = NetworkSettings(name="forest", sides=(3,), trees=7, leaves=50)
SIDE = 24


def batch(step: int, bands: int = 2, matrix: torch.Tensor | None = None) -> Batch:
    """Windows where the label is the sign of a smooth combination of the bands; a part is unknown."""
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(3, bands, SIDE, SIDE, generator=draw)
    rows = (x[:, 0] + 0.5 * surroundings(x, (3,))[:, bands] > 0.2).long()
    rows[:, :2] = -1
    described = torch.linspace(0, 1, bands * WIDTH).view(bands, WIDTH)
    chosen = torch.tensor([[1.0, 0, 1], [0, 1, 0]]) if matrix is None else matrix
    mask = torch.stack([torch.ones(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE)], 1)
    return Batch(x, mask, described, rows, chosen, torch.ones(3, SIDE, SIDE), ("a",))


def grown(steps: int = 4, **changes: object) -> Forest:
    forest = build(SETTINGS.model_copy(update=changes), len(LEGEND.classes))
    assert isinstance(forest, Forest)
    forest.grow(batch, steps, seed=1)
    return forest.eval()


def probabilities(forest: Forest, seen: Batch) -> torch.Tensor:
    return forest(seen.x, seen.mask, seen.bands).exp()


@pytest.mark.parametrize("splits", sorted(GROWERS))
@pytest.mark.parametrize("sides", [(), (3,)])
def test_it_says_what_scikit_learn_says(splits, sides):
    forest, new = grown(splits=splits, sides=sides), batch(99)
    table, classes, _ = forest._drawn(batch, 4, np.random.default_rng(1))
    oracle = GROWERS[splits](
        7, max_leaf_nodes=50, min_samples_leaf=LEAST_LEAF, bootstrap=True, class_weight="balanced_subsample", random_state=1
    ).fit(table, classes)
    features = surroundings(torch.cat([new.x, new.mask[:, 1:]], 1), sides).movedim(1, -1).flatten(0, 2).numpy()
    expected = oracle.predict_proba(features).reshape(3, SIDE, SIDE, 2)
    found = probabilities(forest, new)
    np.testing.assert_allclose(found[:, 0].numpy(), expected[..., 0].clip(min=FLOOR), atol=1e-6)
    np.testing.assert_allclose(found[:, 1].numpy(), expected[..., 1].clip(min=FLOOR), atol=1e-6)


def test_what_a_label_does_not_tell_apart_goes_to_its_first_class():
    assert (probabilities(grown(), batch(99))[:, 2] <= FLOOR * 1.001).all()


def test_it_learns():
    new = batch(99)
    assert (probabilities(grown(), new)[:, 1] > 0.5).eq(new.rows == 1)[:, 2:].float().mean() > 0.8


def test_it_is_kept_and_read_as_a_member(tmp_path):
    network = NetworkSettings(widths=(8,), stem_channels=8)
    torch.manual_seed(0)
    model = Model([build(network, 3).eval(), grown()], [network, SETTINGS], LEGEND, RobustScaling())
    model.save(tmp_path / "m")
    again, new = load(tmp_path / "m"), batch(99)
    found = again.probabilities(new.x, new.mask, new.bands, "any")
    assert found.shape == (2, 3, 3, SIDE, SIDE)
    torch.testing.assert_close(found, model.probabilities(new.x, new.mask, new.bands, "any"))
    assert "1 member(s) of `forest`" in (tmp_path / "m" / "card.md").read_text()


def test_the_same_seed_grows_the_same_trees():
    for name, tensor in grown().state_dict().items():
        torch.testing.assert_close(tensor, grown().state_dict()[name], equal_nan=True, rtol=0, atol=0)


def test_other_bands_are_refused():
    forest, other = grown(), batch(99, bands=3)
    with pytest.raises(VigieError, match="grown on other bands; found 3 bands"):
        forest(other.x, other.mask, other.bands)
    moved = batch(99)
    with pytest.raises(VigieError, match="grown on other bands"):
        forest(moved.x, moved.mask, moved.bands + 0.1)


def test_several_sensors_are_refused():
    with pytest.raises(VigieError, match="one sensor; found 2 bands, and others in a"):
        build(SETTINGS, 3).grow(lambda step: batch(step, bands=3 if step else 2), 2, seed=0)


def test_more_bands_than_there_is_room_for_are_refused_before_it_learns():
    drawn = []

    def wide(step: int) -> Batch:
        drawn.append(step)
        return batch(step, bands=MOST_BANDS + 1)

    with pytest.raises(VigieError, match="no room for so many bands; found 65 bands in a; expected at most 64"):
        build(SETTINGS, 3).grow(wide, 4, seed=0)
    assert drawn == [0]


def test_as_many_bands_as_there_is_room_for_are_learnt_from():
    forest = build(SETTINGS, 3)
    forest.grow(lambda step: batch(step, bands=MOST_BANDS), 1, seed=0)
    assert probabilities(forest, batch(99, bands=MOST_BANDS)).isfinite().all()


def test_several_label_legends_grow_one_forest():
    """Labels that tell debris from clean ice add what labels of ice leave open."""
    forest = build(SETTINGS, 3)
    finer = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    forest.grow(lambda step: batch(step, matrix=finer if step % 2 else None), 4, seed=0)
    found = probabilities(forest, batch(99)).mean(dim=(0, 2, 3))
    assert found[1] > 0.1 and found[2] > 0.1


def test_one_class_is_refused():
    def one(step: int) -> Batch:
        made = batch(step)
        made.rows[made.rows == 1] = 0
        return made

    with pytest.raises(VigieError, match="two classes"):
        build(SETTINGS, 3).grow(one, 2, seed=0)
