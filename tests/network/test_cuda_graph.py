"""Repeated calls are recorded: on a tape that behaves like a CUDA graph, and on a GPU if there is one."""

from __future__ import annotations

import copy
import gc
import logging
import threading
import time
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpen.network.cuda_graph import SWITCH, RepeatedCalls, can_record
from gpen.network.derived import weights_state
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from tests.recorder import Recorder

SPEC = Spec(64, 64, 1, 0.125)


def random_network(spec: Spec = SPEC) -> GPEN:
    generator = torch.Generator().manual_seed(5)
    network = GPEN(spec).requires_grad_(False).eval()
    for name, parameter in network.named_parameters():
        values = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(100 * values if name.startswith("generator.style") else values)
    return network


def pictures(seed: int, number: int = 1, size: int = SPEC.in_size) -> torch.Tensor:
    return torch.rand((number, 3, size, size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def network():
    return random_network()


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def run(network, recorder):
    repeated = RepeatedCalls()

    def run(x):
        network.lay_out()
        state = (network.strip_bytes, weights_state(network))
        return repeated.run(network.forward_together, x, state, recorder)

    run.repeated = repeated
    return run


def test_the_second_call_of_a_kind_is_recorded_and_the_third_replayed(run, network, recorder):
    for seed, (recorded, replayed) in enumerate([(0, 0), (1, 1), (1, 2), (1, 3)]):
        x = pictures(seed)
        assert torch.equal(run(x), network(x))
        assert (recorder.recorded, recorder.replayed) == (recorded, replayed)


def test_a_result_stays_when_the_next_picture_comes(run):
    first, second = pictures(1), pictures(2)
    for x in (first, first, first):
        kept = run(x)
    before = kept.clone()
    assert not torch.equal(run(second), before)
    assert torch.equal(kept, before)


def test_shapes_that_alternate_are_not_recorded(run, network, recorder):
    for seed in range(3):
        for number in (1, 2):
            x = pictures(seed, number)
            assert torch.equal(run(x), network.forward_together(x))
    assert recorder.recorded == 0


def test_another_shape_in_between_keeps_the_recording(run, recorder):
    for number in (1, 1, 2, 1, 1):
        run(pictures(number, number))
    assert (recorder.recorded, recorder.replayed) == (1, 3)


def test_another_shape_that_repeats_replaces_the_recording(run, network, recorder):
    for number in (1, 1, 2, 2, 2, 1):
        x = pictures(number, number)
        assert torch.equal(run(x), network.forward_together(x))
    assert (recorder.recorded, recorder.replayed) == (2, 3)


def scaled_kernels(network):
    network.generator.convs[0].conv.weight[:, :2].mul_(3)


def moved(network):
    network.final_linear[0].weight.data = network.final_linear[0].weight.detach().clone() * 2


def in_other_strips(network):
    network.strip_bytes = 1 << 14


@pytest.mark.parametrize("change", [scaled_kernels, moved, in_other_strips])
def test_a_changed_network_is_not_replayed(run, network, recorder, change):
    x = pictures(3)
    for _ in range(3):
        before = run(x)
    change(network)
    after = run(x)
    assert torch.equal(after, network.forward_together(x))
    if change is not in_other_strips:
        assert not torch.equal(after, before)
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_a_recording_with_different_values_is_not_used(network, caplog):
    def wrong(call, x):
        return lambda x: call(x) * (1 + 1e-6)

    repeated = RepeatedCalls()
    x = pictures(4)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            assert torch.equal(repeated.run(network, x, None, wrong), network(x))
    assert len(caplog.records) == 1


def test_a_call_that_cannot_be_recorded_is_logged_once_and_made(network, caplog):
    def failing(call, x):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    repeated = RepeatedCalls()
    x = pictures(4)
    for _ in range(4):
        assert torch.equal(repeated.run(network, x, None, failing), network(x))
    (record,) = caplog.records
    assert record.getMessage().endswith("operation not permitted when stream is capturing")


def test_with_too_little_memory_recording_is_tried_again_later(network, recorder):
    room = [None, None]
    repeated = RepeatedCalls()
    for _ in range(5):
        repeated.run(network, pictures(1), None, lambda call, x: room.pop() if room else recorder(call, x))
    assert (recorder.recorded, recorder.replayed) == (1, 2)


def test_a_failed_call_is_repeated_without_the_recording(network, recorder):
    repeated = RepeatedCalls()
    for _ in range(2):
        repeated.run(network, pictures(1), None, recorder)
    alive = weakref.ref(repeated.recording)
    failures = 0

    def short_of_memory(x):
        nonlocal failures
        gc.collect()
        if alive() is not None:
            failures += 1
            raise RuntimeError("CUDA out of memory")
        return network(x)

    x = pictures(2, 2)
    assert torch.equal(repeated.run(short_of_memory, x, None, recorder), network(x))
    assert failures == 1


def test_a_call_that_fails_again_fails(network, recorder):
    repeated = RepeatedCalls()

    def failing(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        repeated.run(failing, pictures(1), None, recorder)


def test_recordings_do_not_keep_a_network_alive():
    network = random_network()
    gone = weakref.ref(network)
    gc.disable()
    try:
        del network
        assert gone() is None
    finally:
        gc.enable()


def test_moving_and_converting_discard_the_recording(network, monkeypatch):
    forgotten = []
    monkeypatch.setattr(network.repeated_calls, "forget", lambda: forgotten.append(True))
    network.to("cpu")  # as hosts do before every picture
    assert forgotten == []
    network.to(torch.bfloat16)
    assert forgotten == [True]


def test_threads_get_their_own_results(network):
    """A recording has one buffer for its input and one for its result."""

    def record(call, x):
        at = x.clone()

        def replay(x):
            at.copy_(x)
            time.sleep(0.001)
            return call(at)

        return replay

    repeated = RepeatedCalls()
    wrong = []

    def work(seed):
        x = torch.full((1, 3, 4, 4), float(seed))
        for _ in range(20):
            if not torch.equal(repeated.run(lambda x: x * 2, x, None, record), x * 2):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_copy_of_a_network_starts_without_a_recording(network, recorder):
    x = pictures(1)
    for _ in range(2):
        network.repeated_calls.run(network.forward_together, x, None, recorder)
    assert network.repeated_calls.recording is not None
    copied = copy.deepcopy(network)
    assert copied.repeated_calls.recording is None
    # Nor does it remember the last call: the next one counts as the first.
    copied.repeated_calls.run(copied.forward_together, x, None, recorder)
    assert copied.repeated_calls.recording is None


def test_a_call_neither_synchronises_nor_copies_to_another_device():
    """Either ends a recording on CUDA. Tensors on "meta" have no values to wait for."""
    with torch.device("meta"):
        network = GPEN(Spec(256, 256)).requires_grad_(False).eval()

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            leaves = tree_leaves((args, kwargs or {}))
            devices = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}
            devices |= {leaf.type for leaf in leaves if isinstance(leaf, torch.device)}
            assert devices <= {"meta"}, func
            return func(*args, **(kwargs or {}))

    x = torch.empty((2, 3, 256, 256), device="meta")
    with Watched():
        assert network.forward_together(x).shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_that_a_recording_reads_is_kept_alive(dtype):
    """Whatever a call reads and did not create is the input, a weight, or returned by ``derived``."""
    network = random_network().to(dtype)
    x = pictures(1).to(dtype)
    network(x)
    created: set[int] = set()
    read: set[int] = set()

    class Storages(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            read.update(storages(args, kwargs or {}) - created)
            out = func(*args, **(kwargs or {}))
            created.update(storages(out) - read)
            return out

    alive = []

    def storages(*tree):
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
        alive.extend(tensors)
        return {tensor.untyped_storage().data_ptr() for tensor in tensors}

    with Storages():
        network.forward_together(x)
    known = storages(x, list(network.parameters()), list(network.buffers()), network.derived())
    assert read - known == set()
    assert network.derived()


def test_recording_can_be_disabled(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 8000))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv(SWITCH, raising=False)
    cuda = torch.device("cuda")
    assert can_record(cuda, 1000)
    assert not can_record(cuda, 1001)
    assert not can_record(torch.device("xpu"), 1000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "AMD Radeon [ZLUDA]")
    assert not can_record(cuda, 1000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA")
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not can_record(cuda, 1000)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setenv(SWITCH, "0")
    assert not can_record(cuda, 1000)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [256, 512])
def test_on_a_gpu_a_graph_returns_what_calls_return(dtype, size):
    network = random_network(Spec(size, size)).to("cuda", dtype)
    for seed in range(5):
        x = pictures(seed, 1, size).to("cuda", dtype)
        with torch.inference_mode():
            assert torch.equal(network(x), network.forward_together(x))
    assert network.repeated_calls.recording is not None


@pytest.mark.cuda
def test_on_a_gpu_a_network_moved_away_and_back_is_recorded_again():
    network = random_network(Spec(256, 256)).to("cuda")
    x = pictures(1, 1, 256).to("cuda")
    results = []
    for _ in range(2):
        results += [network(x) for _ in range(3)]
        network.to("cpu")
        assert network.repeated_calls.recording is None
        network.to("cuda")
    assert all(torch.equal(result, results[0]) for result in results)
