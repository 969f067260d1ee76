"""Connectionist temporal classification: labels from a longer sequence of steps, without knowing where each is.

Graves, Fernandez, Gomez & Schmidhuber, *Connectionist Temporal Classification*, ICML 2006, whose equations are meant.
A network says for every step how likely each label and the blank are. A path names one of them a step; what it spells
is found by merging repeats and taking the blanks out (the map B). A labelling's probability is the sum over all paths
that spell it (equation 3). The blank is the last of the K + 1 outputs here. Shapes: B batch, T steps, K labels, U of
them in a sequence.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NO_LABEL = -100  # a target behind a sequence's end


def negative_log_likelihood(logits: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
    """-ln p(labelling) of each sequence, (B,), infinite where no path spells it.

    Logits (B, T, K + 1), of which `lengths` (B,) count; targets int64 (B, U), `NO_LABEL` behind each end.
    """
    log_probs = logits.float().log_softmax(2).transpose(0, 1)
    counts = (targets != NO_LABEL).sum(1)
    labels = targets.clamp(min=0)[:, : int(counts.max())]
    lengths = lengths.to(logits.device)
    return F.ctc_loss(log_probs, labels, lengths, counts, blank=logits.shape[2] - 1, reduction="none")


def fewest_steps(targets: Tensor) -> Tensor:
    """How many steps a path for each of the targets (B, U) needs: one a label, and a blank between equal ones."""
    real = targets != NO_LABEL
    repeats = (targets[:, 1:] == targets[:, :-1]) & real[:, 1:]
    return real.sum(1) + repeats.sum(1)


def spelt(path: Sequence[int], blank: int) -> list[int]:
    """The map B: repeats merged, blanks taken out."""
    return [label for place, label in enumerate(path) if label != blank and (not place or path[place - 1] != label)]


def best_path(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """What the likeliest path of each sequence spells (section 3.2): fast, and not always the likeliest labelling."""
    paths = logits.argmax(2).tolist()
    return [spelt(path[:length], logits.shape[2] - 1) for path, length in zip(paths, lengths.tolist(), strict=True)]


def prefix_beam_search(log_probs: np.ndarray, beam: int) -> tuple[list[int], float]:
    """The likeliest labelling of one sequence, log-probabilities (T, K + 1), and ln of its probability.

    After every step the `beam` likeliest beginnings of a labelling are kept, each with the sums over its paths that end
    in a blank and in its last label (Graves et al. 2006, section 3.2; Hannun et al. 2014, arXiv:1408.2873). With a beam
    as wide as there are beginnings the result is exact; else the probability is a lower bound.
    """
    blank = log_probs.shape[1] - 1
    prefixes: list[tuple[int, ...]] = [()]
    in_blank, in_label = np.zeros(1), np.full(1, -np.inf)
    for step in log_probs.astype(np.float64):
        whole = np.logaddexp(in_blank, in_label)
        last = np.array([prefix[-1] if prefix else blank for prefix in prefixes])
        longer = whole[:, None] + step[:blank]  # (beam, K)
        ends = np.flatnonzero(last != blank)
        longer[ends, last[ends]] = in_blank[ends] + step[last[ends]]  # the same label again needs a blank between
        stay_blank, stay_label = whole + step[blank], np.full(len(prefixes), -np.inf)
        stay_label[ends] = in_label[ends] + step[last[ends]]
        place = {prefix: i for i, prefix in enumerate(prefixes)}
        for i in ends:  # a beginning that another one, made longer, becomes
            if (parent := place.get(prefixes[i][:-1])) is not None:
                stay_label[i] = np.logaddexp(stay_label[i], longer[parent, last[i]])
                longer[parent, last[i]] = -np.inf
        scores = np.concatenate([np.logaddexp(stay_blank, stay_label), longer.ravel()])
        best = np.argsort(-scores, kind="stable")[:beam]
        best = best[np.isfinite(scores[best])]
        grown = [divmod(int(i) - len(prefixes), blank) for i in best]
        stays = best < len(prefixes)
        in_blank = np.where(stays, stay_blank[best % len(prefixes)], -np.inf)
        in_label = np.where(stays, stay_label[best % len(prefixes)], scores[best])
        prefixes = [
            prefixes[int(i)] if stay else (*prefixes[parent], label)
            for i, stay, (parent, label) in zip(best, stays, grown, strict=True)
        ]
    return list(prefixes[0]), float(np.logaddexp(in_blank[0], in_label[0]))


def beam_search(logits: Tensor, lengths: Tensor, beam: int) -> list[tuple[list[int], float]]:
    """`prefix_beam_search` of each sequence, logits (B, T, K + 1); a beam of 1 is the best path with its own ln p."""
    log_probs = logits.float().log_softmax(2)
    if beam == 1:
        sure = log_probs.amax(2)
        inside = torch.arange(sure.shape[1], device=sure.device) < lengths.to(sure.device)[:, None]
        return list(zip(best_path(logits, lengths), (sure * inside).sum(1).tolist(), strict=True))
    rows = log_probs.cpu().numpy()
    return [prefix_beam_search(row[:length], beam) for row, length in zip(rows, lengths.tolist(), strict=True)]
