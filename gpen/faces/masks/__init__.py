"""Masks in the crop: which pixels of a restored face are pasted, and which of the photo stay."""
