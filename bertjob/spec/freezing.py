"""When a 1-bit optimizer freezes: the login node and the training refuse the same."""

from bertjob.spec.job import Optimizer


def complaint(optimizer: Optimizer, last: int) -> str | None:
    """What is wrong with a freeze that comes no earlier than the last step; 0/1 Adam compresses before it as well.

    Args:
        optimizer: of the job.
        last: number of the training's last step.
    """
    frozen = optimizer.freeze_step
    if optimizer.name == "zeroone-adam" or not isinstance(frozen, int) or frozen < last:
        return None
    return f"optimizer.freeze_step {frozen}: the training ends with step {last}, so it would never compress"
