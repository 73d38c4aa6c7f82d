"""TIFF: tifffile reads the tags and most pixels; OpenCV and Pillow decode the compressions that it lacks."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..color.tiff import COLOR_TAGS, color_profile
from ..decoded import Decoded
from ..metadata.exif import (
    BYTES_PER_NUMBER,
    DESCRIPTION,
    DESCRIPTIVE,
    EXIF_POINTER,
    GPS_POINTER,
    ORIENTATION,
    Directory,
    exif_from_tiff,
)
from ..metadata.metadata import C2PA, DAMAGED_RESOURCES, LARGEST, Metadata, shown
from ..metadata.photoshop import clean_resources, iptc_of
from ..picture import Samples
from ..sniff import SizeCheck, unsupported
from . import pillow

if TYPE_CHECKING:
    from tifffile import TiffPage

_PLAIN = "Save it with 8 or 16 bits per channel, as grey or RGB, with an image editor and use that file."
_INTERLEAVED = "Save it uncompressed, with its channels interleaved, and use that file."
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_LZW, _LZMA = 5, 34925
_UNPREDICTED = {1, 32773}  # none, PackBits
_TIFFFILE = {*_UNPREDICTED, 8, 32946, _LZMA}  # compressions that tifffile decodes itself: also both Deflates, LZMA
_MOST_CHANNELS = 16
_CMYK = 5  # among the kinds of colours
_SPARE = 1 << 26  # bytes by which a decompressed strip or tile may exceed the picture, as large tiles do
_BITS, _PACKING, _PHOTOMETRIC, _PLANAR, _UNIT, _EXTRA, _FORMAT = 258, 259, 262, 284, 296, 338, 339
_SUB_PAGES = 330
_STRIPS, _TILES = 273, 324  # where each strip or tile begins
_ICC, _DNG_VERSION = 34675, 50706
_RAW = {32803, 34892}  # colours behind a sensor's filters, and in its linear space
_XMP, _IPTC, _RESOURCES, _LAYERS, _MANIFEST = 700, 33723, 34377, 37724, 52545
# The tags about a page's pixels, which an EXIF block's tags must not override.
_OF_PIXELS = {*range(254, 270), *range(273, 281), 282, 283, 284, 296, 297, 317, *range(320, 326), 330, 338, 339}
_OF_PIXELS |= COLOR_TAGS | {513, 514, *range(529, 533), _ICC}
_READ = {
    *_OF_PIXELS - COLOR_TAGS,
    *DESCRIPTIVE,
    EXIF_POINTER,
    GPS_POINTER,
    _XMP,
    _IPTC,
    _RESOURCES,
    340,
    341,
    347,
    *range(512, 522),
}

_MOST_PAGES = 1000
_MOST_PIECES = 1 << 18  # more than a picture of 250 megapixels has in tiles of 32 x 32 pixels


def read_tiff(data: bytes, path: Path, check: SizeCheck) -> Decoded:
    """Read a TIFF file of one page; reduced copies of it do not count, wherever they are.

    check: called with width and height before the pixels are allocated. Raises PhotoError for unsupported pixels, any
    other exception for a damaged file.
    """
    from tifffile import TiffFile

    with TiffFile(io.BytesIO(data)) as file:
        page = main_page(file.pages, path)
        check(page.imagewidth, page.imagelength)
        _check(page, path)
        check(page.imagewidth, page.imagelength, -(-page.samplesperpixel * page.bitspersample // 8))
        ends = (start + size for start, size in zip(page.dataoffsets, page.databytecounts, strict=True))
        if not page.dataoffsets or max(ends) > len(data):
            raise ValueError("pixels are missing at its end")
        orientation = page.tags.valueof(ORIENTATION, 1)
        if orientation != 1 and ORIENTATION in page.tags:
            # OpenCV and some versions of Pillow would rotate the picture by themselves.
            page.tags[ORIENTATION].overwrite(1)
            file.filehandle.seek(0)
            data = file.filehandle.read(-1)
        data = _beginning_with(page, data)
        samples, converted = _decode(page, data, path)
        orientation = orientation if orientation in range(1, 9) else 1
        icc = None if converted else page.tags.valueof(_ICC)
        if icc is None and not converted:
            icc = color_profile(page, _numbers(page, _PHOTOMETRIC, 1)[0], grey=samples.shape[2] < 3)
        exif = exif_from_tiff(data)
        return Decoded(
            samples,
            orientation,
            icc=icc,
            colors_by_exif=not converted,
            exif=exif,
            dpi=_resolution(page),
            metadata=_metadata(page, data, has_exif=exif is not None, colors_are_open=icc is None and not converted),
        )


def _metadata(page: Any, data: bytes, *, has_exif: bool, colors_are_open: bool) -> Metadata:
    packet, iptc, stored = (_block(page, tag, data) for tag in (_XMP, _IPTC, _RESOURCES))
    resources, is_whole = clean_resources(stored or b"")
    notices = []
    if iptc and iptc[:1] != b"\x1c" and iptc[3:4] == b"\x1c":
        # Stored as numbers of four bytes by a program that took their order for the file's.
        iptc = b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))
    if not is_whole:
        notices.append(DAMAGED_RESOURCES)
    if _MANIFEST in page.tags:
        notices.append(C2PA)
    if _LAYERS in page.tags:
        notices.append("Its Photoshop layers are left out: they show the photo as it was.")
    kept = {*_READ, _MANIFEST, _LAYERS} - (set() if has_exif else {*DESCRIPTIVE, EXIF_POINTER, GPS_POINTER})
    if not colors_are_open:  # the profile says the same, or replaces what they say
        kept |= COLOR_TAGS
    too_long = [tag for tag in (_XMP, _IPTC, _RESOURCES) if tag in page.tags and _is_too_long(page, tag)]
    names = {tag.code: str(tag.name) for tag in page.tags}
    unused = [name for code, name in names.items() if code in COLOR_TAGS - kept]
    if unused:
        does, is_ = ("does", "is") if len(unused) == 1 else ("do", "are")
        notices.append(f"Its {shown(unused)} {does} not say what its colours mean, and {is_} left out.")
    others = [name for code, name in names.items() if code not in kept | COLOR_TAGS or code in too_long]
    if others:
        notices.append(f"Its {shown(others)} {'is' if len(others) == 1 else 'are'} left out.")
    return Metadata(packet, iptc=iptc or iptc_of(resources), resources=resources, notices=tuple(notices))


def _block(page: Any, tag: int, data: bytes) -> bytes | None:
    """The bytes of a tag's value as they are stored; None if there are none, or too many."""
    if tag not in page.tags or _is_too_long(page, tag):
        return None
    start = page.tags[tag].valueoffset
    return data[start : start + _length(page.tags[tag])] or None


