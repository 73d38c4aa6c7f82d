"""Tensors that are computed from weights and cached until the weights change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar, cast

from torch import Tensor, nn

_T = TypeVar("_T")


def weights_state(module: nn.Module) -> Hashable:
    """A value that changes whenever a tensor of the module is moved, replaced or written to in place.

    Not when it is written to through ``tensor.data``, which PyTorch does not count.
    """
    return _state_of(_weights_of(module))


def _weights_of(module: nn.Module) -> Iterator[Tensor]:
    # A third of the time of parameters() and buffers(), which look for duplicates, and which a GPU waits for.
    modules: list[nn.Module | None] = [module]
    while modules:
        one = modules.pop()
        if one is not None:
            yield from (tensor for tensor in one._parameters.values() if tensor is not None)
            yield from (tensor for tensor in one._buffers.values() if tensor is not None)
            modules += one._modules.values()


def _state_of(tensors: Iterable[Tensor]) -> Hashable:
    return tuple((tensor.data_ptr(), None if tensor.is_inference() else tensor._version) for tensor in tensors)


class _Cache:
    """Values by name, each with the weights that it was computed from and their state."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[tuple[Tensor, ...], Hashable, Any]] = {}

    def __reduce__(self) -> tuple[type[_Cache], tuple[()]]:
        # A copy of a module has other weights, and a saved one need not hold what can be computed again.
        return _Cache, ()


class Deriving(nn.Module):
    """A module that caches what it derives from its weights, and forgets it when they move."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self._cache = _Cache()

    def derive(self, name: str, weights: tuple[Tensor, ...], compute: Callable[[], _T]) -> _T:
        """The result of ``compute()``, a tensor or nested tuples and lists of tensors.

        It is computed again only if one of the ``weights`` has changed since the last call for this name. The weights
        must not be created for the call.
        """
        if any(weight.is_inference() for weight in weights):
            # Inference tensors do not count their changes.
            return compute()
        state = _state_of(weights)
        cached = self._cache.entries.get(name)
        if cached is not None and cached[1] == state and all(map(_same, cached[0], weights)):
            return cast("_T", cached[2])
        # The old value goes first: it may be as large as the new one.
        self._cache.entries.pop(name, None)
        del cached
        value = compute()
        self._cache.entries[name] = (weights, state, value)
        return value

    def derived(self) -> list[Tensor]:
        """The tensors that are cached now."""
        return [tensor for _, _, value in self._cache.entries.values() for tensor in _tensors(value)]

    def _apply(self, *args: Any, **kwargs: Any) -> Deriving:
        # Called when the network is moved or converted, and by hosts before every picture without any effect.
        before = weights_state(self)
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        if weights_state(self) != before:
            self._cache.entries.clear()
        return self


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, tuple | list) else []
