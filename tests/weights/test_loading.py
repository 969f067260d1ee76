"""What a load explains, and what it refuses: nothing is loaded in silence and nothing half."""

import copy
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from corinth import create_model, dump_weights, load_weights
from corinth.data import Preprocess
from corinth.errors import WeightsError
from corinth.weights import Source, save_model
from fake_hub import timm_config

ARCH = "resnet20_cifar10"


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_untouched(model: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model(ARCH)


@pytest.fixture
def other() -> dict[str, Tensor]:
    """The same architecture's state, with other values."""
    torch.manual_seed(1)
    return state_of(create_model(ARCH))


def test_an_exact_load(model: nn.Module, other: dict[str, Tensor]) -> None:
    report = load_weights(model, other)
    assert report.source == "corinth"
    assert report.exact
    assert set(report.loaded) == set(other)
    assert_untouched(model, other)
    assert str(report) == f"{len(other)} tensors loaded from the state dict (corinth)"


def test_a_checkpoint_as_trainers_save_it(model: nn.Module, other: dict[str, Tensor]) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in other.items()}}
    report = load_weights(model, wrapped)
    assert report.exact
    assert report.notes == ("taken from the entry 'state_dict'", "the prefix 'module.' was taken off every name")
    assert_untouched(model, other)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_orig_mod.module.module."]
)
def test_the_prefixes_of_wrappers_in_any_order(model: nn.Module, other: dict[str, Tensor], prefix: str) -> None:
    assert load_weights(model, {prefix + name: tensor for name, tensor in other.items()}).exact
    assert_untouched(model, other)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that torch gives itself when it loads its compiler
@pytest.mark.parametrize("wrap", [torch.compile, lambda m: torch.nn.DataParallel(torch.compile(m))])
def test_a_model_inside_a_wrapper(model: nn.Module, other: dict[str, Tensor], wrap) -> None:
    wrapped = wrap(model)
    assert load_weights(wrapped, other, arch=ARCH).exact
    assert_untouched(model, other)
    dumped = dump_weights(wrapped, source="plain")
    assert dumped.keys() == dump_weights(model, source="plain").keys()
    assert load_weights(create_model(ARCH), wrapped.state_dict()).exact


def test_another_number_of_classes_keeps_the_fresh_head(other: dict[str, Tensor]) -> None:
    model = create_model(ARCH, num_classes=4)
    before = state_of(model)
    report = load_weights(model, other)
    assert report.missing == ("head.weight", "head.bias")
    assert set(report.unexpected) == {"head.weight", "head.bias"}
    assert torch.equal(model.head.weight, before["head.weight"])
    assert torch.equal(model.stem.conv.weight, other["stem.conv.weight"])


def test_new_heads_of_googlenet_are_all_its_classifiers() -> None:
    torch.manual_seed(1)
    state = state_of(create_model("googlenet", num_classes=6))
    report = load_weights(create_model("googlenet", num_classes=4), state)
    heads = {
        f"{name}.{part}" for name in ("head", "aux_heads.0.head", "aux_heads.1.head") for part in ("weight", "bias")
    }
    assert set(report.missing) == set(report.unexpected) == heads


def test_features_mode_leaves_the_head_out(other: dict[str, Tensor]) -> None:
    report = load_weights(create_model(ARCH, num_classes=0), other)
    assert report.missing == ()
    assert set(report.unexpected) == {"head.weight", "head.bias"}
    headless = {name: tensor for name, tensor in other.items() if not name.startswith("head")}
    report = load_weights(create_model(ARCH), headless)
    assert set(report.missing) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("chans", [1, 2, 4, 6])
def test_other_input_channels_are_adapted(other: dict[str, Tensor], chans: int) -> None:
    model = create_model(ARCH, in_chans=chans).eval()
    report = load_weights(model, other)
    assert report.reshaped == {"stem.conv.weight": f"3 input channels adapted to {chans}"}
    assert f"1 reshaped: stem.conv.weight (3 input channels adapted to {chans})" in str(report)
    assert not report.missing
    rgb = create_model(ARCH).eval()
    load_weights(rgb, other)
    if chans in (1, 6):  # a grey image means the same; twice the channels see the same image twice
        grey = torch.randn(2, 1, 32, 32)
        torch.testing.assert_close(model(grey.repeat(1, chans, 1, 1)), rgb(grey.repeat(1, 3, 1, 1)))


