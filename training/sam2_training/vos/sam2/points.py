"""Point prompts in the form that sam2's prompt encoder takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LABEL_PADDING = -1
LABEL_NEGATIVE = 0
LABEL_POSITIVE = 1
LABEL_TOP_LEFT = 2
LABEL_BOTTOM_RIGHT = 3


@dataclass
class Points:
    """Clicks and box corners on one frame."""

    coords: Tensor
    """float32 [O, P, 2]: x, y in pixels of the network input."""
    labels: Tensor
    """int32 [O, P]: 1 positive, 0 negative, 2 and 3 box corners, -1 padding."""

    def with_more(self, points: Points) -> Points:
        """These points followed by `points`."""
        return Points(torch.cat([self.coords, points.coords], 1), torch.cat([self.labels, points.labels], 1))

    def as_inputs(self) -> dict[str, Tensor]:
        """The points as sam2's `point_inputs`."""
        return {"point_coords": self.coords, "point_labels": self.labels}
