"""Steps that skip the layers below: the same chains, for any way to run them."""

import pytest
import torch

import creode
from creode.components import resolve
from creode.data import Samples
from creode.sampling import BAOAB, prefix, unit
from creode.sampling.prefix import LAYER_INPUT, cached_rows, pays
from creode.sampling.schedule import Schedule
from creode.tasks import NextToken
from creode.testbeds.decoder import Decoder, DecoderConfig

SHAPE = DecoderConfig(vocab_size=31, d_model=16, num_layers=3, num_heads=2, context_length=12)


def tokens(number=16, seed=1, **columns):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 31, (number, 12), generator=generator)
    return Samples(columns={"input_ids": ids, **columns})


def run(model, component="l2h1", *, data=None, mode="sequential", microbatch=None, **options):
    data = tokens() if data is None else data
    settings = {"draws": 4, "burnin": 2, "steps_per_draw": 2, "batch_size": 4} | options
    return creode.sample(
        creode.LocalPosterior(
            model, NextToken(), data, nbeta=20.0, localization=50.0, component=component
        ),
        sampler=BAOAB(step_size=0.02, friction=5.0, relative_step=0.5), chains=2,
        execution=creode.Execution(mode=mode, microbatch=microbatch), **settings,
    )  # fmt: skip


def padded():
    mask = torch.ones(16, 12, dtype=torch.int64)
    mask[::2, :5] = 0
    return tokens(attention_mask=mask)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "sequential"},
        {"mode": "vectorised"},
        {"mode": "sequential", "microbatch": 3},
        {"mode": "sequential", "control_variates": True},
        {"mode": "vectorised", "batch_size": 16},
        {"mode": "sequential", "data": padded()},
    ],
    ids=str,
)
def test_chains_are_those_of_the_plain_path(options, monkeypatch):
    model = Decoder(SHAPE, seed=1)
    before = [parameter.clone() for parameter in model.parameters()]
    short = run(model, **options)
    assert short.attrs["layers_cached"] == 2
    assert all(map(torch.equal, before, model.parameters()))
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    monkeypatch.setattr(unit, "cached_rows", lambda *args: None)
    plain = run(model, **options)
    assert plain.attrs["layers_cached"] == 0
    assert short.attrs["data_fingerprint"] == plain.attrs["data_fingerprint"]
    for name in ("loss", "distance_sq", "loss_virial"):
        torch.testing.assert_close(
            torch.tensor(short[name].values), torch.tensor(plain[name].values),
            rtol=1e-4, atol=1e-6,
        )  # fmt: skip
    assert float(short["distance_sq"].min()) > 0.01


@pytest.mark.parametrize(("component", "depth"), [("l1 mlp", 1), ("l0h0", 0), ("embed", 0)])
def test_as_many_layers_are_skipped_as_lie_below(component, depth):
    assert run(Decoder(SHAPE, seed=1), component).attrs["layers_cached"] == depth


def test_the_layers_below_do_not_run_in_steps():
    model = Decoder(SHAPE, seed=1)
    calls = []
    model.blocks[1].attn.register_forward_hook(lambda *args: calls.append(1))
    run(model, draws=80)
    few = len(calls)
    calls.clear()
    run(model, draws=160)
    assert len(calls) == few


def test_rows_are_kept_where_they_come_again():
    schedule = Schedule(chains=2, draws=10, burnin=5, steps_per_draw=1, batch_size=4)
    assert pays(schedule, 60)  # 120 visits
    assert not pays(schedule, 61)
    model = Decoder(SHAPE, seed=1)
    assert run(model, data=tokens(100)).attrs["layers_cached"] == 0  # 80 visits


def test_rows_that_take_too_much_memory_are_not_kept(monkeypatch):
    model = Decoder(SHAPE, seed=1)
    given = (model, NextToken(), resolve(model, "l2h1"), tokens(), 4)
    size = 16 * 12 * 16 * 4
    kept = cached_rows(*given)
    assert kept.data.columns[LAYER_INPUT].nbytes == size
    monkeypatch.setattr(prefix, "available_bytes", lambda: 4 * size)
    assert cached_rows(*given) is not None
    monkeypatch.setattr(prefix, "available_bytes", lambda: 4 * size - 1)
    assert cached_rows(*given) is None
    monkeypatch.setattr(prefix, "available_bytes", lambda: None)
    monkeypatch.setattr(prefix, "MOST_BYTES", size - 1)
    assert cached_rows(*given) is None


def test_a_model_whose_layers_mix_the_samples_of_a_batch_is_not_cut():
    class Mixing(Decoder):
        """Takes the batch's mean off, so that a sample's loss depends on the others."""

        def forward(self, input_ids, attention_mask=None):
            x = self.embed(input_ids)
            for block in self.blocks:
                x = block(x - x.mean(0, keepdim=True), None)
            return self.unembed(x)

    model = Mixing(SHAPE, seed=1)
    assert cached_rows(model, NextToken(), resolve(model, "l2h1"), tokens(), 4) is None


def test_a_forward_pass_in_bfloat16_is_cut_too():
    model = Decoder(SHAPE, seed=1)
    kept = cached_rows(model, NextToken(), resolve(model, "l2h1"), tokens(), 4, "bfloat16")
    assert kept.depth == 2
