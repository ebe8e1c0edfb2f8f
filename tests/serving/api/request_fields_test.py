"""A field of a recall request is declared in one place, and everything else follows."""

import json
import subprocess
import sys

import pytest

from serving.api import recall_request

_DECLARATIONS = """
    colour: str = declare(
        "any",
        Kind.TEXT,
        choices=("any", "red"),
        flag=RequestFlag("Colour of the items.", "COLOUR"),
    )
    depth: int = declare(
        7,
        Kind.INTEGER,
        input_name="depth_of_search",
        limit="max_interests",
        flag=RequestFlag("How deep to look.", "N", after="k"),
    )
    shops: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        subject="history",
        text="a shop",
        limit="max_similar_to",
        flag=RequestFlag("Shops.", "NAMES"),
    )
"""

_SCRIPT = """
import json, sys, types

# The one place, with three fields more; everybody else imports it afterwards.
import serving.api
source = open(sys.argv[1], encoding="utf-8").read()
head, mark, tail = source.partition("\\n\\n\\nREQUEST_FIELDS: ")
assert mark
module = types.ModuleType("serving.api.recall_request")
module.__file__ = sys.argv[1]
sys.modules[module.__name__] = module
exec(compile(head + sys.argv[2] + mark + tail, sys.argv[1], "exec"), module.__dict__)

from pipelines.commands.query import COMMAND
assert "tensorflow" not in sys.modules and "numpy" not in sys.modules
from pipelines.clients import query
from serving.api import recall_json, recall_tensors
from serving.servables import recall_rows
from serving.api.recall_limits import RecallLimits, check_requests
from serving.openapi.json_schemas import recall_request_schema
from serving.protocol import tensor_messages, tensors
from tests.serving.grpc_requests import build_request

def refusal(call, *args):
    try:
        call(*args)
    except Exception as error:
        return str(error)

Request = module.RecallRequest
document = {"history": ["a"], "colour": "red", "depth": 3, "shops": ["x", "y"]}
request = recall_json.parse_request(document)
signatures = recall_rows.recall_signature_defs()
name, inputs = recall_tensors.build_recall_inputs(request)
message = build_request("recall", inputs)
inputs = {n: tensors.to_numpy(proto, n) for n, proto in message.inputs.items()}
(parsed,) = recall_rows.parse_requests(name, inputs, 1)
names = ("colour", "depth_of_search", "shops")
flags = COMMAND.flags
by_flags = query.build_request({"history": ["a"], "colour": "red", "shops": ["x"]})
json.dump({
    "json": [request.colour, request.depth, request.shops],
    "back to json": recall_json.request_to_json(request),
    "wrong types": [
        refusal(recall_json.parse_request, {"history": [], name: {}})
        for name in ("colour", "depth", "shops")
    ],
    "unknown key": refusal(recall_json.parse_request, {"q": 1}),
    "too much": [
        refusal(check_requests, [Request(**fields)], RecallLimits())
        for fields in (
            {"colour": "blue"}, {"depth": 65}, {"depth": 0}, {"shops": ("x",) * 65},
            {"shops": ("x" * 1025,)}, {"depth": 64, "shops": ("x",) * 64},
        )
    ],
    "signatures": {
        name: {
            i: [tensor_messages.dtype_name(d.inputs[i].dtype), i in d.defaults]
            for i in names if i in d.inputs
        }
        for name, d in signatures.items() if name != "item_vectors"
    },
    "default": tensors.to_numpy(
        signatures["user_vectors"].defaults["depth_of_search"], "depth"
    ).tolist(),
    "tensors": {
        "colour": inputs["colour"].item().decode(),
        "depth_of_search": inputs["depth_of_search"].item(),
        "shops": [[value.decode() for value in row] for row in inputs["shops"]],
    },
    "parsed": [parsed.colour, parsed.depth, parsed.shops],
    "flags": {n: [flags[n].kind, flags[n].value, flags[n].default] for n in
              ("colour", "depth", "shops")},
    "flag order": list(flags),
    "described": {
        n: recall_request_schema(RecallLimits())["properties"][n]
        for n in ("colour", "depth", "shops")
    },
    "by flags": [by_flags.colour, by_flags.depth, by_flags.shops],
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def seen():
    """What every reader makes of three declared fields."""
    command = [sys.executable, "-c", _SCRIPT, recall_request.__file__, _DECLARATIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_json_reads_and_writes_it(seen):
    assert seen["json"] == ["red", 3, ["x", "y"]]
    assert seen["back to json"] == {
        "history": ["a"],
        "colour": "red",
        "depth": 3,
        "shops": ["x", "y"],
    }
    assert seen["wrong types"] == [
        "`colour` must be a string, received {}.",
        "`depth` must be an integer, received {}.",
        "`shops` must be a list of strings, received {}.",
    ]
    assert seen["unknown key"].endswith(", colour, depth, shops.")


def test_limits_refuse_too_much_of_it(seen):
    assert seen["too much"] == [
        "`colour` must be one of any, red, received 'blue'.",
        "`depth` must be in [1, 64], received 65.",
        "`depth` must be in [1, 64], received 0.",
        "The length of `shops` must be at most 64, received 65.",
        "The length of a shop must be at most 1024, received 1025.",
        None,
    ]


def test_signatures_take_it(seen):
    of_all = {"colour": ["string", True], "depth_of_search": ["int32", True]}
    assert seen["signatures"] == {
        "serving_default": {**of_all, "shops": ["string", True]},
        "user_vectors": of_all,
        "similar_items": of_all,
    }
    assert seen["default"] == 7
    assert seen["tensors"] == {"colour": "red", "depth_of_search": 3, "shops": [["x", "y"]]}
    assert seen["parsed"] == ["red", 3, ["x", "y"]]


def test_the_description_of_the_api_has_it(seen):
    text = {"type": "string", "maxLength": 1024}
    assert seen["described"] == {
        "colour": {
            "type": "string",
            "enum": ["any", "red"],
            "default": "any",
            "description": "",
        },
        "depth": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "default": 7,
            "description": "",
        },
        "shops": {"type": "array", "items": text, "maxItems": 64, "description": ""},
    }


def test_recall_query_has_a_flag_for_it(seen):
    assert seen["flags"] == {
        "colour": ["string", "COLOUR", "any"],
        "depth": ["integer", "N", 7],
        "shops": ["list", "NAMES", []],
    }
    order = seen["flag order"]
    assert order[order.index("k") :][:2] == ["k", "depth"]
    assert order.index("exact") < order.index("colour") < order.index("shops")
    assert seen["by flags"] == ["red", 7, ["x"]]
