"""When the variance of a 1-bit optimizer is looked at: what the login node plans with is what the training does.

Source: Tang et al., arXiv 2102.02888, section 7: the variance has settled once its norm is that of 1 / (1 - beta2)
steps before. Imports nothing: the optimizers need torch alone.
"""

LOOKS = 10
"""In 1 / (1 - beta2) steps, where the step of the freeze is not planned."""


def look_every(beta2: float) -> int:
    """Steps between two looks at a variance that decays by `beta2`."""
    return max(1, round(1 / LOOKS / (1 - beta2)))


def earliest(beta2: float) -> int:
    """The first step after which the variance can be seen to have settled: at the second look that has one before."""
    return (LOOKS + 1) * look_every(beta2)
