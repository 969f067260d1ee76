"""Tagged sentences: files, training with and without a conditional random field, scores, reports, comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corinth.cli import main
from corinth.compare.bakeoff import compare
from corinth.data import Batch, Loader, SequenceData, Sequences, SequenceStore, open_data
from corinth.data.sequences.encoding import WordEncoding
from corinth.data.sequences.tagged import TaggedSource
from corinth.errors import DataError, UsageError
from corinth.predictor import Tagger, load_run
from corinth.report import run_report
from corinth.tasks import SequenceTagging
from corinth.tasks.entities import EntityF1, entities_of
from corinth.training import Run, train

OPTIONS: dict[str, Any] = {"hidden_size": 16, "input_size": 16}
CITIES, VERBS = ("Paris", "Rome", "New York", "San Jose"), ("fly", "go", "drive")


def sentences(count: int = 60, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Such as "please fly from New/B-city York/I-city to Rome/B-city"."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        words = [("please", "O")] * int(rng.integers(0, 3)) + [(str(rng.choice(VERBS)), "O")]
        for preposition in ("from", "to")[: rng.integers(1, 3)]:
            words.append((preposition, "O"))
            words += [(w, ("I" if i else "B") + "-city") for i, w in enumerate(str(rng.choice(CITIES)).split())]
        found.append([*words, (f"n{number}", "O")])
    return found


def write_conll(path: Path, rows: list[list[tuple[str, str]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join("\n".join(f"{w}\t{t}" for w, t in sentence) for sentence in rows) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SequenceData:
    found = open_data(write_conll(tmp_path_factory.mktemp("tags") / "trips.conll", sentences()))
    assert isinstance(found, SequenceData)
    return found


def quick(data: SequenceData, output: Path, **fields: Any) -> Run:
    usual: dict[str, Any] = {"arch": "bigru", "budget": "15ep", "batch_size": 8, "lr": 0.01, "warmup": 0.0}
    return train(data=data, output=str(output), **(usual | {"options": OPTIONS} | fields))


@pytest.fixture(scope="module", params=[False, True], ids=["cross-entropy", "crf"])
def run(request: pytest.FixtureRequest, data: SequenceData, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return quick(data, tmp_path_factory.mktemp("runs") / "run", options={**OPTIONS, "crf": request.param})


# ---- files ----


def test_sentences_and_their_places(data: SequenceData) -> None:
    source = data.source
    assert isinstance(source, TaggedSource)
    assert data.task == "sequence-tagging"
    assert data.classes == ("B-city", "I-city", "O")
    rows = sentences()
    assert [list(zip(w, (data.classes[t] for t in tags))) for w, tags in zip(source.sentences, source.tags)] == rows
    assert source.name(1) == f"trips.conll, line {len(rows[0]) + 2}"
    assert len(data.positions("test")) == 12
    assert int(source.amounts().sum()) == sum(map(len, rows))


def test_universal_dependencies_and_parts_by_name(tmp_path: Path) -> None:
    lines = [
        "# text = vámonos al mar",
        "1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_",
        "2\tnos\tyo\tPRON\tP\t_\t1\tobj\t_\t_",
        "3\t#\t#\tSYM\tS\t_\t1\tx\t_\t_",
        "3.1\tx\tx\tX\tX\t_\t_\t_\t_\t_",
        "",
        "1\tmar\tmar\tNOUN\tN\t_\t0\troot\t_\t_",
    ]
    for part in ("train", "dev", "test"):
        (tmp_path / f"es_x-ud-{part}.conllu").write_text(
            "\r\n".join([*lines, f"2\t{part}\t_\tX\tX\t_\t1\tx\t_\t_", ""])
        )
    found = open_data(tmp_path)
    assert isinstance(found.source, TaggedSource)
    assert found.declared_splits == ("train", "val", "test")
    assert found.source.sentences[int(found.positions("train")[0])] == ("vamos", "nos", "#")
    assert found.classes == ("NOUN", "PRON", "SYM", "VERB", "X")
    assert open_data(tmp_path, label_column="xpos").classes == ("N", "P", "S", "V", "X")
    with pytest.raises(UsageError, match="label_column 'lemma' is none of upos, xpos, deprel"):
        open_data(tmp_path, label_column="lemma")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\tO\nb\n", r"t\.conll, line 2: has 1 columns; a line needs a word and its tag"),
        ("a\tO\n\tO\n", r"t\.conll, line 2: has no word"),
        ("a\tO\nb\t \nc\tO", r"t\.conll, line 2: has no tag"),
        ("\n\n", "there are no sentences"),
        ("a\tO\n" * 3, "only one class|different sentence|at least two"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.conll").write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path / "t.conll")
    assert "\n" not in str(caught.value)


def test_an_unknown_tag_is_said(run: Run, tmp_path: Path) -> None:
    rows = sentences(12)
    rows[3][0] = (rows[3][0][0], "B-river")
    other = open_data(write_conll(tmp_path / "o.conll", rows))
    assert isinstance(other, SequenceData)
    predictor = load_run(run.path)
    with pytest.raises(DataError, match="the tag 'B-river' was not seen in training; the run knows B-city, I-city, O"):
        predictor.evaluate(other, "all")


# ---- training ----


def test_tags_are_learnt_and_scored(run: Run, data: SequenceData) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Tagger)
    found = predictor.evaluate(data, "test", batch_size=5)
    assert found.accuracy > 0.95
    assert found.entities is not None
    assert found.entities.f1 > 0.9
    assert run.best is not None
    validated = predictor.evaluate(data, "val")
    assert validated.entities is not None
    assert run.best["val_entity_f1"] == pytest.approx(validated.entities.f1, abs=1e-6)
    assert run.best["val_accuracy"] == pytest.approx(predictor.evaluate(data, "val").accuracy, abs=1e-6)
    for position, share in zip(found.index.tolist(), found.per_sample.tolist()):
        (said,) = predictor.predict([data.source.sequence(position)])
        true = [data.classes[t] for t in data.source.target(position)]  # ty: ignore
        assert share == pytest.approx(np.mean([a == b for a, b in zip(said.tags, true, strict=True)]))
    assert json.dumps(found.to_dict())


def test_the_loss_is_a_mean_over_tokens_in_parts_too(data: SequenceData, tmp_path: Path) -> None:
    for crf in (False, True):
        options = {**OPTIONS, "crf": crf, "drop_rate": 0.0}
        losses = [
            quick(data, tmp_path / f"{crf}{n}", budget="1ep", accumulate=n, options=options).metrics[-1]["val_loss"]
            for n in (1, 3)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_mean_over_tokens(data: SequenceData) -> None:
    from corinth import create_model

    encoding = WordEncoding.trained(data, vocab_size=100, lowercase=True)
    options = {**OPTIONS, "vocab_size": encoding.vocab_size, "pool": "none", "num_classes": 3}
    for crf in (False, True):
        task = SequenceTagging(create_model("gru", crf=crf, **options).eval(), data.classes)
        rng = torch.Generator()
        (whole,) = Loader(SequenceStore(data, "all", encoding), 60)
        total = task.losses("train", whole, rng)["loss"]
        assert total.count == int(data.source.lengths.sum())
        singles = [
            task.losses("train", batch, rng)["loss"] for batch in Loader(SequenceStore(data, "all", encoding), 1)
        ]
        mean = sum(float(term.value.detach()) * term.count for term in singles) / total.count
        assert float(total.value.detach()) == pytest.approx(mean, rel=1e-5)


def test_capitals_do_not_count(data: SequenceData) -> None:
    encoding = WordEncoding.trained(data, vocab_size=100, lowercase=True)
    (known,) = encoding([("FLY", "fly")])
    assert known[0] == known[1] > 1


def test_rare_words_are_known_by_how_they_look(tmp_path: Path) -> None:
    """If enough of the training part's look so; the numbers n0 to n9 and the names in -burg do."""
    names = ("Ham", "Frei", "Magde", "Olden", "Augs", "Würz")
    lines = [f"see O\n{name}burg B\nn{number} O\n" for number, name in enumerate(names)]
    path = tmp_path / "towns.conll"
    path.write_text("\n".join(lines))
    data = open_data(path, val_share=0, test_share=0)
    assert isinstance(data, SequenceData)
    encoding = WordEncoding.trained(data, vocab_size=100, lowercase=True)
    (found,) = encoding([("see", "Duisburg", "DUISBURG", "duisburg", "n7", "x7", "7", "Rome")])
    see, burg, capitals, small, *numbers, other, rome = found.tolist()
    assert len({see, burg, numbers[0], rome}) == 4
    assert min(see, burg, rome) > 1
    assert capitals == small == other == 1
    assert numbers == [numbers[0]] * 2
    (other,) = WordEncoding.trained(data, vocab_size=4, lowercase=True)([("Duisburg", "Rome", "see")])
    assert len(set(other.tolist())) == 2, "the most frequent two of words and looks have a token"


