from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, make_dataclass
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import losses_under_test as cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from creode.fingerprint import task_fingerprint
from creode.fingerprint.digester import combine
from creode.tasks import NextToken

HERE = Path(__file__).parent


def test_the_same_losses_and_models_made_in_another_process_have_the_same_fingerprints():
    here = cases.same_everywhere()
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    script = "x = [object() for _ in range(999)]; import losses_under_test as cases; cases.main()"
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=HERE, env=environment, capture_output=True, check=True
    )
    assert json.loads(there.stdout) == here
    assert len(set(here.values())) == len(here)


def source(body: str, before: str = "", name: str = "loss") -> Callable[..., Any]:
    """A loss from source of its own, as another version of a user's file would have it."""
    module = ModuleType("users_losses")
    exec(compile(textwrap.dedent(before) + textwrap.dedent(body), "users.py", "exec"), vars(module))
    return vars(module)[name]


LOSS = """
def loss(model, batch, power=2, *, shift=0.5):
    return helper(model(batch["x"])) ** power + shift
"""
HELPER = """
import torch
CONSTANT = 3.0
TABLE = {"a": torch.ones(3)}
class Tool:
    factor = 2
    def use(self, x):
        return x * self.factor
def inner(x):
    return Tool().use(x) + CONSTANT
def helper(x):
    "Says what it does."
    return inner(x) * TABLE["a"]
"""
CHANGES = {
    "a constant of the loss": (LOSS.replace('"x"', '"y"'), HELPER),
    "an operation": (LOSS.replace("**", "*"), HELPER),
    "a default": (LOSS.replace("power=2", "power=3"), HELPER),
    "the type of a default": (LOSS.replace("power=2", "power=2.0"), HELPER),
    "a keyword default": (LOSS.replace("shift=0.5", "shift=0.25"), HELPER),
    "the name of an argument": (LOSS.replace("shift", "offset"), HELPER),
    "the order of arguments": (LOSS.replace("model, batch,", "batch, model,"), HELPER),
    "a global number": (LOSS, HELPER.replace("CONSTANT = 3.0", "CONSTANT = 3.5")),
    "the sign of a zero": (LOSS, HELPER.replace("CONSTANT = 3.0", "CONSTANT = -0.0")),
    "a global zero": (LOSS, HELPER.replace("CONSTANT = 3.0", "CONSTANT = 0.0")),
    "a tensor in a global dict": (LOSS, HELPER.replace("ones(3)", "ones(3) * 2")),
    "the dtype of a global tensor": (LOSS, HELPER.replace("ones(3)", "ones(3).double()")),
    "the shape of a global tensor": (LOSS, HELPER.replace("ones(3)", "ones(3, 1)")),
    "a helper": (LOSS, HELPER.replace("return inner(x)", "return -inner(x)")),
    "a helper's helper": (LOSS, HELPER.replace("+ CONSTANT", "- CONSTANT")),
    "a class attribute": (LOSS, HELPER.replace("factor = 2", "factor = 4")),
    "a method": (LOSS, HELPER.replace("return x * self", "return x / self")),
    "a missing helper": (LOSS, HELPER.replace("def inner", "def other")),
    "a builtin in place of a helper": (LOSS.replace("helper", "abs"), HELPER),
    "exception handling": (
        LOSS.replace("    return", "    try:\n        return")
        + "    except KeyError:\n        return 0\n",
        HELPER,
    ),
}


def test_every_change_that_could_change_a_loss_changes_its_fingerprint():
    prints = {name: task_fingerprint(source(*change)) for name, change in CHANGES.items()}
    prints["unchanged"] = task_fingerprint(source(LOSS, HELPER))
    for (one, first), (other, second) in combinations(prints.items(), 2):
        assert first != second, f"{one} and {other} share a fingerprint"


@pytest.mark.parametrize(
    ("loss", "before"),
    [
        (LOSS, "\n\n\n" + HELPER),  # other lines
        (LOSS, HELPER.replace("Says what it does.", "Says it better.")),
        (LOSS, HELPER + "\nUNUSED = 3\ndef unused(x):\n    return 9\n"),
        (LOSS.replace("def loss", "# why\ndef loss"), HELPER),
        (LOSS.replace('"x"])', '"x"],\n    )'), HELPER),
    ],
)
def test_what_cannot_change_a_loss_keeps_its_fingerprint(loss: str, before: str):
    assert task_fingerprint(source(loss, before)) == task_fingerprint(source(LOSS, HELPER))


def test_a_loss_that_has_run_keeps_its_fingerprint():
    loss = source(LOSS, HELPER)
    before = task_fingerprint(loss)
    for _ in range(2000):  # enough for the interpreter to specialise its bytecode
        loss(lambda x: x, {"x": torch.ones(3)})
    assert task_fingerprint(loss) == before
    task = cases.Weighted()
    before = task_fingerprint(task)
    assert task.large == list(range(9))
    assert task_fingerprint(task) == before


