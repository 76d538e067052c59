"""NextToken against transformers' own loss, a loop over tokens, and itself padded or vmapped."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from creode.data import Samples, as_samples
from creode.tasks import NextToken, validate

B, T, V = 3, 7, 19


class Recurrent(nn.Module):
    """A plain causal model: token ids in, logits out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, 8)
        self.mix = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, V)

    def forward(self, x):
        return self.head(self.mix(self.embed(x))[0])


def hugging_face(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            n_layer=2, n_head=2, n_embd=16, vocab_size=V, n_positions=16, initializer_range=0.5,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config).eval()
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=V, initializer_range=0.5,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def tokens(*shape, seed=0):
    return torch.randint(0, V, shape, generator=torch.Generator().manual_seed(seed))


def plain():
    torch.manual_seed(1)
    return Recurrent()


def mean(losses):
    return losses.values.sum() / losses.mask.sum()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_mean_is_the_loss_transformers_computes(kind):
    model, ids = hugging_face(kind), tokens(B, T)
    theirs = model(ids, labels=ids).loss
    assert torch.allclose(mean(NextToken()(model, {"input_ids": ids})), theirs, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_ignored_labels_and_right_padding_are_those_of_transformers(kind):
    model, ids = hugging_face(kind), tokens(B, T)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, 2], labels[2, :3] = -100, -100
    theirs = model(ids, attention_mask=mask, labels=labels).loss
    losses = NextToken()(model, {"input_ids": ids, "attention_mask": mask, "labels": labels})
    assert torch.allclose(mean(losses), theirs, atol=1e-5)
    assert losses.mask.sum() == (labels[:, 1:] != -100).sum()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_left_padding_is_that_of_transformers_with_positions_from_the_mask(kind):
    model, ids = hugging_face(kind), tokens(B, T)
    mask = torch.ones_like(ids)
    mask[0, :3], mask[2, :1] = 0, 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, 3], labels[2, 1] = -100, -100  # the first token has nothing before it
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    theirs = model(ids, attention_mask=mask, labels=labels, position_ids=positions).loss
    losses = NextToken()(model, {"input_ids": ids, "attention_mask": mask})
    assert torch.allclose(mean(losses), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "make", [plain, lambda: hugging_face("gpt2"), lambda: hugging_face("llama")]
)
def test_each_token_equals_a_loop_over_samples_and_tokens(make):
    model, ids = make(), tokens(B, T)
    labels = ids.clone()
    labels[1, 3] = -100
    losses = NextToken()(model, {"input_ids": ids, "labels": labels})
    losses = losses._replace(values=losses.values.detach())
    for b in range(B):
        for t in range(T - 1):
            with torch.no_grad():
                out = model(ids[b : b + 1, : t + 1])
            logits = getattr(out, "logits", out)[0, -1].double()
            wanted = -logits.softmax(0)[ids[b, t + 1]].log()
            if b == 1 and t == 2:
                wanted, counts = torch.zeros(()), False
            else:
                counts = True
            assert losses.mask[b, t] == counts
            assert math.isclose(losses.values[b, t], wanted, abs_tol=1e-5)
    assert not losses.mask[:, -1].any()
    assert not losses.values[:, -1].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=T, max_size=T).filter(any), st.integers(0, 99))
def test_padding_anywhere_leaves_the_losses_of_the_tokens(real, seed):
    """Whatever lies in the padding, tokens have the losses of the sample without padding."""
    model, task = plain(), NextToken()
    mask = torch.tensor([real])
    ids = tokens(1, T, seed=seed)
    losses = task(model, {"input_ids": ids.masked_fill(~mask, 10**6), "attention_mask": mask})
    alone = task(model, {"input_ids": ids[mask][None]})
    assert torch.allclose(losses.values[mask], alone.values[0], atol=1e-6)
    assert torch.equal(losses.mask[mask], alone.mask[0])
    assert not losses.values[~mask].any()
    assert not losses.mask[~mask].any()


