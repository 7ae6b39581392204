"""Descriptors, the band-agnostic stem, and every network behind the one interface."""

from __future__ import annotations

import math
import pickle
from hashlib import sha256

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from vigie.core.cube import band_coordinates
from vigie.core.errors import VigieError
from vigie.core.scene import KINDS, Band
from vigie.learn import bands, encoders, networks
from vigie.learn.networks import NetworkSettings, build
from vigie.learn.stem import BandStem
from vigie.learn.unet import ChannelNorm, GroupNorm, UNet, receptive_field

SENTINEL = [
    ("blue", "reflectance", 0.49, 0.065, 10.0),
    ("green", "reflectance", 0.56, 0.035, 10.0),
    ("red", "reflectance", 0.665, 0.03, 10.0),
    ("nir", "reflectance", 0.842, 0.115, 10.0),
    ("swir1", "reflectance", 1.61, 0.09, 20.0),
    ("thermal", "thermal", 10.9, 0.6, 100.0),
    ("coherence", "coherence", None, None, 20.0),
    ("slope", "terrain", None, None, 30.0),
    ("vv", "sar", 55_500.0, None, 20.0),
]
NAMES = ["unet-groupnorm", "unet-channelnorm", "unet", "deeplabv3plus", "segformer", "dpt-dinov3"]


def scene(rows: list[tuple[str, str, float | None, float | None, float]]) -> xr.Dataset:
    described = [
        Band(name, kind, "x.tif", 1, gsd, "1", wavelength_um=micron, bandwidth_um=width)
        for name, kind, micron, width, gsd in rows
    ]
    return xr.Dataset(coords=band_coordinates(described))


def inputs(samples: int, rows: list, size: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, len(rows), *size, generator=generator)
    mask = torch.stack([torch.ones(samples, *size), torch.zeros(samples, *size)], dim=1)
    return x, mask, bands.describe(scene(rows))


def small(name: str, **changes) -> NetworkSettings:
    ours = {"widths": (8, 16, 32)} if name.startswith("unet-") else {}
    ours |= {"encoder": "resnet18"} if name == "deeplabv3plus" else {}
    ours |= {"widths": (8, 8, 16, 16, 32)} if name == "unet" else {}
    return NetworkSettings(name=name, **({"stem_channels": 8} | ours | changes))


class TestDescriptors:
    def test_are_finite_and_tell_every_band_from_every_other(self):
        described = bands.describe(scene([*SENTINEL, ("vh", *SENTINEL[-1][1:]), ("aspect_sin", *SENTINEL[-2][1:])]))
        assert described.shape == (11, bands.WIDTH) and described.dtype == torch.float32
        assert torch.isfinite(described).all()
        apart = torch.cdist(described, described) + 9 * torch.eye(11)
        assert apart.min() > 0.5

    def test_unknown_numbers_are_zero_with_an_indicator(self):
        known, unknown = bands.describe(scene([SENTINEL[0], ("film", "pan", None, None, 10.0)]))
        first = 2 * len(bands.PERIODS)
        assert known[first] == 1 and unknown[first] == 0
        assert (unknown[:first] == 0).all() and unknown[first + 1 : first + 3].abs().sum() == 0

    def test_order_of_bands_is_only_order_of_rows(self):
        order = [3, 0, 8, 2]
        whole = bands.describe(scene(SENTINEL))
        assert torch.equal(bands.describe(scene([SENTINEL[i] for i in order])), whole[order])

    def test_elevation_is_no_input_and_strange_terrain_is_refused(self):
        rows = [SENTINEL[0], ("elevation", "terrain", None, None, 30.0), SENTINEL[7]]
        assert bands.usable(scene(rows)) == [0, 2]
        with pytest.raises(VigieError, match="curvature"):
            bands.usable(scene([("curvature", "terrain", None, None, 30.0)]))

    def test_bands_are_found_by_name_and_kind(self):
        described = bands.describe(scene(SENTINEL))
        assert bands.position(described, "slope") == 7 and bands.position(described, "relief") is None
        assert [bands.is_kind(described, kind).sum().item() for kind in KINDS] == [5, 1, 0, 1, 1, 0, 1]

    def test_scaling_the_sampling_distance_is_describing_it(self):
        name, kind, micron, width, gsd = SENTINEL[0]
        there = bands.describe(scene([(name, kind, micron, width, 2.5 * gsd)]))
        torch.testing.assert_close(bands.with_gsd_scaled(bands.describe(scene([SENTINEL[0]])), 2.5), there)

    def test_impossible_wavelength_is_refused(self):
        with pytest.raises(VigieError, match="wavelength_um"):
            bands.describe(scene([("blue", "reflectance", 0.0, None, 10.0)]))


