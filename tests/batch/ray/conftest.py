"""A Ray cluster of two machines, simulated by two Ray node processes, and how long its tests wait."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONG = 120
"""Seconds."""


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster with a head without CPUs and two machines with one CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # as if gpen were installed on each machine
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_WAIT_POLICY", "passive")
        small = {"object_store_memory": 80 << 20}
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
        try:
            for _ in range(2):
                nodes.add_node(num_cpus=1, **small)
            yield nodes.address
        finally:
            nodes.shutdown()


def finish(process, code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == code, out + err
    return out, err
