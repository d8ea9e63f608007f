"""How large a chunk is, by head and by free memory."""

from __future__ import annotations

import pytest
import torch

from stylellm.objective import chunking

GIB, MIB = 2**30, 2**20


def test_on_a_cpu_a_chunk_has_as_many_rows_in_every_format_and_16_at_least():
    assert chunking.chosen_chunk_size(torch.empty(8192, 1)) == 4096
    for dtype in (torch.bfloat16, torch.float32):
        assert chunking.chosen_chunk_size(torch.empty(151936, 1, dtype=dtype)) == 220
    assert chunking.chosen_chunk_size(torch.empty(4_000_000, 1)) == 16


@pytest.mark.parametrize(
    ("rows", "size", "lengths"),
    [(0, 5, []), (3, 5, [3]), (5, 5, [5]), (6, 5, [3, 3]), (512, 220, [171, 171, 170])],
)
def test_chunks_are_few_and_of_one_length(rows, size, lengths):
    parts = chunking.chunks(torch.arange(rows) * 2, size)
    assert [len(part) for part in parts] == lengths
    assert torch.equal(torch.cat([*parts, torch.empty(0, dtype=torch.int64)]),
                       torch.arange(rows) * 2)  # fmt: skip


def test_buffers_are_used_again():
    buffers, head = chunking.Buffers(4), torch.randn(7, 3)
    x, y = torch.randn(4, 3), torch.randn(2, 3)
    first = buffers.product("z", x, head)
    torch.testing.assert_close(first, x @ head.T)
    second, other = buffers.product("z", y, head), buffers.product("delta", y, head)
    torch.testing.assert_close(second, y @ head.T)
    assert second.data_ptr() == first.data_ptr() != other.data_ptr()


@pytest.mark.parametrize(
    ("free", "expected"),
    [(64 * GIB, 128 * MIB), (4 * GIB, 128 * MIB), (4 * GIB - 1, 64 * MIB), (3 * GIB, 64 * MIB),
     (GIB, 32 * MIB), (100 * MIB, 8 * MIB), (0, 8 * MIB)],
)  # fmt: skip
def test_a_buffer_is_a_small_share_of_the_free_memory(free, expected):
    assert chunking.buffer_bytes(free) == expected


def test_on_a_gpu_the_free_memory_decides(monkeypatch):
    """What the allocator holds and does not use is free too."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (GIB // 2, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIB)
    device = torch.device("cuda", 0)
    assert chunking.free_bytes(device) == 5 * GIB // 2
    assert chunking.free_bytes(torch.device("cpu")) is None
    monkeypatch.setattr(chunking, "free_bytes", lambda _device: 5 * GIB // 2)
    head = torch.empty(151936, 1, dtype=torch.bfloat16)
    assert chunking.chosen_chunk_size(head) == 64 * MIB // (2 * 151936)


@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize("compiled", [False, True])
def test_blocks_cover_each_row_once(rows, compiled, monkeypatch):
    monkeypatch.setattr(chunking, "BLOCK_ELEMENTS_CPU", 300)
    monkeypatch.setattr(chunking, "BLOCK_ELEMENTS_COMPILED", 900)
    logits = torch.arange(rows * 100.0).reshape(rows, 100)
    parts = [logits[block] for block in chunking.blocks(logits, compiled=compiled)]
    assert torch.equal(torch.cat(parts), logits)
    assert max(len(part) for part in parts) == min(rows, 9 if compiled else 3)
