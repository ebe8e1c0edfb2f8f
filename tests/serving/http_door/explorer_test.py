"""A person's journey through the interest explorer, in a headless Chromium.

The server is real; the page asks nobody else.
"""

import re
import threading

import pytest

from serving.server import RecallServer
from tests.serving.explorer_visit import SIZES, WAIT_MS, Visit
from tests.waiting import wait_for


def pick(visit, text, title):
    """Types into the search field and takes an item by the keyboard alone."""
    visit.page.keyboard.press("/")
    visit.page.keyboard.type(text)
    visit.wait(f"document.querySelector('#found li')?.innerText.startsWith({title!r})")
    visit.page.keyboard.press("Enter")
    visit.wait(f"document.querySelector('#history li:last-child .name')?.innerText == {title!r}")


def test_from_the_empty_page_to_recommendations(visit):
    page = visit.page
    visit.open()
    assert page.title() == "Interest explorer"
    assert visit.texts("#answer-title") == ["Popular items"]
    assert visit.ids()[:3] == ["i0", "i1", "i2"]
    assert visit.history() == []
    assert not page.is_visible("#interests-section")
    assert visit.violations() == []
    pick(visit, "item 7", "Item 7")
    visit.wait("document.querySelectorAll('.card ol li').length == 10")
    assert visit.state() == {"h": ["i7"]}
    assert visit.texts("#answer-title") == ["Recommended"]
    assert visit.texts(".card h3")[0].startswith("0\nInterest 0")
    weights = [int(text.rstrip(" %")) for text in visit.texts(".card .weight")]
    assert 99 <= sum(weights) <= 101
    assert len(visit.ids()) == 20
    assert "i7" not in visit.ids()
    counts = [int(text.partition(" of 20")[0]) for text in visit.texts(".card > .hint")]
    assert sum(counts) == 20
    badges = visit.texts("#items .badge")
    assert counts == [badges.count("0"), badges.count("1")]
    assert re.fullmatch(r"answered in .* ms · index and exact agree", visit.texts("#timing")[0])
    added = visit.ids()[0]
    page.click("#items .add >> nth=0")
    visit.wait("document.querySelectorAll('#history li').length == 2")
    assert visit.state() == {"h": ["i7", added]}
    visit.wait(f"!document.querySelector('#items li[data-id={added}]')")
    visit.wait("document.querySelectorAll('.card ol li').length == 10")
    assert visit.violations() == []
    assert visit.is_as_wide_as_the_window()


def test_search_finds_by_title_and_id_and_says_when_there_is_nothing(narrow):
    page = narrow.page
    narrow.open()
    page.fill("#search", "I0")
    narrow.wait("document.querySelector('#found li')?.innerText.startsWith('i0')")
    page.fill("#search", "ÍTEM 11")
    narrow.wait("document.querySelector('#found li')?.innerText.startsWith('Item 11')")
    assert page.get_attribute("#search", "aria-expanded") == "true"
    assert narrow.violations() == []
    page.fill("#search", "no such item")
    narrow.wait("document.getElementById('search-status').innerText.includes('No item has')")
    assert not page.is_visible("#found")
    page.fill("#search", "item 1")
    narrow.wait("document.querySelectorAll('#found li').length == 8")
    page.keyboard.press("ArrowUp")
    chosen = page.get_attribute("#search", "aria-activedescendant")
    assert page.get_attribute(f"#{chosen}", "aria-selected") == "true"
    assert chosen == "found-7"
    page.keyboard.press("Escape")
    assert not page.is_visible("#found")
    page.click("#search")
    page.fill("#search", "item 12")
    narrow.wait("document.querySelector('#found li')?.innerText.startsWith('Item 12')")
    page.click("#found li")
    narrow.wait("document.querySelectorAll('#history li').length == 1")
    page.fill("#search", "")
    page.keyboard.press("Backspace")
    narrow.wait("document.querySelectorAll('#history li').length == 0")


def test_the_request_and_its_effect(visit):
    page = visit.page
    visit.open("#h=i7&h=i30")
    if not page.is_visible("#k"):
        page.click("#settings summary")
    page.fill("#only", "red")
    page.press("#only", "Enter")
    visit.wait("[...document.querySelectorAll('#items .meta')].every(e => e.innerText == 'red')")
    assert visit.state()["only"] == ["red"]
    page.click("[aria-label='Remove red']")
    page.fill("#k", "15")  # Diversity picks from four times as many: from all.
    page.press("#k", "Tab")
    visit.wait("document.querySelectorAll('#items li').length == 15")
    page.click("text=Quota")
    visit.wait("document.querySelector('.card label').innerText.startsWith('Share')")
    page.locator("#weight-0").fill("0")
    visit.wait("document.querySelector('.card > .hint').innerText == '0 of 15 places'")
    assert set(visit.texts("#items .badge")) == {"1"}
    assert visit.state()["w"][0].startswith("0,")
    assert visit.violations() == []
    page.click("#even")
    visit.wait("!location.hash.includes('w=')")
    page.click("text=Diverse")
    page.fill("#diversity", "50")
    page.press("#diversity", "Tab")
    visit.wait("location.hash.includes('lambda=50')")
    colours = "[...document.querySelectorAll('#items .meta')].slice(0, 3).map(e => e.innerText)"
    visit.wait(f"new Set({colours}).size == 3")
    page.click("text=Exact")
    visit.wait("location.hash.includes('exact=1')")
    visit.wait("document.getElementById('timing').innerText.includes('agree')")
    page.check("#seen")
    visit.wait("location.hash.includes('seen=1')")
    assert visit.is_as_wide_as_the_window()