class TestStem:
    @given(order=st.permutations(range(len(SENTINEL))))
    @settings(max_examples=10, deadline=None)
    def test_does_not_care_about_the_order_of_bands(self, order):
        torch.manual_seed(1)
        stem = BandStem(6).double()
        x, mask, described = (t.double() for t in inputs(2, SENTINEL, (7, 9)))
        torch.testing.assert_close(
            stem(x[:, order], mask, described[list(order)]), stem(x, mask, described), rtol=0, atol=1e-12
        )

    def test_is_the_sum_it_says_it_is(self):
        torch.manual_seed(1)
        stem = BandStem(5).double()
        x, mask, described = (t.double() for t in inputs(1, SENTINEL[:3], (6, 8)))
        x, mask = x.squeeze(0), mask.squeeze(0)
        kernels = stem.kernels(stem._features(described)).view(3, 5, 3, 3)
        biases = stem.biases(stem._features(described)).mean(0)
        expected = torch.zeros(5, 6, 8, dtype=torch.float64)
        for layers, weights in ((x, kernels / math.sqrt(3)), (mask, stem.mask_kernels.transpose(0, 1))):
            for layer, weight in zip(layers, weights):
                padded = torch.nn.functional.pad(layer, (1, 1, 1, 1))
                for i in range(3):
                    for j in range(3):
                        expected += weight[:, i, j].view(5, 1, 1) * padded[i : i + 6, j : j + 8]
        found = stem(x[None], mask[None], described)[0]
        torch.testing.assert_close(found, expected + biases.view(5, 1, 1))

    @pytest.mark.parametrize("count", [1, 3, 9, 40])
    @pytest.mark.parametrize("reduction", [1, 2, 4])
    def test_output_variance_is_about_one_for_any_number_of_bands(self, count, reduction):
        torch.manual_seed(0)
        rows = [("b", "reflectance", 0.4 + 0.05 * i, 0.03, 10.0) for i in range(count)]
        x, _, described = inputs(2, rows, (32, 32))
        y = torch.cat([BandStem(64, reduction=reduction)(x, torch.zeros(2, 2, 32, 32), described) for _ in range(3)], dim=1)
        assert y.shape[-1] == 32 // reduction
        assert 0.5 < y.var().item() < 2.0

    @pytest.mark.parametrize("reduction", [2, 4])
    def test_strided_kernels_are_centred_on_their_block(self, reduction):
        stem = BandStem(1, reduction=reduction).double()
        with torch.no_grad():
            stem.kernels.weight.zero_()
            stem.kernels.bias.fill_(1.0 / stem.kernel**2)
            stem.mask_kernels.zero_()
        ramp = torch.arange(32.0, dtype=torch.float64).expand(1, 1, 32, 32)
        y = stem(ramp, torch.zeros(1, 2, 32, 32, dtype=torch.float64), torch.zeros(1, bands.WIDTH, dtype=torch.float64))
        centres = torch.arange(reduction / 2 - 0.5, 32, reduction, dtype=torch.float64)
        torch.testing.assert_close(y[0, 0, 3, 1:-1], centres[1:-1])

    def test_gradients_are_right(self):
        torch.manual_seed(0)
        stem = BandStem(2, hidden=4).double()
        x, mask, described = (t.double() for t in inputs(1, SENTINEL[:2], (4, 4)))
        assert torch.autograd.gradcheck(stem, (x.requires_grad_(), mask, described.requires_grad_()))


