"""Settings of a run, sent to the server app as Flower's run configuration and to the edges as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from fl.average import Averaging, Mode
from fl.round_config import RoundConfig

if TYPE_CHECKING:
    from training.config import StepConfig

Scalar = bool | float | int | str


@dataclass(frozen=True)
class RunConfig:
    """A run of some rounds.

    Attributes:
        rounds: Number of rounds; 0 only brings every edge to the last release.
        quorum: Minimum number of edges that must send an update in each round.
        deadline_s: Maximum duration of a round, in seconds.
        mode: Averaging mode, see `fl.average.Averaging`.
        trim: Fraction of updates dropped at each end.
        clip: Maximum length of an update, as a multiple of the median length.
        max_weight: Maximum weight of an edge, as a multiple of the median weight.
        server_lr: FedAdam's server learning rate; 0 uses plain averaging.
        dp_noise: Noise multiplier of `GaussianMechanism`, which replaces `mode`; 0 disables it.
        dp_clip: Maximum L2 norm of an update with differential privacy.
        steps: Local optimizer steps per round.
        batch: Samples per step.
        crop: Side of a training crop, in pixels.
        learning_rate: Local learning rate of Adam.
        fedprox_mu: Weight mu of the FedProx term.
        holdout_size: Side of the evaluation photos, in pixels.
        submission: Identifies this run in the journal.
    """

    rounds: int = 1
    quorum: int = 2
    deadline_s: float = 3600.0
    mode: str = "frames"
    trim: float = 0.2
    clip: float = 3.0
    max_weight: float = 10.0
    server_lr: float = 0.0
    dp_noise: float = 0.0
    dp_clip: float = 1.0
    steps: int = 100
    batch: int = 2
    crop: int = 128
    learning_rate: float = 1e-4
    fedprox_mu: float = 0.0
    holdout_size: int = 192
    submission: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {self.mode!r}")
        if not self.dp_noise >= 0:
            raise ValueError(f"dp_noise must not be negative, not {self.dp_noise}")

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> RunConfig:
        """Read what `as_dict` returned; unknown keys are ignored."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    def as_dict(self) -> dict[str, Scalar]:
        """Return the fields as plain scalars."""
        return asdict(self)

    @property
    def round_config(self) -> RoundConfig:
        """The settings of each round."""
        from fl.flower.adam import ServerAdam  # loads Flower's server side, which edges do not need
        from fl.flower.privacy import GaussianMechanism

        averaging = Averaging(cast(Mode, self.mode), self.trim, self.clip, self.max_weight)
        privacy = GaussianMechanism(self.dp_noise, self.dp_clip) if self.dp_noise else None
        server_optimizer = ServerAdam(self.server_lr) if self.server_lr else None
        return RoundConfig(self.quorum, self.deadline_s, averaging, privacy, server_optimizer)

    @property
    def step(self) -> StepConfig:
        """The settings of a local training step."""
        from training.config import StepConfig  # loads torch, which an edge needs only to train

        return StepConfig(batch=self.batch, crop=self.crop, learning_rate=self.learning_rate)
