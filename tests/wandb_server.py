"""A local stand-in for the W&B server: enough of it for `wandb sweep`, `wandb agent` and online runs, kept in memory.

It answers the GraphQL operations that the client sends by their name and keeps what runs stream to it, so that a test
can read back what was logged. It is no W&B: it chooses no hyper-parameters, it hands out the runs it was given.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40
"""An API key of the right shape; any is taken."""

ENTITY = "team"


@dataclass
class StoredRun:
    """What one run sent: config (nested), history rows, latest summary, exit code (None while it runs), files."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    sweep: str | None = None
    exit_code: int | None = None
    display_name: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)


class WandbServer:
    """Runs on a free port of this machine between `start` and `stop`.

    Args:
        jobs: the parameters of the runs an agent is handed, in order; then it is told to exit.
    """

    def __init__(self, jobs: list[dict[str, Any]] | None = None) -> None:
        self.jobs = list(jobs or [])
        self.program = "train.py"
        self.stop_running = False  # tells agents to stop the runs they have, as early termination does
        self.runs: dict[str, StoredRun] = {}
        self.sweeps: dict[str, str] = {}
        self.operations: list[str] = []
        self.unknown: list[str] = []
        self.agent_states: list[dict[str, Any]] = []
        self._handed_out: dict[str, str] = {}
        self._mutex = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that point W&B's client at this server."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ENTITY": ENTITY,
            "WANDB_PROJECT": "twotower",
            "WANDB_MODE": "online",
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_INIT_TIMEOUT": "60",
        }

    def start(self) -> WandbServer:
        """Starts answering."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stops answering."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answers one GraphQL request."""
        match = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = match.group(1) if match else "?"
        with self._mutex:
            self.operations.append(name)
            method = getattr(self, "_answer_" + re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", name).lower(), None)
            if method is None:
                self.unknown.append(name)
                return {}
            return method(variables)

    def stream(self, run_name: str, body: dict[str, Any]) -> None:
        """Takes what a run streams: rows of history, summaries, its exit code."""
        with self._mutex:
            run = self.runs.setdefault(run_name, StoredRun(run_name))
            files = body.get("files") or {}
            chunk = files.get("wandb-history.jsonl")
            for place, line in enumerate((chunk or {}).get("content", [])):
                run.history[chunk["offset"] + place] = json.loads(line)
            for line in (files.get("wandb-summary.json") or {}).get("content", []):
                run.summary = json.loads(line)
            if body.get("complete"):
                run.exit_code = body.get("exitcode")

    def _answer_viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "user", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}}

    def _answer_server_features_query(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _answer_upsert_sweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = variables["config"]
        project = {"id": "p", "name": variables.get("projectName") or "twotower", "entity": {"id": "e", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _answer_sweep_with_runs(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["sweep"]
        facts = {"id": name, "name": name, "method": "random", "state": "RUNNING", "config": self.sweeps[name]}
        return {"project": {"sweep": {**facts, "runs": {"edges": []}}}}

    def _answer_create_agent(self, variables: dict[str, Any]) -> dict[str, Any]:
        self._handed_out["agent"] = variables["sweep"]
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _answer_heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        states = json.loads(variables["runState"])
        self.agent_states.append(states)
        commands: list[dict[str, Any]] = []
        if not states:
            commands = [self._next_command()]
        elif self.stop_running:
            commands = [{"type": "stop", "run_id": name} for name in states]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}

    def _next_command(self) -> dict[str, Any]:
        if not self.jobs:
            return {"type": "exit"}
        job, sweep = self.jobs.pop(0), self._handed_out["agent"]
        name = f"run{len(self._handed_out)}"
        self._handed_out[name] = sweep
        arguments = {key: {"value": value} for key, value in job.items()}
        return {"type": "run", "run_id": name, "program": self.program, "args": arguments}

    def _answer_upsert_bucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name") or variables.get("id") or f"loose{len(self.runs)}"
        run = self.runs.setdefault(name, StoredRun(name))
        sweep = variables.get("sweep") or run.sweep
        run.sweep, run.group = sweep, variables.get("groupName") or run.group
        run.display_name = variables.get("displayName") or run.display_name
        run.tags = variables.get("tags") or run.tags
        if variables.get("config"):
            config = json.loads(variables["config"])
            run.config = {key: item["value"] for key, item in config.items() if key != "_wandb"}
        project = {"id": "p", "name": "twotower", "entity": {"id": "e", "name": ENTITY}}
        facts = {"id": name, "name": name, "displayName": run.display_name, "description": None, "config": None}
        more = {"sweepName": sweep, "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": {**facts, **more}, "inserted": True}}

    def _answer_create_run_files(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}

    def _answer_run_resume_status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"model": None}

    def _answer_organization_core_weave_organizationid(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": None}


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _send(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/file_stream"):
                server.stream(self.path.split("/")[-2], json.loads(body))
                self._send({"exitcode": None, "limits": {}})
            elif self.path == "/graphql":
                request = json.loads(body)
                self._send({"data": server.answer(request["query"], request.get("variables") or {})})
            else:
                self._send({})

        def do_PUT(self) -> None:
            self._body()
            self._send({})

        def do_GET(self) -> None:
            self._send({})

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
