import pytest

from twotower.core.errors import UserError
from twotower.training.loggers import check_limits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("n", None, [""], None), "tags: W&B takes tags of 1 to 64 characters; found ''"),
        (("n", None, ["x" * 65], None), "tags: W&B takes tags of 1 to 64"),
        (("n" * 129, None, [], None), "run_name=.* 1 to 128 characters; found 129"),
        (("n", "g" * 200, [], None), r"logger\.wandb\.group=.* found 200"),
        (("n", None, [], "a/b"), r"logger\.wandb\.project=a/b: W&B takes no /"),
    ],
)
def test_what_wandb_refuses_is_named_before_training(arguments, message):
    with pytest.raises(UserError, match=message):
        check_limits(*arguments)


def test_what_wandb_takes_passes():
    check_limits("n" * 128, "g" * 128, ["x" * 64, "7"], "twotower")
