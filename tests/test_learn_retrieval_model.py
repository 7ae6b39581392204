"""A retrieval model comes back from its folder as it was, and not from a broken one."""

from __future__ import annotations

import json

import pytest
import torch

from vigie.core.errors import VigieError
from vigie.learn import channels, retrieval_model
from vigie.learn.rain_heads.settings import RainHeadSettings
from vigie.learn.rain_heads.settings import build as head_of
from vigie.learn.retrieval import RetrievalSettings, build
from vigie.learn.retrieval_model import Familiar, RetrievalModel, load
from vigie.learn.swaths import ChannelScaling, shown_mask

NAMES = ("36.64V", "89.00V")
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture
def model():
    network, head = RetrievalSettings(hidden=(8,)), RainHeadSettings(levels=LEVELS)
    members = []
    for seed in range(2):
        torch.manual_seed(seed)
        members.append(build(network, head_of(head).channels).eval())
    scaling = ChannelScaling(mean=dict.fromkeys(NAMES, 250.0), deviation=dict.fromkeys(NAMES, 20.0))
    familiar = Familiar(mean=(0.0, 0.0), precision=((1.0, 0.0), (0.0, 1.0)), threshold=6.0, false_alarm_rate=0.05)
    return RetrievalModel(members, network, head, NAMES, (), scaling, familiar, {"limits": ["few"]})


def shown():
    x = torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    return x, shown_mask(x), torch.rand(2, channels.WIDTH, generator=torch.Generator().manual_seed(2))


def test_quantiles_are_the_mean_of_the_members_at_each_level(model):
    x, mask, bands = shown()
    each = [model.head.quantiles(member(x, mask, bands), LEVELS) for member in model.members]
    torch.testing.assert_close(model.quantiles(x, mask, bands, LEVELS), (each[0] + each[1]) / 2)


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 4, 6), (40, 1, 1)])
def test_quantiles_made_in_blocks_are_those_of_the_whole(model, monkeypatch, shape):
    monkeypatch.setattr(retrieval_model, "BLOCK", 12)
    count, height, width = shape
    x = torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(3))
    raw = model.raw(x, shown_mask(x), torch.zeros(2, channels.WIDTH))
    levels = (0.05, 0.3, 0.95)
    each = [model.head.quantiles(part, levels) for part in raw]
    torch.testing.assert_close(model.quantiles_of(raw, levels), (each[0] + each[1]) / 2)
    inner = [part[:, :, 1:] for part in raw] if height > 1 else raw
    torch.testing.assert_close(model.quantiles_of(inner, levels), model.quantiles_of(raw, levels)[:, :, -inner[0].shape[2] :])


def test_a_saved_model_says_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    back = load(tmp_path / "model")
    torch.testing.assert_close(back.quantiles(*shown(), LEVELS), model.quantiles(*shown(), LEVELS), rtol=0, atol=0)
    assert (back.channels, back.scaling, back.familiar, back.facts) == (NAMES, model.scaling, model.familiar, model.facts)
    card = (tmp_path / "model" / "card.md").read_text()
    assert "2 member(s) of `pixel`" in card and "5 % of familiar pixels" in card


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
    path.write_text(json.dumps({key: value for key, value in card.items() if key != "head"}))
    with pytest.raises(VigieError, match="no head"):
        load(tmp_path / "model")
    path.write_text(json.dumps(card | {"head": {"name": 3}}))
    with pytest.raises(VigieError, match="is not the card of a model"):
        load(tmp_path / "model")
