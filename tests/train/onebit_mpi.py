"""One rank of MPI: 1-bit Adam over mpi4py, on the gradients of onebit_ranks.py.

    mpirun -n 3 python tests/train/onebit_mpi.py OUT

Rank 0 writes the weights of all ranks to OUT.
"""

import sys

import torch
from mpi4py import MPI
from onebit_ranks import STEPS, build, take_steps

from bertjob.train.optim.onebit.routes import by_node
from bertjob.train.optim.onebit.routes_mpi import MpiTransport


def main() -> None:
    torch.set_num_threads(1)
    world = MPI.COMM_WORLD
    transport = MpiTransport(cuda_aware=False)
    tensors, optimizer = build("adam", transport=transport, check_every=1)
    take_steps(tensors, optimizer, range(STEPS))
    routes = by_node(transport, torch.device("cpu"), f"node{world.rank}")
    assert (routes.inside.size, routes.between.size, routes.between.rank) == (1, world.size, world.rank)
    found = world.gather([tensor.detach() for tensor in tensors])
    if world.rank == 0:
        torch.save(found, sys.argv[1])


if __name__ == "__main__":
    main()
