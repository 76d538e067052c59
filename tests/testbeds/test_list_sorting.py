import copy

import pytest
import torch

import creode
from creode.development import list_checkpoints, load_weights
from creode.tasks import NextToken
from creode.testbeds import Decoder, DecoderConfig
from creode.testbeds.induction import attention_patterns
from creode.testbeds.list_sorting import (
    CONFIG,
    LENGTH,
    NUMBERS,
    SortingHeads,
    at_standard_scale,
    head_logits,
    list_sorting,
    sorted_lists,
    sorting_accuracy,
    sorting_heads,
)
from creode.training import TrainingConfig, train

NAN = float("nan")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """The lists, and decoders before, in the midst of and after the circuit's formation."""
    run = tmp_path_factory.mktemp("sorting") / "run"
    net = list_sorting(num_samples=8192, num_held_out=256)
    config = TrainingConfig(
        steps=600,
        batch_size=32,
        learning_rate=3e-3,
        warmup_steps=100,
        optimizer_options={"weight_decay": 0.5, "betas": (0.9, 0.98)},
        checkpoints=(30, 150, 600),
    )
    train(net.model, net.task, net.data, config, out=run)
    models = {}
    for checkpoint in list_checkpoints(run):
        models[checkpoint.step] = Decoder(CONFIG).eval()
        load_weights(models[checkpoint.step], checkpoint.path)
    return net, models


@pytest.fixture(scope="module")
def trained(training):
    """The decoder at the end, and its lists."""
    return training[1][600], training[0]