class TestNetworks:
    @pytest.mark.parametrize("name", NAMES)
    def test_one_and_nine_bands_go_through_one_network(self, name):
        torch.manual_seed(0)
        network = build(small(name), classes=4)
        side = network.multiple * math.ceil(32 / network.multiple)
        for rows in (SENTINEL[:1], SENTINEL):
            x, mask, described = inputs(2, rows, (side, 2 * side))
            logits = network(x, mask, described)
            assert logits.shape == (2, 4, side, 2 * side) and torch.isfinite(logits).all()
            logits.square().mean().backward()
        idle = [n for n, p in network.named_parameters() if p.grad is None and "cls_token" not in n and ".norm." not in n]
        assert not [n for n in idle if n.startswith("stem")] and len(idle) < 8, idle

    @pytest.mark.parametrize("reduction", [2, 4])
    def test_reduction_keeps_the_input_resolution(self, reduction):
        network = build(small("unet-groupnorm", reduction=reduction), classes=3)
        assert network.multiple == 4 * reduction
        assert network(*inputs(1, SENTINEL, (48, 32))).shape == (1, 3, 48, 32)

    def test_permuted_bands_give_the_same_logits(self):
        torch.manual_seed(0)
        network = build(small("unet-groupnorm"), classes=4).double().eval()
        x, mask, described = (t.double() for t in inputs(2, SENTINEL, (16, 16)))
        order = [4, 2, 8, 0, 1, 7, 3, 6, 5]
        torch.testing.assert_close(network(x[:, order], mask, described[order]), network(x, mask, described))

    def test_wrong_size_is_refused_with_the_right_one(self):
        with pytest.raises(VigieError, match="multiples of 4"):
            build(small("unet-groupnorm"), classes=4)(*inputs(1, SENTINEL, (18, 16)))

    @pytest.mark.parametrize("name", ["unet-groupnorm", "unet-channelnorm"])
    def test_bfloat16_is_close_to_float32(self, name):
        torch.manual_seed(0)
        network = build(small(name), classes=4).eval()
        x, mask, described = inputs(2, SENTINEL, (32, 32))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            half = network(x, mask, described)
        exact = network(x, mask, described)
        assert half.dtype == torch.bfloat16
        assert (half.float() - exact).abs().mean() < 0.05 * exact.std()

    def test_dropout_drops_in_training_only(self):
        torch.manual_seed(0)
        network = build(small("unet-groupnorm", dropout=0.5), classes=4)
        given_ = inputs(1, SENTINEL, (16, 16))
        assert not torch.equal(network(*given_), network(*given_))
        network.eval()
        assert torch.equal(network(*given_), network(*given_))

    def test_default_is_the_eight_million_parameter_unet_of_the_notes(self):
        count = sum(p.numel() for p in build(NetworkSettings(), classes=4).parameters())
        assert 7e6 < count < 9e6

    def test_learns_one_crop_by_heart(self):
        torch.manual_seed(0)
        network = build(small("unet-groupnorm"), classes=2)
        x, mask, described = inputs(2, SENTINEL[:2], (16, 16))
        truth = (x[:, 0] + x[:, 1].roll(1, -1) > 0).long()
        optimiser = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(30):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(x, mask, described), truth)
            loss.backward()
            optimiser.step()
        assert loss.item() < 0.2


