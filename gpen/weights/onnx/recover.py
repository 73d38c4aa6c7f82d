"""Recovers the published tensors from the graph of a GPEN network, whatever exported and optimised it.

Nothing depends on names. The walk starts at the output picture and follows the inputs of each operation: the ToRGB
layers down to the 4 x 4 level, the two styled convolutions of each level, the encoder's maps up to the input picture,
and the style back to the same encoder. What multiplies a map or a style is the *effective* weight, which includes the
learning rate equalisation, whether the exporter folded it in or left it in the graph. GPEN's factors follow from the
shapes, so dividing by them gives the published tensor in either case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network.fir import published_kernel
from ...network.gpen import MAPPING_LR_MULTIPLIER
from ...network.layers import LEAKY_GAIN, LEAKY_SLOPE
from ...network.spec import BOTTOM_SIZE
from .constants import Constant, Node
from .graph import Graph, NotGpenError, Product, scale_of

Array = NDArray[Any]

_MAX_LEVELS = 10
_MAX_LAYERS = 64


@dataclass(frozen=True)
class _Activation:
    """A leaky ReLU with its gain."""

    node: Node
    """The leaky ReLU."""
    before: str
    """Its input without the bias."""
    bias: Constant | None
    """The bias as stored in the graph."""


@dataclass(frozen=True)
class _Linear:
    """A linear layer."""

    weight: Constant
    """Effective weight (out, in)."""
    bias: Constant | None
    """(out,)."""
    data: str
    """Its input."""


@dataclass(frozen=True)
class _Modulated:
    """A modulated convolution."""

    weight: Array
    """Kernels (1, out, in, k, k)."""
    modulation: _Linear
    """The layer that computes the factors of the input channels from the style."""
    bias: Constant | None
    """(out,)."""
    data: str
    """Its input."""
    upsamples: bool
    """Whether it doubles the size of its input."""


@dataclass(frozen=True)
class _Styled:
    """A styled convolution."""

    conv: _Modulated
    """The convolution."""
    noise: Array
    """Weight of the encoder's map, a single number."""
    bias: Constant | None
    """Bias of the generator's and the encoder's channels."""
    encoded: Node
    """The leaky ReLU that the encoder's map comes from."""
    node: Node
    """The leaky ReLU at its end."""


