"""Optimizers, for both back ends; `Lamb` is of use without the rest of bertjob, and needs torch alone."""

from bertjob.train.optim.groups import clip, parameter_groups, set_learning_rate
from bertjob.train.optim.lamb import Lamb
from bertjob.train.optim.make import gauges, make_optimizer

__all__ = ["Lamb", "clip", "gauges", "make_optimizer", "parameter_groups", "set_learning_rate"]