class TestSensorNorm:
    def test_is_the_plain_norm_at_the_start(self):
        x, context = torch.randn(2, 16, 4, 4), torch.randn(5)
        torch.testing.assert_close(GroupNorm(16, 5)(x, context), torch.nn.GroupNorm(8, 16)(x))
        pixelwise = torch.nn.LayerNorm(16)(x.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(ChannelNorm(16, 5)(x, context), pixelwise)

    @pytest.mark.parametrize("norm", [GroupNorm, ChannelNorm])
    def test_scales_and_shifts_by_the_context(self, norm):
        x, context, layer = torch.randn(2, 16, 4, 4), torch.randn(5), norm(16, 5)
        plain = layer(x, context)
        torch.nn.init.normal_(layer.modulation.weight)
        gain, shift = (layer.modulation.weight @ context).view(2, 16, 1, 1)
        torch.testing.assert_close(layer(x, context), plain * (1 + gain) + shift)

    @pytest.mark.parametrize("name", ["unet-groupnorm", "unet-channelnorm", "unet"])
    def test_tells_one_image_from_the_same_of_another_sensor(self, name):
        """Norms and the last layer alone learn that all is of class 0 on film, and of class 1 on radar."""
        torch.manual_seed(0)
        network = build(small(name, norms="sensor"), classes=2)
        film = bands.describe(scene([("pan", "pan", 0.6, 0.2, 6.0)]))
        radar = bands.describe(scene([("vv", "sar", 55_500.0, None, 20.0)]))
        x, mask = torch.randn(2, 1, 32, 32), torch.ones(2, 2, 32, 32)
        optimiser = torch.optim.Adam([p for n, p in network.named_parameters() if "modulation" in n or "head" in n], 0.02)
        for _ in range(30):
            optimiser.zero_grad()
            sure = network(x, mask, film).log_softmax(1)[:, 0] + network(x, mask, radar).log_softmax(1)[:, 1]
            (-sure.mean()).backward()
            optimiser.step()
        assert (network(x, mask, film).argmax(1) == 0).float().mean() > 0.95
        assert (network(x, mask, radar).argmax(1) == 1).float().mean() > 0.95

    def test_plain_norms_are_told_nothing(self):
        network = build(small("unet-groupnorm"), classes=2)
        x, mask, described = inputs(1, SENTINEL[:2], (16, 16))
        network(x, mask, described).sum().backward()
        told = [p.grad for n, p in network.named_parameters() if n.endswith("modulation.weight")]
        assert told and all(not grad.any() for grad in told)

    def test_other_networks_have_none_that_know_the_sensor(self):
        with pytest.raises(ValidationError, match="norms that know the sensor in unet-groupnorm, unet-channelnorm, unet only"):
            NetworkSettings(name="segformer", norms="sensor")


class TestEncoded:
    @pytest.mark.parametrize(("weights", "kept"), [("shipped", True), ("none", False)])
    @pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])
    def test_pretrained_layers_keep_their_statistics(self, name, weights, kept):
        network = build(small(name, encoder="tf_efficientnet_lite0", weights=weights), classes=2)
        before = {n: b.clone() for n, b in network.body.learnt.named_buffers() if "running" in n}
        for _ in range(2):
            network(*inputs(2, SENTINEL, (64, 64)))
            after = dict(network.body.learnt.named_buffers())
            assert before and all(torch.equal(b, after[n]) == kept for n, b in before.items())
            network.eval().train()
        assert network.body.training and all(p.requires_grad for p in network.parameters())

    def test_encoders_may_begin_at_a_quarter_of_the_resolution(self):
        network = build(small("unet", encoder="convnext_atto", widths=(8, 8, 8, 8)), classes=3).eval()
        assert network.multiple == 32
        assert network(*inputs(1, SENTINEL, (32, 64))).shape == (1, 3, 32, 64)

    @pytest.mark.parametrize("encoder", ["swin_tiny_patch4_window7_224", "vit_small_patch16_dinov3"])
    def test_encoders_without_a_pyramid_of_maps_are_refused(self, encoder):
        with pytest.raises(VigieError, match="cannot be the way down of a U-Net"):
            build(small("unet", encoder=encoder, widths=(8, 8, 8, 8)), classes=2)

    def test_sides_that_cannot_be_halved_are_told_by_their_key(self):
        networks.check(small("unet", reduction=2), {"train.windows.size": 128, "predict.patch": 256})
        networks.check(small("forest"), {"train.windows.size": 100})
        with pytest.raises(VigieError, match=r"halve train\.windows\.size evenly; found 96 px; expected a multiple of 64"):
            networks.check(small("unet", reduction=2), {"predict.patch": 256, "train.windows.size": 96})

    def test_a_way_up_of_other_levels_is_refused(self):
        with pytest.raises(VigieError, match="found 3 widths; expected 5, one for each level"):
            build(small("unet", widths=(8, 8, 8)), classes=2)


