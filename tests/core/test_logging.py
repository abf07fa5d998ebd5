import logging

from twotower.core.logging import LogFile


def log_to(path, text):
    handler = LogFile(path)
    handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, text, None, None))
    handler.close()


def test_messages_are_added_to_the_file(tmp_path):
    log_to(tmp_path / "train.log", "one")
    log_to(tmp_path / "train.log", "two")
    assert (tmp_path / "train.log").read_text() == "one\ntwo\n"


def test_a_log_that_cannot_be_opened_is_named_and_ends_nothing(tmp_path, capsys):
    (tmp_path / "train.log").mkdir()
    log_to(tmp_path / "train.log", "one")
    assert str(tmp_path / "train.log") in capsys.readouterr().err
