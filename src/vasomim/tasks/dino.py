"""DINO (Caron et al., ICCV 2021, arXiv 2104.14294): from any crop a student says what its teacher says of large ones.

The teacher is a momentum copy whose answers are centred and sharpened, so that neither one answer nor all of them win.
Its encoder is the one exported, as published. Departures: views are the crops and grey-value changes of all methods
here, positions and encoder too; schedules are shares of the run where published ones count epochs; the weight decay is
constant; fewer prototypes by default. Letters: B frames, K prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasomim.losses import distillation_loss
from vasomim.models.projection import ProjectedEncoder
from vasomim.tasks.inspection import Inspection, inspect_attention
from vasomim.tasks.teacher import Center, Teacher, rising_momentum
from vasomim.types import Progress, StepOutput, view_key

NUM_LARGE = 2
"""Large crops of a frame: `image` and `view1`; every further view is a small one."""


class DINOTask(nn.Module):
    """Self-distillation without labels between the views of each frame."""

    def __init__(
        self,
        student: ProjectedEncoder,
        num_prototypes: int,
        *,
        student_temperature: float = 0.1,
        teacher_temperatures: tuple[float, float] = (0.04, 0.07),
        temperature_warmup: float = 0.3,
        fixed_share: float = 0.01,
        momentum: float = 0.996,
        center_momentum: float = 0.9,
    ) -> None:
        """Train `student`, a ViT with a `PrototypeHead` of `num_prototypes`.

        Args:
            student: encoder and head, (B, 1, H, W) in [0, 1] -> (B, K).
            num_prototypes: K.
            student_temperature: divides the student's answers.
            teacher_temperatures: divide the teacher's, at the start and after the warm-up.
            temperature_warmup: share of the run in which the second is reached.
            fixed_share: share of the run in which the prototypes stay as they are.
            momentum: of the teacher at the start; rises to 1.
            center_momentum: of the centre.
        """
        super().__init__()
        self.student = student
        self.teacher = Teacher(student)
        self.center = Center(num_prototypes, center_momentum)
        self.student_temperature = student_temperature
        self.teacher_temperatures = teacher_temperatures
        self.temperature_warmup = temperature_warmup
        self.fixed_share = fixed_share
        self.momentum = momentum

    @property
    def model(self) -> ProjectedEncoder:
        """Holds the encoder: the teacher's."""
        assert isinstance(self.teacher.net, ProjectedEncoder)
        return self.teacher.net

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image`, `view1`, ..., (B, 1, h, w) in [0, 1]) -> loss, mean over the pairs of different views."""
        if self.training:
            self.teacher.follow(self.student, rising_momentum(progress, self.momentum), progress)
        views = [batch[view_key(number)] for number in range(len(batch)) if view_key(number) in batch]
        wanted = [self.teacher(view) for view in views[:NUM_LARGE]]
        fixed = progress.step < self.fixed_share * progress.total_steps
        answers = [self.student.head(self.student.features(view), fixed) for view in views]
        temperature, center = self.teacher_temperature(progress), self.center.before(progress)
        pairs = [(answer, want) for i, want in enumerate(wanted) for j, answer in enumerate(answers) if i != j]
        losses = [
            distillation_loss(answer, want, center, self.student_temperature, temperature) for answer, want in pairs
        ]
        if self.training:
            self.center.update(torch.cat(wanted), progress)
        loss = torch.stack(losses).mean()
        return StepOutput.of(loss)

    def teacher_temperature(self, progress: Progress) -> float:
        """Linear from the first to the second temperature over the warm-up, then constant."""
        start, end = self.teacher_temperatures
        length = self.temperature_warmup * progress.total_steps
        return start + (end - start) * (min(progress.step / length, 1.0) if length > 0 else 1.0)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:  # noqa: ARG002
        """Where the teacher's class token looks."""
        return inspect_attention(self.model, batch["image"])