def recover(graph: Graph, output: str) -> dict[str, Array]:
    """The tensors by their published names, without FIR buffers; NotGpenError if the graph is not GPEN's."""
    return _Walk(graph).tensors(output)


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: dict[str, Array] = {}
        self.styles: set[Node] = set()

    def tensors(self, output: str) -> dict[str, Array]:
        pictures = self._pictures(output)
        encoded: list[Node] = []
        below: _Styled | None = None
        for level, to_rgb in enumerate(pictures):
            below = self._level(level, to_rgb, below)
            encoded.append(below.encoded)
        (style,) = self.styles if len(self.styles) == 1 else (None,)
        if style is None:
            raise NotGpenError(f"its layers take {len(self.styles)} different styles, but in GPEN all take the same")
        self._encoder(encoded, self._style(style))
        return self.found

    # The picture

    def _pictures(self, output: str) -> list[_Modulated]:
        """The ToRGB convolutions, smallest level first."""
        found: list[_Modulated] = []
        value: str | None = output
        while value is not None:
            convolution, value = self._picture(value)
            found.append(convolution)
            if len(found) > _MAX_LEVELS:
                raise NotGpenError(f"its picture is a sum over more than {_MAX_LEVELS} levels")
        found.reverse()
        for i, to_rgb in enumerate(found):
            name = "generator.to_rgb1" if i == 0 else f"generator.to_rgbs.{i - 1}"
            self._keep_bias(f"{name}.bias", to_rgb.bias, (1, 3, 1, 1))
            self._keep_modulated(name, to_rgb)
        return found

    def _picture(self, value: str) -> tuple[_Modulated, str | None]:
        """The convolution that computes the picture of one level, and the picture of the level below."""
        constants, terms = self.graph.sum(value)
        below = [filtered for term in terms if (filtered := self._filtered(term, 4)) is not None]
        others = [term for term in terms if self._filtered(term, 4) is None]
        if len(others) != 1 or len(below) > 1:
            what = " + ".join(map(self.graph.describe, terms)) or "a constant"
            raise NotGpenError(
                f"its picture comes from {what}, not from a modulated convolution plus a filtered picture"
            )
        return self._modulated(others[0], constants, demodulated=False), below[0] if below else None

    # The generator

    def _level(self, level: int, to_rgb: _Modulated, below: _Styled | None) -> _Styled:
        last = self._styled(to_rgb.data)
        if below is None:
            self._keep_styled("generator.conv1", last)
            constant = self.graph.constant(self.graph.origin(last.conv.data))
            if constant is None:
                raise NotGpenError(f"its smallest level begins with {self.graph.describe(last.conv.data)}")
            array = constant.value()
            self._keep("generator.input.input", array, (1, array.size // BOTTOM_SIZE**2, BOTTOM_SIZE, BOTTOM_SIZE))
            return last
        first = self._styled(last.conv.data)
        if self._activation(first.conv.data).node is not below.node:
            raise NotGpenError(f"level {level} of its generator does not begin with what the level below ends with")
        if first.encoded is not last.encoded:
            raise NotGpenError(f"the two layers of level {level} take different maps from the encoder")
        for i, styled in enumerate((first, last)):
            self._keep_styled(f"generator.convs.{2 * level - 2 + i}", styled)
            if styled.conv.upsamples != (i == 0):
                raise NotGpenError(f"layer {i + 1} of level {level} should {'' if i == 0 else 'not '}upsample its map")
        return last

    def _styled(self, value: str) -> _Styled:
        activation = self._activation(value)
        concat = self.graph.producer(activation.before)
        if concat is None or concat.op != "Concat" or len(concat.inputs) != 2:
            found = self.graph.describe(activation.before)
            raise NotGpenError(f"it has {found} where GPEN concatenates a map of the generator and one of the encoder")
        generated, injected = concat.inputs
        conv = self._modulated(self._filtered(generated, 4) or generated, [], demodulated=True)
        product = self.graph.product(injected)
        encoded = self.graph.producer(product.above[0]) if len(product.above) == 1 and not product.below else None
        if encoded is None or not self._is_leaky(encoded):
            raise NotGpenError(f"it has {self.graph.describe(injected)} where GPEN scales a map of the encoder")
        if conv.bias is not None and conv.bias.array.any():
            raise NotGpenError("a modulated convolution has a bias of its own")
        noise = np.asarray(scale_of(product.constants) / LEAKY_GAIN)
        return _Styled(conv, noise, activation.bias, encoded, activation.node)

    def _modulated(self, value: str, biases: list[Constant], *, demodulated: bool) -> _Modulated:
        node = self.graph.producer(value)
        if node is None or node.op not in ("Conv", "ConvTranspose"):
            raise NotGpenError(f"it has {self.graph.describe(value)} where GPEN has a modulated convolution")
        product = self.graph.product(node.inputs[1])
        norms = [*product.below, *(name for name in product.above if self._is(name, "Pow"))]
        modulations = [name for name in product.above if not self._is(name, "Pow")]
        if len(modulations) != 1 or len(norms) != demodulated:
            raise NotGpenError(
                f"{len(modulations)} styles and {len(norms)} norms scale the kernels of a convolution, but in GPEN "
                f"1 and {int(demodulated)} do"
            )
        modulation = self._linear(modulations[0])
        self.styles.add(self._activation(modulation.data).node)
        weight, scale = self._kernels(product)
        if weight.ndim not in (4, 5) or weight.shape[-3] != modulation.weight.array.shape[0]:
            raise NotGpenError(f"a style scales kernels of shape {weight.shape}, which its modulation does not fit")
        weight = weight.reshape(1, *weight.shape[-4:])
        size = math.prod(weight.shape[2:])
        return _Modulated(
            self._unscaled(Constant(weight, scale), 1 / math.sqrt(size)),
            modulation,
            self._bias([*biases, *self._own_bias(node)]),
            node.inputs[0],
            node.op == "ConvTranspose",
        )

    def _kernels(self, product: Product) -> tuple[Array, float]:
        if not product.constants:
            raise NotGpenError("the kernels of a convolution are not stored in the graph")
        ordered = sorted(product.constants, key=lambda constant: constant.array.size)
        return ordered[-1].array, ordered[-1].factor * scale_of(ordered[:-1])

    # The style

    def _style(self, last: Node) -> str:
        """Keep the mapping network that ends with this leaky ReLU, and the layer before it; return its input."""
        layers: list[_Linear] = []
        activation = self._activation_of(last)
        while True:
            layer = self._linear(activation.before, activation.bias)
            layers.append(layer)
            if len(layers) > _MAX_LAYERS:
                raise NotGpenError(f"its mapping network has more than {_MAX_LAYERS} layers")
            product = self.graph.product(layer.data)
            if len(product.above) + len(product.below) != 1:
                break
            activation = self._activation(layer.data)
        # PixelNorm is the style times the reciprocal of its own norm.
        leaky = [node for name in product.above if (node := self.graph.producer(name)) and self._is_leaky(node)]
        if len(leaky) != 1 or len(product.above) + len(product.below) != 2:
            raise NotGpenError("its mapping network does not begin with the normalisation of a style")
        for i, layer in enumerate(reversed(layers), start=1):
            self._keep_linear(f"generator.style.{i}", layer, MAPPING_LR_MULTIPLIER)
        activation = self._activation_of(leaky[0])
        first = self._linear(activation.before, activation.bias)
        self._keep_linear("final_linear.0", first)
        return first.data

    def _linear(self, value: str, bias: Constant | None = None) -> _Linear:
        """The linear layer that computes a value; bias: that of an activation after it."""
        constants, terms = self.graph.sum(value)
        node = self.graph.producer(terms[0]) if len(terms) == 1 else None
        if node is None or node.op not in ("Gemm", "MatMul"):
            what = " + ".join(map(self.graph.describe, terms)) or "a constant"
            raise NotGpenError(f"it has {what} where GPEN has a linear layer")
        stored = self.graph.constant(node.inputs[1])
        if stored is None or stored.array.ndim != 2 or node.attributes.get("transA"):
            raise NotGpenError("the weight of a linear layer is not a constant matrix")
        weight = stored.array if node.attributes.get("transB") else stored.array.T
        alpha, beta = (float(node.attributes.get(name, 1)) for name in ("alpha", "beta"))
        constants += [Constant(own.array, own.factor * beta) for own in self._own_bias(node)]
        if bias is not None:
            constants.append(bias)
        return _Linear(Constant(weight, stored.factor * alpha), self._bias(constants), node.inputs[0])

    # The encoder

    def _encoder(self, encoded: list[Node], flattened: str) -> None:
        """Keep the encoder whose maps the generator takes, smallest first."""
        sizes = list(enumerate(reversed(range(len(encoded)))))
        value = flattened
        for i, number in sizes:
            activation = self._activation(value)
            if activation.node is not encoded[i]:
                raise NotGpenError("the maps of its encoder do not go to one level of the generator each")
            constants, terms = self.graph.sum(activation.before)
            conv = self.graph.producer(terms[0]) if len(terms) == 1 else None
            weight = self.graph.constant(conv.inputs[1]) if conv is not None and conv.op == "Conv" else None
            if conv is None or weight is None or weight.array.ndim != 4:
                raise NotGpenError(
                    f"it has {self.graph.describe(activation.before)} where GPEN's encoder has a convolution"
                )
            if activation.bias is not None:
                constants.append(activation.bias)
            bias = self._bias([*constants, *self._own_bias(conv)])
            # Only the first layer has no filter before the convolution, and no buffer for it.
            name = f"ecd{number}.0.{1 if number else 0}"
            scale = 1 / math.sqrt(math.prod(weight.array.shape[1:]))
            self._keep(f"{name}.weight", self._unscaled(weight, scale), weight.array.shape)
            self._keep_bias(f"ecd{number}.0.{2 if number else 1}.bias", bias, weight.array.shape[:1])
            value = conv.inputs[0]
            if number:
                filtered = self._filtered(value, 1)
                if filtered is None or list(conv.attributes.get("strides", ())) != [2, 2]:
                    raise NotGpenError("its encoder does not filter and halve every map")
                value = filtered
        if self.graph.origin(value) not in self.graph.inputs:
            raise NotGpenError(f"its encoder begins with {self.graph.describe(value)}, not with the picture")

    # Parts

    def _activation(self, value: str) -> _Activation:
        """The scaled leaky ReLU that computes a value."""
        product = self.graph.product(value)
        node = self.graph.producer(product.above[0]) if len(product.above) == 1 and not product.below else None
        if node is None or not self._is_leaky(node):
            found = self.graph.describe(product.above[0] if len(product.above) == 1 else value)
            raise NotGpenError(f"it has {found} where GPEN has a leaky ReLU of slope {LEAKY_SLOPE:g}")
        gain = scale_of(product.constants)
        if abs(gain / LEAKY_GAIN - 1) > self.graph.tolerance:
            raise NotGpenError(f"a leaky ReLU is scaled by {gain:.6g}, but in GPEN by the square root of 2")
        return self._activation_of(node)

    def _activation_of(self, node: Node) -> _Activation:
        constants, terms = self.graph.sum(node.inputs[0])
        if len(terms) != 1:
            raise NotGpenError(f"a leaky ReLU is applied to a sum of {len(terms)} maps, but in GPEN to one")
        return _Activation(node, terms[0], self._bias(constants))

    def _is_leaky(self, node: Node) -> bool:
        if node.op == "PRelu":
            slope = self.graph.constant(node.inputs[1])
            alpha = scale_of([slope]) if slope is not None else 0.0
        else:
            alpha = float(node.attributes.get("alpha", 0.01))
        return node.op in ("LeakyRelu", "PRelu") and abs(alpha / LEAKY_SLOPE - 1) <= self.graph.tolerance

    def _is(self, value: str, op: str) -> bool:
        node = self.graph.producer(value)
        return node is not None and node.op == op

    def _filtered(self, value: str, gain: float) -> str | None:
        """The input of the filter that computes a value; None if no filter does. NotGpenError for another filter."""
        node = self.graph.producer(value)
        if node is None or node.op != "Conv":
            return None
        kernel = self.graph.constant(node.inputs[1])
        if kernel is None or kernel.array.shape[1:] != (1, BOTTOM_SIZE, BOTTOM_SIZE):
            return None
        standard = published_kernel(gain).numpy()
        if not np.allclose(kernel.value(), standard, rtol=self.graph.tolerance * 10, atol=0):
            raise NotGpenError("one of its filters is not GPEN's, [1, 3, 3, 1] in both directions")
        return node.inputs[0]

    def _own_bias(self, node: Node) -> list[Constant]:
        """The bias that is an input of the convolution or linear layer itself, if any."""
        if len(node.inputs) < 3 or not node.inputs[2]:
            return []
        bias = self.graph.constant(node.inputs[2])
        if bias is None:
            raise NotGpenError(f"the bias of the operation {node.op} is not a constant")
        return [bias]

    def _bias(self, constants: list[Constant]) -> Constant | None:
        """The sum of biases; None without any, because optimisers remove zeros."""
        if len(constants) < 2:
            return constants[0] if constants else None
        flat = [constant.value().reshape(-1).astype(np.float64) for constant in constants]
        if len({len(bias) for bias in flat} - {1}) > 1:
            raise NotGpenError("biases of different lengths are added")
        return Constant(np.asarray(sum(flat)))

    def _unscaled(self, effective: Constant, scale: float) -> Array:
        """The published tensor: the effective one divided by GPEN's scale."""
        factor = effective.factor / scale
        # If the exporter left the multiplication in the graph, the array is the published tensor itself.
        return effective.array if abs(factor - 1) <= self.graph.tolerance else Constant(effective.array, factor).value()

    def _keep_styled(self, name: str, styled: _Styled) -> None:
        self._keep(f"{name}.noise.weight", styled.noise, (1,))
        self._keep_bias(f"{name}.activate.bias", styled.bias, (2 * styled.conv.weight.shape[1],))
        self._keep_modulated(name, styled.conv)

    def _keep_modulated(self, name: str, modulated: _Modulated) -> None:
        self._keep(f"{name}.conv.weight", modulated.weight, modulated.weight.shape)
        self._keep_linear(f"{name}.conv.modulation", modulated.modulation)

    def _keep_linear(self, name: str, layer: _Linear, rate: float = 1.0) -> None:
        out, features = layer.weight.array.shape
        self._keep(f"{name}.weight", self._unscaled(layer.weight, rate / math.sqrt(features)), (out, features))
        self._keep_bias(f"{name}.bias", layer.bias, (out,), rate)

    def _keep_bias(self, name: str, bias: Constant | None, shape: tuple[int, ...], rate: float = 1.0) -> None:
        self._keep(name, np.zeros(shape) if bias is None else self._unscaled(bias, rate), shape)

    def _keep(self, name: str, array: Array, shape: tuple[int, ...]) -> None:
        if array.size == 1 and math.prod(shape) > 1:
            array = np.broadcast_to(array, shape)
        if array.size != math.prod(shape):
            raise NotGpenError(f"the shape {array.shape} was found for {name}, but {shape} expected")
        self.found[name] = np.ascontiguousarray(array.reshape(shape), dtype=np.float32)
