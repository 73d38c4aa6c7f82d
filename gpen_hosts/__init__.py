"""Adapters: what each host needs to use the package ``gpen``."""
