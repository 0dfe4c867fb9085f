"""Optimizers, for both back ends.

`Lamb`, `OneBitAdam`, `OneBitLamb` and `ZeroOneAdam` are of use without the rest of bertjob, and need torch alone.
"""

from bertjob.train.optim.groups import clip, parameter_groups, set_learning_rate
from bertjob.train.optim.lamb import Lamb
from bertjob.train.optim.make import gauges, make_optimizer
from bertjob.train.optim.onebit import OneBitAdam, OneBitLamb, ZeroOneAdam

__all__ = [
    "Lamb",
    "OneBitAdam",
    "OneBitLamb",
    "ZeroOneAdam",
    "clip",
    "gauges",
    "make_optimizer",
    "parameter_groups",
    "set_learning_rate",
]