def with_random_biases(model, seed=0):
    """A copy in which no bias is 0, no gain 1 and no two parts have the same size."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or name.endswith("bias"):
                parameter.add_(0.2 * noise)
            else:
                parameter.mul_(0.5 + torch.rand((), generator=generator))
    return other


def test_lists_of_distinct_numbers_come_back_sorted_and_only_that_is_predicted():
    data = sorted_lists(50, torch.Generator().manual_seed(0))
    for ids, labels in zip(data.columns["input_ids"], data.columns["labels"], strict=True):
        given, separator, answer = ids[:LENGTH], ids[LENGTH], ids[LENGTH + 1 :]
        assert separator == NUMBERS
        assert sorted(given.tolist()) == answer.tolist()
        assert len(set(answer.tolist())) == LENGTH
        assert answer.max() < NUMBERS
        assert (labels[: LENGTH + 1] == NextToken().ignore_index).all()
        assert torch.equal(labels[LENGTH + 1 :], answer)
    assert len(data.columns["input_ids"][:, 0].unique()) > NUMBERS / 2


def test_what_heads_write_and_the_rest_of_the_stream_add_up_to_the_logits(trained):
    model = with_random_biases(trained[0])
    ids = trained[1].held_out.columns["input_ids"][:5]
    (pattern,) = attention_patterns(model, ids)
    with torch.no_grad():
        stream = model.embed(ids) + model.positions.weight
        whole = model.blocks[0](stream, None)
        attn = model.blocks[0].attn
        rest = stream + attn.o_proj.bias + attn.o_proj.weight @ attn.v_proj.bias
        scale = (whole.var(-1, unbiased=False, keepdim=True) + model.norm.eps).sqrt()
        normed = (rest - rest.mean(-1, keepdim=True)) / scale * model.norm.weight + model.norm.bias
        others = normed @ model.unembed.weight[:NUMBERS].T
        summed = head_logits(model, ids, pattern).sum(1) + others - others.mean(-1, keepdim=True)
        logits = model(ids)[..., :NUMBERS]
    torch.testing.assert_close(summed, logits - logits.mean(-1, keepdim=True), atol=1e-4, rtol=1e-4)


def test_heads_are_read_where_the_right_answer_stands(trained):
    """Against a loop over lists and places."""
    model, net = trained
    data = net.held_out.select(torch.arange(40))
    ids = data.columns["input_ids"]
    found = sorting_heads(model, data)
    (pattern,) = attention_patterns(model, ids)
    written = head_logits(model, ids, pattern).detach()
    number = int(ids[0, -2])
    attention, logit = [], []
    for n, sequence in enumerate(ids.tolist()):
        if number in sequence:
            query = LENGTH + sequence[LENGTH + 1 :].index(number)
            attention.append(pattern[n, :, query, sequence.index(number)])
            logit.append(written[n, :, query, number])
    torch.testing.assert_close(found.attention[:, number], torch.stack(attention).mean(0))
    torch.testing.assert_close(found.logit[:, number], torch.stack(logit).mean(0))


def test_numbers_that_no_list_asks_for_are_nan_and_do_not_count():
    net = list_sorting(num_samples=1, num_held_out=1)
    asked = net.held_out.columns["input_ids"][0, LENGTH + 1 :]
    found = sorting_heads(net.model, net.held_out)
    absent = torch.ones(NUMBERS, dtype=torch.bool)
    absent[asked] = False
    assert torch.equal(found.logit.isnan().all(0), absent)
    assert torch.equal(found.holder == -1, absent)
    assert 0 <= found.overlap <= 1


@pytest.mark.parametrize(
    ("logit", "overlap", "num_ranges"),
    [
        ([[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 4.0]], 0.0, 2),  # one half each
        ([[2.0, 0.0, 2.0, 0.0], [0.0, 4.0, 0.0, 4.0]], 0.0, 4),  # in turn
        ([[2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]], 0.5, 1),
        ([[3.0, 3.0, 3.0, 3.0], [-9.0, -9.0, -9.0, -9.0]], 0.0, 1),  # copy-suppression
        ([[2.0, NAN, 2.0, 1.0], [1.0, NAN, 1.0, 5.0]], 3 / 9, 2),
    ],
)
def test_overlap_and_ranges_of_known_heads(logit, overlap, num_ranges):
    heads = SortingHeads(attention=torch.zeros(2, 4), logit=torch.tensor(logit))
    assert heads.overlap == pytest.approx(overlap)
    assert heads.num_ranges == num_ranges


def test_a_trained_decoder_sorts_lists_it_has_not_seen(trained):
    model, net = trained
    assert sorting_accuracy(net.model, net.held_out) < 0.1
    assert sorting_accuracy(model, net.held_out) > 0.98
    before, after = (sorting_heads(m, net.held_out) for m in (net.model, model))
    assert before.attention.max() < 0.25  # uniform over places: between 1/9 and 1/16
    assert after.attention.max(0).values.nanmean() > 0.45


def llc_of(net, model):
    draws = creode.sample(
        creode.LocalPosterior(
            model,
            net.task,
            net.data.select(torch.arange(256)),
            nbeta=100.0,
            localization=1000.0,
        ),
        sampler=creode.BAOAB(step_size=0.02, friction=2 * 1000.0**0.5),
        chains=2,
        draws=60,
        burnin=40,
        steps_per_draw=1,
        batch_size=16,
        execution=creode.Execution(mode="sequential"),
    )
    found = creode.llc(draws)
    return float(found["llc"]), float(found["llc_se"])


def test_llc_rises_as_the_circuit_forms_and_falls_while_heads_share_numbers_out(training):
    """The stages of examples/list_sorting.py, at three checkpoints."""
    net, models = training
    before, formed, after = (llc_of(net, at_standard_scale(m)) for m in models.values())
    assert before[0] + 4 * before[1] < formed[0] / 3
    assert formed[0] - after[0] > 4 * (formed[1] ** 2 + after[1] ** 2) ** 0.5
    heads = [sorting_heads(model, net.held_out) for model in models.values()]
    assert heads[2].overlap < 0.8 * heads[1].overlap
    assert heads[2].num_ranges < heads[1].num_ranges


def test_the_standard_scale_changes_sizes_and_not_the_function(trained):
    model = with_random_biases(trained[0])
    ids = trained[1].held_out.columns["input_ids"]
    kept = copy.deepcopy(model.state_dict())
    scaled = at_standard_scale(model)
    with torch.no_grad():
        torch.testing.assert_close(scaled(ids), model(ids), atol=0.02, rtol=0)  # ε of the norms
    torch.testing.assert_close(model.state_dict(), kept)
    attn = scaled.blocks[0].attn
    torch.testing.assert_close(attn.v_proj.weight.norm(), attn.o_proj.weight.norm())
    for norm in (scaled.blocks[0].attn_norm, scaled.norm):
        assert float(norm.weight.detach().square().mean()) == pytest.approx(1.0, rel=1e-5)
    expected = CONFIG.init_std * (NUMBERS + 1) ** 0.5 * CONFIG.d_model**0.5
    assert float(scaled.embed.weight.detach().norm()) == pytest.approx(expected, rel=1e-5)


def test_weights_that_differ_by_scale_alone_have_one_standard_scale(trained):
    model = trained[0]
    other = copy.deepcopy(model)
    with torch.no_grad():
        attn = other.blocks[0].attn
        for parameter in (other.embed.weight, other.positions.weight, *attn.o_proj.parameters()):
            parameter.mul_(3.0)
        for parameter in other.norm.parameters():
            parameter.mul_(0.5)
        for parameter in attn.v_proj.parameters():
            parameter.mul_(0.2)
        attn.o_proj.weight *= 5.0
        other.unembed.weight *= 2.0
    expected, found = (dict(at_standard_scale(m).named_parameters()) for m in (model, other))
    for name, parameter in expected.items():
        torch.testing.assert_close(found[name], parameter, msg=lambda m, name=name: f"{name}: {m}")


def test_decoders_of_other_kinds_are_refused():
    lists = sorted_lists(2, torch.Generator().manual_seed(0))
    shape = {"vocab_size": NUMBERS + 1, "d_model": 8, "num_heads": 2, "context_length": 17}
    deep = Decoder(DecoderConfig(**shape, num_layers=2, mlp_ratio=0))
    with pytest.raises(ValueError, match="has 2 layers and mlp_ratio 0"):
        sorting_heads(deep, lists)
    wide = Decoder(DecoderConfig(**shape, num_layers=1, mlp_ratio=2.0))
    with pytest.raises(ValueError, match=r"has 1 layers and mlp_ratio 2\.0"):
        at_standard_scale(wide)
    bare = Decoder(DecoderConfig(**shape, num_layers=1, mlp_ratio=0, layer_norm=False))
    with pytest.raises(ValueError, match="needed: norms"):
        at_standard_scale(bare)
    with pytest.raises(ValueError, match="got 0 and 5"):
        list_sorting(num_samples=0, num_held_out=5)


def test_the_same_seed_gives_the_same_lists_and_weights():
    one, same, other = (list_sorting(num_samples=8, num_held_out=8, seed=s) for s in (3, 3, 4))
    for name in ("data", "held_out"):
        ids = [getattr(net, name).columns["input_ids"] for net in (one, same, other)]
        assert torch.equal(ids[0], ids[1])
        assert not torch.equal(ids[0], ids[2])
    assert torch.equal(one.model.embed.weight, same.model.embed.weight)
    assert not torch.equal(one.data.columns["input_ids"], one.held_out.columns["input_ids"])
    alone = list_sorting(num_heads=1, num_samples=1, num_held_out=1).model
    count = [sum(p.numel() for p in m.parameters()) for m in (alone, one.model)]
    assert alone.config.num_heads == 1
    assert count[0] == count[1]
