import unicodedata

from twotower.runs.text import visible


def test_control_characters_become_signs_and_all_else_stays():
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000)]))
    shown = visible(everything)
    assert len(shown) == len(everything)
    assert {char for char in shown if unicodedata.category(char) == "Cc"} == {"\n", "\t"}
    assert all(a == b for a, b in zip(everything, shown, strict=True) if unicodedata.category(a) != "Cc")
    assert visible("a\x1b[2J\x07\x7f\x9b") == "a\u241b[2J\u2407\u2421\ufffd"