class TestReceptiveField:
    @pytest.mark.parametrize(("widths", "reduction"), [((8,), 1), ((8, 8), 1), ((8, 8, 8), 1), ((8, 8), 2), ((8,), 4)])
    def test_bounds_what_one_pixel_sees_and_not_by_much(self, widths, reduction):
        torch.manual_seed(0)
        network = build(
            NetworkSettings(name="unet-channelnorm", widths=widths, stem_channels=8, reduction=reduction), classes=1
        )
        network, described = network.double(), bands.describe(scene(SENTINEL[:1])).double()
        assert network.receptive_field is not None
        side = 16 * math.ceil(1.5 * network.receptive_field / 16)
        seen = 0
        for at in range(side // 2, side // 2 + network.multiple):
            x = torch.randn(1, 1, side, side, dtype=torch.float64, requires_grad=True)
            mask = torch.ones(1, 2, side, side, dtype=torch.float64)
            network(x, mask, described)[0, 0, at, at].backward()
            assert x.grad is not None
            reach = (np.argwhere(x.grad[0, 0].numpy() != 0) - at).reshape(-1)
            seen = max(seen, 2 * np.abs(reach).max() + 1)
        assert 0.7 * network.receptive_field <= seen <= network.receptive_field

    def test_a_halo_of_half_of_it_makes_tiles_seamless(self):
        torch.manual_seed(0)
        network = build(NetworkSettings(name="unet-channelnorm", widths=(8, 8, 8), stem_channels=8), classes=2).double().eval()
        x, mask, described = (t.double() for t in inputs(1, SENTINEL[:2], (32, 160)))
        halo = network.multiple * math.ceil(network.receptive_field // 2 / network.multiple)
        with torch.no_grad():
            whole = network(x, mask, described)
            part = network(x[..., 64 - halo :], mask[..., 64 - halo :], described)[..., halo:]
        torch.testing.assert_close(part, whole[..., 64:])

    def test_group_norm_has_none(self):
        assert build(small("unet-groupnorm"), classes=2).receptive_field is None

    def test_one_level_is_two_convolutions(self):
        assert receptive_field(1) == 5 == UNet(4, 2, (8,), ChannelNorm, context=3).receptive_field


class TestWeights:
    def test_unknown_names_are_refused_with_a_hint(self):
        with pytest.raises(VigieError, match="did you mean 'segformer'"):
            build(NetworkSettings(name="segfromer"), classes=2)
        with pytest.raises(VigieError, match="no encoder 'resnet81'"):
            build(NetworkSettings(name="unet", encoder="resnet81"), classes=2)
        with pytest.raises(ValidationError, match="has no encoder"):
            NetworkSettings(name="unet-groupnorm", encoder="resnet18")
        with pytest.raises(ValidationError):
            NetworkSettings(kernel=3)

    def test_an_unreachable_hub_is_an_error_and_never_random(self, monkeypatch):
        def unreachable(*_args, **options):
            if options.get("pretrained"):
                raise ConnectionError("no route to host")
            return real(*_args, **options)

        real = timm.create_model
        monkeypatch.setattr(timm, "create_model", unreachable)
        with pytest.raises(VigieError, match="no route to host"):
            build(small("unet", encoder="resnet18", weights="hub"), classes=2)

    @pytest.mark.parametrize(("name", "encoder"), [("unet", "resnet18"), ("dpt-dinov3", "vit_small_patch16_dinov3")])
    def test_a_local_file_is_loaded_exactly(self, tmp_path, name, encoder):
        torch.manual_seed(5)
        source = timm.create_model(encoder, pretrained=False, num_classes=0).state_dict()
        save_file({k: v.contiguous() for k, v in source.items()}, tmp_path / "weights.safetensors")
        network = build(small(name, encoder=encoder, weights=str(tmp_path / "weights.safetensors")), classes=2)
        body = network.body
        loaded = (body.down if name == "unet" else body.model.encoder.model).state_dict()
        same = [k for k, v in source.items() if k in loaded and v.shape == loaded[k].shape and torch.equal(v, loaded[k])]
        # All but the first convolution, which is adapted from three colours to the stem's channels.
        assert len(source) - len(same) <= 1
        assert "weights.safetensors (sha256" in network.provenance

    def test_a_file_of_another_encoder_is_refused(self, tmp_path):
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(VigieError, match="does not hold all weights"):
            build(small("unet", encoder="resnet18", weights=str(tmp_path / "other.safetensors")), classes=2)
        with pytest.raises(VigieError, match="no weights at"):
            build(small("unet", encoder="resnet18", weights=str(tmp_path / "none.safetensors")), classes=2)

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("cut.safetensors", b"half", "cannot be read"),
            ("empty.safetensors", b"", "cannot be read"),
            ("pickled.safetensors", pickle.dumps({"a": 1}), "cannot be read"),
            ("pickled.pt", pickle.dumps({"a": 1}), r"suffix '\.pt'; expected a \.safetensors file: pickles are never loaded"),
        ],
    )
    def test_damaged_files_and_pickles_are_refused(self, tmp_path, name, content, told):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VigieError, match=told):
            build(small("unet", encoder="resnet18", weights=str(tmp_path / name)), classes=2)

    def test_a_misspelt_word_is_not_taken_for_a_file(self):
        with pytest.raises(VigieError, match=r"no weights at 'shiped'.*did you mean 'shipped'"):
            build(small("unet", weights="shiped"), classes=2)

    def test_a_misspelt_encoder_is_told_before_its_file_is_read(self, tmp_path):
        with pytest.raises(VigieError, match="no encoder 'resnet81'"):
            build(small("unet", encoder="resnet81", weights=str(tmp_path / "any.safetensors")), classes=2)

    def test_statistics_are_needed_too(self, tmp_path):
        source = timm.create_model("resnet18", pretrained=False, num_classes=0)
        save_file({n: p.detach().contiguous() for n, p in source.named_parameters()}, tmp_path / "bare.safetensors")
        with pytest.raises(VigieError, match=r"does not hold all weights.*running_mean"):
            build(small("unet", encoder="resnet18", weights=str(tmp_path / "bare.safetensors")), classes=2)

    def test_those_of_the_package_are_what_its_readme_says_and_are_loaded_exactly(self):
        path = encoders.WITH_THE_PACKAGE["tf_efficientnet_lite0"]
        assert sha256(path.read_bytes()).hexdigest() in (path.parent / "README.md").read_text()
        network = build(small("unet", stem_channels=3, weights="shipped"), classes=2)
        loaded, stored = network.body.down.state_dict(), load_file(path)
        assert {name for name, _ in network.body.down.named_parameters()} <= set(stored)
        assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in stored.items())
        assert "tf_efficientnet_lite0 from vigie (sha256" in network.provenance

    def test_no_other_encoder_has_weights_in_the_package(self):
        with pytest.raises(VigieError, match="'resnet18' come with vigie; expected tf_efficientnet_lite0"):
            build(small("unet", encoder="resnet18", weights="shipped"), classes=2)

    def test_others_join_by_entry_point(self, monkeypatch):
        class Layer(torch.nn.Conv2d):
            multiple, receptive_field = 1, 1

            def forward(self, x, context):
                assert context.shape == (networks.CONTEXT,)
                return super().forward(x)

        class Point:
            name = "single-layer"

            def load(self):
                return lambda _settings, channels, classes: Layer(channels, classes, 1)

        monkeypatch.setattr(networks, "entry_points", lambda group: [Point()] if group == "vigie.networks" else [])
        network = build(NetworkSettings(name="single-layer", encoder="theirs", weights="theirs.ckpt"), classes=3)
        assert network.receptive_field == 3 and "weights of encoder theirs from theirs.ckpt" in network.provenance
        assert network(*inputs(1, SENTINEL, (5, 7))).shape == (1, 3, 5, 7)
