"""Prompts, answers and chats as tokens, with which of the tokens are the answer's.

Plain text is tokenised as one, prompt and answer together, and ends with the tokenizer's end token.
A chat is written out by the tokenizer's chat template. An answer begins where the tokens of the
prompt alone and of both together part, so a token that holds the end of the one and the start of
the other is the answer's.

Here: one row's tokens at a time.
Not here: rows and what is wrong with them (demonstrations.py, preferences.py).
Source: the conventions of TRL 1.16, whose losses these give (benchmarks/alignment_losses.py).
Dimensions: T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from creode.data.tokenizer import Ids

Message = Mapping[str, Any]
Text = str | Sequence[Message]  # plain text, or turns of a chat

ROLES = {"human": "user", "gpt": "assistant"}  # of the form {"from": …, "value": …}
MARKED = "{% generation"  # in chat templates that say which tokens are the assistant's


class Turns(NamedTuple):
    """Tokens, and which of them are to be answered."""

    ids: Ids  # (T,)
    answered: NDArray[np.bool_]  # (T,)

    def headed(self, length: int) -> Turns:
        """The first tokens."""
        return Turns(self.ids[:length], self.answered[:length])


def is_chat(value: Any) -> bool:
    """Whether a value holds turns of a chat rather than plain text."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def as_messages(value: Sequence[Message], where: str) -> list[dict[str, Any]]:
    """Turns with "role" and "content"; {"from", "value"} is read too.

    Raises:
        ValueError: a turn that has neither.
    """
    messages = []
    for turn in value:
        if isinstance(turn, Mapping) and {"from", "value"} <= set(turn):
            role = ROLES.get(str(turn["from"]), str(turn["from"]))
            messages.append({"role": role, "content": turn["value"]})
        elif isinstance(turn, Mapping) and {"role", "content"} <= set(turn):
            messages.append(dict(turn))
        else:
            raise ValueError(
                f"{where}: a turn of the chat is {turn!r:.80}; each needs 'role' and 'content'."
            )
    return messages


def is_empty(value: Any) -> bool:
    """Whether nothing is said: no text, or a last turn without any."""
    if value is None:
        return True
    if is_chat(value):
        last = value[-1] if len(value) else {}
        said = last.get("content", last.get("value")) if isinstance(last, Mapping) else last
        return not isinstance(said, str) or not said.strip()
    return not str(value).strip()


def answered(tokenizer: Any, prompt: Text, answer: Text, where: str) -> Turns:
    """Prompt and answer, both plain text or both turns of a chat, the answer's tokens marked.

    Raises:
        ValueError: one is text and the other a chat, or a chat without a template.
    """
    if is_chat(prompt) != is_chat(answer):
        raise ValueError(
            f"{where}: the prompt is {'a chat' if is_chat(prompt) else 'text'} and the answer "
            f"{'a chat' if is_chat(answer) else 'text'}; give both in one form."
        )
    if is_chat(prompt):
        before = as_messages(prompt, where)  # type: ignore[arg-type]
        after = as_messages(answer, where)  # type: ignore[arg-type]
        ids = written_out(tokenizer, [*before, *after])
        start = common_length(written_out(tokenizer, before, ask=True), ids)
    else:
        ids = ended(tokenizer, encoded(tokenizer, f"{prompt}{answer}"))
        start = common_length(encoded(tokenizer, str(prompt)), ids)
    return Turns(ids, np.arange(len(ids)) >= start)


def chat(tokenizer: Any, messages: Sequence[Message], where: str) -> Turns:
    """A whole chat, the assistant's tokens marked.

    By the marks of the template where it has them, else by writing out what came before each of the
    assistant's turns and what came with it.

    Raises:
        ValueError: no template, or one whose turns cannot be told apart.
    """
    said = as_messages(messages, where)
    if MARKED in (getattr(tokenizer, "chat_template", None) or ""):
        out = tokenizer.apply_chat_template(
            said, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        return Turns(_ids(out["input_ids"]), np.asarray(out["assistant_masks"], bool))
    ids = written_out(tokenizer, said)
    mask = np.zeros(len(ids), bool)
    for i, turn in enumerate(said):
        if turn["role"] != "assistant":
            continue
        before = written_out(tokenizer, said[:i]) if i else ids[:0]
        start = common_length(written_out(tokenizer, said[:i], ask=True), ids) if i else 0
        end = common_length(written_out(tokenizer, said[: i + 1]), ids)
        if common_length(before, ids) < len(before) or end <= start:
            raise ValueError(
                f"{where}: the chat template writes turn {i} otherwise when others follow, so its "
                "tokens cannot be told; give a template with {% generation %} marks."
            )
        mask[start:end] = True
    return Turns(ids, mask)


def written_out(tokenizer: Any, messages: Sequence[Message], *, ask: bool = False) -> Ids:
    """Tokens of a chat; with `ask`, up to where the assistant is to begin.

    Raises:
        ValueError: the tokenizer has no chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"{type(tokenizer).__name__} has no chat template, and the data are chats; set "
            "tokenizer.chat_template, use the tokenizer of a chat model, or write prompts and "
            "answers as plain text."
        )
    out = tokenizer.apply_chat_template(
        list(messages), tokenize=True, add_generation_prompt=ask, return_dict=True
    )
    return _ids(out["input_ids"])


def encoded(tokenizer: Any, text: str) -> Ids:
    """Tokens of plain text, with the special tokens the tokenizer puts around it."""
    if callable(tokenizer):
        return _ids(tokenizer(text, verbose=False)["input_ids"])
    out = tokenizer.encode(text)
    return _ids(getattr(out, "ids", out))


def ended(tokenizer: Any, ids: Ids) -> Ids:
    """The tokens with an end token behind them: the tokenizer's own, or the one that begins texts.

    A tokenizer that has neither ends nothing.
    """
    names = ("eos_token_id", "bos_token_id")
    found = (getattr(tokenizer, name, None) for name in names)
    end = next((int(i) for i in found if i is not None), None)
    if end is None or (len(ids) and ids[-1] == end):
        return ids
    return np.append(ids, np.int64(end))


def common_length(first: Ids, second: Ids) -> int:
    """How many tokens two sequences begin with together."""
    shared = min(len(first), len(second))
    differs = np.flatnonzero(first[:shared] != second[:shared])
    return int(differs[0]) if len(differs) else shared


def _ids(ids: Any) -> Ids:
    return np.asarray(ids, np.int64)
