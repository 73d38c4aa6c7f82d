"""Weights to network."""
