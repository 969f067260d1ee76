"""The multi-layer perceptron: fully connected layers and nothing else, the baseline for everything with structure.

Rumelhart, Hinton & Williams, *Learning representations by back-propagating errors*, Nature 323, 1986: units in layers,

    x_j = sum_i y_i w_ji + b_j      the total input of a unit (equation 1, the bias as a weight of a constant unit)
    y_j = f(x_j)                    its output (equation 2, there the logistic function)

trained by the gradient of the error in all weights. It knows nothing of its input's form: pixels could be shuffled, and
columns of a table have none to know. A network that is not better than this one has not used what it was made for.

Shapes: B batch, C channels, H W pixels, N values of a row.
Deviations from the paper: relu by default, with the initialisation of He et al. 2015; dropout (Srivastava et al. 2014)
and batch normalisation (Ioffe & Szegedy 2015) as options; softmax belongs to the loss.
"""

from dataclasses import dataclass, replace
from typing import get_args

from torch import Tensor, nn

from corinth.errors import UsageError
from corinth.layers import checks
from corinth.layers.choices import ACTIVATIONS, Activation
from corinth.layers.init import gaussian_, scaled_normal_
from corinth.registry import Card, register


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """For images of one size, or, with an `input_size`, for rows of so many values."""

    fc_dims: tuple[int, ...] = (256, 256)  # widths of the hidden layers; none: a linear classifier
    activation: Activation = "relu"
    batch_norm: bool = False  # between a layer and its activation
    drop_rate: float = 0.0  # behind each hidden layer
    input_size: int = 0  # values of a row; 0: images
    img_size: int = 28
    in_chans: int = 1
    num_classes: int = 10  # 0: what the last hidden layer gives

    def __post_init__(self) -> None:
        object.__setattr__(self, "fc_dims", checks.entries("fc_dims", self.fc_dims))
        for width in self.fc_dims:
            checks.whole("fc_dims", width, 1)
        checks.one_of("activation", self.activation, get_args(Activation))
        checks.switch("batch_norm", self.batch_norm)
        checks.whole("input_size", self.input_size, 0)
        checks.whole("img_size", self.img_size, 1)
        checks.head_fields(self)

    @property
    def min_size(self) -> int:
        return 1

    @property
    def num_inputs(self) -> int:
        return self.input_size or self.in_chans * self.img_size**2


class MLP(nn.Module):
    def __init__(self, cfg: MLPConfig) -> None:
        super().__init__()
        self.cfg = cfg
        layers: list[nn.Module] = []
        dim = cfg.num_inputs
        for width in cfg.fc_dims:
            norm = [nn.BatchNorm1d(width)] if cfg.batch_norm else []
            layers += [nn.Linear(dim, width), *norm, ACTIVATIONS[cfg.activation](), nn.Dropout(cfg.drop_rate)]
            dim = width
        self.hidden = nn.Sequential(*layers)
        self.num_features = dim
        self.reset_head(cfg.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        scaled_normal_(self, self.cfg.activation)
        if isinstance(self.head, nn.Linear):
            gaussian_(self.head)

    def reset_head(self, num_classes: int) -> None:
        """A fresh classifier for `num_classes`; 0 removes it."""
        self.cfg = replace(self.cfg, num_classes=num_classes)
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(self.num_features, num_classes)
            gaussian_(self.head)  # small, so that the first softmax is nearly even

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W), or (B, N) where the network has an `input_size`, to the last hidden layer (B, F)."""
        if not self.cfg.input_size:
            checks.exactly(x, self.cfg.img_size)
        elif x.ndim != 2 or x.shape[1] != self.cfg.input_size:
            raise UsageError(
                f"rows of shape {tuple(x.shape)} do not fit this network; it needs (B, {self.cfg.input_size})"
            )
        return self.hidden(x.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, N) to logits (B, num_classes)."""
        return self.head(self.forward_features(x))


register(
    "mlp",
    MLP,
    MLPConfig(),
    Card(
        params=784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10,
        macs=784 * 256 + 256 * 256 + 256 * 10,
        paper="Learning representations by back-propagating errors",
        year=1986,
        input_size=(1, 28, 28),
        family="feedforward",
        tasks=("image-classification", "tabular-classification", "tabular-regression"),
        deviations=(
            "relu and He et al.'s initialisation by default, where the paper has the logistic function and small "
            "random weights; softmax and cross-entropy for its squared error",
        ),
        synonyms={"fc_dims": "hidden_layer_sizes (scikit-learn), widths of the hidden layers"},
        recipe={
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.05,
            "warmup": 0.05,
            "label_smoothing": 0.1,
            "options": {"drop_rate": 0.2},
        },
    ),
)
