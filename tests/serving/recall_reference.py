"""What an answer must be, worked out from the scores of all items, one by one.

Slow and plain on purpose: the service is compared with it. Vectors hold small
integers, so that scores are exact and many are equal.
"""

import dataclasses

import numpy as np

from recall.feature_columns.attributes import ItemAttribute
from recall.vocabulary import ItemVocabulary
from serving.api.recall_request import DIVERSITY_POOL, RecallRequest
from serving.index.attributes import ItemAttributes
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.exact_index import ExactIndex
from serving.retrieval.user_vectors import UserVectors

CATEGORIES = ("rare", "some", "half", "most", "twin", "lone")
_SHARES = (0.01, 0.1, 0.5, 0.8, 0.1, 0.002)
BRANDS = ("acme", "apex", "bolt")
ATTRIBUTES = (
    ItemAttribute("brand"),
    ItemAttribute("price", "numeric"),
    ItemAttribute("available_from", "time"),
    ItemAttribute("available_until", "time"),
)
ALWAYS, EARLY, LATE = 1e9, 100.0, 2e12
"""Times at which all items of a shop are there; some are not yet; some are no longer."""

ROOT = "root"
"""A category that is never limited where it is on nearly all items."""


@dataclasses.dataclass
class Shop:
    """Items "n0", "n1", ... with integer vectors and categories, most popular first."""

    num_items: int
    dim: int = 4
    seed: int = 0
    root_share: float = 0.0
    now_s: float = ALWAYS

    def __post_init__(self):
        random = np.random.default_rng(self.seed)
        self.vectors = random.integers(-3, 4, (self.num_items, self.dim)).astype(np.float32)
        self.item_ids = tuple(f"n{row}" for row in range(self.num_items))
        drawn = random.random((self.num_items, len(CATEGORIES))) < _SHARES
        self.categories = [
            tuple(name for name, has in zip(CATEGORIES, row, strict=True) if has) for row in drawn
        ]
        for row in np.flatnonzero(random.random(self.num_items) < self.root_share).tolist():
            self.categories[row] += (ROOT,)
        self._add_attributes(random)
        categorised = [names for names in self.categories if names]
        common = {
            name
            for name in (*CATEGORIES, ROOT)
            if sum(name in names for names in categorised) > 0.9 * len(categorised)
        }
        assert (ROOT in common) == (self.root_share > 0)
        self.distinctive = [set(names) - common for names in self.categories]

    def _add_attributes(self, random):
        """Values by name of every item; a missing one is not there."""
        size = self.num_items
        has_brand = random.random((size, len(BRANDS))) < (0.01, 0.3, 0.6)
        names = [[b for b, has in zip(BRANDS, row, strict=True) if has] for row in has_brand]
        prices = np.where(random.random(size) < 0.1, np.nan, random.integers(0, 20, size))
        starts = np.where(random.random(size) < 0.2, 150.0, np.nan)
        ends = np.where(random.random(size) < 0.2, 1e12, np.nan)
        columns = [names, prices.tolist(), starts.tolist(), ends.tolist()]
        self.attributes = [
            {a.name: v for a, v in zip(ATTRIBUTES, values, strict=True) if v and v == v}
            for values in zip(*columns, strict=True)
        ]
        for row, price in enumerate(prices.tolist()):
            if price == 0:
                self.attributes[row]["price"] = 0.0

    def catalogue(self, index=None, num_popular=10) -> BundleCatalogue:
        counts = range(self.num_items, 0, -1)
        vocabulary = ItemVocabulary(self.item_ids, counts, self.categories)
        return BundleCatalogue(
            IndexBundle(
                manifest={"fingerprint": "f"},
                item_ids=np.array([item_id.encode() for item_id in self.item_ids]),
                item_vectors=self.vectors,
                table=vocabulary.to_table(),
                fallback=self.item_ids[num_popular - 1 :: -1],
                index=index or ExactIndex(self.vectors),
                attributes=ItemAttributes.of_values(ATTRIBUTES, self.attributes),
            ),
            version=8,
        )

    def row_of(self, item_id: str) -> int:
        return int(item_id[1:]) if item_id in self.item_ids else -1

    # A user tower: interest 0 is the last known item, 1 the one before, 2 their sum.

    def interests(self, history) -> np.ndarray:
        rows = [self.row_of(i) for i in history if i in self.item_ids] or [0]
        last, before = self.vectors[rows[-1]], self.vectors[rows[max(-2, -len(rows))]]
        return np.stack([last, before, last + before])

    def compute(self, histories, *, timeout_s=None) -> UserVectors:
        known = np.array([sum(i in self.item_ids for i in h) for h in histories])
        return UserVectors(
            user_vectors=np.stack([self.interests(h) for h in histories]),
            interest_weights=np.tile(np.array([0.5, 0.25, 0.25], np.float32), (len(histories), 1)),
            num_known=known,
            num_unknown=np.array([len(h) for h in histories]) - known,
            fingerprint="f",
            model_version=5,
        )

    # The expected answer.

    def is_allowed(self, row: int, request: RecallRequest) -> bool:
        item_id, categories = self.item_ids[row], set(self.categories[row])
        removed = {*request.exclude, *request.deny, *request.similar_to}
        if not request.include_seen:
            removed |= set(request.history)
        return (
            item_id not in removed
            and (not request.allow or item_id in request.allow)
            and (not request.categories or bool(categories & set(request.categories)))
            and not categories & set(request.exclude_categories)
            and self.fulfils(row, request.where or {})
            and self._is_available(row)
        )

    def _is_available(self, row: int) -> bool:
        has = self.attributes[row]
        return has.get("available_from", 0) <= self.now_s < has.get("available_until", np.inf)

    def fulfils(self, row: int, where) -> bool:
        has = {**self.attributes[row], "categories": list(self.categories[row])}
        return all(_fulfils(has.get(name), condition) for name, condition in where.items())

    def boosted(self, scores: np.ndarray, request: RecallRequest) -> np.ndarray:
        """`[num_queries, num_items]` float32, scores with the boosts of a request."""
        scores = scores.copy()
        for row in range(self.num_items if request.boosts else 0):
            multiply, add = 1.0, 0.0
            for boost in request.boosts:
                if self.fulfils(row, boost["where"]):
                    multiply *= boost.get("multiply", 1.0)
                    add += boost.get("add", 0.0)
            scores[:, row] = scores[:, row] * np.float32(multiply) + np.float32(add)
        return scores

    def expected(self, request: RecallRequest) -> list[tuple[str, float, int]]:
        """(item id, score, interest) of every item of the answer."""
        rows = [row for row in range(self.num_items) if self.is_allowed(row, request)]
        queries, numbers, shares = self._queries(request)
        if not len(queries):
            return self._popular(request, rows)
        scores = self.boosted(queries @ self.vectors.T, request)
        entries = sorted(
            (-scores[i, row], row, number) for i, number in enumerate(numbers) for row in rows
        )
        if request.merge == "quota":
            taken = self._draft(entries, request, dict(zip(numbers, shares, strict=True)))
        elif request.merge in ("diversity", "new_categories"):
            pool = self._draft(entries, dataclasses.replace(request, k=DIVERSITY_POOL * request.k))
            taken = self._diversify(pool, request)
        else:
            taken = self._draft(entries, request)
        return [(self.item_ids[row], -negative, number) for negative, row, number in taken]

    def _queries(self, request):
        """Vectors, numbers and shares of the interests that are used."""
        own = np.ones(64, np.float32)
        if request.user_vectors is not None:
            vectors, known = request.user_vectors, [True] * len(request.user_vectors)
        elif request.similar_to:
            rows = [self.row_of(i) for i in request.similar_to]
            vectors, known = self.vectors[rows], [row >= 0 for row in rows]
        else:
            vectors, own = self.interests(request.history), np.array([0.5, 0.25, 0.25])
            known = [any(i in self.item_ids for i in request.history)] * 3
        weights = np.array(request.interest_weights, np.float32)
        shares = weights if len(weights) else own[: len(vectors)]
        used = [i for i in range(len(vectors)) if known[i] and shares[i] > 0]
        scale = weights if len(weights) and request.merge != "quota" else np.ones(len(vectors))
        return (vectors * scale[:, None].astype(np.float32))[used], used, shares[used]

    def _draft(self, entries, request, shares=None):
        """Entries in order, each item once, no more than interests and categories may have."""
        places = None if shares is None else largest_remainder(request.k, shares)
        counts, taken, rows = dict.fromkeys((*CATEGORIES, ROOT), 0), [], set()
        limit = request.max_per_category or len(entries)
        for entry in entries:
            _, row, number = entry
            full = any(counts[name] >= limit for name in self.distinctive[row])
            if len(taken) == request.k or row in rows or full:
                continue
            if places is not None:
                if not places[number]:
                    continue
                places[number] -= 1
            taken.append(entry)
            rows.add(row)
            for name in self.distinctive[row]:
                counts[name] += 1
        return taken

    def _diversify(self, pool, request):
        """The item of largest score + weight * (picked items without a common category).

        With `new_categories` the weight counts once, where that are all of them.
        """
        count = sum if request.merge == "diversity" else all
        pool, picked = list(pool), []
        while pool and len(picked) < request.k:
            values = [
                -negative
                + request.diversity_weight
                * count(
                    not self.distinctive[row] & self.distinctive[other] for _, other, _ in picked
                )
                for negative, row, _ in pool
            ]
            picked.append(pool.pop(max(range(len(pool)), key=lambda i: (values[i], -i))))
        return picked

    def _popular(self, request, rows):
        """The fallback list, which is n9 to n0, then the others."""
        order = sorted(rows, key=lambda row: (row >= 10, -row if row < 10 else row))
        entries = [(0.0, row, -1) for row in order]
        return [(self.item_ids[row], 0.0, -1) for _, row, _ in self._draft(entries, request)]


def _fulfils(has, condition) -> bool:
    """Whether what an item has is what a request wants: a value, one of several, a range."""
    if has is None:
        return False
    if isinstance(condition, dict):
        return condition.get("min", -np.inf) <= has <= condition.get("max", np.inf)
    wanted = condition if isinstance(condition, list) else [condition]
    return bool(set(wanted) & set(has if isinstance(has, list) else [has]))


def largest_remainder(k, shares):
    """Places of every number of `shares`, by subtraction of whole places."""
    exact = {
        number: float(k) * float(s) / float(sum(shares.values())) for number, s in shares.items()
    }
    places = {number: int(value) for number, value in exact.items()}
    order = sorted(exact, key=lambda number: (places[number] - exact[number], number))
    for number in order[: k - sum(places.values())]:
        places[number] += 1
    return places
