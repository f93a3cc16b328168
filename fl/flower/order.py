"""What a run is asked for: it travels as Flower's run configuration, and to the edges as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from fl.average import Averaging, Mode
from fl.rounds import Policy

if TYPE_CHECKING:
    from training.config import StepConfig

Scalar = bool | float | int | str


@dataclass(frozen=True)
class Order:
    """A run of some rounds.

    Attributes:
        rounds: How many; 0 = only bring every edge to the last release.
        quorum: Edges that must answer each round.
        deadline_s: Seconds of a round.
        mode: Averaging, see `fl.average.Averaging`; so are the next three.
        trim: Share dropped at either end.
        clip: Multiple of the median length.
        adam_rate: FedAdam's rate.
        dp_noise: Noise multiplier of `fl.flower.privacy.Privacy`; 0 = without. Takes the place of the mode.
        dp_clip: Its longest update.
        steps: Optimizer steps of an edge in a round.
        batch: Samples a step.
        crop: Side of a crop.
        learning_rate: Adam's.
        proximal: FedProx's mu.
        holdout_size: Side at which the gate judges.
        submission: Names this run in the journal.
    """

    rounds: int = 1
    quorum: int = 2
    deadline_s: float = 3600.0
    mode: str = "frames"
    trim: float = 0.2
    clip: float = 3.0
    adam_rate: float = 0.0
    dp_noise: float = 0.0
    dp_clip: float = 1.0
    steps: int = 100
    batch: int = 2
    crop: int = 128
    learning_rate: float = 1e-4
    proximal: float = 0.0
    holdout_size: int = 192
    submission: str = ""

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode {self.mode!r} is none of {', '.join(get_args(Mode))}")
        if not self.dp_noise >= 0:
            raise ValueError(f"dp_noise {self.dp_noise} must be at least 0")

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Order:
        """Read what `as_dict` gave; keys that are not ours are left out."""
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    def as_dict(self) -> dict[str, Scalar]:
        """Return plain scalars."""
        return asdict(self)

    @property
    def policy(self) -> Policy:
        """What a round needs."""
        from fl.flower.adam import Adam  # loads Flower's server side, which edges do without
        from fl.flower.privacy import Privacy

        averaging = Averaging(cast(Mode, self.mode), self.trim, self.clip)
        private = Privacy(self.dp_noise, self.dp_clip) if self.dp_noise else None
        adam = Adam(self.adam_rate) if self.adam_rate else None
        return Policy(self.quorum, self.deadline_s, averaging, private, adam)

    @property
    def step(self) -> StepConfig:
        """What a training step needs."""
        from training.config import StepConfig  # loads torch, which an edge that only installs does without

        return StepConfig(batch=self.batch, crop=self.crop, learning_rate=self.learning_rate)
