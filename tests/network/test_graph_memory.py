"""Graphs that share memory, with a pretended torch.cuda: on the CPU, recorded on a tape."""

from __future__ import annotations

import contextlib
import gc

import pytest
import torch

from gpen.network.cuda_graph import CudaGraph, GraphMemory
from tests.recorder import Tape


class Stream:
    def __init__(self, cuda):
        self.cuda = cuda

    def wait_stream(self, other):
        pass

    def wait_event(self, event):
        self.cuda.log.append(("waits for", event.after))


class Event:
    """Stands for what its stream was given before."""

    after = None

    def record(self, stream):
        self.after = len(stream.cuda.log)


class Graph:
    """Runs in the stream that is current, and overwrites what the others of its pool have returned."""

    def __init__(self, cuda):
        self.cuda = cuda
        self.tape, self.shared = Tape(), None
        cuda.graphs.append(self)

    def pool(self):
        return self.shared

    def replay(self):
        self.cuda.log.append(("replays in", self.cuda.current))
        for other in self.cuda.graphs:
            if other is not self and other.shared is self.shared:
                other.tape.steps[-1][3].fill_(torch.nan)
        self.tape.replay()


class Cuda:
    """What CudaGraph uses of torch.cuda."""

    def __init__(self, monkeypatch):
        self.log, self.graphs, self.recorded_in = [], [], []
        self.current = self.first = Stream(self)
        for name, value in {
            "device": lambda device: contextlib.nullcontext(),
            "current_stream": lambda device=None: self.current,
            "set_stream": lambda stream: None,
            "Stream": lambda: Stream(self),
            "Event": Event,
            "stream": lambda stream: contextlib.nullcontext(),
            "CUDAGraph": lambda: Graph(self),
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextlib.contextmanager
    def graph(self, graph, pool=None, stream=None, capture_error_mode="global"):
        graph.shared = object() if pool is None else pool
        self.recorded_in.append(stream)
        with graph.tape:
            yield


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def graph_of(factor, memory=None):
    return CudaGraph(lambda x: x + 1 + factor * x, torch.zeros(3), list, memory)


def test_graphs_of_one_memory_share_a_pool_and_a_stream(cuda):
    memory = GraphMemory()
    graphs = [graph_of(factor, memory) for factor in (1, 2, 3)]
    assert len({id(graph.pool()) for graph in graphs}) == 1
    assert len(set(cuda.recorded_in)) == 1
    assert graph_of(4).pool() is not graphs[0].pool()


def test_a_pool_goes_with_its_last_graph(cuda):
    """PyTorch gives its memory back then, and refuses the name."""
    memory = GraphMemory()
    first, second = graph_of(1, memory), graph_of(2, memory)
    del first
    gc.collect()
    assert memory.pool() is second.pool()
    del second
    gc.collect()
    assert memory.pool() is None


def test_a_result_stays_when_another_graph_overwrites_the_memory(cuda):
    memory = GraphMemory()
    graphs = [graph_of(factor, memory) for factor in (1, 2, 3)]
    x = torch.arange(3.0)
    results = [graph(x) for graph in (*graphs, *graphs)]
    for factor, result in zip((1, 2, 3) * 2, results, strict=True):
        assert torch.equal(result, x + 1 + factor * x)


def test_a_graph_waits_for_the_one_before_in_whatever_stream(cuda):
    memory = GraphMemory()
    first, second = graph_of(1, memory), graph_of(2, memory)
    other = Stream(cuda)
    first(torch.zeros(3))
    cuda.current = other
    second(torch.zeros(3))
    cuda.current = cuda.first
    first(torch.zeros(3))
    assert cuda.log == [
        ("replays in", cuda.first),
        ("waits for", 1),
        ("replays in", other),
        ("waits for", 3),
        ("replays in", cuda.first),
    ]


def test_a_graph_that_fails_to_run_does_not_block_the_others(cuda, monkeypatch):
    memory = GraphMemory()
    first, second = graph_of(1, memory), graph_of(2, memory)
    monkeypatch.setattr(cuda.graphs[0], "replay", lambda: (_ for _ in ()).throw(RuntimeError("launch failed")))
    with pytest.raises(RuntimeError, match="launch failed"):
        first(torch.zeros(3))
    assert torch.equal(second(torch.ones(3)), torch.full((3,), 4.0))
