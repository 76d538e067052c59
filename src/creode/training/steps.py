"""Which steps of training are kept: equal ratios, as far as whole numbers allow.

Here: log-spaced steps.
Not here: the trainer's configuration (config.py), writing checkpoints (directory.py).
"""

from __future__ import annotations


def log_spaced(first: int, last: int, count: int, *, zero: bool = False) -> list[int]:
    """`count` different steps from `first` to `last` with equal ratios, ascending.

    Both ends are in; early steps that would coincide move up to the next free one. Fewer than
    `count` come back only if there are fewer steps.

    Args:
        first: the earliest step, at least 1.
        last: the latest step.
        count: how many, without the start.
        zero: put step 0, the start, before them.
    Raises:
        ValueError: ends that are not ordered, or no steps.
    """
    if not 1 <= first <= last or count < 1:
        raise ValueError(
            f"needed: 1 ≤ first ≤ last and count ≥ 1, got first={first}, last={last}, "
            f"count={count}; step 0 is asked for with zero=True."
        )
    if count == 1 and first != last:
        raise ValueError(f"one step cannot be both {first} and {last}; give count ≥ 2.")
    spaced = min(count, last - first + 1)
    steps = [0] if zero else []
    before = first - 1
    for i in range(spaced):
        ratio = 0.0 if spaced == 1 else i / (spaced - 1)
        before = max(before + 1, round(first * (last / first) ** ratio))
        steps.append(before)
    return steps
