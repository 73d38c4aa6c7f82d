"""Small files that ask for endless work or memory are refused at once, and their names reach no terminal as they are.

Each runs in a process of its own with limits: a guard that is lost fails a test instead of stopping the machine.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gpen.errors import LONGEST, CheckpointError, GpenError, presentable
from gpen.weights.state_dict import WRAPPERS

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 30, 2 << 30
CHILD = """
import resource, sys
from pathlib import Path
from gpen.errors import GpenError
from gpen.weights.checkpoint import inspect
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    inspect(Path(sys.argv[1]))
except GpenError as error:
    print(f"{type(error).__name__}: {error}")
else:
    print("accepted")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 1024)
"""


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def as_zip(pickle: bytes, **records: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02" + pickle)
        file.writestr("archive/version", b"3\n")
        for name, record in records.items():
            file.writestr(f"archive/data/{name}", record)
    return packed.getvalue()


def doubling(levels: int) -> bytes:
    """Tuples of the tuple before, twice: their text has 2^levels parts."""
    return b")" + b"".join(b"q%c0h%ch%c\x86" % (n, n, n) for n in range(levels))


def ordered_dict_copies(size: int, copies: int) -> bytes:
    items = b"".join(b"M" + struct.pack("<H", number) + b"N" for number in range(size))
    return b"}q\x00(" + items + b"u0ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * copies + b"."


def persistent_id(extra: int, copies: int) -> bytes:
    start = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x00"
    return start + b"N" * extra + b"tq\x000" + b"h\x00Q0" * copies + b"}."


def namespace_copies(size: int, copies: int) -> bytes:
    items = b"".join(b"M" + struct.pack("<H", number) + b"N" for number in range(size))
    one = b"cargparse\nNamespace\n)\x81h\x00b0"
    return b"}q\x00(" + items + b"u0" + one * copies + b"}."


def tensor() -> bytes:
    """One of a single number, which is kept as 0."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x01\x85K\x01\x85\x89}tRq\x00"


def dict_of(tensors: int, kept_as: int) -> bytes:
    """Tensors of different names, all of which are the one that is kept as 0."""
    return b"}q%c(" % kept_as + b"".join(text(str(number)) + b"h\x00" for number in range(tensors)) + b"u"


def one_dict_under_many_names(size: int, names: int) -> bytes:
    start = b"}" + text("t") + tensor() + b"s" + text("d") + dict_of(size, 1) + b"s("
    return start + b"".join(text(str(number)) + b"h\x01" for number in range(names)) + b"u."


def wrappers(size: int, names: int) -> bytes:
    """A dict that is reached through a wrapper of one of several names, in five steps: in names^5 ways."""
    packed = dict_of(size, 5)
    for kept_as in (4, 3, 2, 1):
        rest = b"".join(text(name) + b"h%c" % (kept_as + 1) for name in WRAPPERS[1:names])
        packed = b"}q%c" % kept_as + text(WRAPPERS[0]) + packed + b"s(" + rest + b"u"
    rest = b"".join(text(name) + b"h\x01" for name in WRAPPERS[1:names])
    return b"}" + text("t") + tensor() + b"s" + text(WRAPPERS[0]) + packed + b"s(" + rest + b"u."


def many_under_a_long_name(tensors: int, length: int) -> bytes:
    return (
        b"}"
        + text("t")
        + tensor()
        + b"s"
        + text("k" * length)
        + b"}"
        + text("k" * length)
        + dict_of(tensors, 1)
        + b"ss."
    )


def long_integer(number: int) -> bytes:
    packed = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return b"\x8a%c" % len(packed) + packed


def colliding(count: int) -> list[int]:
    """Numbers of the same hash."""
    return [number * sys.hash_info.modulus + 5 for number in range(1, count + 1)]


def calls(start: bytes, name: bytes, arguments: bytes, count: int) -> bytes:
    """What is kept as 0, and a list of what a call returns for it, again and again."""
    return (
        b"}" + text("x") + b"](" + start + b"q\x00c" + name + b"q\x01" + (b"h\x01" + arguments + b"R") * count + b"es."
    )


