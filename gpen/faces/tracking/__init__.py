"""Faces of a video: followed, smoothed, and cut where the shot changes."""
