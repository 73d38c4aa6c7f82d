"""The list of convolutions that the bound is made of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from bench.convolutions import BareConvolutions, convolutions, layouts
from bench.measure import PUBLISHED_SIZES, published_spec
from bench.textbook import Textbook
from gpen.network.spec import Spec


@pytest.mark.parametrize("size", PUBLISHED_SIZES)
def test_the_list_follows_from_the_published_shapes(shared: Path, size: int) -> None:
    published = json.loads((shared / "reference" / f"gpen-{size}.shapes.json").read_text())
    shapes = {}
    for name, shape in published.items():
        if re.fullmatch(r"(ecd.*|generator\..*conv)\.weight", name):
            shapes[name] = shape[-4:]
    upsampling = {name.replace("blur.kernel", "weight") for name in published if name.endswith("conv.blur.kernel")}

    listed = {one.name: one for one in convolutions(published_spec(size))}

    assert {name: [one.out_channels, one.in_channels, one.kernel, one.kernel] for name, one in listed.items()} == shapes
    assert {name for name, one in listed.items() if one.transposed} == upsampling


@pytest.mark.parametrize("spec", [Spec(32, 32), Spec(64, 64, 1, 0.5)])
def test_they_are_the_calls_that_the_textbook_formulation_makes(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def record(function, transposed):
        def call(x, weight, **keywords):
            out = function(x, weight, **keywords)
            inner, outer = weight.shape[:2] if transposed else (weight.shape[1], weight.shape[0])
            if (inner, outer) != (1, 1):  # the filters convolve each channel alone
                stride, padding = keywords.get("stride", 1), keywords.get("padding", 0)
                called.append((inner, outer, weight.shape[2], stride, padding, x.shape[2], transposed, out.shape[2]))
            return out

        return call

    functional = torch.nn.functional
    monkeypatch.setattr(functional, "conv2d", record(functional.conv2d, False))
    monkeypatch.setattr(functional, "conv_transpose2d", record(functional.conv_transpose2d, True))
    with torch.no_grad():
        Textbook(spec)(torch.zeros(1, 3, spec.in_size, spec.in_size))

    assert [
        (c.in_channels, c.out_channels, c.kernel, c.stride, c.padding, c.in_size, c.transposed, c.out_size)
        for c in convolutions(spec)
    ] == called


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_layout_computes_the_same(dtype: torch.dtype) -> None:
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    for convolution in convolutions(Spec(32, 32)):
        first, *others = [call() for call in layouts(convolution, dtype).values()]
        assert others
        assert first.shape == (1, convolution.out_channels, convolution.out_size, convolution.out_size)
        for other in others:
            assert (other - first).abs().max() <= tolerance * first.abs().max()


def test_work_of_the_largest_network() -> None:
    assert sum(one.flop for one in convolutions(published_spec(2048))) == pytest.approx(411e9, rel=1e-3)


def test_each_convolution_is_timed_once() -> None:
    timed = BareConvolutions(Spec(32, 32)).time()
    assert [one.convolution for one in timed] == list(convolutions(Spec(32, 32)))
    assert min(one.seconds for one in timed) > 0
