import os
import subprocess
import sys
from pathlib import Path

import pytest

from twotower.core.addresses import refuse_passwords
from twotower.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("start", ["index.redis.url=", "+index.redis.url=", "index.redis.url='"])
def test_password_on_the_command_line_is_refused_and_not_repeated(start):
    with pytest.raises(UserError, match=r"^index\.redis\.url holds a password.*REDIS_URL") as caught:
        refuse_passwords(["model=gru", f"{start}rediss://user:s3cret@host:1/0"])
    assert "s3cret" not in str(caught.value)


def test_other_overrides_pass():
    refuse_passwords(["index.redis.url=redis://host:6379/1", "index.redis.url=null", "x=a:b@c", "index=redis", "-m"])


def test_training_writes_the_password_nowhere(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "index=redis", "index.redis.url=redis://:s3cret@127.0.0.1:1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 2
    assert "REDIS_URL" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()] == []
