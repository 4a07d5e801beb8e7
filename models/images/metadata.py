"""Orientation of an image from its EXIF or XMP metadata; everything else in them is ignored."""

import re
import struct

TAG, SHORT, LONG = 0x0112, 3, 4  # Exif 2.32, table 4; TIFF 6.0, section 2
MAX_ENTRIES = 256  # of the first directory, which is sorted by tag: the orientation is among the first 20
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(exif: bytes, xmp: bytes) -> int:
    """EXIF's orientation (1 to 8), else XMP's; 1 (upright) if neither block has one."""
    if (value := _from_exif(exif)) is not None:
        return value
    match = XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else 1


def raw_profile(text: bytes) -> bytes:
    """The EXIF block in a PNG text "Raw profile type exif": a name and a length, then hexadecimal lines."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _from_exif(block: bytes) -> int | None:
    """The orientation in the first directory of a TIFF block, None without one."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if not order:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for start in range(directory + 2, directory + 2 + 12 * min(count, MAX_ENTRIES), 12):
            tag, kind = struct.unpack_from(order + "HH", block, start)
            if tag == TAG and kind in (SHORT, LONG):
                return int(struct.unpack_from(order + ("H" if kind == SHORT else "I"), block, start + 8)[0])
    except struct.error:  # the block is cut off
        return None
    return None
