"""Signs in bytes and back, and the 1-bit mean over any number of ranks against its definition in float64."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import onebit_kernels
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onebit_post import Post
from onebit_simulation import OneBitMean

from bertjob.train.optim.onebit import codec
from bertjob.train.optim.onebit.codec import Codec, codec_for
from bertjob.train.optim.onebit.exchange import NodeExchange, OneBitExchange
from bertjob.train.optim.onebit.layout import Layout, cut, fill, line_up
from bertjob.train.optim.onebit.routes import Routes

FLOATS = st.floats(-1e6, 1e6, width=32)
SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=6)


@given(st.lists(st.lists(FLOATS, min_size=8, max_size=8), min_size=1, max_size=9))
def test_signs_are_written_as_binary_numbers_and_come_back(octets):
    tensor = torch.tensor(octets).flatten()
    packed = codec.pack(tensor)
    ones = [int("".join(str(int(bit)) for bit in row), 2) for row in torch.signbit(tensor).view(-1, 8).tolist()]
    assert packed.tolist() == ones
    out = torch.empty(1, len(tensor))
    codec.unpack(packed[None], torch.tensor([2.5]), out)
    assert out[0].tolist() == torch.copysign(torch.tensor(2.5), tensor).tolist()


@given(st.lists(FLOATS, min_size=16, max_size=16), st.floats(0, 100, width=32))
def test_what_is_said_and_the_error_are_the_values(values, scale):
    tensor = torch.tensor(values, dtype=torch.float64)
    error = tensor.clone()
    packed = codec.compress(error, torch.tensor(scale, dtype=torch.float64))
    said = torch.empty(1, 16, dtype=torch.float64)
    codec.unpack(packed[None], torch.tensor([scale], dtype=torch.float64), said)
    assert torch.allclose(said[0] + error, tensor, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 3, 700])
def test_long_rows_are_the_same_as_short_ones(rows):
    """They are handled in slices."""
    torch.manual_seed(rows)
    values, scales = torch.randn(rows, 8 * (20_000 // rows)), torch.rand(rows)
    packed = codec.pack(values.view(-1)).view(rows, -1)
    expected = torch.copysign(scales[:, None], values)
    out = torch.empty_like(values)
    codec.unpack(packed, scales, out)
    assert torch.equal(out, expected)
    total = torch.ones(values.shape[1])
    codec.add_up(packed, scales, total)
    assert torch.allclose(total, 1 + expected.sum(0), atol=1e-4)


def test_negative_zero_is_a_minus_everywhere():
    values = torch.tensor([-0.0, 0.0] * 4)
    assert codec.pack(values).tolist() == [0b10101010]
    codec.compress(values, torch.tensor(1.0))
    assert values.tolist() == [1.0, -1.0] * 4


@given(SIZES, st.integers(1, 1024))
def test_every_byte_is_dealt_to_one_rank(sizes, ranks):
    layout = Layout.of(line_up(sizes), ranks)
    seen = torch.zeros(ranks, layout.row, dtype=torch.int)
    values = torch.zeros(layout.segments[-1].end, dtype=torch.int)
    for number in range(len(sizes)):
        for rows, place, span in layout.parts(number):
            seen[rows, place] += 1
            values[span] += 1
            assert seen[rows, place].numel() * 8 == span.stop - span.start
    assert values.tolist() == [1] * len(values)
    assert seen.max() == 1
    assert seen.sum() * 8 == len(values)


@given(SIZES, st.integers(1, 8))
def test_cut_segments_are_whole_together(sizes, parts):
    segments = line_up(sizes)
    length = -(-segments[-1].end // (8 * parts)) * 8
    pieces = [cut(segments, length * part, length * (part + 1)) for part in range(parts)]
    assert sum(piece.size for own in pieces for piece in own) == sum(sizes)
    assert all(piece.start % 8 == 0 for own in pieces for piece in own)


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_buckets_hold_all_tensors_in_their_order(count):
    sizes = [(number % 5 + 1) * 300_000 for number in range(count)]
    buckets = fill(sizes, 3)
    assert [number for bucket in buckets for number in bucket.tensors] == list(range(count))
    assert len(buckets) <= 4
    assert all((bucket.span.stop - bucket.span.start) % 24 == 0 for bucket in buckets)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 16, 48])
def test_the_mean_over_any_number_of_ranks_is_that_of_the_definition(ranks):
    sizes = [5, 64, 1000, 1]
    segments = line_up(sizes)
    draw = torch.Generator().manual_seed(ranks)
    live = torch.zeros(segments[-1].end, dtype=torch.bool)
    for segment in segments:
        live[segment.start : segment.start + segment.size] = True
    live[segments[2].start + 100 : segments[2].start + 300] = False
    buffers = [torch.zeros(len(live), dtype=torch.float64) for _ in range(ranks)]
    exchanges = [
        OneBitExchange(buffer, segments, transport)
        for buffer, transport in zip(buffers, Post(ranks).transports(), strict=True)
    ]
    means = [OneBitMean(ranks, size) for size in sizes]
    for exchange in exchanges:
        exchange.keep(live)
    for _ in range(4):
        drawn = [torch.randn(len(live), generator=draw, dtype=torch.float64) * live for _ in range(ranks)]
        for buffer, values in zip(buffers, drawn, strict=True):
            buffer.copy_(values)
        for stage in ("begin", "relay", "finish"):
            for exchange in exchanges:
                getattr(exchange, stage)()
        for segment, mean in zip(segments, means, strict=True):
            own = slice(segment.start, segment.start + segment.size)
            expected = mean([values[own] for values in drawn], live[own])
            assert torch.allclose(buffers[0][own], expected, rtol=1e-12, atol=1e-12)
        assert all(torch.equal(buffer, buffers[0]) for buffer in buffers)


@pytest.mark.parametrize("sizes", [[5], [3, 2], [30, 1]])
def test_two_nodes_of_two_ranks_exchange_where_a_rank_may_have_padding_only(sizes):
    inside, between = [Post(2).transports() for _ in range(2)], [Post(2).transports() for _ in range(2)]
    (bucket,) = fill(sizes, 2)
    drawn = torch.randn(4, bucket.span.stop, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    live = torch.zeros(bucket.span.stop, dtype=torch.bool)
    for segment in bucket.segments:
        live[segment.start : segment.start + segment.size] = True
    drawn *= live

    def one_rank(rank):
        node, own = divmod(rank, 2)
        values = drawn[rank].clone()
        routes = Routes(inside[node][own], inside[node][own], between[own][node])
        exchange = NodeExchange(values, bucket.segments, routes)
        exchange.keep(live)
        for stage in (exchange.begin, exchange.relay, exchange.finish):
            stage()
        return values

    with ThreadPoolExecutor(4) as ranks:
        found = list(ranks.map(one_rank, range(4)))
    assert all(torch.equal(values, found[0]) for values in found)
    assert not found[0][~live].any()
    nodes = [drawn[:2].mean(0), drawn[2:].mean(0)]
    for part in (slice(0, len(live) // 2), slice(len(live) // 2, None)):
        for segment in bucket.segments:
            begin, end = max(segment.start, part.start), min(segment.start + segment.size, part.stop or len(live))
            if begin < end:
                mean = OneBitMean(2, end - begin)([node[begin:end] for node in nodes], live[begin:end])
                assert torch.allclose(found[0][begin:end], mean, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ranks", [1, 3, 16])
def test_the_kernels_of_gpus_do_what_the_plain_codec_does(ranks):
    layout = Layout.of(line_up([5, 64, 1000, 1, 90_000]), ranks)
    gpu = torch.device("cuda", 0)
    fused = codec_for(layout, gpu)
    assert type(fused) is not Codec
    assert onebit_kernels.distance(layout, fused, gpu) < 1e-6


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton, which torch for GPUs brings")
def test_the_kernels_do_it_in_triton_s_interpreter_too():
    """On CPUs; it is chosen when Triton is imported."""
    done = subprocess.run(
        [sys.executable, onebit_kernels.__file__, "1", "2", "3", "7", "16"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert [ranks for ranks, _ in found] == ["1", "2", "3", "7", "16"]
    assert all(float(distance) < 1e-6 for _, distance in found), found
