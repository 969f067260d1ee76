"""Comparisons of networks that answer for places in images: masks and boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import corinth
from corinth.compare import Leaderboard, jobs
from corinth.data import open_data
from corinth.errors import UsageError
from corinth.predictor import load_run
from corinth.report.run import run_report
from digit_scenes import scenes, write_coco

UNET = {"options": {"width": 8, "depth": 2}, "batch_size": 4}
FCOS = {"options": {"backbone": "mobilenetv3_small_050", "channels": 16, "norm_groups": 8, "head_depth": 1}}


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty canvases with the ink as their masks."""
    folder = tmp_path_factory.mktemp("ink")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    images, _ = scenes(count=20, side=32, seed=1)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        Image.fromarray((image > 40).astype(np.uint8) * 255).save(folder / "masks" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("boxes"), count=16, side=64, seed=1)


@pytest.fixture(scope="module")
def board(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    return corinth.compare(
        str(masks),
        ["unet_bn", "crippled=unet_bn"],
        budget="4ep",
        seeds=2,
        output=tmp_path_factory.mktemp("compare") / "board",
        recipes={"unet_bn": UNET, "crippled": UNET | {"lr": 1e-7}},
        overrides={"threads": 1},
        latency=False,
    )


def test_masks_are_compared_image_by_image(board: Leaderboard) -> None:
    first, second = board.rows
    assert [first.label, second.label] == ["unet_bn", "crippled"]
    assert first.score_test is not None
    assert second.score_test is not None
    assert first.score_test > second.score_test + 0.1
    assert "Dice per image" in board.headline
    assert "mean Dice per image of the 4 test samples" in board.method[0]
    assert board.path is not None
    answers = jobs.answers(board.path, "unet_bn", 0)
    assert answers.score.shape == (4,)
    assert answers.score.mean() == pytest.approx(first.scores[0])
    assert answers.probs is None


def test_scores_are_those_of_evaluate(board: Leaderboard, masks: Path) -> None:
    assert board.path is not None
    found = [
        load_run(jobs.run_folder(board.path, "unet_bn", seed)).evaluate(open_data(masks), "test") for seed in (0, 1)
    ]
    row = board.rows[0]
    assert row.metric == pytest.approx(np.mean([evaluation.score for evaluation in found]))
    assert row.scores[1] == pytest.approx(found[1].per_sample.mean())


def test_the_report_shows_truth_and_prediction(board: Leaderboard) -> None:
    assert board.report is not None
    page = board.report.read_text()
    assert "Hardest images" in page
    assert "Confusion" not in page
    assert page.count(", the truth") == page.count(", the prediction") == 8  # 4 test images of 2 rows
    assert "Validation<br>mean IoU" in page


def test_boxes_are_compared(boxes: Path, tmp_path: Path) -> None:
    board = corinth.compare(
        str(boxes),
        "a=fcos_mobilenetv2_100,b=fcos_mobilenetv2_100",
        budget="1ep",
        seeds=1,
        output=tmp_path / "board",
        overrides=FCOS | {"threads": 1, "batch_size": 4},
        latency=False,
    )
    assert {row.label for row in board.rows} == {"a", "b"}
    assert all(row.metric is not None and row.score_test is not None for row in board.rows)
    assert board.rows[0].scores == board.rows[1].scores
    assert board.report is not None


def test_a_run_has_its_report(board: Leaderboard, masks: Path) -> None:
    assert board.path is not None
    path, _ = run_report(jobs.run_folder(board.path, "unet_bn", 0))
    page = path.read_text()
    assert "mean IoU on the validation images" in page
    assert "Hardest images" in page


@pytest.mark.parametrize(
    ("models", "options", "said"),
    [
        ("unet,lenet5", {}, "is data for semantic-segmentation and lenet5 does image-classification"),
        ("unet", {"control": "shuffled-labels"}, "the control shuffled-labels is for classification"),
    ],
)
def test_refused_before_anything_is_trained(
    masks: Path, tmp_path: Path, models: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        corinth.compare(str(masks), models, output=tmp_path / "board", **options)
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fit": "crop"}, "fit crop cuts away what semantic-segmentation must answer for; it must be pad or squash"),
        ({"label_smoothing": 0.1}, "label_smoothing 0.1 is for classification"),
        ({"augmentation": {"mixup": 0.2}}, "mixup mixes or hides"),
    ],
)
def test_what_does_nothing_for_masks_is_refused(masks: Path, tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        corinth.train(arch="unet", data=str(masks), output=str(tmp_path / "run"), **(UNET | changes))


def test_class_weights_of_boxes_are_refused(boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="class_weights balanced is not for object-detection"):
        corinth.train(
            arch="fcos_resnet18", data=str(boxes), output=str(tmp_path / "run"), class_weights="balanced", **FCOS
        )


def test_rare_pixels_can_weigh_more(masks: Path, tmp_path: Path) -> None:
    plain, balanced = (
        corinth.train(
            arch="unet_bn",
            data=str(masks),
            output=str(tmp_path / weights),
            budget="2ep",
            class_weights=weights,
            **UNET,
        )
        for weights in ("none", "balanced")
    )
    found = [load_run(run.path).evaluate(open_data(masks), "train") for run in (plain, balanced)]
    recall = [evaluation.confusion[1, 1] / evaluation.confusion[1].sum() for evaluation in found]  # ty: ignore[unresolved-attribute]
    assert recall[1] > recall[0]  # of the ink, which is rare


def test_a_backbone_starts_from_a_classifier(masks: Path, tmp_path: Path) -> None:
    """Its own run, or a file of plain tensors; what is around it starts fresh, and images are normalised as for it."""
    narrow = {"budget": "8samples", "batch_size": 4, "threads": 1}
    first = corinth.train(arch="mobilenetv3_small_050", data="digits", output=str(tmp_path / "first"), **narrow)
    kept = load_file(first.path / "model.safetensors")
    torch.save(dict(kept), tmp_path / "plain.pth")
    options = {"backbone": "mobilenetv3_small_050", "channels": 64}
    for weights in (first.path, tmp_path / "plain.pth"):
        run = corinth.train(
            arch="semantic_fpn_mobilenetv2_100",
            data=str(masks),
            weights=str(weights),
            freeze="backbone",
            options=options,
            output=str(tmp_path / f"run-{weights.name}"),
            **narrow,
        )
        after = load_file(run.path / "model.safetensors")
        frozen = [key for key in after if key.startswith("backbone.body.") and after[key].ndim == 4]
        assert len(frozen) > 20
        assert all(torch.equal(after[key], kept[key.removeprefix("backbone.body.")]) for key in frozen)
    config = json.loads((tmp_path / "run-first" / "config.json").read_text())
    theirs = json.loads((first.path / "config.json").read_text())
    assert config["preprocess"]["mean"] == theirs["preprocess"]["mean"]
    assert config["preprocess"]["fit"] == "pad"
    assert config["source"]["title"] == str(first.path)