def _is_too_long(page: Any, tag: int) -> bool:
    return _length(page.tags[tag]) > LARGEST


def _length(tag: Any) -> int:
    return int(tag.count) * BYTES_PER_NUMBER.get(int(tag.dtype), 1)


def _numbers(page: TiffPage, tag: int, default: int) -> tuple[int, ...]:
    value: Any = page.tags.valueof(tag, default)
    return tuple(map(int, value)) if isinstance(value, (tuple, bytes, list)) else (int(value),)


def main_page(pages: Any, path: Path) -> Any:
    """The page that is no reduced copy; PhotoError if there are several, or none."""
    first, *others = _listed(pages, path)
    if first.is_reduced and _SUB_PAGES in first.tags:
        others += list(first.pages or ())
    whole = [page for page in (first, *others) if not page.is_reduced]
    if not whole:
        raise unsupported(path, "holds only reduced copies of a picture", "Use the file they were made from.")
    count = sum(page.imagedepth for page in whole)
    if count > 1:
        raise unsupported(path, f"has {count} pages", "Save its pages as single files and use those.")
    return whole[0]


def _listed(pages: Any, path: Path) -> list[Any]:
    """The pages in a row; PhotoError for more than any picture has reduced copies."""
    count = len(pages)  # asking for it ends a circle, and takes no time beside reading them
    if count > _MOST_PAGES:
        raise unsupported(path, f"has {count} pages", "Save its pages as single files and use those.")
    return list(pages)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF file is a camera's raw file; a damaged one is not."""
    from tifffile import TiffFile

    try:
        with TiffFile(io.BytesIO(data)) as file:
            first, *others = _listed(file.pages, Path())
            found: list[Any] = [first, *others, *((first.pages or ()) if _SUB_PAGES in first.tags else ())]
            return _DNG_VERSION in first.tags or any(_numbers(page, _PHOTOMETRIC, 1)[0] in _RAW for page in found)
    except Exception:  # whoever reads it says what is wrong
        return False


