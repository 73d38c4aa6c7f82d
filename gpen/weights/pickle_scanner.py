"""Scans a pickle without running it.

Unpickling calls whatever the file names. This scanner cannot call anything: it builds plain dicts, lists, tuples,
strings and numbers, and records every name that the pickle mentions. What a model file needs (tensors, storages,
OrderedDict, argparse.Namespace) becomes a description; every other name that would be imported or called is collected
in ``ScanResult.code``, for the caller to refuse.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from .pickle_limits import MAX_STEPS, CopyBudget, PickleError, check_key
from .pickle_types import ITEM_SIZES, NAMES, STORAGES, Name, NamespaceRef, Opaque, StorageRef, TensorRef

MAX_PICKLE_BYTES = 16 << 20
"""The pickle of a model file has some 100 bytes per tensor; this is room for a hundred thousand."""

MAX_DIMENSIONS = 8

MAX_NAME = 200
"""Characters of a module's or class's name; those of model files have some 50."""

MAX_NAMES = 100
"""Names of code that are collected for a message."""

# The opcodes that PyTorch's own restricted reader (weights_only) understands.
_READABLE = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINSTRING "  # noqa: SIM905
    "EMPTY_DICT EMPTY_LIST EMPTY_TUPLE EMPTY_SET TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS "
    "BINGET LONG_BINGET BINPUT LONG_BINPUT GLOBAL REDUCE NEWOBJ BUILD BINPERSID".split()
)


class Stream(Protocol):
    """What ``pickletools.genops`` reads from."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


@dataclass
class ScanResult:
    """What a pickle describes."""

    value: Any = None
    """Dicts, lists, tuples, numbers, strings, and the types of :mod:`gpen.weights.pickle_types`."""
    storages: dict[str, StorageRef] = field(default_factory=dict)
    """The storages that tensors refer to, by key."""
    code: list[str] = field(default_factory=list)
    """Names that unpickling would import or call."""
    namespace: bool = False
    """Whether the pickle names argparse.Namespace."""
    unreadable: str | None = None
    """The first opcode that PyTorch's safe reader does not know."""


def scan(stream: Stream) -> ScanResult:
    """Scan one pickle up to its end, and leave ``stream`` right behind it; PickleError when it is damaged."""
    machine = _Machine()
    try:
        for name, argument in _operations(stream):
            if name == "STOP":
                machine.result.value = machine.stack.pop()
                return machine.result
            machine.step(name, argument)
    except PickleError:
        raise
    # Damaged input fails in every way that popping, unpacking and looking up can fail.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError, OSError) as e:
        raise PickleError("has a damaged table of contents") from e
    raise PickleError("has a table of contents that ends too early")


def _operations(stream: Stream) -> Iterator[tuple[str, Any]]:
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
        if steps > MAX_STEPS:
            raise PickleError("has a table of contents far longer than any model file's")
        yield opcode.name, argument


