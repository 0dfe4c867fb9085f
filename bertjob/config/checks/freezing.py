"""When a 1-bit optimizer freezes: the login node and a training on several ranks refuse the same."""

from bertjob.config.checks.settling import earliest
from bertjob.config.job import Optimizer


def complaint(optimizer: Optimizer, last: int) -> str | None:
    """What is wrong with a freeze that comes no earlier than the last step; 0/1 Adam compresses before it as well.

    Args:
        optimizer: of the job.
        last: number of the training's last step.
    """
    frozen, beta2 = optimizer.freeze_step, optimizer.betas[1]
    if frozen is None or optimizer.name == "zeroone-adam":
        return None
    never = f"the training ends with step {last}, so it would never compress"
    if frozen != "auto":
        return f"optimizer.freeze_step {frozen}: {never}" if frozen >= last else None
    soonest = earliest(beta2)
    unseen = f"with beta2 {beta2} the variance cannot be seen to settle before step {soonest}"
    return f"optimizer.freeze_step auto: {unseen}, and {never}" if soonest >= last else None