def _beginning_with(page: Any, data: bytes) -> bytes:
    """The file with this page first, where every decoder looks for the picture."""
    place, kind = (8, "Q") if page.parent.is_bigtiff else (4, "I")
    link = struct.pack(page.parent.byteorder + kind, page.offset)
    return data if data[place : place + len(link)] == link else data[:place] + link + data[place + len(link) :]


def _check(page: Any, path: Path) -> None:
    pieces = max((int(page.tags[tag].count) for tag in (_STRIPS, _TILES) if tag in page.tags), default=0)
    if pieces > _MOST_PIECES:
        raise unsupported(
            path, f"is stored in {pieces} strips or tiles", "Save it anew with an image editor and use that file."
        )
    (photometric,) = _numbers(page, _PHOTOMETRIC, 1)
    colours = _COLOURS.get(photometric, f"kind {photometric}")
    if photometric not in (0, 1, 2, 3, 5, 6):
        raise unsupported(path, f"holds {colours} colours", _PLAIN)
    bits, formats = set(_numbers(page, _BITS, 1)), set(_numbers(page, _FORMAT, 1))
    if formats - {1, 4}:
        kind = "floating-point" if 3 in formats else "signed"
        raise unsupported(path, f"holds {kind} numbers with {max(bits)} bits", _PLAIN)
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16}:
        raise unsupported(path, f"has {', '.join(map(str, sorted(bits)))} bits per channel", _PLAIN)
    if bits == {16} and photometric > 2:
        raise unsupported(path, f"holds {colours} colours with 16 bits", _PLAIN)
    channels, least = page.samplesperpixel, {2: 3, 5: 4, 6: 3}.get(photometric, 1)
    if not least <= channels <= _MOST_CHANNELS:
        raise unsupported(path, f"holds {colours} colours in {channels} channels", _PLAIN)


def _decode(page: Any, data: bytes, path: Path) -> tuple[Samples, bool]:
    """Decode to uint8 or uint16 (H, W, 1 to 4 channels), and say whether the colours were converted to sRGB."""
    bits, (photometric,), (packing,) = page.bitspersample, _numbers(page, _PHOTOMETRIC, 1), _numbers(page, _PACKING, 1)
    planes = _numbers(page, _PLANAR, 1) == (2,)
    colours, channels = {2: 3, _CMYK: 4}.get(photometric, 1), page.samplesperpixel
    # Pillow knows no CMYK with alpha.
    if packing in _TIFFFILE and bits >= 8 and (photometric <= 2 or (photometric == _CMYK and channels > 4)):
        if packing in _UNPREDICTED:
            page.predictor = 1  # some programs state another one, which has no effect here
        _check_pieces(page, data, packing)
        whole = page.asarray(squeeze=False)  # planes, depth, height, width, channels
        samples = whole[:, 0].transpose(1, 2, 0, 3).reshape(page.imagelength, page.imagewidth, channels)
    elif bits < 16 and not (planes and page.extrasamples):  # Pillow would mix up the planes
        try:
            image = pillow.open_image(data, "TIFF")
        except ValueError:
            raise unsupported(path, "stores its pixels in an unusual way", _INTERLEAVED) from None
        with image:
            return pillow.decode(image, data, path)
    elif packing == _LZW and not planes and (colours, channels) in ((1, 1), (3, 3), (3, 4)):
        samples = _with_opencv(data)
    else:
        name = f"{getattr(page.compression, 'name', packing)}{', as planes' if planes else ''}"
        raise unsupported(path, f"stores {channels} channels of {bits} bits in an unusual way ({name})", _INTERLEAVED)
    kinds = _numbers(page, _EXTRA, 2 if channels == colours + 1 else 0)[: channels - colours]
    alpha = next((index for index, kind in enumerate(kinds) if kind in (1, 2)), None)
    samples = samples[..., [*range(colours), *([] if alpha is None else [colours + alpha])]]
    if photometric == 0:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    if alpha is not None and kinds[alpha] == 1:
        samples = straight(samples)
    if photometric != _CMYK:
        return samples, False
    seen = pillow.from_cmyk(pillow.cmyk_image(samples[..., :colours]), page.tags.valueof(_ICC))
    return np.concatenate([seen, samples[..., colours:]], axis=2), True