def test_closures_over_different_values_differ():
    torch.manual_seed(0)
    tensor = torch.randn(3)
    values: list[Any] = [
        *(0, 0.0, False, None, "0", b"0", (), [], {}, set(), frozenset(), 0j, ...),
        *([0], (0,), {0}, frozenset({0}), {0: 0}, [[0]], [[]], ["a", "b"], ["ab"], [("a",), "b"]),
        *({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}),
        *(tensor, tensor.double(), tensor.bfloat16(), tensor[:2], tensor[None], -tensor),
        *(tensor.to_sparse(), torch.zeros(3, dtype=torch.complex64), torch.tensor(1.0)),
        *(tensor.numpy(), np.float64(1.0), np.float32(1.0), np.zeros(2), np.zeros((1, 2))),
        *(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3), nn.Dropout(0.1), nn.Dropout(0.2)),
        *(nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss()),
        *(F.mse_loss, F.l1_loss, torch.exp, torch.log, len, sum, torch.Tensor.exp),
        *(lambda x: x, lambda x: -x, lambda x: x + 1, lambda x: x + 2, lambda x, y: x),
        *(functools.partial(cases.helper), functools.partial(cases.helper, 1)),
        *(functools.partial(cases.helper, 2), functools.partial(cases.helper, x=2)),
        *(cases.Stateful(), cases.Stateful(a=1), cases.Stateful(a=2), cases.Stateful(b=1)),
        *(cases.Stateful(a=1).method, cases.Stateful(a=2).method, cases.Stateful),
        *(cases.Mode.SUM, cases.Mode.MEAN, cases.Pair(1, 2), cases.Pair(2, 1), (1, 2)),
        *(torch.float16, torch.float32, torch.Generator().manual_seed(1), torch.Generator()),
        *(cases.closure(1), cases.closure(2), cases.closure(cases.closure(1))),
        *(Path("a"), Path("b"), "a", torch, nn, range(3), range(4), slice(1), slice(2)),
    ]
    prints = [task_fingerprint(cases.closure(value)) for value in values]
    for (i, first), (j, second) in combinations(enumerate(prints), 2):
        if {str(values[i]), str(values[j])} != {"None"}:
            assert first != second, f"{values[i]!r} and {values[j]!r} share a fingerprint"


def test_views_and_layouts_of_equal_tensors_share_a_fingerprint():
    base = torch.arange(6.0).reshape(2, 3)
    for other in (base.T.contiguous().T, torch.cat([base, base])[:2], nn.Parameter(base.clone())):
        assert task_fingerprint(cases.closure(other)) == task_fingerprint(cases.closure(base))
    z = torch.tensor([1 + 2j])
    assert task_fingerprint(cases.closure(z.conj())) == task_fingerprint(
        cases.closure(1 * z.conj())
    )
    assert task_fingerprint(cases.closure(z.conj())) != task_fingerprint(cases.closure(z))


def test_dataclass_tasks_differ_by_class_fields_and_call():
    def call(self: Any, model: nn.Module, batch: Any) -> Any:
        return model(batch) * self.beta

    def other_call(self: Any, model: nn.Module, batch: Any) -> Any:
        return model(batch) + self.beta

    def made(name: str, call: Callable[..., Any], kind: type, **values: Any) -> str:
        cls = make_dataclass(name, [(key, kind) for key in values], namespace={"__call__": call})
        return task_fingerprint(cls(**values))

    plain = made("Task", call, float, beta=1.0)
    assert plain == made("Task", call, float, beta=1.0)
    others = [
        made("Task", call, float, beta=2.0),
        made("Task", call, float, beta=1.0, gamma=1.0),
        made("Task", other_call, float, beta=1.0),
        made("Other", call, float, beta=1.0),
    ]
    assert len({plain, *others}) == 5
    assert task_fingerprint(NextToken()) == task_fingerprint(NextToken())


@pytest.mark.parametrize(
    "wrapper",
    [
        functools.cache,
        torch.no_grad(),
        staticmethod,
        torch.vmap,
        torch.func.grad_and_value,
        pytest.param(torch.compile, marks=pytest.mark.slow),
    ],
)
def test_wrappers_are_looked_through(wrapper: Callable[..., Any]):
    def first(model: nn.Module, batch: Any) -> Any:
        return model(batch)

    def second(model: nn.Module, batch: Any) -> Any:
        return -model(batch)

    assert task_fingerprint(wrapper(first)) == task_fingerprint(wrapper(first))
    assert task_fingerprint(wrapper(first)) != task_fingerprint(wrapper(second))
    assert task_fingerprint(wrapper(first)) != task_fingerprint(first)


