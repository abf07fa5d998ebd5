"""Whose config it is decides what it may build: attacks by files from elsewhere, and a user's own parts."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

import twotower
from twotower.cli.main import cli
from twotower.config.instantiate import instantiate, locate
from twotower.config.trust import LISTED, VARIABLE, UntrustedError, admit, trusted_packages
from twotower.core.errors import UserError
from twotower.runs.rerun import from_run, new_config
from twotower.runs.resume import find_resume
from twotower.runs.run import read_run

ROOT = Path(__file__).resolve().parents[2]

OLD = Path(__file__).resolve().parents[1] / "old_run"
SECRET = b"what the user can't replace\n" * 100


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a run that anybody may have sent, and a file of the user's that nothing may touch."""
    monkeypatch.delenv(VARIABLE, raising=False)
    shutil.copytree(OLD, tmp_path / "tests" / "old_run")
    (tmp_path / "victim").write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weapons(victim: Path) -> dict[str, dict]:
    """Parts of ours and of others that would overwrite or remove the victim, were they built."""
    path = str(victim)
    return {
        "new_npy": {"_target_": "twotower.index.vectors.new_npy", "path": path, "shape": [4, 4]},
        "documents": {"_target_": "twotower.data.documents.DocumentStore.write", "path": path, "documents": []},
        "checkpoint": {
            "_target_": "twotower.callbacks.checkpoint.AtomicCheckpoints.save_checkpoint",
            "self": None,
            "checkpoint": {"a": 1},
            "path": path,
        },
        "write_text": {"_target_": "twotower.core.files.write_text", "path": path, "text": "gone"},
        "unlink": {"_target_": "twotower.data.beir.Path.unlink", "_args_": [path]},
        "os": {"_target_": "os.remove", "path": path},
        "shell": {"_target_": "subprocess.check_call", "args": ["rm", path]},
        "numpy": {"_target_": "numpy.save", "file": path, "arr": [1]},
        "torch": {"_target_": "torch.save", "obj": [1], "f": path},
        "hydra": {"_target_": "hydra.utils.call", "config": {"_target_": "os.remove", "path": path}},
    }


def run_twotower(*arguments: str) -> Exception | None:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False).exception


