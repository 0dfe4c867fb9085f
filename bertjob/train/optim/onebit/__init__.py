"""Optimizers for slow networks: they exchange one bit a value. They need torch alone; mpi4py where MPI is chosen."""

from bertjob.train.optim.onebit.adam import OneBitAdam
from bertjob.train.optim.onebit.lamb import OneBitLamb
from bertjob.train.optim.onebit.optimizer import CompressedOptimizer
from bertjob.train.optim.onebit.zeroone import ZeroOneAdam

__all__ = ["CompressedOptimizer", "OneBitAdam", "OneBitLamb", "ZeroOneAdam"]
