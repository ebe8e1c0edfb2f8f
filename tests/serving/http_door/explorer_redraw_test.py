"""Answers of the server that arrive while a person is at work on the page.

Every answer is held back until the person is in the middle of something; whatever it then
draws, focus, caret, half-typed text and the slider in hand are as they were.
"""

import pytest

ANSWERED = "document.getElementById('timing').innerText.includes('agree')"


def focus(visit, what="id"):
    """A property of the element with the focus."""
    return visit.page.evaluate(f"document.activeElement.{what}")


def open_with_answer(visit, address="#h=i7&h=i30"):
    """Opens the page and waits until it asks nothing any more: its visitors come last."""
    visit.open(address)
    visit.wait(f"{ANSWERED} && !document.getElementById('visitors').hidden")
    if not visit.page.is_visible("#k"):
        visit.page.click("#settings summary")


def answers_are_drawn(visit, held, expression="true"):
    """Lets everything through, from the first answer to the last drawing."""
    visit.page.evaluate("document.getElementById('timing').textContent = ''")
    held.let_through(f"{ANSWERED} && {expression}")


def test_a_number_typed_slowly(narrow):
    open_with_answer(narrow)
    page = narrow.page
    held = narrow.hold("recall", "items:lookup")
    page.click("text=Diverse")
    page.locator("#diversity").press("ControlOrMeta+a")
    page.keyboard.type("5")
    answers_are_drawn(narrow, held)
    assert focus(narrow) == "diversity"
    assert focus(narrow, "value") == "5"
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    narrow.wait("location.hash.includes('lambda=50')")
    # What is too large is put right when it is entered, although the field keeps the focus.
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    narrow.wait("location.hash.includes('lambda=100')")
    assert focus(narrow) == "diversity"
    assert focus(narrow, "value") == "100"


@pytest.mark.parametrize("field", ["k", "most"])
def test_a_number_that_is_none_yet(wide, field):
    """Half of `1e1`: no number, and no reason to put another into the field."""
    open_with_answer(wide)
    held = wide.hold("recall", "items:lookup")
    wide.page.click("text=Quota")
    wide.page.locator(f"#{field}").press("ControlOrMeta+a")
    wide.page.keyboard.type("1e")
    answers_are_drawn(wide, held)
    wide.page.keyboard.type("1")
    wide.page.keyboard.press("Tab")
    wide.wait(f"location.hash.includes('{field}=10')")


def test_a_category_typed_slowly(narrow):
    open_with_answer(narrow)
    page = narrow.page
    held = narrow.hold("recall", "items:lookup")
    page.click("text=Quota")
    page.click("#only")
    page.keyboard.type("rd")
    page.keyboard.press("ArrowLeft")
    answers_are_drawn(narrow, held)
    assert focus(narrow) == "only"
    assert focus(narrow, "value") == "rd"
    assert focus(narrow, "selectionStart") == 1
    page.keyboard.type("e")
    page.keyboard.press("Enter")
    narrow.wait("location.hash.includes('only=red')")
    all_red = "[...document.querySelectorAll('#items .meta')].every(e => e.innerText == 'red')"
    answers_are_drawn(narrow, held, all_red)
    assert focus(narrow) == "only"
    assert focus(narrow, "value") == ""


def test_a_search_typed_slowly(narrow):
    open_with_answer(narrow)
    page = narrow.page
    held = narrow.hold("recall", "items:lookup")
    page.click("#items .add >> nth=0")
    page.click("#search")
    page.keyboard.type("itm")
    page.keyboard.press("ArrowLeft")
    answers_are_drawn(narrow, held, "document.querySelectorAll('#history li').length == 3")
    assert focus(narrow) == "search"
    assert focus(narrow, "value") == "itm"
    assert focus(narrow, "selectionStart") == 2
    page.keyboard.type("e")
    page.keyboard.press("End")
    page.keyboard.type(" 12")
    narrow.wait("document.querySelector('#found li')?.innerText.startsWith('Item 12')")


