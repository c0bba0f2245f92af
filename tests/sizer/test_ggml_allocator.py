"""The allocator worked by hand: first allocations, freeing and joining, best fit, in-place results, views."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.runtimes.ggml_allocator import FreeBlocks, Node, aligned, lay_out, plan


def test_first_allocations_follow_one_another_at_multiples_of_32() -> None:
    blocks = FreeBlocks()
    assert [blocks.take(aligned(n)) for n in (1, 32, 33, 64)] == [0, 32, 64, 128]
    assert blocks.peak_bytes == 192
    assert list(blocks.ranges) == [(192, None)]


def test_freed_ranges_join_their_neighbours() -> None:
    blocks = FreeBlocks()
    a, b, c, d = (blocks.take(64) for _ in range(4))
    blocks.give(a, 64)
    blocks.give(c, 64)
    assert list(blocks.ranges) == [(0, 64), (128, 192), (256, None)]
    blocks.give(b, 64)
    assert list(blocks.ranges) == [(0, 192), (256, None)]
    blocks.give(d, 64)
    assert list(blocks.ranges) == [(0, None)]
    assert blocks.peak_bytes == 256


def test_the_smallest_block_that_fits_is_taken_and_of_equal_ones_the_last() -> None:
    blocks = FreeBlocks()
    starts = [blocks.take(n) for n in (96, 32, 64, 32, 64, 32)]
    for start, size in zip(starts[::2], (96, 64, 64), strict=True):
        blocks.give(start, size)
    assert list(blocks.ranges) == [(0, 96), (128, 192), (224, 288), (320, None)]
    assert blocks.take(64) == 224
    assert blocks.take(aligned(33)) == 128
    assert blocks.take(64) == 0
    assert blocks.take(32) == 64
    assert blocks.take(32) == 320  # only then the buffer grows
    assert blocks.peak_bytes == 352


def _peak(*nodes: Node) -> int:
    free = FreeBlocks()
    lay_out(plan(nodes), {node.num_bytes: aligned(node.num_bytes) for node in nodes}, free)
    return free.peak_bytes


def test_a_result_overwrites_its_source_only_in_place_and_at_the_last_use() -> None:
    source = Node(64, is_input=True)
    assert _peak(source, Node(64, (0,), in_place=True)) == 64
    assert _peak(source, Node(64, (0,))) == 128
    assert _peak(source, Node(32, (0,), in_place=True)) == 96  # another layout
    assert _peak(source, Node(64, (0,), in_place=True), Node(64, (0, 1), in_place=True)) == 128  # used again
    output = Node(64, (0,), is_output=True)
    assert _peak(source, output, Node(64, (1,), in_place=True)) == 128  # in the place of the freed source
    assert _peak(source, Node(64, (0,)), Node(64, (1,), in_place=True)) == 128


def test_outputs_are_never_freed() -> None:
    source = Node(64, is_input=True)
    # each in the place of the last but one
    assert _peak(source, Node(64, (0,)), Node(64, (1,)), Node(64, (2,))) == 128
    assert _peak(source, Node(64, (0,), is_output=True), Node(64, (1,)), Node(64, (2,))) == 192


def test_a_view_keeps_what_it_shows_and_is_never_overwritten() -> None:
    source, view = Node(64, is_input=True), Node(64, (0,), view_of=0)
    assert _peak(source, view) == 64
    assert _peak(source, view, Node(64, (1,), in_place=True)) == 128
    assert (
        _peak(source, view, Node(64, (0,), in_place=True), Node(64, (1, 2))) == 192
    )  # the view is still needed
    # the source is freed after the view's last use: the next result but one takes its place
    assert _peak(source, view, Node(64, (1,)), Node(64, (2,))) == 128
    assert _peak(source, view, Node(64, (1,)), Node(64, (2,)), Node(64, (1, 3))) == 192


def test_inputs_are_placed_before_everything_else() -> None:
    # were the second input placed only when it is used, it would go where the first was
    assert _peak(Node(64, is_input=True), Node(32, (0,)), Node(64, is_input=True), Node(32, (1, 2))) == 160


def test_a_write_to_a_cache_frees_what_it_wrote() -> None:
    assert _peak(Node(64, is_input=True), Node(0, (0,)), Node(64)) == 64


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2000)), max_size=60))
def test_ranges_in_use_never_overlap_and_all_come_back(steps: list[tuple[bool, int]]) -> None:
    blocks = FreeBlocks()
    used: list[tuple[int, int]] = []
    for release, asked in steps:
        number = aligned(asked)
        if release and used:
            blocks.give(*used.pop(number % len(used)))
        else:
            start = blocks.take(number)
            assert all(start >= s + n or start + number <= s for s, n in used)
            used.append((start, number))
        in_use = sum(n for _, n in used)
        assert blocks.peak_bytes >= in_use
        ends = [end for _, end in blocks.ranges[:-1] if end is not None]
        assert all(end < start for end, (start, _) in zip(ends, blocks.ranges[1:], strict=True))
    for start, number in used:
        blocks.give(start, number)
    assert list(blocks.ranges) == [(0, None)]


@pytest.mark.parametrize(("num_bytes", "expected"), [(0, 0), (1, 32), (32, 32), (33, 64)])
def test_alignment(num_bytes: int, expected: int) -> None:
    assert aligned(num_bytes) == expected
