"""Frames of a journal's file.

    length (4 bytes, little-endian)   CRC-32 of the payload (4 bytes)   payload

Frames are appended, so a crash tears the end of a file and nothing before it. A bad frame with
something behind it is damage.
"""

import struct
import zlib

_HEAD = struct.Struct("<II")
_LOOKED_AT = 16  # times the length of a damaged file, at most


def framed(payload: bytes) -> bytes:
    """Return the frame of a payload that is not empty."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def whole(contents: bytes, begin: bytes) -> tuple[list[bytes], bool]:
    """Return the whole payloads of a file, in order, and whether the file is damaged.

    Args:
        contents: of the file.
        begin: the beginning of every payload; it finds the next frame behind a bad one.
    """
    payloads: list[bytes] = []
    start, damaged = 0, False
    while start < len(contents):
        if (payload := _payload(contents, start)) is not None:
            payloads.append(payload)
            start += _HEAD.size + len(payload)
        elif (behind := _next(contents, start, begin)) is not None:
            start, damaged = behind, True
        else:  # zeros are what a disk that was cut off leaves
            return payloads, damaged or bool(contents[_end(contents, start) :].strip(b"\0"))
    return payloads, damaged


def _payload(contents: bytes, start: int) -> bytes | None:
    """Return the payload of the frame that starts there; None where it is not whole."""
    if start + _HEAD.size > len(contents):
        return None
    length, crc = _HEAD.unpack_from(contents, start)
    payload = contents[start + _HEAD.size : start + _HEAD.size + length]
    fine = length and len(payload) == length and zlib.crc32(payload) == crc
    return payload if fine else None


def _next(contents: bytes, start: int, begin: bytes) -> int | None:
    """Return where the next whole frame starts behind a bad one."""
    left = _LOOKED_AT * len(contents)  # pixels may look like the beginnings of many frames
    place = contents.find(begin, start + _HEAD.size + 1)
    while place >= 0 and left > 0:
        frame = place - _HEAD.size
        if _payload(contents, frame) is not None:
            return frame
        left -= min(_end(contents, frame), len(contents)) - frame
        place = contents.find(begin, place + 1)
    return None


def _end(contents: bytes, start: int) -> int:
    """Return where a frame ends by its own account."""
    if start + _HEAD.size > len(contents):
        return len(contents)
    return start + _HEAD.size + int(_HEAD.unpack_from(contents, start)[0])
