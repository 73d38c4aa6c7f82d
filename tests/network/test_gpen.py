"""What the reference outputs do not cover: synthetic weights, dtypes, upsampling beyond the input size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gpen.errors import CheckpointError
from gpen.network import styles
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.styles import StyleWeights
from gpen.network.synthetic import SHARPEN, synthetic_weights

PUBLISHED = {256: Spec(256, 256, 1, 0.5), 512: Spec(512, 512, 2, 1)}
SMALL = Spec(64, 64, 2, 1 / 16)
MATRIX = ((0.1, 0.7, 0.2), (0.3, -0.2, 0.5), (0.0, 0.4, 0.9))
BIAS = (0.1, -0.2, 0.3)


def network_of(spec: Spec, **how: object) -> GPEN:
    network = GPEN(spec)
    network.load_state_dict(synthetic_weights(spec, **how))  # type: ignore[arg-type]
    return network


def picture(size: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("size", [256, 512])
def test_passthrough_weights_are_the_identity_in_the_published_shapes(size: int) -> None:
    x = picture(size)
    assert (network_of(PUBLISHED[size])(x) - x).abs().max() <= 1e-6


def test_marker_weights_give_the_colours_computed_independently() -> None:
    x = picture(64, batch=2)
    expected = torch.einsum("rc,nchw->nrhw", torch.tensor(MATRIX), x) + torch.tensor(BIAS)[:, None, None]
    out = network_of(SMALL, color_matrix=MATRIX, color_bias=BIAS)(x)
    assert (out - expected).abs().max() <= 2e-6


def test_sharpening_weights_filter_the_picture() -> None:
    x = picture(64)
    kernel = torch.tensor(SHARPEN)[None, None].expand(3, 1, 3, 3)
    expected = F.conv2d(x, kernel, padding=1, groups=3)
    out = network_of(SMALL, kernel=SHARPEN)(x)
    assert (out - expected).abs().max() <= 1e-5
    assert (expected - x).abs().max() > 1


def test_synthetic_weights_use_the_whole_network() -> None:
    """Passthrough weights must not hide a bug in the deeper layers by being all zeros there."""
    weights = synthetic_weights(SMALL)
    silent = [name for name, tensor in weights.items() if not tensor.any()]
    assert silent
    assert all(".to_rgb" in name or name.startswith("ecd0") for name in silent)


@pytest.mark.parametrize("spec", [Spec(32, 64, 2, 1 / 16), Spec(256, 256, 1, 1 / 16)])
def test_synthetic_weights_refuse_specs_they_do_not_fit(spec: Spec) -> None:
    with pytest.raises(CheckpointError):
        synthetic_weights(spec)


@pytest.mark.parametrize("spec", [SMALL, PUBLISHED[256], PUBLISHED[512]], ids=lambda spec: spec.title)
def test_bfloat16_returns_pictures_within_1_5_of_255(spec: Spec) -> None:
    x = picture(spec.in_size)
    network = network_of(spec).to(torch.bfloat16)
    out = network(x.to(torch.bfloat16))
    assert out.dtype == torch.bfloat16
    assert (out.float() - x).abs().max() <= 1.5 / 255 * 2


def test_styles_are_computed_in_float32_whatever_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modulations of 300 have squares beyond the largest float16."""
    weights = synthetic_weights(SMALL)
    for name in weights:
        if name.endswith("modulation.bias") and ".to_rgb" not in name:
            weights[name] = weights[name] * 300
    network = GPEN(SMALL)
    network.load_state_dict(weights)
    expected = network(picture(64))
    half = network.to(torch.bfloat16)
    dtypes = set()

    def watched(convs: object, to_rgbs: object, weights: StyleWeights, style: torch.Tensor, pixels: object) -> object:
        dtypes.update(tensor.dtype for tensor in (weights.bias, *weights.energies, weights.to_rgb, style))
        return styles.modulate(convs, to_rgbs, weights, style, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr("gpen.network.gpen.modulate", watched)
    assert (half(picture(64).to(torch.bfloat16)).float() - expected).abs().max() <= 3 / 255 * 2
    assert dtypes == {torch.float32}


def test_above_the_input_size_zeros_replace_the_noise() -> None:
    spec = Spec(32, 64, 2, 1 / 16)
    network = GPEN(spec)
    generator = torch.Generator().manual_seed(0)
    network.load_state_dict(
        {
            name: tensor if name.endswith(".kernel") else torch.randn(tensor.shape, generator=generator)
            for name, tensor in network.state_dict().items()
        }
    )
    x = picture(32)
    first = network(x)
    assert first.shape == (1, 3, 64, 64)
    assert torch.equal(network(x), first)
    for layer in network.generator.convs[-2:]:
        layer.noise.weight.data.zero_()
    assert torch.equal(network(x), first)


def test_no_autograd_graph_and_an_unchanged_input() -> None:
    x = picture(64).requires_grad_()
    before = x.detach().clone()
    out = network_of(SMALL)(x)
    assert not out.requires_grad
    assert torch.equal(x.detach(), before)
