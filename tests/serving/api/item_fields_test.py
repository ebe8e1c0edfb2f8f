"""A field of an item is declared in one place; JSON, tensors and the sender follow."""

import json
import subprocess
import sys

import pytest

from serving.api import item_changes

_DECLARATIONS = """
    brand: str = declare_field("", Kind.TEXT, input_name="brands", json_key="maker")
    shops: tuple[str, ...] = declare_field((), Kind.TEXTS, text="shop", in_items_file=False)
"""

_SCRIPT = """
import json, sys, types

# The one place, with two fields more; everybody else imports it afterwards.
import serving.api
source = open(sys.argv[1], encoding="utf-8").read()
head, mark, tail = source.partition("\\n\\n\\nITEM_FIELDS: ")
assert mark
module = types.ModuleType("serving.api.item_changes")
sys.modules[module.__name__] = module
exec(compile(head + sys.argv[2] + mark + tail, sys.argv[1], "exec"), module.__dict__)

from pipelines.sources.items import ITEM_SCHEMA, read_items
from serving.api import items_json, items_tensors
from serving.protocol import tensors
from serving.servables import items_rows
from tests.serving.grpc_requests import build_request

class Taker:
    def upsert(self, items, *, version):
        self.items = items
        return module.Acknowledgement(1, 2, 3)

def refusal(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return str(error)

taker = Taker()
item = {"id": "a", "maker": "Acme", "shops": ["x", "y"]}
items_json.upsert(taker, {"items": [item, {"id": "b"}]}, version=1)
message = build_request("items", items_tensors.build_upsert_inputs(taker.items))
sent = {name: tensors.to_numpy(proto, name) for name, proto in message.inputs.items()}
signature = items_rows.items_signature_defs()["upsert"]
received = items_rows.parse_upserts(
    {**{n: tensors.to_numpy(proto, n) for n, proto in signature.defaults.items()}, **sent}
)
json.dump({
    "json": [[i.item_id, i.brand, i.shops] for i in taker.items],
    "back to json": items_json.item_to_json({"item_id": "a", "brand": "Acme", "shops": ()}),
    "unknown": refusal(items_json.upsert, taker, {"items": [{"q": 1}]}, version=1),
    "wrong": refusal(items_json.upsert, taker, {"items": [{"id": "a", "maker": 3}]}, version=1),
    "too long": refusal(module.check_upserts, [module.ItemUpsert("a", brand="x" * 4097)]),
    "too many": refusal(module.check_upserts, [module.ItemUpsert("a", shops=("x",) * 101)]),
    "empty": refusal(module.check_upserts, [module.ItemUpsert("a", shops=("",))]),
    "inputs": sorted(signature.inputs),
    "defaults": sorted(signature.defaults),
    "sent": sorted(sent),
    "received": [[i.item_id, i.brand, i.shops] for i in received],
    "rows": read_items(sys.argv[3]).to_pylist(),
    "columns": [[f.name, str(f.type)] for f in ITEM_SCHEMA],
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What every reader makes of two declared fields."""
    path = tmp_path_factory.mktemp("items") / "items.csv"
    path.write_text("item_id,category,brand\na,red|blue,Acme\nb,,\n")
    command = [sys.executable, "-c", _SCRIPT, item_changes.__file__, _DECLARATIONS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ITEMS = [["a", "Acme", ["x", "y"]], ["b", "", []]]


def test_json_reads_and_writes_it(seen):
    assert seen["json"] == ITEMS
    assert seen["back to json"] == {"id": "a", "maker": "Acme"}
    assert seen["unknown"].endswith(
        "has the keys id, categories, title, vector, features, maker, shops."
    )
    assert seen["wrong"] == "`items[0].maker` must be a string, received 3."


def test_it_is_checked(seen):
    assert seen["too long"] == "A text of item 'a' has 4097 characters; at most 4096 are taken."
    assert seen["too many"] == "Item 'a' has 101 shops; at most 100 are taken."
    assert seen["empty"] == "Item 'a' has an empty shop. Leave it out."


def test_tensors_carry_it(seen):
    optional = ["brands", "categories", "features", "shops", "titles", "vectors"]
    assert seen["inputs"] == sorted([*optional, "item_ids"])
    assert seen["defaults"] == optional
    assert seen["sent"] == ["brands", "categories", "item_ids", "shops", "titles"]
    assert seen["received"] == ITEMS


def test_an_items_file_has_it(seen):
    assert seen["columns"] == [
        ["item_id", "string"],
        ["categories", "list<item: string>"],
        ["title", "string"],
        ["brand", "string"],
    ]
    assert seen["rows"] == [
        {"item_id": "a", "categories": ["red", "blue"], "title": "", "brand": "Acme"},
        {"item_id": "b", "categories": [], "title": "", "brand": ""},
    ]
