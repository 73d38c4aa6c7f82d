"""Adapters between the package ``gpen`` and its hosts."""
