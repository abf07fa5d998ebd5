"""The W&B sweep files: their form, and that every value an agent may be handed composes with our config."""

import re
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from twotower.cli import train as entry  # noqa: F401 - registers the resolvers

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))

KEYS = {
    "name",
    "project",
    "entity",
    "description",
    "program",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "command",
    "run_cap",
}
BOUNDS = {"uniform", "int_uniform", "log_uniform_values", "q_uniform", "q_log_uniform_values"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SORTABLE = re.compile(r"[_a-zA-Z][_a-zA-Z0-9/]*")


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def sweep(request):
    return yaml.safe_load(request.param.read_text())


def test_there_are_the_three_files():
    assert [path.stem for path in FILES] == ["bayes", "grid", "try"]


def test_the_form_is_that_of_wandb(sweep):
    """The rules of W&B's published schema, and its client's own check."""
    from wandb.apis.public.sweeps import _validate_config_and_fill_distribution

    assert set(sweep) <= KEYS
    assert {"program", "method", "parameters"} <= set(sweep)
    assert sweep["method"] in ("grid", "random", "bayes")
    assert (ROOT / sweep["program"]).is_file()
    assert sweep["metric"]["goal"] == "maximize"
    assert SORTABLE.fullmatch(sweep["metric"]["name"])
    assert _validate_config_and_fill_distribution(sweep) == sweep
    for name, parameter in sweep["parameters"].items():
        assert NAME.fullmatch(name)
        keys = set(parameter)
        if keys & {"min", "max"}:
            assert keys == {"distribution", "min", "max"}
            assert parameter["distribution"] in BOUNDS
            assert parameter["min"] < parameter["max"]
            assert isinstance(parameter["min"], int if parameter["distribution"] == "int_uniform" else float)
            assert sweep["method"] != "grid", "a grid takes listed values only"
        else:
            assert keys in ({"values"}, {"value"})
            assert parameter.get("values", [0])


def test_early_termination_is_hyperband_from_a_whole_epoch_on():
    sweep = yaml.safe_load((ROOT / "experiments" / "sweeps" / "bayes.yaml").read_text())
    assert sweep["early_terminate"]["type"] == "hyperband"
    assert sweep["early_terminate"]["min_iter"] >= 1
    assert sweep["early_terminate"]["eta"] > 1
    space = {"model.hidden_dim": (128, 768), "model.num_layers": (1, 4), "model.dropout": (0.0, 0.4)}
    space |= {"optimizer.lr": (1e-5, 1e-2), "loss.temperature": (0.05, 0.3)}
    for name, bounds in space.items():
        assert (sweep["parameters"][name]["min"], sweep["parameters"][name]["max"]) == bounds
    assert (
        sweep["parameters"]["data.batch_size"]["values"][0],
        sweep["parameters"]["data.batch_size"]["values"][-1],
    ) == (
        16,
        128,
    )
    rest = {"optimizer", "optimizer.weight_decay", "optimizer.beta1", "optimizer.beta2", "scheduler"}
    assert {*rest, "trainer.gradient_clip_val"} <= set(sweep["parameters"])


def command_line(sweep, arguments):
    """The command an agent runs, made by W&B's own functions."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    found = create_sweep_command_args({"args": {key: {"value": value} for key, value in arguments.items()}})
    found |= {"interpreter": ["python"], "program": [sweep["program"]], "env": ["/usr/bin/env"]}
    line = []
    for part in create_sweep_command(sweep["command"]):
        line += found[part[2:-1]] if part.startswith("${") else [part]
    return line


def corners(sweep):
    """Every listed value once, and both ends of every range."""
    ends = {
        name: parameter.get("values") or [parameter[key] for key in ("value", "min", "max") if key in parameter]
        for name, parameter in sweep["parameters"].items()
    }
    longest = max(len(values) for values in ends.values())
    return [{name: values[min(place, len(values) - 1)] for name, values in ends.items()} for place in range(longest)]


def test_every_value_composes_with_our_config(sweep):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for arguments in corners(sweep):
            line = command_line(sweep, arguments)
            assert line[:3] == ["/usr/bin/env", "python", "train.py"]
            assert not any(item.startswith("-") for item in line[3:])
            config = compose("train", overrides=line[3:])
            for name, value in arguments.items():
                if "." in name:
                    got = config
                    for part in name.split("."):
                        got = got[part]
                    assert got == value, name
                    assert type(got) is type(value), name
            assert sweep["metric"]["name"] == f"eval_{config.evaluation.objective}"
            assert "wandb" in config.logger
