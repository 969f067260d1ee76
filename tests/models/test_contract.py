"""The contract that every registered architecture keeps: a new one is tested by registering it.

Counts run at full size on the meta device. What really computes runs at the smallest legal image with a batch of two,
and with narrow fully connected layers where the config has `fc_dim`: AlexNet's and VGG's hold a hundred million
weights that would test nothing more.
"""

import dataclasses
import functools
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import corinth
from corinth.errors import UsageError
from corinth.layers.auxiliary import WithAux
from corinth.registry import configure, entry
from corinth.training.recipe import recipe_for

SEGMENTERS = corinth.list_models(task="semantic-segmentation")
FLAT = corinth.list_models(family="feedforward")  # no maps
NAMES = corinth.list_models(task="image-classification") + SEGMENTERS
CLASSES = 7
every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES]
)


def small(name: str, **overrides: Any) -> dict[str, Any]:
    """Options that make an architecture cheap to run: its smallest image, few classes, narrow fc layers."""
    cfg = configure(name)
    fields = {field.name for field in dataclasses.fields(cfg)}
    options: dict[str, Any] = {"num_classes": CLASSES}
    if "fc_dim" in fields:
        options["fc_dim"] = 32
    if "img_size" in fields:
        options["img_size"] = cfg.min_size
    return options | overrides


def answer(name: str, x: Tensor, classes: int) -> tuple[int, ...]:
    """The shape of the logits: for each image, or for each pixel of it."""
    return (len(x), classes, *x.shape[2:]) if name in SEGMENTERS else (len(x), classes)


def stride(name: str) -> int:
    """What must divide the sides of the images; 1 for a classifier."""
    return configure(name).stride if name in SEGMENTERS else 1


def build(name: str, **overrides: Any) -> nn.Module:
    torch.manual_seed(0)
    return corinth.create_model(name, **small(name, **overrides))


@functools.lru_cache(maxsize=1)  # tests of one name run one after another
def shared(name: str) -> nn.Module:
    """A small model in evaluation mode; tests must leave it as they found it."""
    with torch.inference_mode(False):  # whoever asks first
        return build(name).eval()