def test_both_at_once(other: dict[str, Tensor]) -> None:
    report = load_weights(create_model(ARCH, in_chans=1, num_classes=3), other)
    assert set(report.reshaped) == {"stem.conv.weight"}
    assert set(report.missing) == {"head.weight", "head.bias"}


def test_step_counters_may_be_absent(model: nn.Module, other: dict[str, Tensor]) -> None:
    without = {name: tensor for name, tensor in other.items() if not name.endswith("num_batches_tracked")}
    report = load_weights(model, without)
    assert report.missing == ()
    assert "step counters" in report.notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_another_precision_is_cast(model: nn.Module, other: dict[str, Tensor], dtype: torch.dtype) -> None:
    load_weights(model, {name: t.to(dtype) if t.is_floating_point() else t for name, t in other.items()})
    assert model.head.weight.dtype == torch.float32
    torch.testing.assert_close(model.head.weight, other["head.weight"], rtol=1e-3, atol=1e-4)


def refused(model: nn.Module, state: dict[str, Tensor], match: str, **options) -> None:
    before = state_of(model)
    with pytest.raises(WeightsError, match=match) as caught:
        load_weights(model, state, **options)
    assert "\n" not in str(caught.value)
    assert_untouched(model, before)


def test_a_missing_tensor_is_named(model: nn.Module, other: dict[str, Tensor]) -> None:
    del other["stages.1.0.conv2.weight"]
    refused(model, other, r"it has nothing for stages\.1\.0\.conv2\.weight$")


def test_a_tensor_too_many_is_named(model: nn.Module, other: dict[str, Tensor]) -> None:
    other["stages.1.0.conv9.weight"] = torch.zeros(1)
    refused(model, other, r"nothing in resnet20_cifar10 takes its stages\.1\.0\.conv9\.weight$", arch=ARCH)


def test_another_depth(model: nn.Module, other: dict[str, Tensor]) -> None:
    deeper = create_model("resnet32_cifar10")
    refused(
        model, deeper.state_dict(), r"nothing in ResNet takes its stages\.0\.3\.conv1\.weight.* and \d+ more; "
        r"these are the tensors of resnet32_cifar10$",
    )  # fmt: skip
    refused(
        deeper, other, r"it has nothing for stages\.0\.3\.conv1\.weight.* and \d+ more; "
        r"these are the tensors of resnet20_cifar10$",
    )  # fmt: skip


def test_another_width(model: nn.Module) -> None:
    wide = create_model(ARCH, width=32).state_dict()
    refused(model, wide, r"stem\.conv\.weight is \(32, 3, 3, 3\) where \(16, 3, 3, 3\) is needed.* and \d+ more$")


def on_meta(arch: str, **options) -> nn.Module:
    with torch.device("meta"):
        return create_model(arch, **options)


@pytest.mark.parametrize(
    ("source", "theirs", "options", "arch", "names"),
    [
        ("timm", "mobilenetv2_140", {}, "mobilenetv2_100", "mobilenetv2_140"),  # width
        ("torchvision", "resnet34", {"num_classes": 7, "in_chans": 1}, "resnet18", "resnet34"),  # depth
        ("timm", "mixnet_m", {}, "tf_mixnet_s", "mixnet_m or tf_mixnet_m"),  # both forms of it
        ("timm", "mobilenetv2_100", {"num_classes": 7}, "efficientnet_b0", "mobilenetv2_100"),  # class
        ("torchvision", "googlenet_bn", {"aux_heads": True}, "resnet50", "googlenet_bn"),
        ("torch", "lstm", {}, "gru", "lstm"),
        ("pytorchcv", "resnet18", {}, "mobilenetv3_large_100", "resnet18"),  # of no layout of the model's
        ("corinth", "resnet18", {"width": 24}, "resnet50", None),  # of nothing that is registered
    ],
)
def test_whose_tensors_they_are_is_said(
    source: Source, theirs: str, options: dict, arch: str, names: str | None
) -> None:
    state = dump_weights(on_meta(theirs, **options), source=source)
    with pytest.raises(WeightsError) as caught:
        load_weights(on_meta(arch), state, arch=arch)
    assert "\n" not in str(caught.value)
    _, found, whose = str(caught.value).partition("; these are the tensors of ")
    assert whose == (names or "")
    assert bool(found) == bool(names)


