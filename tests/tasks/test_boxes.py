"""Overlaps and suppression against the plainest code there is."""

import pytest
import torch
from torch import Tensor

from corinth.tasks.boxes import giou, iou_matrix, suppress


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def random_boxes(count: int, seed: int, spread: float = 20.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=draw) * spread
    return torch.cat((low, low + 5 + torch.rand(count, 2, generator=draw) * 15), dim=1)


def greedy(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(overlap(boxes[i].tolist(), boxes[j].tolist()) <= threshold for j in rivals):
            kept.append(i)
    return kept


def test_overlaps() -> None:
    a, b = random_boxes(7, 0), random_boxes(5, 1)
    expected = torch.tensor([[overlap(x, y) for y in b.tolist()] for x in a.tolist()])
    torch.testing.assert_close(iou_matrix(a, b), expected)
    assert iou_matrix(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0
    assert iou_matrix(a, torch.zeros(0, 4)).shape == (7, 0)


def test_generalised_overlap() -> None:
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    assert giou(box, box).item() == 1
    # side by side, a box's width apart: no overlap, and a third of the box around them is empty
    assert giou(box, box + torch.tensor([4.0, 0.0, 4.0, 0.0])).item() == pytest.approx(-1 / 3)
    # the same corner, twice the side: all of what is around them is filled
    assert giou(box, box * 2).item() == pytest.approx(0.25)
    # a point that lies in the box
    assert giou(torch.tensor([[1.0, 1.0, 1.0, 1.0]]), box).item() == 0


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_suppression_agrees_with_the_greedy_loop(seed: int, threshold: float) -> None:
    boxes = random_boxes(120, seed)
    draw = torch.Generator().manual_seed(seed)
    scores, labels = torch.rand(120, generator=draw), torch.randint(0, 3, (120,), generator=draw)
    assert suppress(boxes, scores, labels, threshold).tolist() == greedy(boxes, scores, labels, threshold)


def test_a_chain_of_boxes_each_of_which_overlaps_the_next() -> None:
    """The first takes the second out, which saves the third, and so on: as many rounds as there are boxes."""
    left = torch.arange(40.0)[:, None]
    boxes = torch.cat((left, torch.zeros(40, 1), left + 2.5, torch.ones(40, 1)), dim=1)
    scores = torch.arange(40, 0, -1.0)
    assert suppress(boxes, scores, torch.zeros(40), 0.3).tolist() == list(range(0, 40, 2))


def test_nothing_to_suppress() -> None:
    assert suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("most", [None, 1, 70, 5000])
def test_many_boxes_are_decided_block_by_block(most: int | None) -> None:
    boxes = random_boxes(1300, 3)
    draw = torch.Generator().manual_seed(3)
    scores, labels = torch.rand(1300, generator=draw), torch.randint(0, 2, (1300,), generator=draw)
    expected = greedy(boxes, scores, labels, 0.3)
    assert suppress(boxes, scores, labels, 0.3, most).tolist() == expected[:most]


def test_suppression_never_compares_all_boxes_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """5000 candidates of an image would be 25 million overlaps, a second or more on a CPU."""
    compared: list[int] = []

    def counted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        compared.append(len(a) * len(b))
        return iou_matrix(a, b)

    monkeypatch.setattr("corinth.tasks.boxes.iou_matrix", counted)
    boxes, scores = random_boxes(5000, 4), torch.rand(5000, generator=torch.Generator().manual_seed(4))
    assert len(suppress(boxes, scores, torch.zeros(5000), 0.6, 100)) == 100
    assert sum(compared) < 3_000_000