def test_a_category_that_no_item_has(narrow):
    narrow.open("#h=i7&only=red&only=purple&never=pink")
    narrow.wait("document.getElementById('summary').innerText.includes('no categor')")
    assert "“purple”, “pink” are no categories of these items." in narrow.texts("#summary")[0]
    if not narrow.page.is_visible("#k"):
        narrow.page.click("#settings summary")
    narrow.page.wait_for_selector(".chips .unknown")
    assert narrow.texts(".chips .unknown") == ["purple \u00d7", "pink \u00d7"]
    assert narrow.violations() == []
    narrow.page.click("[aria-label='Remove purple']")
    narrow.page.click("[aria-label='Remove pink']")
    narrow.wait("!document.getElementById('summary').innerText.includes('no categor')")
    assert set(narrow.texts("#items .meta")) == {"red"}
    narrow.page.click("[aria-label='Remove red']")
    narrow.page.fill("#only", "purple")
    narrow.page.press("#only", "Enter")
    no_item = "No item passes the filters. “purple” is no category of these items."
    narrow.wait(f"document.getElementById('summary').innerText == '{no_item}'")


def test_the_address_is_the_state(wide):
    page = wide.page
    address = "#h=i3&h=zebra&k=5&merge=quota&w=0,1&never=green"
    wide.open(address)
    wide.wait("document.querySelectorAll('.card ol li').length == 10")
    wide.wait("document.querySelector('#history .name').innerText == 'Item 3'")
    assert wide.history() == ["Item 3", "zebra"]
    assert "Not served" in wide.texts("#history .unknown .meta")[0]
    assert "1 item of the history is not known" in wide.texts("#summary")[0]
    first = wide.ids()
    assert len(first) == 5
    assert "green" not in " ".join(wide.texts("#items .meta"))
    page.click("#history .remove >> nth=1")
    wide.wait("document.querySelectorAll('#history li').length == 1")
    page.go_back()
    wide.wait("document.querySelectorAll('#history li').length == 2")
    page.reload()
    wide.wait("document.querySelectorAll('.card ol li').length == 10")
    assert wide.ids() == first
    # What makes no sense is passed over.
    wide.open("#h=i3&k=many&merge=magic&w=a,b&lambda=-1")
    page.reload()
    wide.wait("document.querySelectorAll('#items li').length == 20")


def test_a_made_up_visitor_has_two_tastes(narrow):
    narrow.open()
    narrow.page.click("#visitors button >> nth=0")
    narrow.wait("document.querySelectorAll('.card ol li').length == 10")
    assert len(narrow.history()) == 6
    narrow.page.click("#clear")
    narrow.wait("document.querySelectorAll('#history li').length == 0")
    narrow.wait("document.getElementById('answer-title').innerText == 'Popular items'")
    assert narrow.page.evaluate("document.activeElement.id") == "search"


def test_one_item(narrow):
    page = narrow.page
    narrow.open("#h=i7")
    page.click("#items .name >> nth=0")
    page.wait_for_selector("dialog h3")
    dialog = page.inner_text("dialog")
    assert "Part of the release, served" in dialog
    assert re.search(r"\d+ clicks? in the log", dialog)
    assert len(narrow.texts("dialog ol li")) == 5
    assert narrow.violations() == []
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog")
    page.click("#items .name >> nth=1")
    page.click("dialog >> text=Add to the history")
    narrow.wait("document.querySelectorAll('#history li').length == 2")


def test_an_overloaded_server(wide):
    """429 is tried again by itself, then told."""
    answers = []

    def refuse(route):
        answers.append(route.request.url)
        headers = {"Retry-After": "0"}
        route.fulfill(status=429, json={"error": "The server is full."}, headers=headers)

    wide.open("#h=i7")
    wide.page.route("**/recall", refuse)
    wide.page.click("#items .add >> nth=0")
    wide.page.wait_for_selector("#notice:not([hidden])")
    assert "more requests than it can take" in wide.texts("#notice")[0]
    assert len(answers) >= 3
    assert wide.violations() == []
    wide.page.unroute("**/recall")
    wide.page.click("#notice button")
    wide.page.wait_for_selector("#notice", state="hidden")
    assert len(wide.history()) == 2


def test_a_request_that_is_refused(wide):
    """Three weights for two interests."""
    wide.open("#h=i7&w=1,1,1")
    notice = wide.texts("#notice span")[0]
    assert notice == ("`interest_weights` must be one number for each of 2 interests, received 3.")
    wide.page.click("text=Reset the request")
    wide.wait("document.querySelectorAll('.card ol li').length == 10")
    assert wide.state() == {"h": ["i7"]}
    assert not wide.page.is_visible("#notice")


