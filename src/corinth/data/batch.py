"""What a loader hands to the training loop."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Batch:
    """Some samples that are ready for the network.

    `inputs` is float (B, C, H, W), normalised, or `Sequences`. `targets` is int64 (B,), or float (B, K) class shares
    when images were mixed. `index` is int64 (B,), the samples' positions in the source, always on the CPU.
    """

    inputs: Any
    targets: Tensor
    index: Tensor

    @property
    def size(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(
            self.inputs.to(device, non_blocking=True), self.targets.to(device, non_blocking=True), index=self.index
        )