FILES = {
    "plain": "from users_package.parts import part\ndef loss(m, b):\n    return part(m(b))\n",
    "module": "from users_package import parts\ndef loss(m, b):\n    return parts.part(m(b))\n",
    "dotted": "import users_package.parts\nloss = lambda m, b: users_package.parts.part(b)\n",
    "late": "def loss(m, b):\n    from users_package.parts import part\n    return part(m(b))\n",
    "late module": "def loss(m, b):\n    from users_package import parts\n    return parts.part\n",
    "late dotted": "def loss(m, b):\n    import users_package.parts as p\n    return p.part(b)\n",
    "relative": "def loss(m, b):\n    from .parts import part\n    return part(m(b))\n",
    "class": "from .parts import Base\nclass Loss(Base):\n    pass\nloss = Loss()\n",
}
PARTS = """
def part(x):
    return x * {factor}
class Base:
    def __call__(self, m, b):
        return part(m(b))
"""


@pytest.mark.parametrize("name", FILES)
def test_a_change_in_another_file_of_the_users_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "users_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "losses.py").write_text(FILES[name])
    prints = []
    for factor in (2.0, 2.0, 3.5):
        (package / "parts.py").write_text(PARTS.format(factor=factor))
        for module in [name for name in sys.modules if name.startswith("users_package")]:
            monkeypatch.delitem(sys.modules, module)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        loss = importlib.import_module("users_package.losses").loss
        prints.append(task_fingerprint(loss))
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_an_import_that_is_not_there_keeps_its_name():
    def first(model: nn.Module, batch: Any) -> Any:
        import not_installed_one  # type: ignore[import-not-found]

        return not_installed_one(model(batch))

    def second(model: nn.Module, batch: Any) -> Any:
        import not_installed_two  # type: ignore[import-not-found]

        return not_installed_two(model(batch))

    assert task_fingerprint(first) == task_fingerprint(first)
    assert task_fingerprint(first) != task_fingerprint(second)


class Ranked:
    """Its order in a set is decided by the environment, which is no part of a loss."""

    def __init__(self, value: int) -> None:
        self.value, self.other = value, self

    def __hash__(self) -> int:
        return self.value * int(os.environ["CREODE_TEST_RANK"])


def test_the_order_of_a_set_does_not_enter_even_through_a_cycle(monkeypatch: pytest.MonkeyPatch):
    prints = []
    for rank in ("1", "7"):
        monkeypatch.setenv("CREODE_TEST_RANK", rank)
        one, two = Ranked(1), Ranked(2)
        one.other, two.other = two, one
        pair = {one, two}
        prints.append(([member.value for member in pair], task_fingerprint(cases.closure(pair))))
    assert [order for order, _ in prints] == [[1, 2], [2, 1]]
    assert prints[0][1] == prints[1][1]


def test_arguments_are_told_apart_by_name_where_they_are_given_by_name():
    loss = "from functools import partial\nloss = partial(f, x=1, y=2)\n"
    one = source(loss, "def f(m, b, x, y): return x - y\n")
    other = source(loss, "def f(m, b, y, x): return y - x\n")
    assert one(0, 0) != other(0, 0)
    assert task_fingerprint(one) != task_fingerprint(other)


@given(st.text(max_size=3), st.lists(st.binary(max_size=3), max_size=3), st.data())
def test_no_two_sequences_of_parts_are_combined_alike(
    kind: str, parts: list[bytes], data: st.DataObject
):
    joined = kind.encode() + b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(joined)), max_size=3)))
    pieces = [joined[a:b] for a, b in pairwise([0, *cuts, len(joined)])]
    same = pieces == [kind.encode(), *parts]
    with suppress(UnicodeDecodeError):
        assert (combine(pieces[0].decode(), *pieces[1:]) == combine(kind, *parts)) == same


def test_cycles_end():
    loop: list[Any] = [1]
    loop.append(loop)
    other: list[Any] = [2]
    other.append(other)
    assert task_fingerprint(cases.closure(loop)) != task_fingerprint(cases.closure(other))
    this = cases.Stateful(a=1)
    this.me = this
    that = cases.Stateful(a=2)
    that.me = that
    assert task_fingerprint(this) != task_fingerprint(that)


@dataclass(frozen=True)
class Guarded:
    lock: Any
    state: str = "a"

    def fingerprint(self) -> str:
        return self.state

    def __call__(self, model: nn.Module, batch: Any) -> Any:
        return model(batch)


def test_what_cannot_be_read_is_refused_unless_it_has_a_fingerprint_of_its_own():
    message = (
        r"^loss → closure 'value' → \['tools'\] → \[1\] is a _thread.lock, whose state cannot be "
        r"read \(.*lock.*\), so two different losses could look the same; leave it out of the loss"
    )
    with pytest.raises(TypeError, match=message):
        task_fingerprint(cases.closure({"tools": [1, threading.Lock()]}))
    with pytest.raises(TypeError, match="whose state cannot be read"):
        task_fingerprint(cases.closure(x for x in [1]))
    lock = threading.Lock()
    assert task_fingerprint(Guarded(lock)) == task_fingerprint(Guarded(threading.Lock()))
    assert task_fingerprint(Guarded(lock)) != task_fingerprint(Guarded(lock, "b"))
    with pytest.raises(TypeError, match=r"task must be a callable \(model, batch\) -> losses, got"):
        task_fingerprint(3)  # type: ignore[arg-type]