class _Machine:
    """Pickle's stack machine, without the effects of its opcodes."""

    def __init__(self) -> None:
        self.result = ScanResult()
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.budget = CopyBudget()

    def step(self, name: str, argument: Any) -> None:
        if name not in _READABLE and self.result.unreadable is None:
            self.result.unreadable = name
        handler = getattr(self, f"_{name.lower()}", None)
        if handler is not None:
            handler(argument)
        elif argument is None or name in ("PERSID", "EXT1", "EXT2", "EXT4"):
            raise PickleError(f"uses the pickle instruction {name}, which no model file needs")
        else:
            self.stack.append(argument)

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    # Instructions that push no value

    def _proto(self, _: Any) -> None:
        pass

    _frame = _proto

    def _mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    # Memo

    def _put(self, index: Any) -> None:
        number = int(index)
        # Larger ones could be chosen so that all have the same hash.
        if not 0 <= number < 1 << 32:
            raise ValueError
        self.memo[number] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])

    _binget = _long_binget = _get

    # Values

    def _none(self, _: Any) -> None:
        self.stack.append(None)

    def _newtrue(self, _: Any) -> None:
        self.stack.append(True)

    def _newfalse(self, _: Any) -> None:
        self.stack.append(False)

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _empty_list(self, _: Any) -> None:
        self.stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def _empty_set(self, _: Any) -> None:
        self.stack.append(Opaque("set"))

    def _bytearray8(self, _: Any) -> None:
        self.stack.append(Opaque("bytearray"))

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _tuple1(self, _: Any, count: int = 1) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        self.stack.append(items)

    def _tuple2(self, _: Any) -> None:
        self._tuple1(None, 2)

    def _tuple3(self, _: Any) -> None:
        self._tuple1(None, 3)

    def _list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._set(items)

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _additems(self, _: Any) -> None:
        self._since_mark()
        if not isinstance(self.stack[-1], Opaque) or self.stack[-1].name not in ("set", "builtins.set"):
            self._refuse_change(self.stack[-1])

    def _frozenset(self, _: Any) -> None:
        self._since_mark()
        self._empty_set(None)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)
        else:
            self._refuse_change(self.stack[-1])

    def _refuse_change(self, target: Any) -> None:
        """PickleError for an instruction that modifies ``target``, whose type the instruction is not meant for.

        PyTorch's readers before 2.10 carry out such instructions on tensors, outside their memory (CVE-2026-24747).
        Values that are refused for their code anyway may be of any type.
        """
        if not self._is_refused(target):
            kind = {TensorRef: "tensor", Name: "class"}.get(type(target), "value")
            raise PickleError(f"modifies a {kind} after creating it, which no model file does")

    def _is_refused(self, value: Any) -> bool:
        name = value.name if isinstance(value, Opaque) else value.full if isinstance(value, Name) else None
        # Of a pickle that names more code than is collected, any may be refused.
        return name is not None and (name in self.result.code or len(self.result.code) == MAX_NAMES)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _setitems(self, _: Any) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            self._refuse_change(target)
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    # Names, and what would be calls

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        if max(len(module), len(name)) > MAX_NAME:
            raise PickleError("names a class by a text far longer than any model file's")
        module = {"__builtin__": "builtins", "copy_reg": "copyreg", "torch.cuda": "torch"}.get(module, module)
        full = f"{module}.{name}"
        if full not in NAMES and full not in STORAGES:
            self._refuse(full)
        self.result.namespace |= full == "argparse.Namespace"
        self.stack.append(Name(full))

    def _refuse(self, name: str) -> None:
        if len(self.result.code) < MAX_NAMES and name not in self.result.code:
            self.result.code.append(name)

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        # Anything else is not even turned into text: nested tuples can describe more of it than there is memory.
        if not (isinstance(name, str) and isinstance(module, str)) or max(len(module), len(name)) > MAX_NAME:
            raise PickleError("names a class by something that is not the name of one")
        self._global(f"{module} {name}")

    def _inst(self, argument: Any) -> None:
        arguments = tuple(self._since_mark())
        self._global(argument)
        self._call(self.stack.pop(), arguments)

    def _obj(self, _: Any) -> None:
        called, *arguments = self._since_mark()
        self._call(called, tuple(arguments))

    def _reduce(self, _: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self._call(called, arguments)

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        _keywords, arguments, called = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self._call(called, arguments)

    def _build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, NamespaceRef) and isinstance(state, dict):
            self.budget.charge(len(state))
            target.values.update(state)
        # The attributes of an OrderedDict, such as a state dict's _metadata, are ignored here, but copied by PyTorch.
        elif isinstance(target, dict) and isinstance(state, dict):
            self.budget.charge(len(state))
        elif not (isinstance(target, dict) and self._is_refused(state)):
            self._refuse_change(target)

    def _binpersid(self, _: Any) -> None:
        reference = self.stack.pop()
        if not isinstance(reference, tuple) or len(reference) not in (5, 6):
            raise ValueError
        kind, storage, key, _location, length, *view = reference
        dtype = STORAGES.get(storage.full)
        if kind not in ("storage", b"storage") or dtype is None or any(view):
            raise PickleError("stores its tensors in a way that only very old or unusual programs do")
        if not isinstance(key, str) or type(length) is not int or length < 0:
            raise ValueError
        ref = StorageRef(key, dtype, length)
        if self.result.storages.setdefault(ref.key, ref) != ref:
            raise PickleError("describes the same storage in two ways")
        self.stack.append(ref)

    def _call(self, called: Any, arguments: Any) -> None:
        """Push a description of what ``called(*arguments)`` would return."""
        self.stack.append(self._describe(called, arguments))

    def _describe(self, called: Any, arguments: Any) -> Any:
        self.budget.charge_call(arguments)
        name = called.full if isinstance(called, Name) else getattr(called, "name", "?")
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            storage, offset, shape, stride = self._first(arguments, 4)
            return _tensor(storage, offset, shape, stride, storage.dtype)
        if name == "torch._utils._rebuild_tensor_v3":
            storage, offset, shape, stride, _, _, dtype = self._first(arguments, 7)
            return _tensor(storage, offset, shape, stride, dtype.full.removeprefix("torch."))
        if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return arguments[0]
        if name == "torch._tensor._rebuild_from_type_v2":
            rebuild, _, inner, _ = arguments
            return self._describe(rebuild, inner)
        if name in ("collections.OrderedDict", "collections.Counter") and isinstance(arguments, tuple):
            return self._ordered_dict(*arguments)
        if name == "argparse.Namespace" and arguments == ():
            return NamespaceRef()
        if name == "torch.Size":
            return arguments[0]
        if name == "builtins.set":
            self._check_set(*arguments)
        harmless = name in ("torch.device", "builtins.set", "builtins.complex")
        if harmless or (name == "_codecs.encode" and arguments[1:] == ("latin1",)):
            return Opaque(name)
        self._refuse(name)
        return Opaque(name)

    def _first(self, arguments: Any, count: int) -> tuple[Any, ...]:
        """The first arguments of a call, without copying the others."""
        if not isinstance(arguments, tuple) or len(arguments) < count:
            raise ValueError
        return arguments[:count]

    def _check_set(self, items: Any = ()) -> None:
        for item in items:
            check_key(item)

    def _ordered_dict(self, items: Any = ()) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        pairs = items.items() if isinstance(items, dict) else items
        self.stack.append(result)
        self._set([part for key, value in pairs for part in (key, value)])
        self.stack.pop()
        return result


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, dtype: str) -> TensorRef:
    if not (isinstance(storage, StorageRef) and dtype in ITEM_SIZES and len(shape) == len(stride)):
        raise ValueError
    if len(shape) > MAX_DIMENSIONS:
        raise PickleError(f"declares a tensor of {len(shape)} dimensions")
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in (offset, *shape, *stride)):
        raise PickleError("declares a tensor with an impossible shape")
    return TensorRef(storage, offset, tuple(shape), tuple(stride), dtype)