def test_a_slider_that_is_being_dragged(narrow):
    open_with_answer(narrow)
    mouse = narrow.page.mouse
    slider = narrow.page.locator("#weight-0")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    held = narrow.hold("recall")
    mouse.move(box["x"] + box["width"] / 2, middle)
    mouse.down()
    mouse.move(box["x"] + 0.75 * box["width"], middle, steps=4)
    answers_are_drawn(narrow, held)
    mouse.move(box["x"] + box["width"] + 20, middle, steps=4)
    narrow.wait("decodeURIComponent(location.hash).includes('w=2,1')")
    mouse.up()
    assert focus(narrow) == "weight-0"
    assert focus(narrow, "value") == "2"


def test_a_button_of_the_history(wide):
    """Titles arrive while somebody is about to take an item out."""
    held = wide.hold("items:lookup")
    wide.open("#h=i3&h=i7&h=i30")
    wide.page.locator("#history .remove >> nth=1").focus()
    assert "Item 3" not in wide.history()
    held.let_through("document.querySelector('#history .name').innerText == 'Item 3'")
    wide.wait(ANSWERED)
    wide.page.keyboard.press("Enter")
    wide.wait("document.querySelectorAll('#history li').length == 2")
    assert wide.history() == ["Item 3", "Item 30"]
    assert focus(wide, "ariaLabel") == "Remove Item 30 from the history"


def test_an_item_keeps_the_focus_at_another_place(wide):
    """All red items leave the list, those before the one with the focus among them."""
    open_with_answer(wide, "#h=i7&h=i30&k=60")
    before = wide.ids()
    last = [number for number in before if int(number[1:]) % 3 != 2][-1]
    held = wide.hold("recall")
    wide.page.fill("#never", "red")
    wide.page.press("#never", "Enter")
    wide.page.locator(f"#items li[data-id={last}] .name").focus()
    no_red = "[...document.querySelectorAll('#items .meta')].every(e => e.innerText != 'red')"
    answers_are_drawn(wide, held, no_red)
    assert wide.ids().index(last) < before.index(last) - 5
    assert focus(wide, "closest('li').dataset.id") == last


def test_an_item_that_goes_leaves_the_focus_to_its_neighbour(wide):
    open_with_answer(wide)
    adds = wide.page.locator("#items .add")
    second = wide.ids()[1]
    adds.nth(1).focus()
    wide.page.keyboard.press("Enter")
    wide.wait(f"!document.querySelector('#items li[data-id={second}]')")
    assert focus(wide, "ariaLabel") == adds.nth(1).get_attribute("aria-label")
    assert focus(wide, "className") == "icon add"


def test_a_category_taken_out_leaves_the_focus_to_the_next(wide):
    open_with_answer(wide, "#h=i7&never=red&never=green")
    wide.page.locator("[aria-label='Remove red']").focus()
    wide.page.keyboard.press("Enter")
    assert focus(wide, "ariaLabel") == "Remove green"
    wide.page.keyboard.press("Enter")
    assert focus(wide) == "never"


def test_weights_that_are_reset_leave_the_focus_to_a_weight(wide):
    open_with_answer(wide, "#h=i7&w=0,1")
    wide.page.locator("#even").focus()
    wide.page.keyboard.press("Enter")
    wide.page.wait_for_selector("#even", state="hidden")
    assert focus(wide) == "weight-0"
    assert focus(wide, "value") == "1"


def test_the_dialog_of_an_item(wide):
    open_with_answer(wide)
    held = wide.hold("items:lookup")
    wide.page.click("#items .name >> nth=0")
    wide.page.locator("dialog >> text=Close").focus()
    held.let_through("document.querySelectorAll('dialog ol li').length == 5")
    assert focus(wide, "innerText") == "Close"


