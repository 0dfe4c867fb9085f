"""When 1-bit optimizers examine their variance: the login side plans with the same steps as the training takes.

Source: Tang et al., arXiv 2102.02888, section 7: the variance has settled once its norm is that of 1 / (1 - beta2)
steps before. This module imports nothing, because the optimizers need torch alone.
"""

PER_WINDOW = 10
"""Examinations in 1 / (1 - beta2) steps, unless the step of the freeze is planned."""


def steps_between(beta2: float) -> int:
    """Steps from one examination to the next, of a variance that decays by `beta2`."""
    return max(1, round(1 / PER_WINDOW / (1 - beta2)))


def earliest_freeze(beta2: float) -> int:
    """The first step after which the variance can be found settled: by comparison with one a whole window before."""
    return (PER_WINDOW + 1) * steps_between(beta2)
