"""Conditions on attributes, and the merge by new categories, in the interest explorer."""

import pytest

from tests.serving.feature_release import BRANDS, SHOPS, write_release


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory):
    """i0 ... i11 with brands and shops by turns, and the prices 1, 2, ..."""
    folder = tmp_path_factory.mktemp("shop")
    write_release(folder)
    return folder


def show_form(visit):
    """Opens the request, which a narrow window shows closed at first."""
    if not visit.page.is_visible("#where"):
        visit.page.click("#settings summary")


def add(visit, text):
    show_form(visit)
    visit.page.fill("#where", text)
    visit.page.press("#where", "Enter")


def shows(visit, wanted):
    visit.wait(
        "[...document.querySelectorAll('#items li')].map(e => e.dataset.id).sort().join() == "
        f"{','.join(sorted(wanted))!r}"
    )


def test_conditions_are_typed_and_taken_out_again(visit):
    visit.open()
    add(visit, f"brand: {BRANDS[0]}")
    of_brand = {f"i{row}" for row in range(0, 12, 2)}
    shows(visit, of_brand)
    add(visit, "price: 3..8")
    shows(visit, {"i2", "i4", "i6"})
    add(visit, f"shop: {SHOPS[0]} | {SHOPS[1]}")
    shows(visit, {"i4", "i6"})
    assert visit.state()["where"] == [
        f"brand: {BRANDS[0]}",
        "price: 3..8",
        f"shop: {SHOPS[0]} | {SHOPS[1]}",
    ]
    assert visit.texts("#settings-summary")[0].endswith("3 filters")
    assert visit.violations() == []
    assert visit.is_as_wide_as_the_window()
    visit.page.reload()
    shows(visit, {"i4", "i6"})
    show_form(visit)
    visit.page.click("[aria-label='Remove price: 3..8']")
    visit.page.click("#settings .chips button >> nth=-1")
    shows(visit, of_brand)


def test_a_value_that_no_item_has(narrow):
    narrow.open("#where=shop: nroth | " + SHOPS[0])
    show_form(narrow)
    shows(narrow, {f"i{row}" for row in range(0, 12, 3)})
    assert narrow.texts("#summary")[0].endswith("No item has the shop “nroth”.")
    assert narrow.texts(".chips .unknown") == []  # One of the two there is.
    narrow.page.click("#settings .chips button")
    add(narrow, "shop: nroth")
    narrow.wait("document.getElementById('summary').innerText.startsWith('No item passes')")
    narrow.page.wait_for_selector(".chips .unknown")
    assert narrow.violations() == []


def test_what_is_no_condition_stays_in_the_field(narrow):
    narrow.open()
    add(narrow, "cheap things")
    assert narrow.page.evaluate("document.getElementById('where').validationMessage").startswith(
        "An attribute, a colon, and a value"
    )
    assert "where" not in narrow.state()
    add(narrow, "colour: red")
    narrow.page.wait_for_selector("#notice:not([hidden])")
    assert "'colour', which this release does not declare" in narrow.texts("#notice")[0]
    narrow.page.click("text=Reset the request")
    narrow.page.wait_for_selector("#notice", state="hidden")
    assert narrow.state() == {}


def test_new_categories(narrow):
    narrow.open("#h=i7&k=3")
    show_form(narrow)
    narrow.page.click("text=New categories")
    narrow.wait("location.hash.includes('merge=new_categories')")
    narrow.page.fill("#diversity", "50")
    narrow.page.press("#diversity", "Tab")
    narrow.wait("location.hash.includes('lambda=50')")
    metas = "[...document.querySelectorAll('#items .meta')].map(e => e.innerText.split(' · '))"
    # Three colours, one or two of an item: of the first two items none is in both.
    narrow.wait(f"(([a, b]) => !a.some((name) => b.includes(name)))({metas})")
    assert narrow.violations() == []
    assert narrow.is_as_wide_as_the_window()