def write_model(run: Path, change) -> None:
    [path] = (run / "checkpoints").glob("two_tower_best_*.pt")
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    record = json.loads((run / "run.json").read_text())
    record["artefacts"] = []  # whoever sends a run sends a record that fits
    (run / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize("weapon", weapons(Path("x")))
@pytest.mark.parametrize("kind", ["a setting", "the target", "an argument", "deep inside"])
def test_a_foreign_manifest_builds_nothing_but_indexes(home, weapon, kind):
    folder = home / "tests" / "old_run" / "mlp" / "index" / "faiss_flat"
    manifest = json.loads((folder / "manifest.json").read_text())
    part = weapons(home / "victim")[weapon]
    manifest["config"] = {
        "a setting": {**manifest["config"], "factory": part},
        "the target": part,
        "an argument": {**manifest["config"], "_args_": [part]},
        "deep inside": {**manifest["config"], "factory": [{"deep": [part]}]},
    }[kind]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    error = run_twotower("search", "list files", "--run", "tests/old_run/mlp", "--index", "faiss_flat")
    assert isinstance(error, UserError)
    assert "manifest.json" in str(error)
    assert (home / "victim").read_bytes() == SECRET


@pytest.mark.parametrize("weapon", weapons(Path("x")))
@pytest.mark.parametrize("nested", [False, True])
def test_a_foreign_model_reads_its_data_by_our_readers_only(home, weapon, nested):
    part = weapons(home / "victim")[weapon]

    def change(content):
        data = content["training_stats"]["config"]["resolved"]["data"]
        data["source"] = {**data["source"], "path": part} if nested else part

    write_model(home / "tests" / "old_run" / "mlp", change)
    error = run_twotower("evaluate", "--run", "tests/old_run/mlp")
    assert isinstance(error, UntrustedError)
    assert (home / "victim").read_bytes() == SECRET
    shutil.copy(next((home / "tests/old_run/mlp/checkpoints").glob("*.pt")), home / "alone.pt")
    assert isinstance(run_twotower("rerun", "alone.pt"), UntrustedError)
    assert not (home / "outputs").exists()
    assert (home / "victim").read_bytes() == SECRET


PLACES = {
    "loss": lambda config, part: config.update(loss=part),
    "loss.margin": lambda config, part: config["loss"].update(margin=part),
    "callbacks": lambda config, part: config["callbacks"].update(mine=part),
    "callbacks.evaluate": lambda config, part: config["callbacks"]["evaluate"].update(max_queries=part),
    "trainer.plugins": lambda config, part: config["trainer"].update(plugins=[part]),
    "optimizer": lambda config, part: config.update(optimizer=part),
    "index": lambda config, part: config["index"].update(mine=part),
    "logger": lambda config, part: config["logger"].update(mine=part),
    "data.source.path": lambda config, part: config["data"]["source"].update(path=part),
    "model.query_tower": lambda config, part: config["model"].update(query_tower=part["_target_"]),
    "model.document_tower": lambda config, part: config["model"].update(document_tower=part),
    "text": lambda config, part: config.update(text=part),
    "embedding.mix": lambda config, part: config["embedding"].update(mix=part),
    "scheduler": lambda config, part: config.update(scheduler=part),
    "evaluation.metrics": lambda config, part: config["evaluation"].update(metrics={"mine": part}),
    "model.dropout": lambda config, part: config["model"].update(dropout=part),
    "tags": lambda config, part: config.update(tags=[part]),
}


@pytest.mark.parametrize("weapon", weapons(Path("x")))
@pytest.mark.parametrize("place", PLACES)
def test_a_foreign_record_is_run_again_with_our_parts_only(home, weapon, place):
    path = home / "tests" / "old_run" / "mlp" / "run.json"
    record = json.loads(path.read_text())
    PLACES[place](record["config"], weapons(home / "victim")[weapon])
    path.write_text(json.dumps(record))
    assert isinstance(run_twotower("rerun", "tests/old_run/mlp"), UntrustedError)
    assert (home / "victim").read_bytes() == SECRET
    assert not (home / "outputs").exists()


def changed(run: Path, change) -> object:
    record = json.loads((run / "run.json").read_text())
    change(record["config"])
    (run / "run.json").write_text(json.dumps(record))
    return from_run(read_run(run), None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("save_dir", "/somewhere"),
        ("name", "../../../elsewhere"),
        ("name", "/elsewhere"),
        ("version", "../x"),
        ("version", ".."),
        ("name", ".."),
        ("prefix_file", "x"),
        ("_args_", ["/somewhere"]),
        ("_partial_", True),
    ],
)
def test_a_foreign_record_names_no_place_to_write_to(home, key, value):
    recorded = changed(
        home / "tests/old_run/mlp", lambda config: config["logger"].setdefault("csv", {}).update({key: value})
    )
    with pytest.raises(UserError, match=rf"logger\.csv\.{key}"):
        new_config(recorded, [], home / "new")
    if not key.startswith("_"):  # the user may say the same
        text = value if key != "prefix_file" else "y"
        config, _ = new_config(recorded, [f"++logger.csv.{key}={text}"], home / "new")
        assert config["logger"]["csv"][key] == text


def with_loggers(home):
    """A record of a run that logged to MLflow, Comet and Aim, as their choices are composed."""

    def change(config):
        here = config["paths"]["run"]
        for name in ("mlflow", "comet", "aim"):
            text = (ROOT / "conf" / "logger" / f"{name}.yaml").read_text().replace("${paths.run}", here)
            config["logger"].update(yaml.safe_load(text))

    return changed(home / "tests/old_run/mlp", change)


