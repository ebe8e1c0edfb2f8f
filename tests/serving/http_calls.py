"""Calls of the HTTP door of a server, as any client makes them."""

import json
import urllib.request


def post(server, path, document):
    """The answer to a document, both of them JSON."""
    return json.loads(_read(server, path, json.dumps(document).encode()))


def get(server, path):
    """What is at a path, JSON."""
    return json.loads(_read(server, path))


def metrics(server):
    """The page for Prometheus: series -> value."""
    lines = _read(server, "/monitoring/prometheus/metrics").decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def _read(server, path, body=None):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{server.http_address}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()
