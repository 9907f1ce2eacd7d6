"""Frames: what is whole is found, and what is torn is told from what is damaged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseam.guard.server.quarantine.frames import framed, whole

BEGIN = b"item"
payloads = st.lists(st.binary(max_size=30).map(lambda rest: BEGIN + rest), min_size=1, max_size=6)


@given(payloads, st.data())
def test_a_file_that_ends_anywhere_is_torn(sent, data):
    contents = b"".join(map(framed, sent))
    cut = data.draw(st.integers(0, len(contents)))
    zeros = data.draw(st.integers(0, 100))
    ends = [len(b"".join(map(framed, sent[: i + 1]))) for i in range(len(sent))]
    count = sum(end <= cut for end in ends)
    found, damaged = whole(contents[:cut], BEGIN)
    assert (found, damaged) == (sent[:count], False)
    assert whole(contents + bytes(zeros), BEGIN) == (sent, False)


@given(payloads.filter(lambda sent: len(sent) > 1), st.data())
def test_a_flipped_bit_costs_one_frame_and_is_noticed_where_others_follow(sent, data):
    frames = [*map(framed, sent)]
    bad = data.draw(st.integers(0, len(frames) - 2))
    broken = bytearray(frames[bad])
    place = data.draw(st.integers(0, 8 * len(broken) - 1))
    broken[place // 8] ^= 1 << place % 8
    found, damaged = whole(b"".join([*frames[:bad], broken, *frames[bad + 1 :]]), BEGIN)
    assert damaged
    assert found == sent[:bad] + sent[bad + 1 :]


@pytest.mark.parametrize("rest", [b"x" * 20, bytes(9) + b"x", struct.pack("<II", 1, 0) + b"ab"])
def test_what_is_no_frame_and_not_torn_is_damage(rest):
    assert whole(framed(b"item 1") + rest, BEGIN) == ([b"item 1"], rest != b"x" * 20)


def test_many_beginnings_of_no_frame_are_not_all_looked_at():
    """Each says that it goes on to the end: together they are a thousand times the file."""
    fake = (struct.pack("<II", 1 << 20, 0) + BEGIN) * 10_000
    contents = framed(b"item 1") + b"\xff" * 9 + fake + framed(b"item 2")
    assert whole(contents, BEGIN)[0] == [b"item 1"]


@given(st.binary(max_size=200))
def test_anything_is_read(contents):
    whole(contents, BEGIN)
