"""What the ranks send each other in a step."""


def all_reduce_seconds(size: float, nodes: int, bandwidth: float) -> float:
    """A ring over the nodes: ``2 (N - 1) / N S / B`` (Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009).

    Args:
        size: bytes, S.
        nodes: N; within a node the links are so much faster that they are left out.
        bandwidth: bytes a second that a node sends, B.
    """
    return 2 * (nodes - 1) / nodes * size / bandwidth


def exposed_seconds(communication: float, last_backward: float) -> float:
    """Communication that nothing hides: gradients leave while the last micro batch's backward pass computes."""
    return max(0.0, communication - last_backward)