def test_a_server_that_stops_and_comes_back(chromium, release):
    server = RecallServer(release, grpc_port=0, http_port=0)
    server.start()
    visit = Visit(chromium, server, "phone")
    port = server.http_port
    try:
        visit.open("#h=i7")
        visit.wait("document.querySelectorAll('.card ol li').length == 10")
        shown = visit.ids()
        server.stop()
        visit.page.click("#items .add >> nth=0")
        visit.page.wait_for_selector("#notice:not([hidden])")
        assert "The server does not answer" in visit.texts("#notice")[0]
        assert visit.ids() == shown  # The last answer stays, greyed.
        assert visit.violations() == []
        server = RecallServer(release, grpc_port=0, http_port=port)
        server.start()
        # By itself, also where the first answer comes too late, after the 30 s of a request.
        visit.page.wait_for_selector("#notice", state="hidden", timeout=3 * WAIT_MS)
        assert len(visit.history()) == 2
    finally:
        server.stop()
        visit.problems = [text for text in visit.problems if "ERR_CONNECTION" not in text]
        visit.close()


def test_a_server_that_is_still_loading(chromium, release, monkeypatch):
    """Its doors are open before its models are there; nobody has to ask again by hand."""
    server, may_load = RecallServer(release, grpc_port=0, http_port=0), threading.Event()
    load = server._manager.start
    monkeypatch.setattr(server._manager, "start", lambda: may_load.wait() and load())
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        wait_for(lambda: server.http_port)
        visit = Visit(chromium, server, "phone")
        visit.open("#h=i7")
        visit.page.wait_for_selector("#notice:not([hidden])")
        assert "recall is being loaded; try again later." in visit.texts("#notice")[0]
        may_load.set()
        visit.wait("document.querySelectorAll('.card ol li').length == 10")
        assert not visit.page.is_visible("#notice")
        visit.close()
    finally:
        may_load.set()
        starting.join()
        server.stop()


def test_dark_colours_stay(chromium, server):
    visit = Visit(chromium, server, "wide", color_scheme="dark")
    visit.open("#h=i7&h=i12")
    visit.wait("document.querySelectorAll('.card ol li').length == 10")
    assert visit.page.get_attribute("html", "data-theme") == "dark"
    assert visit.violations() == []
    visit.page.click("#theme")
    visit.page.reload()
    assert visit.page.get_attribute("html", "data-theme") == "light"
    visit.close()


def test_a_whole_weight_stays_on_its_card(visit):
    visit.open("#h=i7")
    visit.wait("document.querySelectorAll('.card ol li').length == 10")
    visit.page.evaluate(
        "document.querySelectorAll('.card .weight').forEach(w => w.textContent = '100 %')"
    )
    edge = "e => e.closest('.card').getBoundingClientRect().right - e.getBoundingClientRect().right"
    padding = "parseFloat(getComputedStyle(document.querySelector('.card')).paddingRight)"
    weights = visit.page.locator(".card .weight").all()
    assert len(weights) == 2
    assert all(w.evaluate(edge) >= visit.page.evaluate(padding) - 1 for w in weights)


def test_long_titles_are_cut_off_not_the_page_widened(visit):
    visit.open()
    titles = "document.querySelectorAll('.visitors button, #items .name')"
    visit.page.evaluate(f"{titles}.forEach(b => b.innerText = 'Long '.repeat(60))")
    assert visit.is_as_wide_as_the_window()
    boxes = "[...document.querySelectorAll('main section')].map(s => s.getBoundingClientRect())"
    assert visit.page.evaluate(
        f"{boxes}.every((a, i, all) => all.slice(i + 1).every(b => a.right <= b.left || "
        "a.bottom <= b.top || b.bottom <= a.top || b.right <= a.left))"
    ), "no card lies over another"


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_the_api(chromium, server, size, scheme):
    visit = Visit(chromium, server, size, color_scheme=scheme)
    visit.page.goto(visit.root + "docs#searchItems")
    visit.page.wait_for_selector("#home:not([hidden])")
    assert {"/recall", "/items:search", "/v1/models/{model}:predict"} <= {
        *visit.texts(".call h3 code")
    }
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert "interest_weights" in visit.page.inner_text("#recall")
    examples = [text for text in visit.texts(".call pre") if text.startswith("curl")]
    assert len(examples) == len(visit.texts(".call"))
    assert all(f"'{visit.root}" in example for example in examples)
    assert visit.violations() == []
    assert visit.is_as_wide_as_the_window()
    visit.close()


def test_keyboard_reaches_everything(wide):
    wide.open("#h=i7")
    wide.wait("document.querySelectorAll('.card ol li').length == 10")
    reached = set()
    for _ in range(90):
        wide.page.keyboard.press("Tab")
        reached.add(
            wide.page.evaluate(
                "document.activeElement.id || document.activeElement.className.split(' ')[0]"
            )
        )
    assert {
        *("skip", "theme", "clear", "search", "name", "icon", "k", "only", "never", "seen"),
        *("most", "weight-0", "weight-1"),
    } <= reached