def images(name: str, *, batch: int = 2, in_chans: int | None = None, size: int | None = None) -> Tensor:
    cfg = configure(name)
    size = cfg.min_size if size is None else size
    return torch.randn(batch, in_chans or cfg.in_chans, size, size, generator=torch.Generator().manual_seed(1))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal within `tolerance` of the largest value."""
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


@every_model
def test_the_card_is_exact(name: str) -> None:
    card = corinth.card(name)
    with torch.device("meta"):
        model = corinth.create_model(name).eval()
        with FlopCounterMode(display=False) as counter:
            logits = model(torch.empty(1, *card.input_size))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == card.params
    assert counter.get_total_flops() == 2 * card.macs
    assert logits.shape == answer(name, torch.empty(1, *card.input_size, device="meta"), configure(name).num_classes)
    assert card.paper
    assert 1980 < card.year < 2100
    assert card.recipe, "a card carries the recipe that trains its architecture on small images"
    if configure(name).num_classes == 1000:
        assert card.published_recipe, "an ImageNet architecture carries its paper's recipe"


@every_model
def test_forward_at_a_second_size(name: str) -> None:
    cfg = configure(name)
    assert cfg.min_size != corinth.card(name).input_size[-1], "the default is the smallest: choose a larger second size"
    with torch.inference_mode():
        logits = shared(name)(images(name))
    assert logits.shape == answer(name, images(name), CLASSES)
    assert logits.isfinite().all()


@every_model
def test_forward_at_a_larger_and_oblong_size(name: str) -> None:
    cfg = configure(name)
    size = corinth.card(name).input_size[-1]
    more = 5 if name not in SEGMENTERS else 2 * stride(name)
    with torch.device("meta"):
        if hasattr(cfg, "img_size"):
            larger = corinth.create_model(name, img_size=2 * size).eval()
            assert larger(torch.empty(1, cfg.in_chans, 2 * size, 2 * size)).shape == (1, cfg.num_classes)
        else:
            model = corinth.create_model(name).eval()
            x = torch.empty(1, cfg.in_chans, size + 32, size + more)
            assert model(x).shape == answer(name, x, cfg.num_classes)


@every_model
def test_every_parameter_receives_a_gradient(name: str) -> None:
    model = build(name).train()
    result = model(images(name, batch=4))
    outputs = (result.logits, *result.aux) if isinstance(result, WithAux) else (result,)
    targets = torch.tensor([0, 1, 2, 3])
    if name in SEGMENTERS:
        targets = torch.randint(CLASSES, (4, *result.shape[2:]), generator=torch.Generator().manual_seed(2))
    sum(nn.functional.cross_entropy(output, targets) for output in outputs).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{key} has no gradient"
        assert parameter.grad.isfinite().all(), f"{key} has a gradient that is not finite"
        assert parameter.grad.any(), f"the gradient of {key} is zero"


@every_model
def test_head_reset(name: str) -> None:
    model = build(name).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.reset_head(3)
    assert model.cfg.num_classes == 3
    with torch.inference_mode():
        assert model(images(name)).shape == answer(name, images(name), 3)
    after = model.state_dict()
    assert after.keys() == before.keys()
    for key, value in after.items():
        if before[key].shape != value.shape:
            assert (len(before[key]), len(value)) == (CLASSES, 3), f"{key} is no classifier, but changed its shape"
        else:
            assert torch.equal(before[key], value), f"{key} changed, though it does not depend on the classes"


@every_model
def test_features_mode(name: str) -> None:
    model = shared(name)
    bare = build(name, num_classes=0).eval()
    missing, unexpected = bare.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert unexpected, "a model without a head still has the head's tensors"
    with torch.inference_mode():
        features = bare(images(name))
        feature_map = model.forward_features(images(name))
    assert features.ndim == (4 if name in SEGMENTERS else 2)
    assert len(features) == 2
    assert features.isfinite().all()
    assert feature_map.ndim == (2 if name in FLAT else 4)
    assert len(feature_map) == 2
    bare.reset_head(CLASSES)
    with torch.inference_mode():
        assert bare(images(name)).shape == answer(name, images(name), CLASSES)


@every_model
def test_export(name: str) -> None:
    x = images(name)
    with torch.no_grad():
        program = torch.export.export(shared(name), (x,))
        assert close(program.module()(x), shared(name)(x))


@every_model
def test_state_dict_round_trip(name: str) -> None:
    file = io.BytesIO()
    torch.save(shared(name).state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    copy = corinth.create_model(name, **small(name)).eval()
    copy.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        assert torch.equal(copy(images(name)), shared(name)(images(name)))


@every_model
def test_channels_last_gives_the_same(name: str) -> None:
    copy = build(name).eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        result = copy(images(name).to(memory_format=torch.channels_last))
        assert close(result, shared(name)(images(name)))


@every_model
def test_bfloat16_autocast_is_finite(name: str) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert shared(name)(images(name)).isfinite().all()


@every_model
def test_a_seed_decides_everything(name: str) -> None:
    torch.manual_seed(5)
    first = corinth.create_model(name, **small(name)).train()
    once = first(images(name))
    torch.manual_seed(5)
    again = corinth.create_model(name, **small(name)).train()
    twice = again(images(name))
    for a, b in zip(first.parameters(), again.parameters()):
        assert torch.equal(a, b)
    if isinstance(once, WithAux):
        once, twice = once.logits, twice.logits
    assert torch.equal(once, twice)


@every_model
@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_any_number_of_input_channels(name: str, in_chans: int) -> None:
    with torch.device("meta"):
        model = corinth.create_model(name, **small(name, in_chans=in_chans)).eval()
        x = images(name, in_chans=in_chans).to("meta")
        assert model(x).shape == answer(name, x, CLASSES)


@every_model
def test_a_bad_value_names_its_field(name: str) -> None:
    cfg = configure(name)
    bad = (("num_classes", -1), ("in_chans", 0), ("img_size", 0), ("drop_rate", 1.5), ("drop_rate", -0.1))
    for field, value in bad:
        if not hasattr(cfg, field):
            continue
        with pytest.raises(ValueError, match=field) as raised:
            dataclasses.replace(cfg, **{field: value})
        assert str(value) in str(raised.value)
        with pytest.raises(UsageError, match=f"{name}: {field}"):
            corinth.create_model(name, **{field: value})


@every_model
def test_an_unknown_option_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match="no option 'num_clases'; did you mean num_classes"):
        corinth.create_model(name, num_clases=3)


@every_model
def test_an_image_that_is_too_small_is_refused(name: str) -> None:
    cfg = configure(name)
    too_small = cfg.min_size - 1
    if hasattr(cfg, "img_size"):
        with pytest.raises(UsageError, match=f"img_size {too_small} "):
            corinth.create_model(name, img_size=too_small)
    with pytest.raises(UsageError, match=f"{too_small} ?x ?{too_small}"):
        shared(name)(images(name, size=too_small))


@every_model
def test_the_recipes_are_recipes(name: str) -> None:
    card = corinth.card(name)
    assert recipe_for(name, "digits").arch == name
    if card.published_recipe:
        assert recipe_for(name, "digits", published=True).budget == card.published_recipe["budget"]
    if "img_size" in card.recipe:
        assert card.recipe["img_size"] >= configure(name).min_size


@every_model
def test_the_config_is_frozen_and_plain(name: str) -> None:
    """Frozen, keyword-only, and the same again after a detour through JSON's lists."""
    cfg = configure(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.in_chans = 5

    def listed(value: Any) -> Any:
        return [listed(item) for item in value] if isinstance(value, tuple) else value

    assert configure(name, **{key: listed(value) for key, value in dataclasses.asdict(cfg).items()}) == cfg
    assert isinstance(entry(name).cls(configure(name, **small(name))), nn.Module)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_network_for_places_takes_every_size_that_its_stride_divides(name: str) -> None:
    cfg = configure(name)
    assert cfg.min_size % cfg.stride == 0
    with torch.device("meta"):
        model = corinth.create_model(name).eval()
        for height, width in ((1, 3), (2, 1), (5, 4)):
            x = torch.empty(1, cfg.in_chans, cfg.min_size + height * cfg.stride, cfg.min_size + width * cfg.stride)
            assert model(x).shape == answer(name, x, cfg.num_classes)
