"""Float16 as a GPU computes in it, on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_CONVOLUTION = torch.ops.aten.convolution.default
_ADD = torch.ops.aten.add.Tensor


class EmulatedFloat16(TorchDispatchMode):
    """Computes every operation on float16 tensors as a GPU does.

    Tensors are stored in float16. An operation reads them as float32, multiplies and accumulates in float32, and its
    result is rounded to float16, to Inf beyond 65504; also where it is written in place, into ``out`` or into a view. A
    convolution rounds twice, because PyTorch on CUDA adds the bias to its rounded result. What a layer computes in
    float32, such as styles, stays in float32.

    Kernels that fuse operations round less often than this, and those that accumulate in float16 are not used: PyTorch
    asks cuDNN and cuBLAS for float32 accumulation.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view or not any(tensor.dtype == torch.float16 for tensor in _tensors(args, kwargs)):
            return func(*args, **kwargs)
        if func is _CONVOLUTION and args[2] is not None:
            x, weight, bias, *more = args
            return _rounded(_ADD, (_rounded(func, (x, weight, None, *more), {}), bias.view(-1, 1, 1)), {})
        return _rounded(func, args, kwargs)


def _rounded(func: Any, args: Any, kwargs: Any) -> Any:
    """Computes in float32, then rounds what PyTorch's type promotion would return in float16."""
    wide_args, wide_kwargs = tree_map_only(Tensor, _widened, (args, kwargs))
    out = func(*wide_args, **wide_kwargs)
    for argument, given, wide in _arguments(func, args, kwargs, wide_args, wide_kwargs):
        if argument.alias_info is not None and argument.alias_info.is_write:
            if wide is not given:
                given.copy_(wide)
            return given
    dtype = kwargs.get("dtype") or _promoted(_tensors(args, kwargs))
    return tree_map_only(Tensor, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, out)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _promoted(tensors: list[Tensor]) -> torch.dtype:
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    # A tensor without dimensions counts only where there are no others.
    counting = [tensor for tensor in floating if tensor.dim()] or floating
    return functools.reduce(torch.promote_types, [tensor.dtype for tensor in counting])


def _tensors(args: Any, kwargs: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, (args, kwargs))
    return found


def _arguments(func: Any, args: Any, kwargs: Any, wide_args: Any, wide_kwargs: Any) -> Iterator[tuple[Any, Any, Any]]:
    """The arguments that were passed: as declared, as given, and as computed with."""
    for index, argument in enumerate(func._schema.arguments):
        if index < len(args):
            yield argument, args[index], wide_args[index]
        elif argument.name in kwargs:
            yield argument, kwargs[argument.name], wide_kwargs[argument.name]