@pytest.mark.parametrize("field", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}, {"max_len": 4}])
def test_what_does_nothing_is_refused(data: SequenceData, tmp_path: Path, field: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(field))):
        quick(data, tmp_path / "r", **field)


# ---- predictions ----


def test_sentences_words_and_files(run: Run, tmp_path: Path) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Tagger)
    (tmp_path / "a.txt").write_text("go to Rome\n\nfly from Paris\n")
    found = predictor.predict(
        ["drive to New York", ("go", "from", "Rome"), tmp_path / "a.txt", " ", tmp_path / "no.txt"]
    )
    assert found[0].summary == "drive/O to/O New/B-city York/I-city"
    assert [p.tags for p in found[1:4]] == [("O", "O", "B-city")] * 3
    assert found[2].name.endswith("a.txt, sentence 1")
    assert [p.error is None for p in found] == [True] * 4 + [False] * 2
    assert [row["tag"] for row in found[1].rows()] == ["O", "O", "B-city"]


def test_entities_are_found_as_conlleval_does() -> None:
    assert entities_of(["B-a", "I-a", "O", "I-b", "B-b", "I-a"]) == {("a", 0, 1), ("b", 3, 3), ("b", 4, 4), ("a", 5, 5)}
    assert entities_of(["O"]) == set()
    assert entities_of(["B-a", "B-a", "I-a"]) == {("a", 0, 0), ("a", 1, 2)}


