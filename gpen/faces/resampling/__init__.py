"""Resampling between a photo and its crops, without aliasing."""
