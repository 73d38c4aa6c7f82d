"""Photo to faces and back: detection, selection, alignment, masks, pasting."""
