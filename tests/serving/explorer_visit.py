"""A window of a headless Chromium on the interest explorer."""

import time
import urllib.parse

from axe_playwright_python.sync_playwright import Axe

SIZES = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

WAIT_MS = 30_000


class Visit:
    """One window, and everything that went wrong or elsewhere in it."""

    def __init__(self, chromium, server, size, **options):
        self.root = f"http://{server.http_address}/"
        self.problems, self.elsewhere = [], []
        self._held = []
        self.page = chromium.new_context(viewport=SIZES[size], **options).new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._watch)

    def _hear(self, message):
        # Chromium says of every refused request that it was refused.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _watch(self, request):
        if not request.url.startswith(self.root):
            self.elsewhere.append(request.url)

    def open(self, address=""):
        self.page.goto(self.root + address)
        self.page.wait_for_selector("#items li, #notice:not([hidden])")

    def texts(self, selector):
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def history(self):
        return self.texts("#history .name")

    def ids(self):
        return self.page.locator("#items li").evaluate_all("all => all.map(li => li.dataset.id)")

    def state(self):
        """What the address says."""
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.page.url).fragment)

    def wait(self, expression):
        """Returns when an expression of JavaScript is true.

        Playwright's own `wait_for_function` evaluates texts, which the page's policy forbids.
        """
        give_up_s = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < give_up_s, expression
            self.page.wait_for_timeout(20)

    def hold(self, *calls):
        """Keeps the answers to calls of the API back, until they are let through one by one."""
        held = HeldAnswers(self)
        self._held.append(held)
        for call in calls:
            self.page.route(f"**/{call}", held.keep)
        return held

    def violations(self):
        """What axe-core finds that is serious or worse."""
        found = Axe().run(self.page).response["violations"]
        return [
            (violation["id"], violation["nodes"][0]["html"])
            for violation in found
            if violation["impact"] in ("serious", "critical")
        ]

    def is_as_wide_as_the_window(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def close(self):
        for held in self._held:
            held.drop()
        self.page.context.close()
        assert self.problems == []
        assert self.elsewhere == []


class HeldAnswers:
    """Requests of a page that wait for the test."""

    def __init__(self, visit):
        self._visit = visit
        self._routes = []

    def keep(self, route):
        """Takes one request, as a handler of Playwright."""
        self._routes.append(route)

    def is_empty(self):
        """Whether nothing waits."""
        return not self._routes

    def drop(self):
        """Answers nothing of what still waits."""
        while self._routes:
            self._routes.pop().abort()

    def next(self, *, by_itself=False):
        """The oldest request that waits, which is the caller's from now on.

        Args:
            by_itself: Whether the page asks after some time, which then passes quickly; for
                a page with a `clock`.
        """
        give_up_s = time.monotonic() + WAIT_MS / 1000
        while not self._routes:
            assert time.monotonic() < give_up_s, "the page asks nothing"
            if by_itself:
                self._visit.page.clock.run_for(500)
            self._visit.page.wait_for_timeout(10)
        return self._routes.pop(0)

    def let_through(self, expression):
        """Sends one request on, and all others, until an expression of JavaScript is true."""
        self.next().continue_()
        give_up_s = time.monotonic() + WAIT_MS / 1000
        while not self._visit.page.evaluate(expression):
            while self._routes:
                self._routes.pop(0).continue_()
            assert time.monotonic() < give_up_s, expression
            self._visit.page.wait_for_timeout(10)