@pytest.mark.parametrize("pad_token_id", [None, 3])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_vmap_over_chains_with_batches_of_their_own_equals_a_loop(kind, pad_token_id):
    model, chains = hugging_face(kind), 3
    model.config.pad_token_id = pad_token_id
    noise = torch.Generator().manual_seed(2)
    params = {
        name: p.detach() + 0.1 * torch.randn(chains, *p.shape, generator=noise)
        for name, p in model.named_parameters()
    }
    ids = tokens(chains, B, T)
    mask = torch.ones_like(ids)
    mask[0, 0, 4:], mask[1, 2, :2] = 0, 0
    task = NextToken()

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, batch):
            return task(self.inner, batch).values.sum()

    def loss(weights, ids, mask):
        named = {f"inner.{name}": weight for name, weight in weights.items()}
        return functional_call(Loss(), named, ({"input_ids": ids, "attention_mask": mask},))

    together = vmap(grad(loss))(params, ids, mask)
    for c in range(chains):
        one = {name: p[c].clone().requires_grad_() for name, p in params.items()}
        loss(one, ids[c], mask[c]).backward()
        for name, weight in one.items():
            assert torch.allclose(together[name][c], weight.grad, atol=1e-4), name


def test_half_precision_logits_give_a_loss_in_full_precision():
    ids = tokens(B, T)
    logits = 5 * torch.randn(B, T, V, generator=torch.Generator().manual_seed(3))

    class Fixed(nn.Module):
        def forward(self, input_ids):
            return logits.bfloat16()

    values = NextToken()(Fixed(), {"input_ids": ids}).values
    exact = NextToken()(lambda_module(logits.bfloat16().double()), {"input_ids": ids}).values
    assert values.dtype == torch.float32
    assert torch.allclose(values.double(), exact, atol=1e-5)


def lambda_module(output):
    class Fixed(nn.Module):
        def forward(self, x):
            return output

    return Fixed()


class Seen(nn.Module):
    """Returns uniform logits in some form, and keeps what it was called with."""

    def __init__(self, form=lambda logits: logits):
        super().__init__()
        self.form = form
        self.seen = {}

    def forward(self, input_ids, attention_mask=None, use_cache=None, labels=None, extra=None):
        self.seen = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        return self.form(torch.zeros(*input_ids.shape, V))


def test_the_model_sees_what_its_forward_names_and_no_labels():
    model, ids = Seen(), tokens(B, T)
    batch = {"input_ids": ids, "labels": ids, "extra": ids + 1, "unknown": ids}
    NextToken()(model, batch)
    assert model.seen["use_cache"] is False
    assert model.seen["labels"] is None
    assert torch.equal(model.seen["extra"], ids + 1)


def test_a_column_aligned_with_the_tokens_moves_with_them():
    model, ids = Seen(), tokens(1, 4)
    mask = torch.tensor([[0, 0, 1, 1]])
    extra = torch.tensor([[7, 7, 5, 6]])
    NextToken()(model, {"input_ids": ids, "attention_mask": mask, "extra": extra})
    assert model.seen["extra"].tolist() == [[5, 6, 0, 0]]


@pytest.mark.parametrize(
    "form",
    [lambda x: x, lambda x: (x, None), lambda x: {"logits": x}],
    ids=["tensor", "tuple", "dict"],
)
def test_logits_are_found_in_what_models_return(form):
    losses = NextToken()(Seen(form), {"input_ids": tokens(B, T)})
    assert torch.allclose(losses.values[losses.mask], torch.tensor(math.log(V)))


def test_a_compiled_wrapper_is_looked_through():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.module = inner

        def forward(self, *args, **kwargs):
            return self.module(*args, **kwargs)

    model = Seen()
    NextToken()(Wrapper(model), {"input_ids": tokens(B, T)})
    assert model.seen["use_cache"] is False


