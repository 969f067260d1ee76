"""Mobile networks at inference, where norms go into the weights of convolutions, against their layers one by one."""

import pytest
import torch
from torch import nn

from corinth import create_model


@pytest.mark.parametrize(("name", "size"), [("tf_efficientnet_b0", (97, 96)), ("mixnet_s", (96, 96))])
def test_inference_agrees_with_the_unfused_form(name: str, size: tuple[int, int]) -> None:
    """Without gradients norms are folded, with them they are not."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=5)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    x = torch.randn(4, 3, *size)
    model.eval()
    expected = model(x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
