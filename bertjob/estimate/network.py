"""What the ranks send each other in a step."""


def ring_bytes(size: float, nodes: int) -> float:
    """What a node sends in an all-reduce by a ring over the nodes: ``2 (N - 1) / N S``.

    Source: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009. Within a node the links are so much faster that
    they are left out.

    Args:
        size: bytes to be added up, S.
        nodes: N.
    """
    return 2 * (nodes - 1) / nodes * size


def exposed_seconds(communication: float, last_backward: float) -> float:
    """Communication that nothing hides: gradients leave while the last micro batch's backward pass computes."""
    return max(0.0, communication - last_backward)
