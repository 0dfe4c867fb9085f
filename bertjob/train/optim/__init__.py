"""Optimizers, for both back ends.

They can be used without the rest of bertjob, and need torch alone; `factory` makes the one of a job.
"""

from bertjob.train.optim.groups import clip, parameter_groups, set_learning_rate
from bertjob.train.optim.lamb import Lamb
from bertjob.train.optim.onebit import OneBitAdam, OneBitLamb, ZeroOneAdam

__all__ = [
    "Lamb",
    "OneBitAdam",
    "OneBitLamb",
    "ZeroOneAdam",
    "clip",
    "parameter_groups",
    "set_learning_rate",
]
