"""A folder of files: sections, passages, pseudo-queries, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.core.errors import UserError
from twotower.data import texts
from twotower.data.text_files import read_sections

pytest.importorskip("selectolax")
pytest.importorskip("pypdf")


def pdf(path, *, pages=1):
    from pypdf import PdfWriter

    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    writer.write(path)


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(20):
        words = " ".join(f"topic{number}x{item}" for item in generator.integers(0, 60, 90))
        (tmp_path / f"file{number:02}.txt").write_text(words)
    return tmp_path


def test_headings_are_titles_and_scripts_no_text(tmp_path):
    (tmp_path / "a.md").write_text("# One\n\nfirst *text*\n\n- item\n\n## Two\n\nsecond\n")
    items = "<ul><li>one <b>two</b><p>three</p></li></ul>"
    page = f"<title>T</title><nav>menu</nav><p>zero</p><h2>H</h2>{items}<script>x</script>"
    (tmp_path / "b.html").write_text(page)
    assert read_sections(tmp_path / "a.md") == [("One", "first text\n\nitem"), ("Two", "second")]
    assert read_sections(tmp_path / "b.html") == [("T", "zero"), ("H", "one two three")]


def test_passages_overlap_and_hold_every_word():
    words = [str(number) for number in range(50)]
    parts = texts.cut(" ".join(words), 20, 5)
    assert parts[0].split() == words[:20]
    assert parts[1].split()[:5] == words[15:20]
    assert {word for part in parts for word in part.split()} == set(words)
    assert len(parts) == 3
    assert texts.cut("too few", 20, 5) == []


def test_pseudo_queries_are_answered_by_their_passage_and_files_are_in_one_split(folder):
    collection = texts.load(folder, words=40, overlap=10, dev=0.2)
    assert set(collection.judgements) == {"pseudo_train", "pseudo_dev"}
    files = {}
    for split, found in collection.judgements.items():
        files[split] = {collection.metadata[row]["file"] for row in found.document}
        for query, document in zip(found.query, found.document, strict=True):
            words = collection.query_texts[query].split()
            assert 3 <= len(set(words)) == len(words) <= 8
            assert set(words) <= set(texts._words(collection.titles[document], collection.texts[document]))
    assert not files["pseudo_train"] & files["pseudo_dev"]
    assert len(files["pseudo_dev"]) == 4
    assert len(set(collection.query_texts)) == len(collection.query_texts)
    assert texts.load(folder, words=40, overlap=10, dev=0.2).fingerprint == collection.fingerprint
    assert texts.load(folder, words=40, overlap=10, dev=0.2, seed=1).fingerprint != collection.fingerprint


def test_rare_words_are_drawn_more_often():
    bag = [*"abcdefghijklmnop", "common", "rare"]
    counts = {**dict.fromkeys(bag, 900), "common": 1000, "rare": 1}
    drawn = [texts.draw(bag, counts, 1000, np.random.default_rng(seed)).split() for seed in range(300)]
    assert sum("rare" in words for words in drawn) > 2 * sum("common" in words for words in drawn)


def test_what_can_not_be_read_is_counted_and_named(folder, caplog):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.raises(UserError, match=r"1 of 21 files can't be read, the first: .*broken\.pdf") as told:
        texts.load(folder)
    assert "\n" not in str(told.value)
    assert len(texts.load(folder, skip_unreadable=True).document_ids) >= 20
    assert "broken.pdf" in caplog.text
    (folder / "broken.pdf").unlink()
    pdf(folder / "blank.pdf")
    assert not any(row["file"] == "blank.pdf" for row in texts.load(folder).metadata)


@pytest.mark.parametrize(
    ("settings", "told"), [({"words": 3}, "words"), ({"overlap": 120}, "overlap"), ({"dev": 1}, "dev")]
)
def test_settings_out_of_range(folder, settings, told):
    with pytest.raises(UserError, match=told):
        texts.load(folder, **settings)


def test_empty_and_missing_folders_are_refused(tmp_path):
    for path, told in ((None, "data.path=FOLDER"), (tmp_path / "none", "not a folder"), (tmp_path, "holds no file")):
        with pytest.raises(UserError, match=told):
            texts.load(path)


def test_text_without_blanks_is_cut_too(tmp_path):
    chinese = "我们想学习如何求一个矩阵的逆矩阵。" * 40
    passages = texts.cut(f"Title here {chinese} the end", 50, 10)
    assert len(passages) > 5
    assert all(40 <= len(passage) <= 125 for passage in passages[:-1])
    assert passages[0].startswith("Title here 我们想")
    assert all(passage in f"Title here {chinese} the end" for passage in passages)
    (tmp_path / "one.txt").write_text(chinese, encoding="utf-8")
    assert len(texts.load(tmp_path).texts) >= 2
    spaced = "one  two\nthree four five six seven"
    assert texts.cut(spaced, 5, 1) == ["one two three four five"]  # the rest is fewer than five words
