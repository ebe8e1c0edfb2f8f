"""Settings of the training job. Imports no TensorFlow."""

import dataclasses
import typing

from recall.plain_values import require_choice, require_setting


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training job."""

    batch_size: int = 256
    """Sequences per step, at most; with the default `batch_slots` it only limits batches of
    sequences of one click."""
    batch_slots: int | None = None
    """Slots per step, padding included, at most: batches of long sequences have fewer
    of them, so that every click counts alike whatever the length of its sequence. null or
    `auto`: 384 on processor cores, as 256 and 512 took longer to the same quality
    (measured), and 1,024 on a GPU, which takes as long for fewer; each as often as the job
    has replicas."""
    min_batch_size: int = 5
    """Sequences per step, at least, even where they have more than `batch_slots` slots:
    one or two users are a poor sample of the clicks. `batch_size` wins where it is
    smaller."""
    max_epochs: int = 40
    """Upper bound, and the length of the learning-rate schedule."""
    stopping_metric: str = "ndcg@10"
    """Of the validation users, decides which epoch is kept and when the job stops: `ndcg@10`,
    `recall@10`, `recall@50`, or `debiased_hit_rate@50`, for losses that take exposure out of the
    scores (`loss.negatives=queue`), which plain metrics hold against them (measured)."""
    stopping_kinds: tuple[str, ...] = ()
    """Kinds of the held-out events that `stopping_metric` and the other metrics of an epoch
    count. `[]`: those that the loss learns as targets (`loss.target_kinds`, and a weight above 0
    in `loss.event_weights`). Logs without kinds have no use for it."""
    early_stopping_patience: int | None = None
    """Epochs without a better `stopping_metric` before the job stops; null: 5 with 10,000
    validation users and, as their mean is noisier, 5 * sqrt(10,000 / n) with n < 10,000
    (measured)."""
    checkpoint_minutes: float | None = 30.0
    """Minutes after which the state of the job is saved within an epoch; null: at the ends of
    epochs alone. Not with parameter servers, which never stand still within an epoch."""
    stall_minutes: float | None = 30.0
    """Minutes without a step, or another sign that one gets on, after which several processes
    that step together (`processes`, `multi_worker`) are ended: one of them hangs, and the others
    wait for it. More than compiling a program, a checkpoint or the reading of the examples takes,
    which all look the same; null: they may wait for ever."""
    learning_rate: float = 1e-3
    """Of the row-wise Adam, at its highest; .002 starts faster and ends no higher (measured)."""
    learning_rate_schedule: str = "constant"
    """`constant`, or `cosine` (falls to 0 over `max_epochs`). The averaged weights do
    what a falling rate does, and need no horizon that is known in advance."""
    averaging_window: float = 0.1
    """Share of the epochs, the latest ones, whose weights are averaged; the average
    is what is validated and kept (measured)."""
    jit_compile: bool | None = None
    """Whether a step is compiled as a whole by XLA, on batches of one shape: sequences are
    laid end to end, `batch_size` and `min_batch_size` do not count. null or `auto`: on a
    GPU, where the step otherwise is a thousand small operations; on processor cores it
    takes longer than it saves (measured)."""
    strategy: str = "auto"
    """Over which devices a job spreads: `none` (one), `processes` (a process for each GPU of
    this host), `mirrored` (all GPUs of the host in one process), `multi_worker` (processes
    or machines that step together) or `parameter_server` (machines that do not). `auto`: what
    `TF_CONFIG` describes, else `none`. `batch_slots` and `batch_size` are those of all
    replicas together."""
    deterministic: bool = False
    """Whether equal seeds give equal weights to the last digit on a GPU too, which costs
    time there; on processor cores they do anyway."""
    compute_dtype: str = "float32"
    """Of the products in the encoder and the extractor: `float32` (TF32 on GPUs that have
    it) or `bfloat16`. Weights, embeddings, normalisations, softmax and the losses stay
    float32, and so does the model that is evaluated and exported."""
    gradient_dtype: str = "float32"
    """Of the products in the seq2item loss's gradient: `float32` or `bfloat16`, which
    `loss.interest_reduction=sum` has no use for."""
    validation_users: int = 10_000
    """Users of the validation split the metrics of an epoch are computed on, drawn once."""
    seed: int = 1
    """Of weights, shuffling, dropout and negatives."""

    STOPPING_METRICS: typing.ClassVar = (
        "ndcg@10",
        "recall@10",
        "recall@50",
        "debiased_hit_rate@50",
    )
    SCHEDULES: typing.ClassVar = ("cosine", "constant")
    STRATEGIES: typing.ClassVar = (
        "auto",
        "none",
        "processes",
        "mirrored",
        "multi_worker",
        "parameter_server",
    )
    DTYPES: typing.ClassVar = ("float32", "bfloat16")
    OF_THE_JOB: typing.ClassVar = ("strategy", "checkpoint_minutes", "stall_minutes")
    """Say how a job runs, not what the model is: one that goes on may have others."""

    def __post_init__(self):
        require_choice("train.stopping_metric", self.stopping_metric, self.STOPPING_METRICS)
        for name in ("batch_size", "min_batch_size", "max_epochs"):
            require_setting(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), ">= 1")
        require_setting(
            self.batch_slots is None or self.batch_slots >= 1,
            "train.batch_slots",
            self.batch_slots,
            ">= 1, or null",
        )
        require_setting(
            self.validation_users >= 1, "train.validation_users", self.validation_users, ">= 1"
        )
        require_setting(
            self.early_stopping_patience is None or self.early_stopping_patience >= 1,
            "train.early_stopping_patience",
            self.early_stopping_patience,
            ">= 1, or null",
        )
        require_setting(
            self.checkpoint_minutes is None or self.checkpoint_minutes > 0,
            "train.checkpoint_minutes",
            self.checkpoint_minutes,
            "> 0, or null",
        )
        require_setting(
            self.stall_minutes is None or self.stall_minutes > 0,
            "train.stall_minutes",
            self.stall_minutes,
            "> 0, or null",
        )
        require_setting(0 <= self.seed < 2**32, "train.seed", self.seed, "in [0, 2^32)")
        require_setting(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "> 0")
        require_setting(
            self.averaging_window >= 0, "train.averaging_window", self.averaging_window, ">= 0"
        )
        require_choice("train.learning_rate_schedule", self.learning_rate_schedule, self.SCHEDULES)
        require_choice("train.strategy", self.strategy, self.STRATEGIES)
        require_choice("train.compute_dtype", self.compute_dtype, self.DTYPES)
        require_choice("train.gradient_dtype", self.gradient_dtype, self.DTYPES)