def test_another_width_is_not_taken_for_another_head() -> None:
    model = create_model("lenet5")
    state = state_of(model)
    state["head.weight"] = torch.zeros(10, 50)
    refused(model, state, r"head\.weight is \(10, 50\) where \(10, 84\) is needed")


def test_another_architecture(model: nn.Module) -> None:
    foreign = {"encoder.0.weight": torch.zeros(3), "decoder.0.weight": torch.zeros(3)}
    refused(model, foreign, r"is no checkpoint of ResNet in any layout known for it .*it has encoder\.0\.weight")
    for name in ("lenet5", "vgg11", "resnet18", "googlenet_bn"):
        refused(model, on_meta(name).state_dict(), "is no checkpoint of ResNet|does not fit ResNet")


def test_a_tensor_of_another_kind(model: nn.Module, other: dict[str, Tensor]) -> None:
    other["head.weight"] = other["head.weight"].int()
    refused(model, other, r"head\.weight is torch\.int32 where torch\.float32 is needed")


@pytest.mark.parametrize(("how", "said"), [("to_sparse", "sparse"), ("to_meta", "without values")])
def test_a_tensor_that_cannot_be_copied(model: nn.Module, other: dict[str, Tensor], how: str, said: str) -> None:
    weight = other["head.weight"]
    other["head.weight"] = weight.to_sparse() if how == "to_sparse" else weight.to("meta")
    refused(model, other, rf"head\.weight is {said}$")


def test_a_new_head_beside_grouped_inputs() -> None:
    """The first layer is found by asking for other input channels, which groups must divide as well."""
    options = {"fc_dim": 8, "groups": (2, 1, 1, 1, 1), "in_chans": 4}
    state = state_of(create_model("alexnet", num_classes=3, **options))
    report = load_weights(create_model("alexnet", num_classes=5, **options), state)
    assert report.missing == ("head.weight", "head.bias")


def test_part_of_an_optional_part_is_a_mistake() -> None:
    model = create_model("googlenet_bn", num_classes=4, aux_heads=True)
    state = state_of(model)
    del state["aux_heads.0.fc.weight"]
    refused(model, state, r"it has nothing for aux_heads\.0\.fc\.weight")


def test_a_shape_that_an_operation_cannot_take() -> None:
    model = on_meta("vgg11", fc_dim=8, num_classes=3)
    state = dump_weights(model, source="timm")
    state["pre_logits.fc1.weight"] = torch.empty(8, 100, 7, 7, device="meta")
    with pytest.raises(WeightsError, match=r"pre_logits\.fc1\.weight is \(8, 4900\) where \(8, 25088\) is needed"):
        load_weights(model, state, source="timm")


@pytest.mark.parametrize("state", [{}, {"state_dict": {}}, {"weights": 3}, {"a": "b"}])
def test_no_state_dict(model: nn.Module, state: dict) -> None:
    refused(model, state, "the state dict holds no state dict")


def test_the_given_state_dict_is_not_changed(model: nn.Module, other: dict[str, Tensor]) -> None:
    given = copy.deepcopy(other)
    load_weights(model, given)
    with torch.no_grad():
        model.head.weight.add_(1)
    assert all(torch.equal(given[name], other[name]) for name in other)


FORMS = [("tf_mobilenetv3_small_075", "mobilenetv3_small_075"), ("mobilenetv3_small_075", "tf_mobilenetv3_small_075")]


def written(place: Path, arch: str, metadata: dict[str, str] | None = None) -> Path:
    """The tensors of an architecture under timm's names."""
    place.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.clone() for name, tensor in dump_weights(create_model(arch), source="timm").items()}
    if place.suffix == ".safetensors":
        safetensors.torch.save_file(state, place, metadata)
    else:
        torch.save(state, place)
    return place