def test_a_run_that_logged_elsewhere_is_run_again_into_its_own_folder(home):
    config, _ = new_config(with_loggers(home), [], home / "new")
    assert config["logger"]["mlflow"]["tracking_uri"] == f"sqlite:///{home}/new/mlflow.db"
    assert config["logger"]["mlflow"]["artifact_location"] == f"{home}/new/mlflow_artifacts"
    assert config["logger"]["comet"]["offline_directory"] == f"{home}/new/comet"
    assert config["logger"]["aim"]["repo"] == f"{home}/new"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logger.mlflow.tracking_uri", "http://elsewhere:5000"),
        ("logger.mlflow.tracking_uri", "sqlite:////elsewhere/mlflow.db"),
        ("logger.mlflow.artifact_location", "/elsewhere"),
        ("logger.mlflow.tracking_uri", "file://{run}/%2e%2e/%2e%2e/elsewhere"),
        ("logger.mlflow.tracking_uri", "file://{run}/%252e%252e/%252e%252e/elsewhere"),
        ("logger.mlflow.tracking_uri", "file:///elsewhere?/..{run}/mlruns"),
        ("logger.mlflow.tracking_uri", "sqlite:////elsewhere.db?/..{run}/mlflow.db"),
        ("logger.mlflow.artifact_location", "{run}/%2e%2e/%2e%2e/elsewhere"),
        ("logger.comet.offline_directory", "../elsewhere"),
        ("logger.aim.repo", "/elsewhere"),
        ("logger.aim.repo", "~/elsewhere"),
        ("logger.aim.repo", "file:/../../..{run}/elsewhere"),
        ("logger.aim.repo", "aim://elsewhere:53800"),
        ("logger.aim.repo", "ssh://elsewhere/runs"),
        ("index.lance", {"_target_": "twotower.index.lance.LanceIndex", "uri": "/elsewhere"}),
        ("index.lance", {"_target_": "twotower.index.lance.LanceIndex", "uri": "s3://elsewhere"}),
        ("index.lance", {"_target_": "twotower.index.lance.LanceIndex", "uri": "s3:elsewhere"}),
    ],
)
def test_a_foreign_record_sends_nothing_elsewhere(home, key, value, monkeypatch):
    recorded = with_loggers(home)
    value = value.replace("{run}", f"{home}/new") if isinstance(value, str) else value
    (home / "new").mkdir()
    monkeypatch.chdir(home / "new")
    *parents, name = key.split(".")
    node = recorded.config
    for parent in parents:
        node = node[parent]
    node[name] = value
    with pytest.raises(UserError, match="would write outside the run folder"):
        new_config(recorded, [], home / "new")
    if key == "logger.mlflow.tracking_uri":  # the user's own server, as the environment names it
        monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
        assert new_config(recorded, [], home / "new")[0]["logger"]["mlflow"]["tracking_uri"] == value


def test_a_foreign_record_copies_no_environment_into_aim(home):
    recorded = with_loggers(home)
    recorded.config["logger"]["aim"]["log_system_params"] = True
    with pytest.raises(UserError, match=r"logger\.aim\.log_system_params is not taken from a file"):
        new_config(recorded, [], home / "new")


def test_a_logger_of_a_trusted_package_keeps_its_own_settings(home, mine, monkeypatch):
    recorded = with_loggers(home)
    old = recorded.config["paths"]["run"]
    own = {"_target_": "mine_parts.Loss", "scale": 2.0, "path": f"{old}/lines.txt", "levels": {"loss": [1, None]}}
    recorded.config["logger"] = {"own": own}
    monkeypatch.setenv(VARIABLE, "mine_parts")
    kept = new_config(recorded, [], home / "new")[0]["logger"]["own"]
    assert kept == {**own, "path": f"{home}/new/lines.txt"}
    for odd in (
        str(home / "victim"),
        "~/victim",
        "victim",
        f"{home}/new/../victim",
        {"file": "/victim"},
        [["/victim"]],
    ):
        recorded.config["logger"]["own"]["path"] = odd
        with pytest.raises(UserError, match=r"logger\.own\.path is not taken from a file; give it on the command line"):
            new_config(recorded, [], home / "new")
    assert new_config(recorded, ["logger.own.path=mine.txt"], home / "new")[0]["logger"]["own"]["path"] == "mine.txt"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("redis.url", "redis://elsewhere.example:6379"),
        ("redis.url", "redis://127.0.0.1.elsewhere.example"),
        ("redis.url", "redis://localhost@elsewhere.example"),
        ("redis.url", "redis://?host=elsewhere.example"),
        ("redis.index_name", "papers"),
        ("lance.uri", "s3://bucket/db"),
        ("lance.uri", "/somewhere"),
    ],
)
def test_a_foreign_record_exports_to_no_server_and_under_no_alias_of_its_own(home, key, value):
    def change(config):
        config["index"] = {
            "redis": {"_target_": "twotower.index.redis.RedisIndex", "index_name": None},
            "lance": {"_target_": "twotower.index.lance.LanceIndex", "uri": None, "index_name": "mine"},
        }
        name, setting = key.split(".")
        config["index"][name][setting] = value

    recorded = changed(home / "tests/old_run/mlp", change)
    with pytest.raises(UserError, match=rf"index\.{key}=.* would write outside the run folder; say so yourself"):
        new_config(recorded, [], home / "new")
    given = [f"++index.{key}='{value}'", *(["index.lance.index_name=mine"] if key == "lance.uri" else [])]
    config, _ = new_config(recorded, given, home / "new")
    name, setting = key.split(".")
    assert config["index"][name][setting] == value
    for server in (None, "redis://127.0.0.1:6390", "redis://[::1]", "unix:///run/redis.sock", "rediss://localhost"):
        recorded.config["index"] = {"redis": {"_target_": "twotower.index.redis.RedisIndex", "url": server}}
        assert new_config(recorded, [], home / "new")[0]["index"]["redis"]["url"] == server


