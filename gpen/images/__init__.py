"""Reading and writing picture files: input is checked, output appears whole or not at all."""

from .picture import Picture
from .read import READABLE_SUFFIXES, OnSize, read_picture
from .sniff import UNREADABLE_SUFFIXES
from .write import WRITABLE_SUFFIXES, can_write, left_out, write_picture

__all__ = [
    "READABLE_SUFFIXES",
    "UNREADABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "OnSize",
    "Picture",
    "can_write",
    "left_out",
    "read_picture",
    "write_picture",
]
