"""MoCo v3 (Chen et al., ICCV 2021, arXiv 2104.02057): two views of a frame agree, views of different frames differ.

Departures: views are the crops and grey-value changes of all methods here, positions and encoder too; BatchNorm of the
heads counts each process by itself; heads are narrower by default. Letters: B frames, K width of the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vasomim.losses import contrastive_loss
from vasomim.models.projection import ProjectedEncoder
from vasomim.ops.collectives import gather_rows, process_rank
from vasomim.tasks.inspection import Inspection, inspect_attention
from vasomim.tasks.teacher import Teacher, rising_momentum
from vasomim.types import Progress, StepOutput, view_key


class MoCoTask(nn.Module):
    """Symmetric InfoNCE between predictions of a student and keys of its momentum copy."""

    def __init__(
        self,
        student: ProjectedEncoder,
        predictor: nn.Module,
        *,
        temperature: float = 0.2,
        momentum: float = 0.99,
    ) -> None:
        """Train `student` through `predictor`.

        Args:
            student: encoder and projector, (B, 1, H, W) in [0, 1] -> (B, K).
            predictor: (B, K) -> (B, K), of the student alone.
            temperature: tau.
            momentum: of the copy at the start; rises to 1.
        """
        super().__init__()
        self.student = student
        self.predictor = predictor
        self.teacher = Teacher(student)
        self.temperature = temperature
        self.momentum = momentum

    @property
    def model(self) -> ProjectedEncoder:
        """Holds the encoder."""
        return self.student

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` and `view1`, (B, 1, H, W) in [0, 1]) -> contrastive loss, both ways round."""
        if self.training:
            self.teacher.follow(self.student, rising_momentum(progress, self.momentum), progress)
        views = [batch[view_key(0)], batch[view_key(1)]]
        queries = [self.predictor(self.student(view)) for view in views]
        keys = [self.teacher(view) for view in views]
        loss = self.loss(queries[0], keys[1]) + self.loss(queries[1], keys[0])
        return StepOutput.of(loss)

    def loss(self, queries: Tensor, keys: Tensor) -> Tensor:
        """InfoNCE of queries (B, K) to the keys (B, K) of the same frames, among those of all processes."""
        return contrastive_loss(queries, gather_rows(keys), self.temperature, process_rank() * len(keys))

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:  # noqa: ARG002
        """Where the class token looks."""
        return inspect_attention(self.student, batch["image"])