def long_arguments(size: int, copies: int) -> bytes:
    many = b"(" + b"N" * size + b"tq\x000"
    return many + b"ctorch._utils\n_rebuild_tensor_v2\nq\x01h\x00R" + b"h\x01h\x00R" * copies + b"."


BOMBS: dict[str, Callable[[], bytes]] = {
    "a name of nested tuples": lambda: as_zip(doubling(40) + text("b") + b"\x93."),
    "long names, joined again and again": lambda: as_zip(
        text("a" * 100_000) + b"q\x00" + text("b" * 100_000) + b"q\x01" + b"h\x00h\x01\x93" * 30_000 + b"."
    ),
    "a name of a megabyte": lambda: as_zip(b"c" + b"a" * 1_000_000 + b"\nb\n."),
    "copies of one dict": lambda: as_zip(ordered_dict_copies(2000, 100_000)),
    "copies of one namespace": lambda: as_zip(namespace_copies(2000, 60_000)),
    "a persistent id of 150,000 items": lambda: as_zip(persistent_id(150_000, 100_000), **{"0": b""}),
    "arguments of 150,000 items": lambda: as_zip(long_arguments(150_000, 100_000)),
    "one dict under 120,000 names": lambda: as_zip(one_dict_under_many_names(60_000, 120_000), **{"0": bytes(4)}),
    "one dict in 7776 ways": lambda: as_zip(wrappers(60_000, 6), **{"0": bytes(4)}),
    "100,000 keys of the same hash": lambda: as_zip(
        b"}(" + b"".join(long_integer(number) + b"N" for number in colliding(100_000)) + b"u."
    ),
    "160,000 values kept under numbers of the same hash": lambda: as_zip(
        b"}" + b"".join(b"p%d\n" % number for number in colliding(160_000)) + b"."
    ),
    "120,000 names of code": lambda: as_zip(b"".join(b"ca\nb%d\n" % number for number in range(120_000)) + b"."),
}


