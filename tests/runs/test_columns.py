from twotower.runs.columns import column_value, differing, short_names
from twotower.runs.ledger import load


def test_only_what_differs_and_nothing_twice(sweep):
    assert differing(load(sweep)) == ["loss", "model"]


def test_a_key_set_by_hand_shows_though_it_follows_a_choice(fake, tmp_path):
    import json

    for name, model, dropout in (("a", "gru", 0.1), ("b", "mlp", 0.4)):
        folder = fake.make_run(tmp_path / name, files=False, model=model, dropout=dropout)
        record = json.loads((folder / "run.json").read_text())
        record["overrides"].append(f"model.dropout={dropout}")
        (folder / "run.json").write_text(json.dumps(record))
    assert "model.dropout" in differing(load(tmp_path))


def test_two_names_for_one_value_make_one_column(fake, tmp_path):
    for number in range(3):
        fake.make_run(
            tmp_path / str(number), files=False, corpus={"path": f"d{number}", "source": {"path": f"d{number}"}}
        )
    keys = differing(load(tmp_path))
    assert "corpus.path" in keys
    assert "corpus.source.path" not in keys
    assert "corpus.source.path" in differing(load(tmp_path), aliases=True)


def test_a_choice_without_keys_is_shown_by_its_name(fake, tmp_path):
    run = next(iter(load(fake.make_run(tmp_path / "a", files=False))))
    run.flat["index"], run.choices["index"] = {}, "none"
    assert column_value(run, "index") == "none"
    run.flat["index.exact.dtype"] = "float16"
    assert column_value(run, "index.exact.dtype") == "float16"


def test_short_names_are_unique():
    names = short_names(["optimizer.lr", "model.dropout", "embedding.dropout", "model"])
    assert names == {
        "optimizer.lr": "lr",
        "model.dropout": "model.dropout",
        "embedding.dropout": "embedding.dropout",
        "model": "model",
    }


def test_equal_values_of_different_types_are_told_apart(fake, tmp_path):
    for number, value in enumerate([1, True, 1]):
        fake.make_run(tmp_path / str(number), files=False, corpus={"mixed": value, "same": 1, "text": "a"})
    keys = differing(load(tmp_path))
    assert "corpus.mixed" in keys
    assert not {"corpus.same", "corpus.text"} & set(keys)
