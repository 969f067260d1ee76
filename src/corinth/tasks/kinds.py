"""The kinds of task that data can be for, by name: what is measured, and how it is called. No torch here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`metric` of `Task.metrics` says how good a network is on a part as a whole."""

    name: str
    metric: str
    metric_name: str
    sample_name: str  # what comparisons score, sample by sample, so that networks can be compared on the same ones
    unit: str = "image"  # what one sample is called
    classification: bool = False  # one class a sample: it is right or wrong, and `metric` is the mean over samples
    dense: bool = False  # answers for places in an image: pixels, boxes
    classes: bool = True  # targets are of named classes
    share: bool = True  # scores are shares, shown in percent; else plain numbers, such as an error in the target's unit
    lower_is_better: bool = False  # an error, not a score

    def better(self, difference: float) -> bool:
        """Whether a score that lies so far above another one is the better of the two."""
        return difference < 0 if self.lower_is_better else difference > 0


KINDS = {
    kind.name: kind
    for kind in (
        Kind("image-classification", "top1", "accuracy", "accuracy", classification=True),
        Kind("tabular-classification", "top1", "accuracy", "accuracy", unit="row", classification=True),
        Kind("sequence-classification", "top1", "accuracy", "accuracy", unit="sequence", classification=True),
        Kind(
            *("sequence-regression", "rmse", "RMSE", "absolute error"),
            unit="sequence",
            classes=False,
            share=False,
            lower_is_better=True,
        ),
        Kind("frame-classification", "accuracy", "accuracy of frames", "accuracy per clip", unit="clip"),
        Kind("sequence-tagging", "accuracy", "accuracy of tags", "accuracy per sentence", unit="sentence"),
        Kind(
            *("tabular-regression", "rmse", "RMSE", "absolute error"),
            unit="row",
            classes=False,
            share=False,
            lower_is_better=True,
        ),
        Kind(
            "transcription",
            "error_rate",
            "label error rate",
            "error rate per recording",
            unit="recording",
            classes=False,
            lower_is_better=True,
        ),
        Kind("captioning", "chrf", "chrF", "chrF per picture", unit="picture", classes=False),
        Kind(
            *("text-from-label", "loss", "nats per token", "nats per token of a text"),
            unit="text",
            share=False,
            lower_is_better=True,
        ),
        Kind("translation", "bleu", "BLEU", "chrF per sentence", unit="pair", classes=False),
        Kind(
            "language-modeling",
            "nats_per_character",
            "nats per character",
            "nats per character of a passage",
            unit="passage",
            classes=False,
            share=False,
            lower_is_better=True,
        ),
        Kind(
            "forecasting",
            "mse",
            "MSE",
            "squared error of a window",
            unit="window",
            classes=False,
            share=False,
            lower_is_better=True,
        ),
        Kind("semantic-segmentation", "miou", "mean IoU", "Dice per image", dense=True),
        Kind("object-detection", "map", "mAP", "AP per image", dense=True),
    )
}