def inspected(path: Path) -> tuple[str, int]:
    """What inspecting a file says, and how many megabytes it took."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))\n{CHILD}"
    run = subprocess.run(
        [sys.executable, "-c", limited, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 30
    )
    assert run.returncode == 0, run.stderr[-2000:]
    *said, used = run.stdout.strip().split("\n")
    return "\n".join(said), int(used)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_asks_for_more_than_the_file_holds_is_refused(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.pth"
    path.write_bytes(BOMBS[bomb]())
    said, used = inspected(path)
    assert said.startswith("CheckpointError: ")
    assert used < 300
    assert len(said) < LONGEST


_NUMBERS = b"(" + b"".join(b"M" + struct.pack("<H", number) for number in range(5000)) + b"t"
_ATTRIBUTES = b"}(" + b"".join(text(f"a{number}") + b"N" for number in range(5000)) + b"u"

COPIES = {
    "sets": calls(_NUMBERS, b"__builtin__\nset\n", b"h\x00\x85", 200),
    "sizes": calls(_NUMBERS, b"torch\nSize\n", b"h\x00\x85", 200),
    "texts": calls(text("a" * 100_000), b"_codecs\nencode\n", b"h\x00" + text("latin1") + b"\x86", 200),
    "attributes": calls(_ATTRIBUTES, b"collections\nOrderedDict\n", b")Rh\x00b)", 200),
    "states of parameters": calls(
        _ATTRIBUTES, b"torch._utils\n_rebuild_parameter_with_state\n", b"(N\x88)h\x00N\x86t", 200
    ),
}


@pytest.mark.parametrize("what", COPIES)
def test_what_pytorch_would_copy_again_and_again_is_refused_before_it_does(tmp_path: Path, what: str) -> None:
    from gpen.weights.checkpoint import inspect

    path = tmp_path / "copies.pth"
    path.write_bytes(as_zip(COPIES[what]))
    with pytest.raises(CheckpointError, match="copies parts of itself far more often"):
        inspect(path)


@pytest.mark.parametrize("shown", ["key", "item of a set"])
def test_numbers_that_are_hashed_are_no_larger_than_any_that_model_files_have(tmp_path: Path, shown: str) -> None:
    """Larger ones, and tuples of numbers, can be chosen so that all have the same hash."""
    from gpen.weights.checkpoint import inspect

    for value in (long_integer(1 << 63), b"K\x01K\x02\x86"):
        pickled = (
            b"}" + value + b"Ns."
            if shown == "key"
            else b"}" + text("x") + b"c__builtin__\nset\n](" + value + b"e\x85Rs."
        )
        (tmp_path / "x.pth").write_bytes(as_zip(pickled))
        with pytest.raises(CheckpointError, match="keys that no model file has"):
            inspect(tmp_path / "x.pth")


def test_a_long_name_of_many_tensors_counts_as_often(tmp_path: Path) -> None:
    from gpen.weights.checkpoint import inspect

    start = b"}" + text("t") + tensor() + b"s" + text("k" * 1_000_000) + b"q\x01}h\x01h\x00ss"
    more = b"".join(text(str(number)) + b"}h\x01h\x00ss" for number in range(20))
    (tmp_path / "names.pth").write_bytes(as_zip(start + more + b".", **{"0": bytes(4)}))
    with pytest.raises(CheckpointError, match="refers to the same parts of itself far more often"):
        inspect(tmp_path / "names.pth")


def test_a_long_name_over_many_tensors_is_joined_for_none(tmp_path: Path) -> None:
    from gpen.weights.checkpoint import inspect

    path = tmp_path / "names.pth"
    path.write_bytes(as_zip(many_under_a_long_name(50_000, 6_000_000), **{"0": bytes(4)}))
    begin = time.process_time()
    with pytest.raises(CheckpointError):
        inspect(path)
    assert time.process_time() - begin < 10


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_a_tower_in_the_legacy_format(tmp_path: Path) -> None:
    """The list of storages, after the pickle, holds two tuples of 2^40 parts, as long to write as to compare."""
    import pickle

    magic, protocol, system = 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}
    parts = [pickle.dumps(part, 2) for part in (magic, protocol, system, {})]
    (tmp_path / "tower.pth").write_bytes(b"".join(parts) + b"\x80\x02](" + doubling(40) + doubling(40) + b"e.")
    said, used = inspected(tmp_path / "tower.pth")
    assert said.startswith("CheckpointError: ")
    assert used < 300


def test_code_is_named_even_in_a_file_with_very_many_names(tmp_path: Path) -> None:
    from gpen.weights.checkpoint import inspect

    path = tmp_path / "names.pth"
    path.write_bytes(as_zip(b"".join(b"ca\nb%d\n" % number for number in range(1000)) + b"."))
    with pytest.raises(CheckpointError, match=r"wants to run code.*a\.b0"):
        inspect(path)


@pytest.mark.parametrize("name", ["\x1b[2J\x1b]0;owned\x07", "a\r\nb", "‮gnp.exe", "\udcff"])
def test_text_out_of_files_reaches_no_terminal_as_it_is(tmp_path: Path, name: str) -> None:
    assert GpenError(f"There is {name}.").args[0].replace("\n", "").isprintable()
    if name == "\udcff":
        return
    header = {f"ecd0.{name}.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    packed = json.dumps(header).encode()
    path = tmp_path / "names.safetensors"
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + bytes(4))
    from gpen.weights.checkpoint import inspect

    with pytest.raises(CheckpointError) as caught:
        inspect(path)
    assert str(caught.value).replace("\n", "").isprintable()


def test_long_texts_keep_what_is_wrong_and_what_to_do() -> None:
    shown = presentable("It is wrong. " + "x" * 7_000_000 + " Download it again.")
    assert shown.startswith("It is wrong. xxx")
    assert shown.endswith("xxx Download it again.")
    assert len(shown) < LONGEST
    assert presentable("Short,\nin two lines.") == "Short,\nin two lines."


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
@pytest.mark.parametrize(
    "shapes",
    [
        {"ecd0.0.0.weight": [0, 1 << 62, 1024, 3, 3]},
        {"ecd0.0.0.weight": [1 << 40, 0, 3, 3], "final_linear.0.weight": [1 << 41, 0]},
        {"ecd0.0.0.weight": [0, 0, 0, 0], "generator.style.1.weight": [0, 0]},
    ],
)
def test_tensors_without_numbers_but_with_absurd_dimensions(tmp_path: Path, shapes: dict[str, list[int]]) -> None:
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    packed = json.dumps(header).encode()
    path = tmp_path / "empty.safetensors"
    path.write_bytes(struct.pack("<Q", len(packed)) + packed)
    said, used = inspected(path)
    assert said.startswith("CheckpointError: ")
    assert used < 300


def test_few_tensors_that_stand_for_very_many_layers(tmp_path: Path) -> None:
    """spandrel would make as many layers as the largest number in a name."""
    torch, upscaler = pytest.importorskip("torch"), pytest.importorskip("gpen.restoration.upscaler")
    pytest.importorskip("spandrel")
    from safetensors.torch import save_file

    names = ("body.0.weight", "body.1.weight", "body.100000000.weight")
    save_file({name: torch.zeros(12, 3, 3, 3) for name in names}, tmp_path / "deep.safetensors")
    with pytest.raises(CheckpointError, match="stands for far more layers"):
        upscaler.load_upscaler(tmp_path / "deep.safetensors", "cpu")


def test_tensors_without_numbers_stand_for_no_network(tmp_path: Path) -> None:
    """Their other dimensions may be any number, by which spandrel would size what it builds."""
    torch, upscaler = pytest.importorskip("torch"), pytest.importorskip("gpen.restoration.upscaler")
    pytest.importorskip("spandrel")
    from safetensors.torch import save_file

    shapes = {"body.0.weight": (1 << 40, 3, 0, 3), "body.1.weight": (512,), "body.2.weight": (12, 512, 3, 3)}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="stands for far more layers or numbers"):
        upscaler.load_upscaler(tmp_path / "empty.safetensors", "cpu")


def test_few_tensors_that_stand_for_very_many_numbers(tmp_path: Path) -> None:
    """A network of 500 layers of 512 channels, 5 GB, out of 300 kB."""
    torch, upscaler = pytest.importorskip("torch"), pytest.importorskip("gpen.restoration.upscaler")
    pytest.importorskip("spandrel")
    from safetensors.torch import save_file

    shapes = {"body.0.weight": (512, 3, 3, 3), "body.1.weight": (512,), "body.998.weight": (12, 512, 3, 3)}
    shapes["body.998.bias"] = (12,)
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "wide.safetensors")
    with pytest.raises(CheckpointError, match="a network that is far larger than the file"):
        upscaler.load_upscaler(tmp_path / "wide.safetensors", "cpu")


@pytest.mark.parametrize(
    "call",
    [
        lambda torch: torch.empty(1000, 1000),
        lambda torch: torch.arange(1_000_000),
        lambda torch: torch.eye(1000),
        lambda torch: torch.ones(1000)[:, None] - torch.ones(1000),
        lambda torch: torch.ones(10).repeat(100, 1000),
        lambda torch: torch.ones(1000, 1) @ torch.ones(1, 1000),
        lambda torch: [torch.empty(0) for _ in range(1000)],
    ],
)
def test_what_is_built_is_counted_before_memory_is_taken(call: Callable[[object], object]) -> None:
    import torch

    from gpen.weights.allocations import AllocationLimit, TooMuchError

    with AllocationLimit(2_000_000):
        call(torch)
    with pytest.raises(TooMuchError), AllocationLimit(500_000):
        call(torch)
