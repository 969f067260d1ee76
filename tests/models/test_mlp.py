"""The multi-layer perceptron against the equations of its paper and against scikit-learn's."""

import numpy as np
import pytest
import torch

import corinth
from corinth.errors import UsageError
from random_tensors import randomise


def test_the_equations() -> None:
    model = corinth.create_model("mlp", input_size=5, fc_dims=(4, 3), num_classes=2, activation="sigmoid").eval()
    randomise(model)
    y = torch.randn(6, 5, requires_grad=True)
    out = y
    for i, layer in enumerate((model.hidden[0], model.hidden[3], model.head)):
        x = torch.stack([(out * w).sum(1) + b for w, b in zip(layer.weight, layer.bias)], dim=1)
        out = x if i == 2 else 1 / (1 + torch.exp(-x))
    torch.testing.assert_close(model(y), out)


def test_outputs_and_gradients_are_scikit_learns() -> None:
    """`MLPClassifier` with the same weights: its probabilities, and the gradient of its loss by differences."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), np.arange(40) % 3
    theirs = MLPClassifier((8, 5), activation="relu", alpha=0.0, max_iter=1)
    with pytest.warns(ConvergenceWarning):  # its weights are replaced
        theirs.fit(x, y)
    model = corinth.create_model("mlp", input_size=6, fc_dims=(8, 5), num_classes=3).double().eval()
    randomise(model)
    layers = [model.hidden[0], model.hidden[3], model.head]
    theirs.coefs_ = [layer.weight.detach().numpy().T.copy() for layer in layers]
    theirs.intercepts_ = [layer.bias.detach().numpy().copy() for layer in layers]
    logits = model(torch.from_numpy(x))
    np.testing.assert_allclose(logits.softmax(1).detach().numpy(), theirs.predict_proba(x), rtol=1e-9)

    def loss() -> float:
        return float(-np.log(theirs.predict_proba(x)[np.arange(40), y]).mean())

    torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
    for layer, weights in zip(layers, theirs.coefs_):
        weights[1, 2] += 1e-6
        above = loss()
        weights[1, 2] -= 2e-6
        slope = (above - loss()) / 2e-6
        weights[1, 2] += 1e-6
        assert float(layer.weight.grad[2, 1]) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_a_row_of_another_width_is_refused() -> None:
    model = corinth.create_model("mlp", input_size=5)
    with pytest.raises(UsageError, match=r"rows of shape \(2, 4\) do not fit this network; it needs \(B, 5\)"):
        model(torch.randn(2, 4))


def test_pixels_may_be_shuffled() -> None:
    """What it does not know: with its weights' columns shuffled alike it answers the same."""
    model = corinth.create_model("mlp", img_size=6, in_chans=2).eval()
    x, order = torch.randn(3, 2, 6, 6), torch.randperm(72)
    before = model(x)
    model.hidden[0].weight.data = model.hidden[0].weight.data[:, order]
    torch.testing.assert_close(model(x.flatten(1)[:, order].reshape(x.shape)), before)


def test_without_hidden_layers_it_is_linear() -> None:
    model = corinth.create_model("mlp", input_size=4, fc_dims=(), num_classes=3)
    assert sum(p.numel() for p in model.parameters()) == 15
    assert model(torch.randn(2, 4)).shape == (2, 3)


def test_batch_norm_and_dropout_are_behind_each_layer() -> None:
    model = corinth.create_model("mlp", input_size=4, fc_dims=(8,), batch_norm=True, drop_rate=0.5)
    assert [type(part).__name__ for part in model.hidden] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
