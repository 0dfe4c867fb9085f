"""Samples that others have made: as many as there are, in any order, under the protocol of our own."""

from bertjob.train.tasks.pretraining.external.store import MadeSamples

__all__ = ["MadeSamples"]
