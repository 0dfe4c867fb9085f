"""The optimizers: all that the login side and the ranks know about one is in its row.

The algorithms themselves are in train/optim/; rows name them, because the login side has no torch.
"""

from collections.abc import Mapping

import msgspec


class OneBitRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular to an optimizer that sends one bit per value instead of gradients.

    Attributes:
        own_keys: keys of `optimizer.onebit` that not all 1-bit optimizers read, but this one does.
        compresses_before_freeze: whether some steps are compressed even before the variance is frozen.
        rounds: "module:function" that predicts how many steps exchange what; see estimate.communication.
        buffers: float32 values per parameter that it keeps besides its moments and the errors of compression.
    """

    own_keys: tuple[str, ...]
    compresses_before_freeze: bool
    rounds: str
    buffers: int


class OptimizerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One optimizer.

    Attributes:
        make: "module:function" that makes it from parameter groups and the job's section; see train.optim.factory.
        label: the algorithm, in words; for a 1-bit optimizer the one that it is when nothing is compressed.
        moments: float32 values per parameter that it keeps from step to step.
        whole_tensors: whether it needs each tensor as a whole, so that ZeRO must not partition them.
        one_bit: None if it exchanges gradients in full precision, like any optimizer.
        needs_gpu: whether it runs on GPUs only.
        packages: Python packages that it needs besides torch.
        cpu_equivalent: for one that needs GPUs, the name of the optimizer that does the same on CPUs, if there is one.
    """

    make: str
    label: str
    moments: int
    whole_tensors: bool
    one_bit: OneBitRow | None
    needs_gpu: bool = False
    packages: tuple[str, ...] = ()
    cpu_equivalent: str | None = None


OPTIMIZERS: Mapping[str, OptimizerRow] = {
    "adamw": OptimizerRow(
        make="bertjob.train.optim.factory:adamw", label="AdamW", moments=2, whole_tensors=False, one_bit=None
    ),
    "lamb": OptimizerRow(
        make="bertjob.train.optim.lamb:lamb", label="LAMB", moments=2, whole_tensors=True, one_bit=None
    ),
    "fused-lamb": OptimizerRow(
        make="bertjob.train.optim.factory:fused_lamb",
        label="LAMB",
        moments=2,
        whole_tensors=True,
        one_bit=None,
        needs_gpu=True,
        packages=("deepspeed",),
        cpu_equivalent="lamb",
    ),
    "onebit-adam": OptimizerRow(
        make="bertjob.train.optim.onebit.adam:onebit_adam",
        label="Adam",
        moments=2,
        whole_tensors=False,
        one_bit=OneBitRow(
            own_keys=(),
            compresses_before_freeze=False,
            rounds="bertjob.estimate.communication:rounds_from_freeze",
            buffers=0,
        ),
    ),
    "onebit-lamb": OptimizerRow(
        make="bertjob.train.optim.onebit.lamb:onebit_lamb",
        label="LAMB",
        moments=2,
        whole_tensors=True,
        one_bit=OneBitRow(
            own_keys=("coeff_beta", "factor_min", "factor_max", "factor_threshold"),
            compresses_before_freeze=False,
            rounds="bertjob.estimate.communication:rounds_from_freeze",
            buffers=2,  # the momentum of the step before, the variance that goes on after the freeze
        ),
    ),
    "zeroone-adam": OptimizerRow(
        make="bertjob.train.optim.onebit.zeroone:zeroone_adam",
        label="Adam",
        moments=2,
        whole_tensors=False,
        one_bit=OneBitRow(
            own_keys=("var_update_scaler", "local_step_scaler", "local_step_clipper"),
            compresses_before_freeze=True,
            rounds="bertjob.estimate.communication:rounds_of_zeroone",
            buffers=2,  # the weights of the last exchange, the sum of the steps since
        ),
    ),
}
"""By `optimizer.name`."""


def one_bit_names() -> tuple[str, ...]:
    """The names of the 1-bit optimizers."""
    return tuple(name for name, row in OPTIMIZERS.items() if row.one_bit is not None)