def _check_pieces(page: Any, data: bytes, packing: int) -> None:
    """Raise ValueError for missing pixels, which tifffile would make black, and for decompression bombs."""
    if packing == 1 and sum(page.databytecounts) < page.nbytes:
        raise ValueError("pixels are missing")
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if packing not in _UNPREDICTED:
            unpacker = lzma.LZMADecompressor() if packing == _LZMA else zlib.decompressobj()
            unpacker.decompress(data[start : start + size], 2 * page.nbytes + _SPARE)
            if not unpacker.eof:
                raise ValueError("its pixels are cut off, or are more than they could be")


def _with_opencv(data: bytes) -> Samples:
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("its pixels cannot be decoded")
    samples: Samples = decoded.reshape(*decoded.shape[:2], -1)
    return samples[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]]


def straight(samples: Samples) -> Samples:
    """Undo premultiplied alpha of samples (H, W, 2 or 4), in place."""
    top = np.iinfo(samples.dtype).max
    for row in samples:
        alpha = row[:, -1:].astype(np.uint64)
        colour = (row[:, :-1].astype(np.uint64) * np.uint64(top) + alpha // 2) // np.maximum(alpha, 1)
        row[:, :-1] = np.where(alpha > 0, np.minimum(colour, top), 0)
    return samples


def _resolution(page: TiffPage) -> tuple[float, float] | None:
    unit = {2: 1.0, 3: 2.54}.get(_numbers(page, _UNIT, 2)[0], 0.0)
    (x, x_part), (y, y_part) = (page.tags.valueof(tag, (0, 1)) for tag in (282, 283))
    return (x / x_part * unit, y / y_part * unit) if x and y and x_part and y_part and unit else None


def encode_tiff(
    samples: Samples,
    icc: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
    metadata: Metadata,
) -> bytes:
    """Encode uint8 or uint16 samples (H, W, 1 to 4 channels), losslessly. Raises ValueError beyond 4 GB.

    An EXIF block is a small TIFF file with offsets from its start. So it is put at the start of the file, where they
    stay valid, and its first directory is merged into the page's.
    """
    from tifffile import imwrite

    channels = samples.shape[2]
    stored = {
        _ICC: (7, icc),
        _XMP: (1, metadata.xmp),
        _IPTC: (7, metadata.iptc),
        _RESOURCES: (1, metadata.resources),
        DESCRIPTION: (2, b"\n".join(metadata.comments).replace(b"\0", b"") + b"\0" if metadata.comments else None),
    }
    block = exif + bytes(len(exif) % 2) if exif else b""
    file = io.BytesIO(block[:4] + bytes(4) + block[8:] if block else b"")
    imwrite(
        file,
        samples if channels > 1 else samples[..., 0],
        append=bool(block),
        bigtiff=False,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        resolution=dpi or (1, 1),
        resolutionunit="INCH" if dpi else "NONE",
        extratags=[(tag, kind, len(value), value, True) for tag, (kind, value) in stored.items() if value],
        software=False,
        metadata=None,
    )
    return bytes(_merged(bytearray(file.getvalue()), block)) if block else file.getvalue()


def _merged(data: bytearray, block: bytes) -> bytearray:
    page, described = Directory(data), Directory(bytearray(block))
    entries = {tag: described.data[at : at + 12] for tag, at in described.entries.items() if tag not in _OF_PIXELS}
    entries |= {tag: data[at : at + 12] for tag, at in page.entries.items()}
    position = len(data) + len(data) % 2
    struct.pack_into(page.order + "I", data, 4, position)
    data += bytes(len(data) % 2) + struct.pack(page.order + "H", len(entries))
    return data + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
