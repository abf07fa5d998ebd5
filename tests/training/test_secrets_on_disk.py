"""From the command line: no password or key stands in any file or line of output, whatever became of the run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.started import TRAIN, started
from twotower.core.errors import RefusedError
from twotower.sweep.callback import SweepStart

SECRET = "s3cretf00dbadc0ffee0123456789abcdef01234"
SMALL = ["data=beir", "embedding=random", "embedding.dim=8", "model.hidden_dim=8", "model.output_dim=8"]
SHORT = ["trainer.max_epochs=1", "trainer.enable_progress_bar=false", "trainer.threads=1"]


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    return started(TRAIN, *arguments, cwd=folder, environment={**kept, "COLUMNS": "200", **environment})


def holders(folder: Path, secret: str = SECRET) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(folder)) for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "arguments",
    [
        [f"+logger.wandb.settings.api_key={SECRET}"],
        ["logger=[wandb]", f"++logger.wandb={{settings:{{api_key:{SECRET}}}}}"],
        ["-m", "model=mlp,gru", f"+password={SECRET}"],
        ["index=redis", f"index.redis.url='redis://:pa/{SECRET}@127.0.0.1:1'"],
        ["index=redis", f"index.redis.url=redis://:{SECRET}@127.0.0.1:1"],
        [f"+logger.wandb.settings.api_key=${{oc.env:NOWHERE,{SECRET}}}"],
    ],
)
def test_a_secret_in_plain_text_is_refused_before_anything_is_written(tmp_path, arguments):
    done = launch(tmp_path, *arguments)
    assert done.returncode == 2
    assert "holds a" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("event", ["on_run_start", "on_multirun_start"])
def test_a_secret_in_a_config_file_is_refused_by_hydras_callback(event):
    config = OmegaConf.create({"logger": {"wandb": {"settings": {"api_key": SECRET}}}, "hydra": {"launcher": {}}})
    with pytest.raises(RefusedError, match=r"^logger\.wandb\.settings\.api_key holds a secret.*oc\.env") as caught:
        getattr(SweepStart(), event)(config=config)
    assert SECRET not in str(caught.value)


def test_a_key_from_the_environment_is_in_no_file_of_the_run(tiny_beir, tmp_path):
    wandb = ["logger=[csv,wandb]", "+logger.wandb.settings.api_key=${oc.env:A_KEY}"]
    done = launch(tmp_path, *SMALL, *SHORT, *wandb, "index=exact", f"data.path={tiny_beir}", A_KEY=SECRET)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("outputs/*/*/checkpoints/best.ckpt"))
    assert list(tmp_path.glob("outputs/*/*/.hydra/config.yaml"))
    assert list(tmp_path.rglob("*.wandb"))
    assert holders(tmp_path) == []
    assert SECRET not in done.stderr + done.stdout
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [str(path) for path in files if path.stat().st_mode & 0o077] == []


def test_settings_that_wandb_refuses_are_named_without_their_values(tiny_beir, tmp_path):
    wandb = ["logger=wandb", "+logger.wandb.settings.api_keys=${oc.env:A_KEY}"]
    done = launch(tmp_path, *SMALL, *SHORT, *wandb, f"data.path={tiny_beir}", A_KEY=SECRET)
    assert done.returncode == 2
    assert "logger.wandb: settings.api_keys (Extra inputs are not permitted)" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert holders(tmp_path) == []


@pytest.mark.parametrize("password", [f"pa/{SECRET}", SECRET, f"{SECRET}#?"])
def test_a_password_in_redis_url_is_in_no_file_of_a_failed_run(tiny_beir, tmp_path, password):
    url = f"redis://:{password}@127.0.0.1:1"
    done = launch(tmp_path, *SMALL, *SHORT, "index=redis", f"data.path={tiny_beir}", REDIS_URL=url)
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    if password != SECRET:
        assert "%2F" in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert holders(tmp_path) == []