def test_a_positional_forward_of_another_name_and_open_keywords_gets_no_cache_argument():
    class Hooked(nn.Module):  # the signature of TransformerLens models
        def forward(self, input, return_type="logits", attention_mask=None, **kwargs):
            assert return_type == "logits"
            assert not kwargs
            return torch.zeros(*input.shape, V)

    assert NextToken()(Hooked(), {"input_ids": tokens(B, T)}).values.shape == (B, T)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda x: x[:, -1:], r"logits of shape \(3, 1, 19\) for tokens of shape \(3, 7\)"),
        (lambda x: x[0], r"logits of shape \(7, 19\)"),
    ],
)
def test_logits_of_another_shape_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        NextToken()(Seen(form), {"input_ids": tokens(B, T)})


def test_an_output_without_logits_is_refused():
    with pytest.raises(TypeError, match=r"Seen returned str without logits.*callable"):
        NextToken()(Seen(lambda x: "no"), {"input_ids": tokens(B, T)})


@pytest.mark.parametrize(
    "make", [plain, lambda: hugging_face("gpt2"), lambda: hugging_face("llama")]
)
def test_good_samples_pass(make):
    mask = torch.ones(B, T, dtype=torch.long)
    mask[0, :2], mask[1, 5:] = 0, 0
    for columns in (
        {"input_ids": tokens(B, T)},
        {"input_ids": tokens(B, T), "attention_mask": mask},
    ):
        validate(NextToken(), make(), Samples(columns=columns))


IDS = tokens(B, T)
ONES = torch.ones_like(IDS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"inputs": IDS}, r"needs a column 'input_ids'; the samples have \['inputs'\]"),
        ({"input_ids": IDS[0]}, r"'input_ids' has shape \(7,\); \(samples, tokens\) is needed"),
        ({"input_ids": IDS.float()}, r"'input_ids' has dtype torch.float32; give integer"),
        ({"input_ids": IDS[:, :1]}, r"sample 0 has 1 token\(s\).*at least 2"),
        ({"input_ids": IDS, "labels": IDS[:, 1:]}, r"'labels' has shape \(3, 6\).*\(3, 7\)"),
        ({"input_ids": IDS, "attention_mask": ONES * -9}, r"values other than 0 .* and 1"),
        (
            {"input_ids": IDS, "attention_mask": ONES.scatter(0, ONES[:1] * 2, 0)},
            r"sample 2 has 0 token\(s\)",
        ),
        (
            {"input_ids": IDS.index_fill(1, torch.tensor(4), V)},
            r"'input_ids' holds the id 19 \(sample 0, token 4\).*0..18",
        ),
        ({"input_ids": IDS, "labels": ONES * 40}, r"'labels' holds the id 40"),
        ({"input_ids": IDS, "labels": ONES * -100}, r"no token counts: every label is -100"),
        (
            {"input_ids": IDS, "labels": IDS.index_fill(1, torch.arange(1, T), -100)},
            r"no token counts",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [plain, lambda: hugging_face("gpt2")], ids=["plain", "gpt2"])
def test_samples_that_cannot_be_scored_are_refused(make, columns, message):
    with pytest.raises(ValueError, match=message):
        validate(NextToken(), make(), Samples(columns=columns))


def test_ids_outside_the_vocabulary_do_not_matter_in_padding():
    mask = ONES.clone()
    mask[:, 5:] = 0
    ids = IDS.masked_fill(mask == 0, V + 5)
    validate(NextToken(), plain(), Samples(columns={"input_ids": ids, "attention_mask": mask}))


def test_a_model_that_looks_ahead_is_refused():
    class Bidirectional(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(V, V)

        def forward(self, x):
            return self.embed(x) + self.embed(x).mean(1, keepdim=True)

    with pytest.raises(ValueError, match="Bidirectional is not causal: its logits change"):
        validate(NextToken(), Bidirectional(), as_samples(IDS))
    padded = Samples(columns={"input_ids": IDS, "attention_mask": (ONES.cumsum(1) > 2).long()})
    with pytest.raises(ValueError, match="is not causal"):
        validate(NextToken(), Bidirectional(), padded)
