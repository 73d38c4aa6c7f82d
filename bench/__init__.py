"""Measurements: `python -m bench.performance`, or `make bench`, takes those of docs/performance.md."""
