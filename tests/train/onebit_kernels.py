"""The Triton kernels beside the plain codec, in Triton's interpreter on CPUs.

    TRITON_INTERPRET=1 python tests/train/onebit_kernels.py RANKS...

Prints each number of ranks with the greatest difference.
"""

import sys

import torch

from bertjob.train.optim.onebit.codec import Codec
from bertjob.train.optim.onebit.layout import Layout, line_up


def distance(layout: Layout, fused: Codec, device: torch.device) -> float:
    """The greatest difference in anything that the four translations write, between `fused` and the plain codec."""
    ranks, segments = layout.ranks, len(layout.segments)
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(layout.segments[-1].end + 16, generator=draw)
    scales = torch.rand(ranks, segments, generator=draw)
    found = []
    for codec, place in ((Codec(layout), torch.device("cpu")), (fused, device)):
        own, factors = values.to(place, copy=True), scales.to(place)
        rows = torch.zeros(ranks, 40 + layout.row, dtype=torch.uint8, device=place)[:, 40:]
        share, row = torch.zeros(8 * layout.row, device=place), torch.zeros_like(rows[0])
        codec.deal(own, factors[0], rows)
        codec.add_up(rows, factors, share)
        codec.compress(share, factors[0], row)
        back = torch.zeros_like(own)
        codec.collect(rows, factors, back)
        assert rows.any()
        assert back.any()
        found.append([tensor.cpu().float() for tensor in (own, rows, share, row, back)])
    return max((plain - other).abs().max().item() for plain, other in zip(*found, strict=True))


def main(*counts: int) -> None:
    from bertjob.train.optim.onebit.codec_triton import TritonCodec

    for ranks in counts:
        layout = Layout.of(line_up([5, 64, 1000, 1, 9000]), ranks)
        print(ranks, distance(layout, TritonCodec(layout, torch.device("cpu")), torch.device("cpu")))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
