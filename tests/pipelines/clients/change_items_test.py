"""The items command against real doors."""

import http.server
import threading

import numpy as np
import pytest

from pipelines.clients import change_items
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.api import item_changes
from serving.doors.backend import Backend
from serving.grpc_door.server import GrpcServer
from serving.http_door.api import HttpApi
from serving.http_door.server import HttpServer
from serving.index.bundle import IndexBundle
from serving.index.exact_index import ExactIndex
from serving.live.catalogue import LiveCatalogue
from serving.live.item_content import EmbeddedItems
from serving.live.items import LiveItems
from serving.models.model_server import ModelServer
from serving.network.addresses import listen_on
from serving.servables.items_servable import ItemsServable
from tests.serving.category_embedder import CategoriesAlone


def embed(categories):
    num_known = np.array([names.count("red") for names in categories])
    return EmbeddedItems(np.ones((len(categories), 2), np.float32), num_known, "f")


@pytest.fixture
def catalogue():
    vectors = np.eye(2, dtype=np.float32)
    bundle = IndexBundle(
        manifest={"fingerprint": "f", "similarity": "inner_product"},
        item_ids=np.array([b"a", b"b"]),
        item_vectors=vectors,
        table=ItemVocabulary(["a", "b"], categories=[("blue",), ()]).to_table(),
        fallback=("a",),
        index=ExactIndex(vectors),
    )
    return LiveCatalogue(bundle, version=1, embed=CategoriesAlone(embed))


@pytest.fixture(params=["grpc", "http"])
def server(request, catalogue, tmp_path):
    """The address of a door behind which there is nothing but the items."""
    (tmp_path / "serving").mkdir()
    live = LiveItems(tmp_path / "serving")
    live.attach(catalogue)
    models = ModelServer()
    models.announce("items", 1)
    models.load("items", 1, lambda: ItemsServable(live, 1))
    if request.param == "grpc":
        door = GrpcServer(Backend(models))
        port = door.add_insecure_port("127.0.0.1:0")
        door.start()
        yield f"127.0.0.1:{port}"
        door.stop(0).wait()
    else:
        (socket,) = listen_on("127.0.0.1", 0, "http_port")
        door = HttpServer(HttpApi(Backend(models)), [socket], shutdown_s=1)
        door.start()
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        door.stop()
    live.close()


def ids_of(catalogue):
    view = catalogue.view()
    return sorted(i.decode() for i in view.item_ids(view.rows()).tolist())


def write_items(path, *rows):
    path.write_text("item_id,category,title\n" + "".join(f"{row}\n" for row in rows))
    return str(path)


def test_upsert_then_delete(server, catalogue, tmp_path):
    path = write_items(tmp_path / "new.csv", "n1,red|blue,One", 'n2,red,"Two, too"')
    text = change_items.change_items(server, path, ["a", "a", "never"])
    assert text == (
        "2 items upserted, 1 deleted (1 id was no item of the server; remembered as deleted); "
        "the server now has 3 items."
    )
    assert ids_of(catalogue) == ["b", "n1", "n2"]
    view = catalogue.view()
    (row,) = view.rows_of([b"n1"])
    assert view.delta.title(row - 2) == "One"
    assert view.delta.categories(row - 2) == ("red", "blue")


def test_what_was_no_item_is_not_counted_as_deleted(server, catalogue):
    text = change_items.change_items(server, None, ["no-such-item"])
    assert text == (
        "0 items upserted, 0 deleted (1 id was no item of the server; remembered as deleted); "
        "the server now has 2 items."
    )
    change_items.change_items(server, None, ["a"])
    assert change_items.change_items(server, None, ["a", "x", "b"]) == (
        "0 items upserted, 1 deleted (2 ids were no items of the server; remembered as deleted); "
        "the server now has 0 items."
    )


def test_an_empty_cell_keeps_what_the_release_knows(server, catalogue, tmp_path):
    path = tmp_path / "back.csv"
    path.write_text("item_id,category\na,\n")
    change_items.change_items(server, None, ["a"])
    change_items.change_items(server, str(path), [])
    view = catalogue.view()
    assert view.item_ids(view.rows_in(view.category_codes(["blue"]))).tolist() == [b"a"]


def test_many_items_go_in_batches(server, catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(change_items, "MAX_CHANGES", 3)
    monkeypatch.setattr(item_changes, "MAX_CHANGES", 3)
    path = write_items(tmp_path / "new.csv", *(f"n{i},red," for i in range(8)))
    assert change_items.change_items(server, path, []).startswith("8 items upserted, 0 deleted")
    assert len(ids_of(catalogue)) == 10


def test_a_refused_batch_says_what_was_done(server, catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr(change_items, "MAX_CHANGES", 1)
    path = write_items(tmp_path / "new.csv", "n1,red,", "n2,mauve,")
    with pytest.raises(InputError, match=r"No vector for the new item 'n2'.*1 items upserted, 0"):
        change_items.change_items(server, path, ["a"])
    assert ids_of(catalogue) == ["a", "b", "n1"]


def test_nobody_there():
    with pytest.raises(InputError, match="No recall server answers"):
        change_items.change_items("http://127.0.0.1:9", None, ["a"])


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"num_items": null}', b'{"num_items": "many"}'])
def test_another_server_is_no_recall_server(body):
    class Another(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Another) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(InputError) as caught:
            change_items.change_items(address, None, ["a"])
        thread.join()
    assert str(caught.value) == (
        f"No recall server answers at {address} (what answers is no recall server). Start one "
        "with `recall serve --release=...`, and give its HTTP port. 0 items upserted, 0 deleted "
        "before that."
    )


def test_a_token_file_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="Cannot read --admin_token_file"):
        change_items.change_items("127.0.0.1:9", None, ["a"], token_file=str(tmp_path / "no"))


@pytest.mark.parametrize("server", ["grpc"], indirect=True)
def test_columns_that_are_not_sent_are_told(server, catalogue, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "plain.csv").write_text("item_id,category,title\nx,red,\n")
    change_items.change_items(server, str(tmp_path / "plain.csv"), [])
    assert "Not sent" not in caplog.text
    (tmp_path / "more.csv").write_text("item_id,category,title,brand,price\ny,red,,acme,3\n")
    change_items.change_items(server, str(tmp_path / "more.csv"), [])
    assert "Not sent: brand, price. Where the release has them as features" in caplog.text
    assert ids_of(catalogue) == ["a", "b", "x", "y"]
