"""Faces: detection, selection, alignment, masks, pasting."""
