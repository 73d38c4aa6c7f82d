"""Colours of picture files: their profiles, or what stands in for one, into sRGB and back."""
