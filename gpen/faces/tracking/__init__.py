"""Faces in video: shot cuts, tracks, smoothing."""