def test_the_dialog_shows_the_item_that_was_opened_last(wide):
    """The answer for the first one comes after that for the second."""
    open_with_answer(wide)
    held = wide.hold("items:lookup")
    wide.page.click("#items .name >> nth=0")
    first = held.next()
    wide.page.keyboard.press("Escape")
    wide.page.click("#items .name >> nth=1")
    held.let_through("document.querySelectorAll('dialog ol li').length == 5")
    shown = wide.page.inner_text("dialog")
    first.continue_()
    wide.page.wait_for_load_state("networkidle")
    assert wide.page.inner_text("dialog") == shown
    assert shown.startswith(wide.texts("#items .name")[1])


def test_a_problem_that_is_told_again(wide):
    """While models are being loaded the page asks every three seconds."""
    open_with_answer(wide)
    wide.page.clock.install()
    held = wide.hold("recall")
    wide.page.click("#items .add >> nth=0")
    loading = {"error": "Models are being loaded."}
    held.next().fulfill(status=503, json=loading)
    wide.page.locator("#notice button").focus()
    held.next(by_itself=True).fulfill(status=503, json=loading)
    again = held.next(by_itself=True)
    assert focus(wide, "innerText") == "Try again"
    again.continue_()
    held.let_through("document.getElementById('notice').hidden")
    assert focus(wide) == "answer-title"


def test_an_answer_that_does_not_come_in_time(wide):
    """It is asked for twice again, and then by hand; a server that has just started is slow."""
    open_with_answer(wide)
    wide.page.clock.install()
    held = wide.hold("recall")
    wide.page.click("#items .add >> nth=0")
    late = {"status": 504, "json": {"error": "Deadline Exceeded"}}
    held.next().fulfill(**late)
    held.next(by_itself=True).fulfill(**late)
    held.next(by_itself=True).fulfill(**late)
    wide.wait("document.getElementById('answer').classList.contains('stale')")
    assert "no answer in time" in wide.texts("#notice")[0]
    wide.page.clock.run_for(20_000)
    assert held.is_empty()
    wide.page.click("#notice button")
    held.let_through("document.getElementById('notice').hidden")
    assert len(wide.history()) == 3


def found(*numbers, is_complete):
    """An answer of `POST /items:search`."""
    names = [{"item_id": f"i{number}", "title": f"Item {number}"} for number in numbers]
    items = [{**name, "categories": [], "is_served": True} for name in names]
    return {"items": items, "is_complete": is_complete}


def test_the_choice_in_the_search_list_stays(wide):
    """A large catalogue is searched in steps, and each finds more."""
    wide.open()
    held = wide.hold("items:search")
    wide.page.click("#search")
    wide.page.keyboard.type("item")
    held.next().fulfill(json=found(5, 6, 7, is_complete=False))
    wide.wait("document.querySelectorAll('#found li').length == 3")
    wide.page.keyboard.press("ArrowDown")
    held.next().fulfill(json=found(1, 5, 6, 7, is_complete=True))
    wide.wait("document.querySelectorAll('#found li').length == 4")
    assert wide.texts("#found [aria-selected=true]") == ["Item 6\ni6"]
    active = wide.page.get_attribute("#search", "aria-activedescendant")
    assert wide.page.inner_text(f"#{active}") == "Item 6\ni6"
    wide.page.keyboard.press("Enter")
    wide.wait("location.hash == '#h=i6'")


@pytest.mark.parametrize("leave", ["Escape", "Tab"])
def test_a_late_answer_does_not_open_the_search_list(wide, leave):
    wide.open()
    held = wide.hold("items:search")
    wide.page.click("#search")
    wide.page.keyboard.type("item")
    late = held.next()
    wide.page.keyboard.press(leave)
    late.fulfill(json=found(5, 6, is_complete=True))
    wide.page.wait_for_load_state("networkidle")
    assert not wide.page.is_visible("#found")
    assert wide.page.get_attribute("#search", "aria-expanded") == "false"


def test_enter_takes_nothing_from_a_list_for_other_words(wide):
    wide.open()
    wide.page.click("#search")
    wide.page.keyboard.type("item 1")
    wide.wait("document.querySelectorAll('#found li').length == 8")
    wide.hold("items:search")
    wide.page.keyboard.type("2")
    wide.page.keyboard.press("Enter")
    assert wide.history() == []
