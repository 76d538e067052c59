"""A page opened in Chromium, with what it asked for and what it complained about."""

DESK = {"width": 1280, "height": 900}


class Visit:
    """An open page, with what it asked for and what it complained about."""

    def __init__(self, chromium, path, **options):
        options = {"viewport": DESK, "reduced_motion": "reduce"} | options
        self.context = chromium.new_context(**options)
        self.requests, self.complaints = [], []
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(120_000)  # ms; a busy machine draws slowly
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]", state="attached")

    def marks(self, figure, colour):
        """Outlines of the points of a colour in a chart."""
        return self.page.eval_on_selector_all(
            f'.chart[data-figure="{figure}"] .mark-symbol.role-mark path[fill="{colour}"]',
            "found => found.map(path => path.getAttribute('d'))",
        )

    def texts(self, figure):
        """Texts drawn as marks of a chart, so not those of its axes."""
        return self.page.eval_on_selector_all(
            f'.chart[data-figure="{figure}"] .mark-text.role-mark text',
            "found => found.map(text => text.textContent)",
        )

    def eventually(self, seen, expected):
        """Wait until what is seen is as expected; charts are drawn a moment after a choice."""
        for _ in range(1_000):
            if seen() == expected:
                return
            self.page.wait_for_timeout(50)
        assert seen() == expected


def rgb(colour):
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"
