"""The model: what is saved is what is loaded, damage is named, probabilities are calibrated softmax."""

import json

import pytest
import torch
from torch import nn

from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.learn.bands import WIDTH
from vigie.learn.calibration import Calibration
from vigie.learn.model import Model, card_text, load, read_card
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.scaling import RobustScaling

LEGEND = Legend(
    "glaciers", (LegendClass(0, "other", "#888888"), LegendClass(1, "ice", "#00aaff"), LegendClass(3, "lake", "#0000ff"))
)
SETTINGS = NetworkSettings(widths=(8, 16), stem_channels=8)
FACTS = {"trained_on": ["a", "b"], "scores": {"iou": {"ice": 0.61}}, "limits": ["Not for Greenland."], "seed": 3}


def made(members=2, **wanted):
    networks = []
    for seed in range(members):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            networks.append(build(SETTINGS, 3).eval())
    wanted = {"calibration": {"s2": Calibration(2.0), "*": Calibration(0.5, (0.0, 1.0, -1.0))}, "facts": FACTS} | wanted
    return Model(networks, [SETTINGS] * members, LEGEND, RobustScaling(clip=7.0), **wanted)


def inputs(bands=4, size=16):
    generator = torch.Generator().manual_seed(1)
    described = torch.rand(bands, WIDTH, generator=generator)
    return torch.randn(2, bands, size, size, generator=generator), torch.ones(2, 2, size, size), described


@pytest.fixture
def saved(tmp_path):
    model = made()
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


def test_what_is_loaded_predicts_the_same(saved):
    model, folder = saved
    again = load(folder, legend=LEGEND)
    assert torch.equal(model.probabilities(*inputs(), "s2"), again.probabilities(*inputs(), "s2"))
    assert again.networks == [SETTINGS, SETTINGS] and again.legend == LEGEND and again.scaling == model.scaling
    assert again.calibration == model.calibration and again.facts == FACTS
    assert not any(parameter.requires_grad for member in again.members for parameter in member.parameters())
    assert sorted(p.name for p in folder.iterdir()) == [
        "card.json",
        "card.md",
        "member-00.safetensors",
        "member-01.safetensors",
    ]


def test_saving_twice_leaves_the_same_bytes(saved):
    folder = saved[1]
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    load(folder).save(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_loading_leaves_the_global_generator_alone(saved):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load(saved[1])
    assert torch.equal(torch.rand(1), expected)


def test_probabilities_are_calibrated_softmax_member_by_member():
    model = made()
    for sensor, (temperature, bias) in {"s2": (2.0, [0.0, 0, 0]), "film": (0.5, [0.0, 1, -1])}.items():
        found = model.probabilities(*inputs(), sensor)
        shift = torch.tensor(bias).view(1, 3, 1, 1)
        expected = torch.stack([(m(*inputs()) / temperature + shift).softmax(1) for m in model.members]).detach()
        assert found.shape == (2, 2, 3, 16, 16) and not found.requires_grad
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found.sum(2), torch.ones(2, 2, 16, 16))


def test_bfloat16_predicts_nearly_the_same(saved):
    rough = load(saved[1], precision="bf16-mixed").probabilities(*inputs(), "s2")
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, saved[0].probabilities(*inputs(), "s2"), atol=0.03, rtol=0.1)


def test_a_network_of_another_maker(tmp_path):
    class Mine(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.last = nn.Conv2d(1, classes, 1)

        def forward(self, x, mask, bands):
            return self.last(x.mean(1, keepdim=True))

    model = Model([Mine(3)], [SETTINGS], LEGEND, RobustScaling())
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", build=lambda settings, classes: Mine(classes))
    assert torch.equal(model.probabilities(*inputs(), "any"), again.probabilities(*inputs(), "any"))


def test_the_card_tells_people(saved):
    text = (saved[1] / "card.md").read_text()
    for told in (
        "# Model card: glaciers",
        "| 3 | lake | #0000ff |",
        "s2: logits are divided by 2.000",
        "## Trained on",
        "- a\n",
    ):
        assert told in text
    assert '- iou: {"ice": 0.61}' in text and "Not for Greenland." in text and "unet-groupnorm" in text
    digest = read_card(saved[1])["members"]["member-00.safetensors"]["sha256"]
    assert digest in text
    bare = json.loads((saved[1] / "card.json").read_text()) | {"facts": {}}
    assert "test it on your own region" in card_text(bare)


def spoil(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


def edit(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: spoil(f, "member-01.safetensors", lambda b: b[:-1]), r"member-01.safetensors are not those of the card"),
        (
            lambda f: spoil(f, "member-00.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
            "not those of the card; found sha256",
        ),
        (lambda f: (f / "member-00.safetensors").unlink(), "not those of the card; found no such file"),
        (lambda f: (f / "card.json").unlink(), "is not the card of a model"),
        (lambda f: spoil(f, "card.json", lambda b: b[:40]), "is not the card of a model"),
        (lambda f: (f / "card.json").write_text("{}"), "found no calibration, facts, format, legend"),
        (lambda f: (f / "card.json").write_text("[]"), "found no calibration, facts, format, legend"),
        (lambda f: edit(f, format=99), "found format 99"),
        (lambda f: edit(f, members={"../other.safetensors": "0"}), "names a file outside"),
        (lambda f: edit(f, members={}), "found no member"),
        (lambda f: edit(f, members={"member-00.safetensors": {"sha256": "0", "network": {"depth": 9}}}), r"found .*depth"),
        (lambda f: edit(f, members={"member-00.safetensors": {"sha256": "0"}}), "found no sha256 or network of 'member-00"),
        (
            lambda f: edit(
                f,
                legend={"name": "g", "unknown": 255, "classes": [{"code": 0, "name": "a", "color": "#000000"}]},
                calibration={},
            ),
            "weights member-00.safetensors do not fit the network",
        ),
    ],
)
def test_damage_is_named(saved, damage, message):
    damage(saved[1])
    with pytest.raises(VigieError, match=message):
        load(saved[1])


def test_another_legend_and_an_unknown_sensor_are_refused(saved):
    other = Legend("two", LEGEND.classes[:2])
    with pytest.raises(VigieError, match="trained for another legend; found 'glaciers': other, ice, lake; expected 'two'"):
        load(saved[1], legend=other)
    with pytest.raises(VigieError, match="no calibration for sensor 'film'"):
        made(calibration={"s2": Calibration()}).probabilities(*inputs(), "film")
