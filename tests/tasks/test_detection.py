"""Detection by points: who answers for which box, the losses, decoding, a handful learnt by heart."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corinth import create_model
from corinth.data import Batch
from corinth.layers.points import PointOutputs
from corinth.tasks import ObjectDetection
from corinth.tasks.average_precision import average_precision
from corinth.tasks.detection import Decoding, Points, assign, decode, focal_loss

STRIDES = (8, 16, 32, 64, 128)
CLASSES = ("a", "b", "c")


def outputs(size: int = 128, batch: int = 1, seed: int = 0) -> PointOutputs:
    draw = torch.Generator().manual_seed(seed)
    sides = [-(-size // stride) for stride in STRIDES]

    def maps(chans: int) -> list[Tensor]:
        return [torch.randn(batch, chans, side, side, generator=draw) for side in sides]

    distances = tuple(x.exp() * stride for x, stride in zip(maps(4), STRIDES))
    return PointOutputs(tuple(maps(3)), distances, tuple(maps(1)), STRIDES)


class Says(nn.Module):
    """A network that says the same whatever it sees."""

    def __init__(self, output: PointOutputs) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> PointOutputs:
        return self.output


def test_points_are_the_centres_of_their_cells() -> None:
    points = Points.of(outputs(128))
    assert len(points.centres) == 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1
    assert points.centres[:3].tolist() == [[4, 4], [12, 4], [20, 4]]
    assert points.centres[16].tolist() == [4, 12]
    assert points.centres[-1].tolist() == [64, 64]


def expected_label(x: float, y: float, level: int, boxes: list[list[float]]) -> tuple[int, list[float]]:
    """One point: the smallest of the boxes it answers for."""
    low, high = [(0, 64), (64, 128), (128, 256), (256, 512), (512, math.inf)][level]
    best: tuple[float, int, list[float]] = (math.inf, -1, [0.0] * 4)
    for label, x1, y1, x2, y2 in boxes:
        sides = [x - x1, y - y1, x2 - x, y2 - y]
        centred = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 1.5 * STRIDES[level]
        if min(sides) > 0 and centred and low <= max(sides) <= high and (x2 - x1) * (y2 - y1) < best[0]:
            best = (x2 - x1) * (y2 - y1), int(label), sides
    return best[1], best[2]


def test_assignment_agrees_with_the_definition_point_by_point() -> None:
    rng = np.random.default_rng(0)
    points = Points.of(outputs(256, batch=2))
    low = rng.uniform(0, 180, (2, 12, 2))
    size = np.exp(rng.uniform(np.log(6), np.log(250), (2, 12, 2)))
    boxes = np.concatenate([rng.integers(0, 3, (2, 12, 1)), low, np.minimum(low + size, 256)], axis=2)
    padded = torch.cat((torch.from_numpy(boxes).float(), torch.full((2, 2, 5), -1.0)), dim=1)
    assigned = assign(points, padded)
    for image in range(2):
        for i, (x, y) in enumerate(points.centres.tolist()):
            label, sides = expected_label(x, y, int(points.levels[i]), padded[image, :12].tolist())
            assert assigned.labels[image, i] == label
            assert assigned.distances[image, i].tolist() == pytest.approx(sides)
    assert set(points.levels[assigned.positive[0]].tolist()) >= {0, 1}


def test_no_boxes_is_all_background() -> None:
    points = Points.of(outputs(64))
    for targets in (torch.empty(1, 0, 5), torch.full((1, 3, 5), -1.0)):
        assigned = assign(points, targets)
        assert not assigned.positive.any()
        assert not assigned.centreness.any()


def test_centreness_is_one_in_the_middle() -> None:
    points = Points.of(outputs(128))
    assigned = assign(points, torch.tensor([[[1.0, 8.0, 8.0, 32.0, 32.0]]]))  # its centre is the point (20, 20)
    middle = (points.centres == 20).all(dim=1) & (points.levels == 0)
    beside = (points.centres == torch.tensor([28.0, 20.0])).all(dim=1) & (points.levels == 0)
    assert assigned.centreness[0, middle].item() == 1
    assert assigned.centreness[0, beside].item() == pytest.approx(math.sqrt(4 / 20))


def test_the_focal_loss_is_its_formula() -> None:
    logits, wanted = torch.randn(20), torch.arange(20) % 2.0
    p = torch.where(wanted == 1, logits.sigmoid(), 1 - logits.sigmoid())
    alpha = torch.where(wanted == 1, 0.25, 0.75)
    torch.testing.assert_close(focal_loss(logits, wanted), -alpha * (1 - p) ** 2 * p.log())


BOXES = torch.tensor([[[0.0, 10, 10, 40, 50], [2, 60, 60, 120, 100]], [[1, 5, 5, 25, 25], [-1, -1, -1, -1, -1]]])


def batch(targets: Tensor = BOXES) -> Batch:
    return Batch(torch.zeros(len(targets), 3, 128, 128), targets, torch.arange(len(targets)))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def part(output: PointOutputs, rows: slice) -> PointOutputs:
    maps = [tuple(level[rows] for level in levels) for levels in output[:3]]
    return PointOutputs(maps[0], maps[1], maps[2], output.strides)


def test_parts_of_a_batch_add_up_in_proportion_to_their_counts() -> None:
    output = outputs(batch=2)
    whole = ObjectDetection(Says(output), CLASSES).losses("train", batch(), rng())
    parts = [
        ObjectDetection(Says(part(output, rows)), CLASSES).losses("train", batch(BOXES[rows]), rng())
        for rows in (slice(0, 1), slice(1, 2))
    ]
    assert set(whole) == {"classification", "box", "centreness", "loss"}
    for name, term in whole.items():
        assert term.count == sum(terms[name].count for terms in parts) > 2
        together = sum(terms[name].value * terms[name].count for terms in parts) / term.count
        torch.testing.assert_close(torch.as_tensor(together), term.value)
    assert [term.weight for term in whole.values()] == [1, 1, 1, 0]
    assert len({term.count for term in whole.values()}) == 1  # what accumulation asks for


def test_an_image_without_boxes_has_finite_losses_and_gradients() -> None:
    output = outputs()
    leaves = [level.requires_grad_() for levels in output[:3] for level in levels]
    terms = ObjectDetection(Says(output), CLASSES).losses("train", batch(torch.full((1, 1, 5), -1.0)), rng())
    assert terms["box"].value == terms["centreness"].value == 0
    assert terms["classification"].value > 0
    sum(term.value * term.weight for term in terms.values()).backward()  # ty: ignore[missing-attribute]
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def perfect(targets: Tensor) -> PointOutputs:
    """What a network would say that knows the boxes."""
    output = outputs(batch=len(targets))
    points = Points.of(output)
    assigned = assign(points, targets)
    logits = F.one_hot(assigned.labels + 1, 4)[..., 1:].float() * 20 - 10
    distances = torch.where(assigned.positive[..., None], assigned.distances, 1.0)
    rows = (logits, distances, torch.logit(assigned.centreness, eps=1e-4)[..., None])
    levels = [tuple(torch.split(row, [level.shape[-1] ** 2 for level in output.logits], dim=1)) for row in rows]
    maps = [
        tuple(x.transpose(1, 2).unflatten(2, like.shape[-2:]) for x, like in zip(level, output.logits))
        for level in levels
    ]
    return PointOutputs(maps[0], maps[1], maps[2], STRIDES)


def test_perfect_outputs_lose_nothing_and_decode_to_the_boxes() -> None:
    task = ObjectDetection(Says(perfect(BOXES)), CLASSES)
    terms = task.losses("train", batch(), rng())
    assert float(terms["box"].value) == pytest.approx(0, abs=1e-6)
    assert float(terms["classification"].value) == pytest.approx(0, abs=1e-3)
    found = task.predict(batch()).found
    assert [len(rows) for rows in found] == [2, 1]
    torch.testing.assert_close(found[1][:, [0, 2, 3, 4, 5]], BOXES[1, :1])
    torch.testing.assert_close(found[0][found[0][:, 0].argsort()][:, [0, 2, 3, 4, 5]], BOXES[0])
    metrics = task.metrics()
    task.measure(metrics, batch())
    values = {name: float(value) for name, value in metrics.compute().items()}
    assert {"loss", "map", "map50", "map75"} == set(values)
    assert values["map"] == pytest.approx(1)
    assert values["loss"] == pytest.approx(float(terms["loss"].value))
    assert task.rank(values) > task.rank(values | {"loss": values["loss"] + 1}) > task.rank(values | {"map": 0.5})


def test_scores_order_limits_and_borders() -> None:
    output = outputs(batch=2, seed=3)
    for rows in decode(output, (128, 100), Decoding()):
        assert 0 < len(rows) <= 100
        assert (rows[:, 1].diff() <= 0).all()
        assert (rows[:, 1] > 0).all()
        assert (rows[:, 1] < 1).all()
        assert (rows[:, 2:] >= 0).all()
        assert (rows[:, [2, 4]] <= 100).all()
        assert (rows[:, [3, 5]] <= 128).all()
        assert (rows[:, 4] > rows[:, 2]).all()
    assert [len(rows) for rows in decode(output, (128, 128), Decoding(most=3))] == [3, 3]
    assert max(len(rows) for rows in decode(output, (128, 128), Decoding(candidates=1, overlap=1.0))) <= 5
    strict = decode(output, (128, 128), Decoding(min_score=0.99))
    assert sum(map(len, strict)) < 10
    nothing = PointOutputs(tuple(x - 100 for x in output.logits), *output[1:])
    assert [rows.shape for rows in decode(nothing, (128, 128), Decoding())] == [(0, 6), (0, 6)]


def test_class_weights_weigh_the_focal_loss() -> None:
    output = outputs()
    losses = [
        ObjectDetection(Says(output), CLASSES, class_weights=weights).losses("train", batch(BOXES[:1]), rng())
        for weights in (None, [2.0, 2.0, 2.0], [1.0, 0.0, 0.0])
    ]
    plain, double, first = (terms["classification"].value for terms in losses)
    torch.testing.assert_close(double, 2 * plain)
    assert 0 < first < plain
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        ObjectDetection(Says(output), CLASSES, class_weights=[1.0, 2.0])


def test_made_up_targets_train() -> None:
    task = ObjectDetection(Says(outputs(batch=5)), CLASSES)
    targets = task.random_targets(5, (128, 128))
    assert targets.shape == (5, 1, 5)
    assert task.losses("train", batch(targets), rng())["box"].count > 1


def test_a_handful_of_canvases_is_learnt_by_heart() -> None:
    """Every digit found, in its place, nothing else: 100 % average precision at an overlap of 0.5."""
    from digit_scenes import scenes

    images, boxes = scenes(count=4, side=64, seed=0)
    inputs = (torch.from_numpy(images).float()[:, None] - 30) / 60
    most = max(map(len, boxes))
    targets = torch.full((4, most, 5), -1.0)
    for row, found in zip(targets, boxes):
        row[: len(found)] = torch.from_numpy(found)
    torch.manual_seed(0)
    options = {"backbone": "mobilenetv3_small_050", "channels": 32, "norm_groups": 8, "head_depth": 1}
    model = create_model("fcos_mobilenetv2_100", num_classes=10, in_chans=1, **options)
    task = ObjectDetection(model, [str(i) for i in range(10)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(120):
        model.train()
        terms = task.losses("train", Batch(inputs, targets, torch.arange(4)), rng())
        sum(term.value * term.weight for term in terms.values()).backward()  # ty: ignore[missing-attribute]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                found = [rows.numpy() for rows in task.predict(Batch(inputs, targets, torch.arange(4))).found]
            if average_precision(boxes, found, 10).map50 == pytest.approx(1):
                break
    else:
        pytest.fail("the network does not learn four canvases by heart")
