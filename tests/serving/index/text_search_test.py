"""Search by words against a scan in plain Python."""

import math
import random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from serving.index import text_search
from serving.index.text_search import TextIndex, TextQuery, fold

FOREVER = math.inf
TITLES = [
    "Star Wars (1977)",
    "Le Fabuleux Destin d'Amélie Poulain",
    "The Star of the Wars",
    "Starship Troopers",
    "Mustard",
    "",
    "Łódź / Straße",
    "スター・ウォーズ",
]


def index_of(titles, item_ids=None):
    item_ids = item_ids or [f"id-{row}" for row in range(len(titles))]
    return TextIndex(lambda start, end: (titles[start:end], item_ids[start:end]), len(titles))


def rows(text, k=10, **arguments):
    found = index_of(TITLES).find(TextQuery.of(text), k, deadline_s=FOREVER, **arguments)
    return list(zip(found.rows.tolist(), found.ranks.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Amélie: «Le fabuleux DESTIN»", "amelie le fabuleux destin"),
        ("Straße_42", "strasse 42"),
        ("Łódź, İstanbul, Ænima", "lodz istanbul aenima"),
        ("ﬁn — ½", "fin 1 2"),
        ("★ !!", ""),
        ("スター・ウォーズ", "スター ウォース"),
    ],
)
def test_folded(text, folded):
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Titles that begin with it, then words that do, then the rest.
        ("star", [(0, 1), (3, 1), (2, 2), (4, 3)]),
        ("STAR  wars", [(0, 1), (2, 2)]),
        ("war star", [(0, 2), (2, 2)]),
        ("amelie", [(1, 2)]),
        ("amélie d", [(1, 2)]),
        ("lodz", [(6, 1)]),
        ("STRASSE", [(6, 2)]),
        ("ウォーズ", [(7, 2)]),
        ("id-5", [(5, 2)]),
        ("id 5", [(5, 2)]),
        ("tar", [(0, 3), (2, 3), (3, 3), (4, 3)]),
        ("star zebra", []),
        ("", []),
        ("!!", []),
    ],
)
def test_found(text, expected):
    assert rows(text) == expected


def test_the_best_come_first_also_where_few_are_wanted():
    assert rows("star", k=1) == [(0, 1)]
    assert rows("star", k=3) == [(0, 1), (3, 1), (2, 2)]
    hidden = np.zeros(len(TITLES), bool)
    hidden[[0, 2]] = True
    assert rows("star", left_out=hidden) == [(3, 1), (4, 3)]


words = st.sampled_from(["a", "ab", "b", "ba", "abba", "é"])
texts = st.lists(words, max_size=4).map(" ".join)


def rank_by_hand(title, item_id, text):
    """None where it does not match."""
    plain = title.replace("é", "e"), text.replace("é", "e")
    line = f" {plain[0]} {item_id}"
    asked = plain[1].split()
    if not asked or not all(word in line for word in asked):
        return None
    if line.startswith(" " + " ".join(asked)):
        return 1
    return 2 if all(f" {word}" in line for word in asked) else 3


@settings(deadline=None, max_examples=200)
@given(st.lists(texts, max_size=30), texts, st.integers(1, 8), st.data())
def test_equal_to_a_scan(titles, text, k, data):
    item_ids = [f"x{row}" for row in range(len(titles))]
    hidden = np.array(data.draw(st.lists(st.booleans(), min_size=len(titles))), bool)[: len(titles)]
    index = index_of(titles, item_ids)
    found = index.find(TextQuery.of(text), k, deadline_s=FOREVER, left_out=hidden)
    ranks = [rank_by_hand(*pair, text) for pair in zip(titles, item_ids, strict=True)]
    expected = sorted(
        (rank, row) for row, rank in enumerate(ranks) if rank is not None and not hidden[row]
    )[:k]
    assert list(zip(found.ranks.tolist(), found.rows.tolist(), strict=True)) == expected
    assert found.is_complete


def test_many_chunks(monkeypatch):
    monkeypatch.setattr(text_search, "_CHUNK_ROWS", 7)
    titles = [f"Item {row}" for row in range(100)]
    random.Random(1).shuffle(titles)
    found = index_of(titles).find(TextQuery.of("item 9"), 20, deadline_s=FOREVER)
    assert {titles[row] for row in found.rows.tolist()[:11]} == {
        "Item 9",
        *(f"Item {row}" for row in range(90, 100)),
    }


def test_a_search_that_runs_out_of_time_says_so_and_the_next_looks_further(monkeypatch):
    monkeypatch.setattr(text_search, "_CHUNK_ROWS", 10)
    titles, folded = [f"Item {row}" for row in range(35)], []

    def read(start, end):
        folded.append((start, end))
        return titles[start:end], [""] * (end - start)

    index = TextIndex(read, 35)
    found = index.find(TextQuery.of("tem"), 100, deadline_s=-1.0)
    assert found.rows.tolist() == list(range(10))
    assert not found.is_complete
    assert folded == [(0, 10)]
    found = index.find(TextQuery.of("tem"), 100, deadline_s=FOREVER)
    assert found.rows.tolist() == list(range(35))
    assert found.is_complete
    assert folded == [(0, 10), (10, 20), (20, 30), (30, 35)]
