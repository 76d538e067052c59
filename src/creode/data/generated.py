"""Texts made from a seed: arithmetic, log lines, dialogue and nested brackets.

Four kinds of distinct statistics, with no file behind them: the same on every machine.
Here: one generator per kind, each a pure function of a `random.Random`.
Not here: choosing among texts, splits, samples (corpus.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

DOCUMENTS = 1024  # of each kind
LINES = 48  # of a document


def generate(kind: str, number: int) -> str:
    """Document `number` of a kind, a key of `KINDS`; each is drawn from a seed of its own."""
    return KINDS[kind](random.Random(f"{kind}/{number}"))


def arithmetic(rng: random.Random) -> str:
    """Sums, differences and products of whole numbers with their right results."""
    largest = 10 ** rng.randint(1, 3)
    lines = []
    for _ in range(LINES):
        a, b = rng.randrange(largest), rng.randrange(largest)
        sign = rng.choice("+-*")
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        lines.append(f"{a} {sign} {b} = {result}")
    return "\n".join(lines) + "\n"


LEVELS = ("INFO", "INFO", "INFO", "INFO", "DEBUG", "DEBUG", "WARNING", "ERROR")
SERVICES = ("auth", "billing", "cache", "gateway", "index", "mailer", "queue", "storage")
EVENTS = (
    "request {id} served in {ms} ms",
    "request {id} queued behind {n} others",
    "connection {id} opened from 10.0.{n}.{m}",
    "connection {id} closed after {ms} ms",
    "retry {n} of {m} for job {id}",
    "job {id} failed: timeout after {ms} ms",
    "{n} entries evicted, {m} kept",
    "user {id} signed in",
)


def logs(rng: random.Random) -> str:
    """Time-stamped lines of a few services, time running forward."""
    day, clock = rng.randint(1, 28), rng.randrange(80_000_000)
    services = rng.sample(SERVICES, 3)
    lines = []
    for _ in range(LINES):
        clock += rng.randint(1, 90_000)
        seconds, ms = divmod(clock % 86_400_000, 1000)
        time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
        event = rng.choice(EVENTS).format(
            id=f"{rng.getrandbits(24):06x}",
            ms=rng.randint(1, 4000),
            n=rng.randint(1, 99),
            m=rng.randint(1, 255),
        )
        lines.append(
            f"2024-03-{day:02}T{time} {rng.choice(LEVELS)} {rng.choice(services)}: {event}"
        )
    return "\n".join(lines) + "\n"


NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo", "Iris", "Jon", "Kim", "Lea")
THINGS = ("the map", "the key", "your coat", "the letter", "a ticket", "the lamp", "my bag", "tea")
PLACES = ("at the station", "in the kitchen", "by the river", "upstairs", "at the market", "here")
TIMES = ("this morning", "last night", "on Monday", "an hour ago", "before lunch")
EXCHANGES = (
    ("Have you seen {thing}?", "I think it was {place} {time}."),
    ("Where were you {time}?", "I was {place}, looking for {thing}."),
    ("Can you bring {thing}?", "Yes, if I find it {place}."),
    ("Did {name} leave {thing} {place}?", "No, {name} took it {time}."),
    ("Shall we meet {place}?", "Good idea. Don't forget {thing}!"),
    ("Who told you that?", "It was {name}, {time}."),
)


def dialogue(rng: random.Random) -> str:
    """Two people asking and answering each other."""
    speakers = rng.sample(NAMES, 2)
    lines = []
    for _ in range(LINES // 2):
        asker, other = rng.sample(speakers, 2)
        said = {
            "thing": rng.choice(THINGS),
            "place": rng.choice(PLACES),
            "time": rng.choice(TIMES),
            "name": rng.choice([name for name in NAMES if name not in speakers]),
        }
        question, answer = rng.choice(EXCHANGES)
        lines.append(f"{asker}: {question.format(**said)}\n{other}: {answer.format(**said)}")
    return "\n".join(lines) + "\n"


PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("<", ">"))


def brackets(rng: random.Random) -> str:
    """Lines of brackets of several kinds, every one closed in the order of nesting."""
    pairs = rng.sample(PAIRS, rng.randint(2, 4))
    deepen = rng.uniform(0.35, 0.6)
    lines = []
    for _ in range(LINES):
        length = 2 * rng.randint(4, 24)
        line: list[str] = []
        waiting: list[str] = []
        while len(line) + len(waiting) < length:
            if waiting and rng.random() > deepen:
                line.append(waiting.pop())
            else:
                opening, closing = rng.choice(pairs)
                line.append(opening)
                waiting.append(closing)
        lines.append("".join(line) + "".join(reversed(waiting)))
    return "\n".join(lines) + "\n"


KINDS: Mapping[str, Callable[[random.Random], str]] = {
    "arithmetic": arithmetic,
    "brackets": brackets,
    "dialogue": dialogue,
    "logs": logs,
}
