"""Reading and writing picture files: input is checked, output appears whole or not at all."""

from .picture import Picture
from .read import OnSize, read_picture
from .suffixes import KNOWN_SUFFIXES, is_picture, is_readable, readable_suffixes, unreadable
from .write import WRITABLE_SUFFIXES, can_write, left_out, write_picture

__all__ = [
    "KNOWN_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "OnSize",
    "Picture",
    "can_write",
    "is_picture",
    "is_readable",
    "left_out",
    "read_picture",
    "readable_suffixes",
    "unreadable",
    "write_picture",
]
