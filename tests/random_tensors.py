"""Random values for every tensor of a network, as parity asks for: with initial ones a swapped pair goes unnoticed."""

import torch
from torch import nn


def randomise(model: nn.Module, norm_scale: float = 1.0) -> nn.Module:
    """Give every tensor its own random values, at a scale that keeps signals alive; variances stay positive."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                tensor.copy_(torch.randint(1, 100, tensor.shape, generator=draw))
            elif tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.copy_(torch.randn(tensor.shape, generator=draw) * (2 / fan_in) ** 0.5)
            elif name.endswith(("running_var", "weight")):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
                tensor.mul_(norm_scale if name.endswith("weight") else 1.0)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=draw) * 0.2)
    return model
