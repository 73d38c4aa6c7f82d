"""Faces found in a photo: detectors, at every size and at every angle."""
