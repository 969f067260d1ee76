"""The conditional random field against the sum over all sequences of tags."""

import itertools

import pytest
import torch

from corinth import create_model
from corinth.layers.crf import CRF


@pytest.fixture
def crf() -> CRF:
    torch.manual_seed(0)
    found = CRF(3).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter)
    return found


def path_score(crf: CRF, emissions: torch.Tensor, tags: tuple[int, ...]) -> float:
    """Equation 1 as it stands."""
    score = crf.start[tags[0]] + crf.end[tags[-1]]
    score = score + sum(emissions[t, tag] for t, tag in enumerate(tags))
    return float((score + sum(crf.transitions[a, b] for a, b in itertools.pairwise(tags))).detach())


@pytest.mark.parametrize("length", [1, 2, 4])
def test_likelihoods_and_the_likeliest_tags_by_enumeration(crf: CRF, length: int) -> None:
    emissions = torch.randn(2, 4, 3, dtype=torch.float64)
    lengths = torch.tensor([length, 4])
    every = list(itertools.product(range(3), repeat=length))
    scores = torch.tensor([path_score(crf, emissions[0], tags) for tags in every], dtype=torch.float64)
    best = every[int(scores.argmax())]
    tags = torch.zeros(2, 4, dtype=torch.int64)
    tags[0, :length] = torch.tensor(every[len(every) // 2])
    want = scores[len(every) // 2] - scores.logsumexp(0)
    assert float(crf(emissions, tags, lengths)[0].detach()) == pytest.approx(float(want.detach()), abs=1e-5)
    found = crf.decode(emissions, lengths)[0]
    assert tuple(found[:length].tolist()) == best
    assert not found[length:].any()


def test_padding_changes_nothing_not_even_nan_in_it(crf: CRF) -> None:
    crf.float()
    emissions, tags = torch.randn(1, 5, 3), torch.randint(0, 3, (1, 5))
    lengths = torch.tensor([3])
    short = crf(emissions[:, :3], tags[:, :3], lengths)
    padded = emissions.clone()
    padded[:, 3:] = torch.nan
    tags[:, 3:] = -100
    assert torch.equal(crf(padded, tags, lengths), short)
    assert torch.equal(crf.decode(padded, lengths)[:, :3], crf.decode(emissions[:, :3], lengths))
    padded.requires_grad_()
    crf(padded, tags, lengths).sum().backward()
    assert padded.grad is not None
    assert padded.grad.isfinite().all()
    assert not padded.grad[:, 3:].any()


def test_gradients(crf: CRF) -> None:
    emissions = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    tags, lengths = torch.tensor([[0, 2, 1], [1, 1, 0]]), torch.tensor([3, 2])
    scores = crf.score(emissions, tags, lengths) - crf.log_sum(emissions, lengths)
    gradients = torch.autograd.grad(scores.sum(), [emissions, crf.transitions])
    step = 1e-6
    for tensor, gradient in zip((emissions, crf.transitions), gradients, strict=True):
        with torch.no_grad():
            for place in itertools.product(*map(range, tensor.shape)):
                sums = []
                for sign in (1, -1):
                    tensor[place] += sign * step
                    sums.append(float((crf.score(emissions, tags, lengths) - crf.log_sum(emissions, lengths)).sum()))
                    tensor[place] -= sign * step
                assert (sums[0] - sums[1]) / (2 * step) == pytest.approx(float(gradient[place]), abs=1e-6)


def test_probabilities_of_all_tags_sum_to_one(crf: CRF) -> None:
    emissions = torch.randn(1, 3, 3)
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    likely = crf.float()(emissions.expand(27, -1, -1), every, torch.full((27,), 3))
    assert float(likely.exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_a_network_has_one_only_where_it_is_asked_for() -> None:
    options = {"input_size": 4, "hidden_size": 5, "num_classes": 3, "pool": "none"}
    assert create_model("lstm", **options).crf is None
    model = create_model("lstm", crf=True, **options)
    assert isinstance(model.crf, CRF)
    assert "crf.transitions" in model.state_dict()
    model.reset_head(0)
    assert model.crf is None
    assert create_model("lstm", crf=True).cfg.pool == "none"
    with pytest.raises(ValueError, match="crf is for a tag at every step, and pool 'mean' gives one answer"):
        create_model("lstm", crf=True, pool="mean")
