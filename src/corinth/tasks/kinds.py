"""The kinds of task that data can be for, by name: what is measured, and how it is called. No torch here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`metric` of `Task.metrics` says how good a network is, the larger the better, as a share of 1."""

    name: str
    metric: str
    metric_name: str
    sample_name: str  # what comparisons score, image by image, so that networks can be compared on the same images
    dense: bool = True  # answers for places in a sample: pixels, boxes, words
    unit: str = "image"  # what one sample is called


KINDS = {
    kind.name: kind
    for kind in (
        Kind("image-classification", "top1", "accuracy", "accuracy", dense=False),
        Kind("sequence-classification", "top1", "accuracy", "accuracy", dense=False, unit="sequence"),
        Kind("sequence-tagging", "accuracy", "accuracy of tags", "accuracy per sentence", unit="sentence"),
        Kind("language-modeling", "nats_per_character", "nats per character", "nats per character", unit="passage"),
        Kind("semantic-segmentation", "miou", "mean IoU", "Dice per image"),
        Kind("object-detection", "map", "mAP", "AP per image"),
    )
}
