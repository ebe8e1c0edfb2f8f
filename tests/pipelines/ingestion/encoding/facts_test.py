"""Facts of shards, added and taken away; expected values by hand."""

import pytest

from pipelines.ingestion.encoding import facts


def test_numbers_tallies_and_texts():
    one = {"users": 3, "days": [[10, 2], [12, 1]], "deep": {"events": 5}, "name": "a"}
    other = {"users": 1, "days": [[10, 1], [11, 4]], "deep": {"events": 2, "more": 1}, "name": "b"}
    assert facts.add(one, other) == {
        "users": 4,
        "days": [[10, 3], [11, 4], [12, 1]],
        "deep": {"events": 7, "more": 1},
        "name": "a",
    }
    assert facts.add(facts.add(one, other), other, -1) == {**one, "deep": {"events": 5, "more": 0}}


def test_examples_are_shown_once_as_they_are_now_and_who_lost_most_first():
    def capped(user, number):
        return {"user_id": user, "events": 2 * number, "history_only": number}

    known = {"first": [capped("a", 9), capped("b", 8), capped("c", 7)]}
    more = {"first": [capped("c", 10), capped("d", 1)]}
    assert facts.add(known, more)["first"] == [capped("c", 10), capped("a", 9), capped("b", 8)]
    dropped = [{"user_id": "a", "item_id": str(n), "timestamp": 1.0, "row": n} for n in range(4)]
    found = facts.add({"first": dropped[:2]}, {"first": [{**dropped[0], "row": None}, dropped[3]]})
    assert found["first"] == [{**dropped[0], "row": None}, dropped[1], dropped[3]]


@pytest.mark.parametrize(
    ("gone", "come", "expected", "lost"),
    [
        # One of two events at the first time goes.
        ([1.0, 5.0, 1, 1], None, [1.0, 9.0, 1, 1], False),
        # Both go, and nothing is known to be as early.
        ([1.0, 5.0, 2, 1], [2.0, 9.0, 1, 1], [1.0, 9.0, 0, 2], True),
        # What comes is as early, or earlier.
        ([1.0, 5.0, 2, 1], [1.0, 4.0, 1, 1], [1.0, 9.0, 1, 1], False),
        ([1.0, 5.0, 2, 1], [0.5, 4.0, 3, 1], [0.5, 9.0, 3, 1], False),
        # The last one goes, and a later one comes, or none.
        ([3.0, 9.0, 1, 1], [4.0, 12.0, 1, 2], [1.0, 12.0, 2, 2], False),
        ([3.0, 9.0, 1, 1], [4.0, 8.0, 1, 2], [1.0, 9.0, 2, 0], True),
    ],
)
def test_ends_of_spans(gone, come, expected, lost):
    known = {"spans": {"valid": [1.0, 9.0, 2, 1]}}
    known = facts.add(known, {"spans": {"valid": gone}}, -1)
    if come is not None:
        known = facts.add(known, {"spans": {"valid": come}})
    assert known["spans"] == {"valid": expected}
    assert facts.has_lost_ends(known) == lost


def test_spans_of_an_earlier_version_have_to_be_looked_up():
    old = {"spans": {"train": [1.0, 9.0]}}
    assert facts.has_lost_ends(old)
    assert facts.has_lost_ends(facts.add(old, {"spans": {"train": [2.0, 9.0, 1, 1]}}))
    assert not facts.has_lost_ends(facts.add(old, {"spans": {"train": [0.0, 10.0, 1, 1]}}))


def test_the_largest_user():
    def user(name, targets):
        return {"largest_user": {"user_id": name, "targets": targets}}

    known = facts.add(user("a", 5), user("b", 7))
    assert known == user("b", 7)
    assert not facts.has_lost_ends(facts.add(known, user("a", 5), -1))
    without = facts.add(known, user("b", 7), -1)
    assert facts.has_lost_ends(without)
    assert facts.has_lost_ends(facts.add(without, user("c", 6)))
    assert facts.add(without, user("b", 8)) == user("b", 8)
    assert facts.add(without, user("c", 7)) == user("c", 7)
    assert facts.replace_ends(
        {**without, "users": 3}, [{"spans": {}, **user("a", 5)}, {"spans": {}, **user("c", 6)}]
    ) == {"users": 3, "spans": {}, **user("c", 6)}
