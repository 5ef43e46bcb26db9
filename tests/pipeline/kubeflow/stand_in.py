"""A stand-in for the KFP API: a small HTTP server in this process that answers with KFP's own models.

It is not KFP: it keeps what it is sent, lets every run walk through given states, and checks nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import kfp_server_api as api

API = "/apis/v2beta1"
NOW = datetime(2025, 1, 1, tzinfo=UTC)


class StandIn:
    """What it was sent, and what it will say about a run.

    Attributes:
        states: of the run, one for every look; the last stays.
        failing: task that fails when the run does.
    """

    def __init__(self, states: tuple[str, ...], tasks: tuple[str, ...], failing: str = "") -> None:
        self.states, self.tasks, self.failing = list(states), tasks, failing
        self.pipelines: list[api.V2beta1Pipeline] = []
        self.versions: list[api.V2beta1PipelineVersion] = []
        self.uploads: list[bytes] = []
        self.runs: list[dict[str, Any]] = []
        self.host = ""

    def get(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/healthz":
            return api.V2beta1GetHealthzResponse(multi_user=False)
        if path == "/pipelines":
            return api.V2beta1ListPipelinesResponse(pipelines=self.pipelines or None)
        if path.endswith("/versions"):
            return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=self.versions)
        if path == "/experiments":
            return api.V2beta1ListExperimentsResponse()
        if path.startswith("/runs/"):
            return self.run(path.rpartition("/")[2])
        raise KeyError(path)

    def post(self, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        if path == "/pipelines/upload":
            self.uploads.append(body)
            self.pipelines.append(api.V2beta1Pipeline(pipeline_id="p1", display_name=query["name"][0]))
            return self.pipelines[-1]
        if path == "/pipelines/upload_version":
            self.uploads.append(body)
            version = api.V2beta1PipelineVersion(
                pipeline_id=query["pipelineid"][0],
                pipeline_version_id=f"v{len(self.versions) + 1}",
                display_name=query["name"][0],
            )
            self.versions.append(version)
            return version
        if path == "/experiments":
            return api.V2beta1Experiment(experiment_id="e1", **json.loads(body))
        if path == "/runs":
            self.runs.append(json.loads(body))
            return api.V2beta1Run(run_id=f"run-{len(self.runs)}")
        raise KeyError(path)

    def run(self, run_id: str) -> api.V2beta1Run:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        details = [
            api.V2beta1PipelineTaskDetail(
                task_id=name,
                display_name=name,
                state="FAILED" if name == self.failing else "SUCCEEDED",
                start_time=NOW,
                end_time=NOW + timedelta(seconds=90),
                error=api.GoogleRpcStatus(message="exit code 1") if name == self.failing else None,
            )
            for name in ("root", *self.tasks)
        ]
        return api.V2beta1Run(
            run_id=run_id, state=state, run_details=api.V2beta1RunDetails(task_details=details)
        )


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Serves a stand-in on a free port of this machine; its `host` is set."""
    client = api.ApiClient()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, result: Any) -> None:
            body = json.dumps(client.sanitize_for_serialization(result)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def refuse(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"message": "no such path"}')

        def do_GET(self) -> None:
            url = urlparse(self.path)
            try:
                self.answer(stand_in.get(url.path.removeprefix(API), parse_qs(url.query)))
            except KeyError:
                self.refuse()

        def do_POST(self) -> None:
            url = urlparse(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                self.answer(stand_in.post(url.path.removeprefix(API), parse_qs(url.query), body))
            except KeyError:
                self.refuse()

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stand_in.host = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
