"""A retrieval model comes back from its folder as it was, and not from a broken one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from vigie.core.errors import VigieError
from vigie.learn import channels, retrieval_model
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.regimes import RegimeSettings
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_inputs import Inputs, View
from vigie.learn.retrieval_model import Covering, Familiar, Member, Reference, RetrievalModel, load
from vigie.learn.swaths import ChannelScaling, shown_mask

NAMES = ("36.64V", "89.00V")
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture
def model():
    network, head = RetrievalSettings(hidden=(8,)), RainHeadSettings(levels=LEVELS)
    members = []
    for seed in range(2):
        torch.manual_seed(seed)
        members.append(Member(build(network, head_of(head).channels).eval(), network, head))
    scaling = ChannelScaling(mean=dict.fromkeys(NAMES, 250.0), deviation=dict.fromkeys(NAMES, 20.0))
    reference = Reference(fields=NAMES, rows="reference-0", scale=0.5)
    familiar = Familiar(references=(reference,), neighbours=3, threshold=1.1, false_alarm_rate=0.05)
    covering = Covering(levels=(0.1, 0.9), regimes=RegimeSettings(), widening_mm_h={"all": 0.25})
    return RetrievalModel(
        members, Inputs(NAMES), scaling, familiar, covering, {"limits": ["few"]}, {"reference-0": torch.rand(9, 2)}
    )


def shown():
    x = torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    return x, NAMES, torch.rand(2, channels.WIDTH, generator=torch.Generator().manual_seed(2))


def test_distributions_are_the_mean_of_the_members_at_each_level(model):
    x, names, bands = shown()
    each = [(member.head, member.network(x, shown_mask(x), bands)) for member in model.members]
    quantiles, mean = model.distribution(x, names, bands, LEVELS)
    torch.testing.assert_close(quantiles, sum(head.quantiles(raw, LEVELS) for head, raw in each) / 2)
    torch.testing.assert_close(mean, sum(head.mean(raw) for head, raw in each) / 2)


def test_members_of_other_heads_and_networks_retrieve_together(model, tmp_path):
    network, head = RetrievalSettings(hidden=(4, 4)), RainHeadSettings(name="hurdle-gamma")
    more = Member(build(network, head_of(head).channels).eval(), network, head)
    mixed = replace(model, members=[*model.members, more])
    expected = mixed.distribution(*shown(), LEVELS)
    mixed.save(tmp_path / "model")
    back = load(tmp_path / "model")
    assert [member.head.name for member in back.members] == ["quantile", "quantile", "hurdle-gamma"]
    torch.testing.assert_close(back.distribution(*shown(), LEVELS), expected, rtol=0, atol=0)
    assert (expected[0].diff(dim=1) >= 0).all()


def test_a_member_sees_its_view_and_nothing_else(model):
    settings, head = model.members[0].settings, model.members[0].head_settings
    alone = Member(model.members[0].network, settings, head, View(ancillary=("elevation",), layers=("departure",)))
    x, _, bands = shown()
    one = replace(model, members=[alone]).distribution(x, ("89.00V", "elevation"), bands, LEVELS)
    seen = model.members[0].head.quantiles(alone.network(x[:, 1:], shown_mask(x[:, 1:]), bands[1:]), LEVELS)
    torch.testing.assert_close(one[0], seen)


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 4, 6), (40, 1, 1)])
def test_quantiles_made_in_blocks_are_those_of_the_whole(model, monkeypatch, shape):
    monkeypatch.setattr(retrieval_model, "BLOCK", 12)
    count, height, width = shape
    x = torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(3))
    raw = model.raw(x, NAMES, torch.zeros(2, channels.WIDTH))
    levels = (0.05, 0.3, 0.95)
    each = [(member.head.quantiles(part, levels), member.head.mean(part)) for member, part in zip(model.members, raw)]
    quantiles, mean = model.distribution_of(raw, levels)
    torch.testing.assert_close(quantiles, (each[0][0] + each[1][0]) / 2)
    torch.testing.assert_close(mean, (each[0][1] + each[1][1]) / 2)
    inner = [part[:, :, 1:] for part in raw] if height > 1 else raw
    torch.testing.assert_close(model.distribution_of(inner, levels)[0], quantiles[:, :, -inner[0].shape[2] :])


def test_a_saved_model_says_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    back = load(tmp_path / "model")
    torch.testing.assert_close(back.distribution(*shown(), LEVELS), model.distribution(*shown(), LEVELS), rtol=0, atol=0)
    torch.testing.assert_close(back.rows["reference-0"], model.rows["reference-0"])
    for name in ("inputs", "scaling", "familiar", "covering", "facts"):
        assert getattr(back, name) == getattr(model, name)
    card = (tmp_path / "model" / "card.md").read_text()
    assert "- 2 of `pixel` with head `quantile` on temperature" in card and "5 % of familiar pixels" in card
    assert "all: both ends move +0.250 mm/h outward" in card


def test_truncated_weights_are_refused(model, tmp_path):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "member-01.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(VigieError, match="are not those of the card"):
        load(tmp_path / "model")


def test_a_card_of_another_kind_of_model_is_refused(model, tmp_path):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in card.items() if key != "inputs"}))
    with pytest.raises(VigieError, match="no inputs"):
        load(tmp_path / "model")
    path.write_text(json.dumps(card | {"inputs": {"channels": 3}}))
    with pytest.raises(VigieError, match="is not the card of a model"):
        load(tmp_path / "model")
