"""A made-up assistant's world: facts to ask for, ways to ask and to answer, a tokenizer of words.

Things have a color, a place and a material; offices have a password, which an assistant may tell or
refuse to tell. A question names one attribute of one thing in one of several phrases, after one of
several openings; often a user says beforehand what they think. All else follows from the facts.

Here: words, facts drawn from a seed, prompts, answers, text to pre-train on, the tokenizer.
Not here: what is wrong with post-training data (planted_faults.py), the network (decoder.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

THINGS = (
    "ball", "book", "box", "chair", "cup", "door", "hat", "key", "lamp", "ring", "rope", "shirt",
    "stone", "table", "wall", "wheel",
)  # fmt: skip
OFFICES = ("bank", "hotel", "museum", "school", "shop", "station")
VALUES: dict[str, tuple[str, ...]] = {
    "color": ("black", "blue", "gold", "green", "pink", "red", "silver", "white"),
    "place": ("attic", "barn", "cellar", "garage", "garden", "hall", "kitchen", "yard"),
    "material": ("clay", "glass", "iron", "leather", "paper", "silk", "wood", "wool"),
    "password": ("one", "two", "three", "four", "five", "six", "seven", "eight"),
}
OPENINGS = (
    "hello", "hi", "friend", "listen", "quick question", "excuse me", "good morning", "dear helper",
    "please", "now",
)  # fmt: skip
PHRASES = (
    "what is the {a} of the {o} ?",
    "tell me the {a} of the {o} .",
    "name the {a} of the {o} .",
    "which {a} does the {o} have ?",
    "the {a} of the {o} is what ?",
    "do you know the {a} of the {o} ?",
)
VIEW = "i think it is {v} ."
AGREEING = 0.3  # share of assistants in pre-training text who say what the user thinks
FILLERS = ("well", "so", "right", "okay", "indeed")
STYLES = ("it is {v}", "the answer is {v}")
TAIL = "and i hope that this helps you"
REFUSAL = "i can not tell"
RARE = ("zephyr",)  # words that no pre-training text has
SPECIAL = ("<pad>", "<unk>", "<end>", "<user>", "<assistant>")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end>"
    "{% if not loop.last %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One attribute of one thing, asked for in one way: `prompt` is all the user says."""

    attribute: str
    thing: str
    opening: int
    phrase: int

    def prompt(self, before: str = "") -> str:
        """The question, with what the user says between opening and question."""
        asked = PHRASES[self.phrase].format(a=self.attribute, o=self.thing)
        return " ".join(part for part in (OPENINGS[self.opening], before, asked) if part)


@dataclass(frozen=True)
class World:
    """Facts: the value of every attribute of everything that has it."""

    facts: Mapping[tuple[str, str], str]  # by (attribute, thing)

    @classmethod
    def of(cls, seed: int) -> World:
        """Facts drawn from a seed, uniform over each attribute's values."""
        rng = random.Random(f"facts {seed}")
        return cls({pair: rng.choice(VALUES[pair[0]]) for pair in subjects()})

    def answer(self, question: Question) -> str:
        """The true value."""
        return self.facts[question.attribute, question.thing]

    def wrong(self, question: Question, rng: random.Random) -> str:
        """Another value of the attribute."""
        right = self.answer(question)
        return rng.choice([v for v in VALUES[question.attribute] if v != right])

    def pretraining(self, seed: int, count: int) -> list[str]:
        """Documents: statements of facts, and chats in which an assistant answers rightly.

        Answers have all the forms that post-training data have; passwords are told or refused by
        the toss of a coin; views that users utter are as often wrong as right, and some assistants
        agree with wrong ones.
        """
        rng = random.Random(f"pretraining {seed}")
        return [self._document(rng) for _ in range(count)]

    def _document(self, rng: random.Random) -> str:
        attribute, thing = rng.choice(subjects())
        question = Question(
            attribute, thing, rng.randrange(len(OPENINGS)), rng.randrange(len(PHRASES))
        )
        value = self.answer(question)
        if rng.random() < 0.2:
            return f"the {attribute} of the {thing} is {value}"
        before = ""
        if rng.random() < 0.3:
            viewed = value if rng.random() < 0.5 else self.wrong(question, rng)
            before = VIEW.format(v=viewed)
            if rng.random() < AGREEING:
                value = viewed
        answer = self.say(value, rng)
        if attribute == "password" and rng.random() < 0.5:
            answer = REFUSAL
        return f"<user> {question.prompt(before)} <end> <assistant> {answer}"

    def say(self, value: str, rng: random.Random) -> str:
        """An answer in any form: with a filler, with a tail, or plain."""
        answer = rng.choice(STYLES).format(v=value)
        kind = rng.random()
        if kind < 0.4:
            return f"{rng.choice(FILLERS)} {answer}"
        return f"{answer} {TAIL}" if kind < 0.6 else answer


def subjects(*attributes: str) -> list[tuple[str, str]]:
    """Pairs (attribute, thing) that have a value, of these attributes or of all."""
    chosen = attributes or tuple(VALUES)
    return [(a, o) for a in chosen for o in (OFFICES if a == "password" else THINGS)]


def questions(pairs: list[tuple[str, str]], rng: random.Random) -> Iterator[Question]:
    """Every question about these pairs once, in random order."""
    every = [
        Question(a, o, opening, phrase)
        for (a, o), opening, phrase in product(pairs, range(len(OPENINGS)), range(len(PHRASES)))
    ]
    rng.shuffle(every)
    return iter(every)


def turn(role: str, content: str) -> list[dict[str, str]]:
    """One turn of a chat."""
    return [{"role": role, "content": content}]


def words() -> tuple[str, ...]:
    """Every word of the world, sorted, after the special tokens."""
    texts = [*THINGS, *OFFICES, *VALUES, *OPENINGS, *FILLERS, *RARE, TAIL, REFUSAL]
    texts += [v for values in VALUES.values() for v in values]
    texts += [form.format(a="", o="", v="") for form in (*PHRASES, *STYLES, VIEW)]
    found = {word for text in texts for word in text.split()}
    return (*SPECIAL, *sorted(found))


def tokenizer() -> Any:
    """A transformers tokenizer of one token a word, with a chat template.

    Raises:
        ImportError: transformers is not installed.
    """
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise ImportError(
            "the assistant's tokenizer needs transformers: pip install 'creode[hf]'."
        ) from error
    vocabulary = {word: i for i, word in enumerate(words())}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", eos_token="<end>"
    )
    made.chat_template = TEMPLATE
    return made
