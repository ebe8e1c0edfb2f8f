"""The description of the HTTP API: it names every route, and the server does what it says.

schemathesis, a property-based tester, makes requests from the description, right and wrong
ones, and compares every answer with it.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from recall.errors import InputError
from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import REQUEST_FIELDS
from serving.openapi.document import build_openapi
from tests.serving.category_release import write_release
from tests.serving.server_process import ROOT, ServerProcess

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef0123456789abcdef"

DOCUMENT = build_openapi(RecallLimits(), needs_token=True, metrics_paths=("/metrics",))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(folder, 1)
    options = {"admin_token": TOKEN, "version_labels": ("stable",)}
    process = ServerProcess(folder, folder / "log", options=options)
    yield process
    process.terminate()
    assert process.wait() == 0
    process.kill()  # Closes its pipe.


def schema(name):
    return DOCUMENT["components"]["schemas"][name]


def test_every_reference_leads_somewhere():
    for path in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        part = DOCUMENT
        for key in path.split("/"):
            part = part[key]


def test_every_field_of_a_request_is_described():
    properties = schema("RecallRequest")["properties"]
    assert list(properties) == [field.name for field in REQUEST_FIELDS]
    assert all(of["description"] for of in properties.values())
    k = dict(properties["k"])
    assert k.pop("description") == "Items wanted."
    assert k == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}
    assert properties["merge"]["enum"] == ["max_score", "quota", "diversity", "new_categories"]
    assert properties["categories"]["minItems"] == 1
    assert properties["history"]["items"] == {"type": "string", "maxLength": 1024}
    assert properties["history"]["maxItems"] == 10_000
    assert "default" not in properties["max_per_category"]


def test_limits_are_those_of_the_server():
    document = build_openapi(RecallLimits(max_k=7, max_batch_size=3), needs_token=False)
    schemas = document["components"]["schemas"]
    assert schemas["RecallRequest"]["properties"]["k"]["maximum"] == 7
    assert schemas["RecallBatch"]["properties"]["requests"]["maxItems"] == 3
    assert "security" not in document["paths"]["/items:upsert"]["post"]
    assert "/metrics" not in document["paths"]


def test_admin_calls_need_the_token_alone():
    locked = {
        path
        for path, methods in DOCUMENT["paths"].items()
        if any("security" in operation for operation in methods.values())
    }
    assert locked == {"/items:upsert", "/items:delete"}


def test_an_answer_has_the_keys_that_are_described(server):
    item = {"history": ["i1"], "k": 1, "with_metadata": True, "with_interests": True}
    item |= {"exclude_categories": ["no such category"], "boosts": [{"where": {}, "add": 1}]}
    item["boosts"][0]["where"]["categories"] = "none either"
    status, answer = server.post("/recall", item)
    assert status == 200
    described = schema("RecallAnswer")["properties"]
    assert answer.keys() == described.keys()
    assert answer["items"][0].keys() == described["items"]["items"]["properties"].keys()
    status, answer = server.post("/items:search", {"query": "item 3"})
    described = schema("SearchAnswer")["properties"]
    assert answer.keys() == described.keys()
    assert answer["items"][0].keys() == described["items"]["items"]["properties"].keys()
    assert [item["item_id"] for item in answer["items"]][:2] == ["i3", "i30"]


def test_every_path_of_the_description_is_a_route_and_the_other_way_round(server):
    document = json.loads(server.get("/openapi.json"))
    assert document == build_openapi(
        RecallLimits(), needs_token=True, metrics_paths=("/monitoring/prometheus/metrics",)
    )
    for path, methods in document["paths"].items():
        real = path.replace("{model}", "recall").replace("{version}", "1")
        real = real.replace("{label}", "stable")
        request = urllib.request.Request(f"http://{server.http_address}{real}", method="OPTIONS")
        with urllib.request.urlopen(request, timeout=30) as answer:
            allowed = set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"}
        assert allowed == {method.upper() for method in methods}, path


def run_schemathesis(server, tmp_path, *, examples, phases):
    """Number of cases; fails where one shows a violation."""
    report = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            f"http://{server.http_address}/openapi.json",
            f"--header=Authorization: Bearer {TOKEN}",
            f"--max-examples={examples}",
            f"--phases={phases}",
            "--seed=1",
            "--continue-on-failure",
            "--generation-database=none",
            "--warnings=off",
            "--suppress-health-check=all",
            "--no-color",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.serving.openapi.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stdout[-8000:] + report.stderr[-2000:]
    return int(re.search(r"(\d[\d,]*) generated", report.stdout)[1].replace(",", ""))


def test_requests_made_from_the_description(server, tmp_path):
    assert run_schemathesis(server, tmp_path, examples=3, phases="examples,fuzzing") > 30


@pytest.mark.slow
def test_two_thousand_requests_made_from_the_description(server, tmp_path):
    phases = "examples,coverage,fuzzing,stateful"
    assert run_schemathesis(server, tmp_path, examples=100, phases=phases) >= 2000


def test_what_no_schema_can_say_is_said_by_the_server(server):
    """Sizes that depend on the model."""
    status, answer = server.post("/recall", {"user_vectors": [[1.0]]})
    assert (status, "must have 8 columns" in answer["error"]) == (400, True)


def test_clashes_are_those_of_the_server():
    """What the schema forbids together, the limits refuse."""
    from serving.api.recall_limits import check_requests
    from serving.api.recall_request import RecallRequest

    values = {
        "history": ("a",),
        "similar_to": ("a",),
        "merge": "diversity",
        "max_per_category": 1,
    }
    clashes = [clash["not"]["required"] for clash in schema("RecallRequest")["allOf"]]
    assert len(clashes) == 4
    for names in clashes:
        if "user_vectors" not in names:
            with pytest.raises(InputError):
                check_requests([RecallRequest(**{n: values[n] for n in names})], RecallLimits())
