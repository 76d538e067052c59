"""Made texts: each right by its own rule, and the same on every machine."""

import hashlib
import re

import pytest

from creode.data.generated import KINDS, LINES, generate


def lines(kind):
    return [line for number in range(20) for line in generate(kind, number).splitlines()]


def test_sums_differences_and_products_are_right():
    for line in lines("arithmetic"):
        a, sign, b, equals, result = line.split()
        assert equals == "="
        a, b = int(a), int(b)
        assert int(result) == {"+": a + b, "-": a - b, "*": a * b}[sign]


def test_every_bracket_is_closed_in_the_order_of_nesting():
    kinds = set()
    for line in lines("brackets"):
        left = line
        while left != (left := re.sub(r"\(\)|\[\]|\{\}|<>", "", left)):
            pass
        assert not left
        assert len(line) in range(8, 49, 2)
        kinds |= set(line)
    assert kinds == set("()[]{}<>")


def test_time_runs_forward_in_logs():
    for number in range(20):
        times = [line.split()[0] for line in generate("logs", number).splitlines()]
        assert times == sorted(times)
        assert all(re.fullmatch(r"2024-03-\d\dT\d\d:\d\d:\d\d\.\d{3}", time) for time in times)


def test_dialogues_have_two_speakers_and_no_empty_slot():
    for number in range(20):
        turns = generate("dialogue", number).splitlines()
        assert len({turn.split(":")[0] for turn in turns}) == 2
        assert not any(set("{}") & set(turn) for turn in turns)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_differ_and_repeat(kind):
    documents = [generate(kind, number) for number in range(30)]
    assert len(set(documents)) == 30
    assert documents == [generate(kind, number) for number in range(30)]
    assert all(len(text.splitlines()) == LINES for text in documents)


def test_texts_are_the_same_on_every_machine():
    made = "".join(generate(kind, number) for kind in sorted(KINDS) for number in range(3))
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == "e3c04c5d4a0fe188"
