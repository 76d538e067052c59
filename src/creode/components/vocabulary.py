"""What authors of networks call their parts: the names the module tree is read by.

Here: data only. Shapes decide wherever they can; these names say which of several matrices of the
same shape is which, and how a fused projection is laid out, which no shape tells.
Not here: the reading (tree.py, attention.py, heads.py).
Source: the forward methods of the architectures in transformers 5, PyTorch 2 and TransformerLens;
tests/components checks the layouts by running the models.
"""

from __future__ import annotations

import re

# Names of an attention's linear modules, lower-cased, by the role of the projection.
_ROLE_NAMES = {
    "q": "q q_proj q_lin q_linear query query_proj to_q w_q wq linear_q proj_q",
    "k": "k k_proj k_lin k_linear key key_proj to_k w_k wk linear_k proj_k",
    "v": "v v_proj v_lin v_linear value value_proj to_v w_v wv linear_v proj_v",
    "qkv": "qkv qkv_proj c_attn query_key_value wqkv w_qkv to_qkv c_qkv att_proj",
    "o": "o o_proj o_linear out out_lin out_proj c_proj dense proj to_out w_o wo linear_out proj_o",
}
ROLES = {name: role for role, names in _ROLE_NAMES.items() for name in names.split()}

# Layouts of the rows of a fused projection (H query heads, G key/value heads, r = H / G):
#   "blocks":  all queries, then all keys, then all values
#   "grouped": for each of the G groups its r queries, its key, its value (G = H: head by head)
# by the class of the attention module and the name of its projection.
FUSED_LAYOUTS: dict[tuple[str, str], str] = {
    ("GPT2Attention", "c_attn"): "blocks",
    ("DecisionTransformerGPT2Attention", "c_attn"): "blocks",
    ("ImageGPTAttention", "c_attn"): "blocks",
    ("CausalSelfAttention", "c_attn"): "blocks",  # nanoGPT
    ("MptAttention", "Wqkv"): "blocks",
    ("ModernBertAttention", "Wqkv"): "blocks",
    ("Phi3Attention", "qkv_proj"): "blocks",
    ("Phi4MultimodalAttention", "qkv_proj"): "blocks",
    ("GPTNeoXAttention", "query_key_value"): "grouped",
    ("BloomAttention", "query_key_value"): "grouped",
    ("PersimmonAttention", "query_key_value"): "grouped",
    ("FalconAttention", "query_key_value"): "grouped",
    ("GPTBigCodeAttention", "c_attn"): "grouped",  # multi-query is one group
}

# Attention modules whose q rows hold, head by head, the query and then a gate of the same width.
GATED_QUERY = frozenset({"Qwen3NextAttention", "Qwen3_5Attention", "Qwen3_5MoeAttention"})

# Vectors of one number a head that an attention may hold beside its projections.
PER_HEAD = frozenset({"sinks"})

# Attributes of a module or its config that give the numbers of an attention.
NUM_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "num_query_heads")
NUM_KV_HEADS = (
    "num_key_value_heads",
    "num_kv_heads",
    "n_key_value_heads",
    "n_kv_heads",
    "kv_heads",
)
HEAD_DIM = ("head_dim", "head_size", "d_head", "d_kv", "attention_head_size")
CONFIGS = ("config", "cfg")

# Wrappers that hold the module they stand for under one of these names are looked through.
WRAPPED = ("_original_component", "_orig_mod")

ATTENTION_NAME = re.compile(r"(^|_)(attn|attention|selfattention|encdecattention)$", re.IGNORECASE)
ATTENTION_CLASS = re.compile(r"Attention|Attn")
NORM_NAME = re.compile(r"(^|_)(ln|norm|layernorm|rmsnorm)(_?[a-z0-9]+)*$", re.IGNORECASE)
NORM_CLASS = re.compile(r"norm", re.IGNORECASE)
MLP_NAME = re.compile(
    r"^(mlp|ffn?|feed_?forward|fc_?\d*|lin(ear)?_?\d+|moe|block_sparse_moe|experts?"
    r"|intermediate|output|densereludense)$",
    re.IGNORECASE,
)
MLP_CLASS = re.compile(r"MLP|Mlp|FFN|FeedForward|MoE|Moe|Experts")
POSITION_NAME = re.compile(r"(^|_)pos|^wpe$", re.IGNORECASE)
UNEMBED_NAMES = ("unembed", "lm_head", "embed_out", "output_head", "head", "lm_output")