def test_the_f1_of_entities() -> None:
    score = EntityF1(("O", "B-a", "I-a"))
    said, true = torch.tensor([[1, 2, 0, 1], [1, 0, 0, 0]]), torch.tensor([[1, 2, 0, 0], [1, 2, -100, -100]])
    score.update(said, true, torch.tensor([4, 2]))
    assert float(score.compute()) == pytest.approx(2 / 5)  # one right, three called, two there
    nothing = EntityF1(("O",))
    nothing.update(*torch.zeros(2, 1, 2, dtype=torch.int64), torch.tensor([2]))
    assert float(nothing.compute()) == 0.0


def test_the_commands(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "12 sentences" in out
    assert "entity f1" in out
    assert "words" in out
    assert main(["predict", str(run.path), "go to Rome", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[3] == "go to Rome,3,Rome,B-city,"
    assert main(["predict", str(run.path), "go to Rome"]) == 0
    assert "go/O to/O Rome/B-city" in capsys.readouterr().out


# ---- reports and comparisons ----


def test_the_report_shows_sentences(run: Run, data: SequenceData) -> None:
    path, _ = run_report(run.path, data)
    page = path.read_text(encoding="utf-8")
    assert "Hardest sentences" in page
    assert 'class="sentences"' in page
    assert "Words" in page


def test_networks_are_compared(data: SequenceData, tmp_path: Path) -> None:
    overrides = {"batch_size": 8, "lr": 0.01, "options": OPTIONS}
    recipes = {"crf": {"options": {"crf": True}}}
    board = compare(
        data, "plain=gru,crf=gru", budget="2ep", seeds=2, output=tmp_path / "c", overrides=overrides, recipes=recipes
    )
    assert board.exit_code == 0
    assert all(row.metric is not None for row in board.rows)
    assert board.report is not None
    page = board.report.read_text(encoding="utf-8")
    assert "Hardest sentences" in page
    assert "Accuracy per sentence, a mean over the test sentences" in page
    with pytest.raises(UsageError, match="the control shuffled-labels is for classification"):
        compare(data, "gru", control="shuffled-labels", output=tmp_path / "d")


def test_a_batch_of_tags() -> None:
    batch = Batch(Sequences.of([torch.tensor([1, 2, 3]), torch.tensor([4])]), torch.zeros(2, 3), torch.arange(2))
    assert batch.to("cpu").size == 2


@pytest.mark.data
def test_real_tagged_sets(corinth_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORINTH_DATA", str(corinth_data))
    for name, parts, classes in (
        ("ud_english_atis", (4274, 572, 586), 16),
        ("wnut17", (3394, 1009, 1287), 13),
    ):
        found = open_data(name)
        assert tuple(len(found.positions(part)) for part in ("train", "val", "test")) == parts
        assert found.num_classes <= classes


# ---- what files and words may look like ----


def test_words_that_look_like_comments_or_marks(tmp_path: Path) -> None:
    (tmp_path / "t.conll").write_text(
        "-DOCSTART- -X- O\n\n# id = 7\nof IN O\n# # B-NP\n#obama NN B-PER\n\n#x NN O\ny NN O\n"
    )
    source = open_data(tmp_path / "t.conll", val_share=0.0, test_share=0.0).source
    assert isinstance(source, TaggedSource)
    assert source.sentences == (("of", "#", "#obama"), ("#x", "y"))
    assert source.places == ("t.conll, line 4", "t.conll, line 8")
    (tmp_path / "u.conll").write_text("a NN O\nb NN\n")
    with pytest.raises(DataError, match="line 2: has 2 columns; a line needs 3 columns, as the first"):
        open_data(tmp_path / "u.conll")


def test_names_of_parts(tmp_path: Path) -> None:
    for name in ("en-train.conll", "en-dev.conll", "._en-test.conll"):
        write_conll(tmp_path / name, sentences(12))
    assert open_data(tmp_path).declared_splits == ("train", "val")
    write_conll(tmp_path / "de-train.conll", sentences(12))
    with pytest.raises(UsageError, match=r"de-train\.conll and en-train\.conll are both the train part"):
        open_data(tmp_path)
    (tmp_path / "de-train.conll").rename(tmp_path / "final.conll")
    with pytest.raises(UsageError, match=r"the name of final\.conll says no part"):
        open_data(tmp_path)


def test_one_token_a_word_whatever_it_is(data: SequenceData) -> None:
    encoding = WordEncoding.trained(data, vocab_size=100, lowercase=True)
    (found,) = encoding([("a<unk>s", "", "<pad>", "<unk>", "to", "\u200b")])
    assert len(found) == 6
    assert found[4] > 1
    assert set(found[:4].tolist()) == {1}


def test_batch_size_auto_and_estimates(data: SequenceData, tmp_path: Path) -> None:
    assert quick(data, tmp_path / "r", budget="1ep", batch_size="auto").recipe.batch_size == 8
    assert main(["doctor", "--data", data.spec, "--model", "gru"]) == 0


def test_tagged_files_and_wrong_things_to_predict(run: Run, tmp_path: Path) -> None:
    predictor = load_run(run.path)
    assert isinstance(predictor, Tagger)
    path = write_conll(tmp_path / "n.conll", sentences(3, seed=7))
    (tmp_path / "t.csv").write_text("text\ngo to Rome\n")
    found = predictor.predict([path, tmp_path / "t.csv"])
    assert [list(p.words) for p in found[:3]] == [[word for word, _ in row] for row in sentences(3, seed=7)]
    assert "is a table; sentences are in .txt files" in (found[3].error or "")
    for wrong in ([1], [None], [("a", 2)]):
        with pytest.raises(UsageError, match="a sentence is a string, words or a path"):
            predictor.predict(wrong)