@pytest.mark.parametrize("link", ["index", "index/exact", "lexical", "index/.exact.part", "index/.vectors.part"])
def test_an_index_is_built_through_no_link_of_a_foreign_folder(home, link):
    run = home / "tests" / "old_run" / "mlp"
    (home / "folder" / "exact").mkdir(parents=True)
    (home / "folder" / "exact" / "mine").write_bytes(SECRET)
    shutil.rmtree(run / link, ignore_errors=True)
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(home / "folder")
    error = run_twotower("index", "--run", "tests/old_run/mlp", "--index", "exact")
    assert isinstance(error, UserError)
    assert "outside the run's folder" in str(error)
    assert [path.read_bytes() for path in (home / "folder").rglob("*") if path.is_file()] == [SECRET]


@pytest.mark.parametrize("link", ["train.log", "checkpoints/history.json", "metrics"])
def test_a_run_goes_on_through_no_link_of_a_foreign_folder(home, link):
    run = home / "tests" / "old_run" / "mlp"
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "interrupted", "config_hash": "ab"}))
    shutil.rmtree(run / link, ignore_errors=True)
    (run / link).unlink(missing_ok=True)
    (run / link).symlink_to(home / "victim")
    with pytest.raises(UserError, match="outside the run's folder"):
        find_resume(str(run), home / "new", "ab")
    assert find_resume(str(run), home / "new", "other")[0] == home / "new"
    (run / link).unlink()
    (run / "wandb" / "logs").mkdir(parents=True)
    (run / "wandb" / "logs" / "debug-core.log").symlink_to(home / "victim")  # W&B's own, which it replaces
    (run / "latest").symlink_to("checkpoints")
    assert find_resume(str(run), home / "new", "ab")[0] == run


@pytest.mark.parametrize("name", ["../../victim", "/victim", ".hidden", "a/b"])
def test_an_index_is_no_path(name):
    from twotower.index.export import make_indexes

    with pytest.raises(UserError, match="name of its folder"):
        make_indexes({name: {"_target_": "twotower.index.exact.ExactIndex"}})