@pytest.mark.parametrize(("form", "other"), FORMS)
@pytest.mark.parametrize(
    "name", ["{}-89d3354b.pth", "{}.in1k.safetensors", "my-{}_best.pth", "{}.in1k/model.safetensors",
             "models--timm--{}.in1k/snapshots/aa/pytorch_model.bin"],
)  # fmt: skip
def test_a_file_named_after_another_form_is_refused(form: str, other: str, name: str, tmp_path: Path) -> None:
    file = written(tmp_path / name.format(form), form)
    pads = form.startswith("tf_")
    refused_file(
        other, file, rf"is by its name or metadata of {form}, which has the same tensors and same_padding={pads}, .*, "
        rf"and this {other} has same_padding={not pads}, .*; create {form}, or give the file another name",
    )  # fmt: skip
    report = load_weights(create_model(form), file, arch=form)
    assert not any("nothing says" in note for note in report.notes)


def refused_file(arch: str, file: Path, match: str) -> None:
    model = create_model(arch)
    refused(model, file, match, arch=arch)  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(("form", "other"), FORMS)
def test_a_file_that_says_itself_of_which_form_it_is(form: str, other: str, tmp_path: Path) -> None:
    said = written(tmp_path / "a" / "w.safetensors", form, {"format": "pt", "architecture": form})
    refused_file(other, said, f"is by its name or metadata of {form}")
    described = written(tmp_path / "b" / "weights.pth", form)
    (described.parent / "config.json").write_text(json.dumps(timm_config(form)))
    refused_file(other, described, f"holds the architecture {form}, not {other}: the one has same_padding=")
    seen = Preprocess(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    save_model(
        tmp_path / "own.safetensors", create_model(form, num_classes=2), arch=form, preprocess=seen, classes="ab"
    )
    refused_file(other, tmp_path / "own.safetensors", f"holds the architecture {form}, not {other}")


@pytest.mark.parametrize(("form", "other"), FORMS)
@pytest.mark.parametrize("name", ["weights.pth", "mobilenetv3_small_075_tf.pth", "resnet18.pth"])
def test_where_nothing_says_the_form_the_report_does(form: str, other: str, name: str, tmp_path: Path) -> None:
    report = load_weights(create_model(other), written(tmp_path / name, form), arch=other)
    assert report.notes == (
        f"nothing says whether it is of {other} or {form}: the tensors are the same, same_padding, norm_eps not; "
        f"this is {other}",
    )
    assert report.notes[0] in str(report)


def test_options_that_make_it_the_form_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "tf_mobilenetv3_small_075-1.pth", "tf_mobilenetv3_small_075")
    model = create_model("mobilenetv3_small_075", same_padding=True, norm_eps=1e-3)
    assert not load_weights(model, file, arch="mobilenetv3_small_075").notes


def test_files_of_ones_own_are_called_as_one_likes(tmp_path: Path) -> None:
    model = create_model("lenet5", pool="avg")
    for name in ("lenet5.pth", "best.pth"):
        torch.save(model.state_dict(), tmp_path / name)
        assert not load_weights(create_model("lenet5", pool="avg"), tmp_path / name, arch="lenet5").notes
    model = create_model("rnn")
    torch.save(model.state_dict(), tmp_path / "my_rnn_relu.pth")
    (note,) = load_weights(model, tmp_path / "my_rnn_relu.pth", arch="rnn").notes
    assert "my_rnn_relu.pth is by its name or metadata of rnn_relu, which has the same tensors and nonlinear" in note


def test_a_config_of_anybodys_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "my_cnn", "lr": 1}))
    model = create_model("lenet5")
    torch.save(model.state_dict(), tmp_path / "best.pth")
    assert load_weights(model, tmp_path / "best.pth", arch="lenet5").exact


def test_other_forms_than_of_padding() -> None:
    model, other = on_meta("resnet50"), on_meta("resnet50_v1")
    report = load_weights(other, model.state_dict())
    assert report.notes[-1].startswith("nothing says whether it is of resnet50_v1 or resnet50: ")
    report = load_weights(model, dump_weights(model, source="torchvision"))
    assert not report.notes, "torchvision has one form only"
