from types import SimpleNamespace

from twotower.callbacks.progress import Progress


def test_epochs_are_counted_on_screen_as_in_files():
    bar = Progress(context=SimpleNamespace())
    bar._trainer = SimpleNamespace(max_epochs=3)
    assert [bar._get_train_description(number) for number in range(3)] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3"]