def test_a_value_of_a_foreign_record_is_never_looked_up(home, monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    recorded = changed(home / "tests/old_run/mlp", lambda config: config["data"].update(path="${oc.env:PASSWORD}"))
    for overrides in ([], ["data=beir"], ["data.path=there"]):
        with pytest.raises(UserError, match="refers to another value"):
            new_config(recorded, overrides, home / "new")


def test_nothing_of_ours_is_listed_by_living_in_our_package():
    """Every callable of every module of the package, at every place: only what stands in the list passes."""
    names = set()
    for found in pkgutil.walk_packages(twotower.__path__, "twotower."):
        try:
            module = importlib.import_module(found.name)
        except ImportError:  # an extra that is not installed
            continue
        for name, item in vars(module).items():
            if callable(item):
                names.add(f"{found.name}.{name}")
                names |= {f"{found.name}.{name}.{below}" for below in vars(item)} if inspect.isclass(item) else set()
    assert len(names) > 2000
    for place, listed in LISTED.items():
        where = place.replace("*", "name")
        for name in names | set(listed):
            try:
                admit({"_target_": name}, source="run.json", place=where)
            except UntrustedError:
                assert name not in listed, (name, place)
            else:
                assert name in listed, (name, place)


def test_a_listed_part_is_built_at_its_own_place_only():
    for place, wrong in (
        ("loss", "callbacks.x"),
        ("data.source", "loss"),
        ("index.*", "logger.x"),
        ("trainer", "loss"),
    ):
        with pytest.raises(UntrustedError):
            admit({"_target_": LISTED[place][0]}, source="run.json", place=wrong)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package of the user's, and another whose name only begins like it."""
    for name in ("mine_parts", "mine_parts_too"):
        (tmp_path / "lib" / name).mkdir(parents=True)
        (tmp_path / "lib" / name / "__init__.py").write_text(
            "import os, subprocess\nfrom numpy import save\nfrom twotower.index.vectors import new_npy\n"
            "class Loss:\n    def __init__(self, scale=1.0):\n        self.scale = scale\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    yield "mine_parts"
    for name in ("mine_parts", "mine_parts_too"):
        sys.modules.pop(name, None)


def test_what_the_user_trusts_a_file_may_name(mine, monkeypatch):
    part = {"_target_": "mine_parts.Loss", "scale": 2.0}
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UntrustedError, match="--trust mine_parts, or TWOTOWER_TRUST=mine_parts"):
        admit(part, source="run.json", place="loss")
    admit(part, source="run.json", place="loss", trusted=["mine_parts."])
    monkeypatch.setenv(VARIABLE, "other,mine_parts.")
    admit(part, source="run.json", place="loss")
    with pytest.raises(UntrustedError):
        admit({"_target_": "mine_parts_too.Loss"}, source="run.json", place="loss")


@pytest.mark.parametrize("name", ["os.system", "subprocess.run", "save", "new_npy", "os.path.join"])
def test_trust_ends_where_a_package_reaches_into_another(mine, name):
    with pytest.raises(UserError, match=r"not trusted|not allowed"):
        admit({"_target_": f"mine_parts.{name}"}, source="run.json", place="loss", trusted=["mine_parts"])


@pytest.mark.parametrize("name", ["twotower", "twotower.index", "os", "builtins", "a b", "*", ".", "mine..x"])
def test_some_things_can_not_be_trusted(name):
    if name.strip("*."):
        with pytest.raises(UserError, match="name a package"):
            trusted_packages([name])


def test_the_command_says_how_to_trust(home, mine):
    changed(home / "tests/old_run/mlp", lambda config: config.update(loss={"_target_": "mine_parts.Loss"}))
    from twotower.cli.main import _with_way_out

    error = run_twotower("rerun", "tests/old_run/mlp")
    assert isinstance(error, UntrustedError)
    sys_argv, sys.argv = sys.argv, ["twotower", "rerun", "tests/old_run/mlp"]
    try:
        assert _with_way_out(error).endswith("If you trust it: twotower rerun tests/old_run/mlp --trust mine_parts")
    finally:
        sys.argv = sys_argv


def test_an_override_replaces_a_part_that_is_not_trusted(home):
    recorded = changed(home / "tests/old_run/mlp", lambda config: config.update(loss={"_target_": "their.Loss"}))
    config, _ = new_config(recorded, ["loss=triplet"], home / "new")
    assert config["loss"]["_target_"] == "twotower.loss.triplet.TripletLoss"
    config, _ = new_config(recorded, ["loss._target_=mine.Loss"], home / "new")
    assert config["loss"]["_target_"] == "mine.Loss"


def test_the_user_s_own_config_names_any_class_of_a_package(mine):
    assert instantiate({"_target_": "mine_parts.Loss", "scale": 3.0}).scale == 3.0
    assert instantiate({"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}).out_features == 3


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "builtins.eval", "subprocess.Popen", "mine_parts.os.system", "twotower.data.beir.Path.unlink"),
        *("runpy.run_path", "nowhere.at.all", "torch.nn.Linnear", "torch.nn", "torch", "", "a..b", "twotower.data."),
        *(3, None),
    ],
)
def test_a_part_is_a_callable_of_a_package(mine, target):
    with pytest.raises(UserError, match="_target_="):
        locate(target, "loss")
