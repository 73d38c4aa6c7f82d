"""Picture files in and out: everything is checked on the way in, nothing is half-written on the way out."""

from .picture import Picture
from .read import READABLE_SUFFIXES, OnSize, read_picture
from .write import WRITABLE_SUFFIXES, can_write, write_picture

__all__ = [
    "READABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "OnSize",
    "Picture",
    "can_write",
    "read_picture",
    "write_picture",
]
