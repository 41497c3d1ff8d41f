# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A stateful Llama as one compiled module: its cache lives in the vmfb, its weights in the checkpoint.

`build()` makes a `CompiledModule` class of any Hugging Face `LlamaForCausalLM`. Its procedures:

    prefill(tokens[1, n]) -> token[1, 1]     read n tokens; the most likely next one
    decode(token[1, 1]) -> token[1, 1]       read one token; the most likely next one
    generate(token[1, 1], count) -> [1, count]    read a token and go on: the loop runs in the vmfb
    reset()                                  forget everything

Tokens are counted from the last `reset()`; each attends to itself and to the `window` - 1 tokens
before it. The cache has room for `window` tokens, and the newest one takes the place of the oldest.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, LlamaForCausalLM

from shark_turbine import aot

INT64 = torch.int64


class Cache:
    """The shape of the cache: keys and values of `window` tokens for every layer and key head."""

    def __init__(self, config, window, dtype):
        self.layers, self.heads = config.num_hidden_layers, config.num_key_value_heads
        self.window = window
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.type = aot.AbstractTensor(self.layers, self.heads, window, self.head_dim, dtype=dtype)

    def visible(self, read, queries):
        """Say which slots the queries see: bool[n, window].

        Args:
            read: how many tokens were read before, int64[1].
            queries: the positions of n new tokens, int64[n].
        """
        slots = torch.arange(self.window)
        # The position of the newest of the `read` tokens that belongs into each slot.
        held = read - 1 - (read - 1 - slots).remainder(self.window)
        return (held >= 0) & (queries[:, None] - held < self.window)

    def write(self, cache, new, read):
        """Write the keys or values of n new tokens, [layers, heads, n, head_dim], into their slots."""
        places = (read + torch.arange(new.shape[2])).remainder(self.window)
        rows = torch.arange(self.layers * self.heads)[:, None] * self.window + places
        flat = cache.reshape(-1, self.head_dim)
        flat = flat.index_put((rows.reshape(-1),), new.reshape(-1, self.head_dim))
        return flat.reshape(cache.shape)


def rotate(x, cos, sin):
    """Turn pairs of numbers by the angles of their positions (rotary embedding, arXiv 2104.09864)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def attend(query, old, new, visible, causal):
    """Attend over the cache and over the new tokens, without joining the two.

    Args:
        query: [heads, rows, head_dim], scaled; a row is a query head's token.
        old: keys and values of the cache, each [heads, window, head_dim].
        new: those of the n new tokens, each [heads, n, head_dim].
        visible: what each row sees of the cache, bool[rows, window].
        causal: what it sees of the new tokens, bool[rows, n]; at least one.

    Returns:
        [heads, rows, head_dim].
    """
    old_scores = (query @ old[0].transpose(1, 2)).masked_fill(~visible, -torch.inf)
    new_scores = (query @ new[0].transpose(1, 2)).masked_fill(~causal, -torch.inf)
    top = torch.maximum(old_scores.amax(-1, keepdim=True), new_scores.amax(-1, keepdim=True))
    old_weights, new_weights = torch.exp(old_scores - top), torch.exp(new_scores - top)
    # A slot that was never written may hold anything, and 0 times anything is not always 0.
    written = visible.any(0)[:, None]
    total = old_weights @ torch.where(written, old[1], 0.0) + new_weights @ new[1]
    return total / (old_weights.sum(-1, keepdim=True) + new_weights.sum(-1, keepdim=True))


def most_likely(scores):
    """Choose the token of the highest score: [1, vocabulary] to int64[1, 1]."""
    return scores.argmax(-1, keepdim=True)


def read_tokens(model, cache, tokens, read, keys, values):
    """Run the model over new tokens.

    Args:
        model: the `LlamaForCausalLM`.
        cache: its `Cache`.
        tokens: int64[1, n].
        read: how many tokens were read before, int64[1].
        keys: the cache of keys.
        values: the cache of values.

    Returns:
        The scores of the next token, [1, vocabulary], and both caches with the new tokens in them.
    """
    config, body = model.config, model.model
    n, heads, head_dim = tokens.shape[1], cache.heads, cache.head_dim
    group = config.num_attention_heads // heads
    positions = read + torch.arange(n)
    x = body.embed_tokens(tokens)[0]
    cos, sin = (angles[0] for angles in body.rotary_emb(x, positions[None]))
    # A row for each token of each of the query heads that share a key head.
    visible = cache.visible(read, positions).repeat(group, 1)
    causal = (positions[:, None] >= positions).repeat(group, 1)
    new_keys, new_values = [], []
    for index, layer in enumerate(body.layers):
        attention, h = layer.self_attn, layer.input_layernorm(x)
        query = attention.q_proj(h).reshape(n, heads, group, head_dim).permute(1, 2, 0, 3)
        key = attention.k_proj(h).reshape(n, heads, head_dim).transpose(0, 1)
        value = attention.v_proj(h).reshape(n, heads, head_dim).transpose(0, 1)
        query, key = rotate(query, cos, sin) * attention.scaling, rotate(key, cos, sin)
        rows = query.reshape(heads, group * n, head_dim)
        mixed = attend(rows, (keys[index], values[index]), (key, value), visible, causal)
        mixed = mixed.reshape(heads, group, n, head_dim).permute(2, 0, 1, 3)
        x = x + attention.o_proj(mixed.reshape(n, heads * group * head_dim))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        new_keys.append(key)
        new_values.append(value)
    scores = model.lm_head(body.norm(x[-1:]))
    keys = cache.write(keys, torch.stack(new_keys), read)
    values = cache.write(values, torch.stack(new_values), read)
    return scores, keys, values


def build_module(model, *, window=512, end=None, choose=most_likely):
    """Return the `CompiledModule` class of a model.

    Args:
        model: a `LlamaForCausalLM`; its weights stay outside, under their names in the checkpoint.
        window: how many tokens a token can see, itself included; the size of the cache.
        end: the token after which `generate` only repeats it; None never ends.
        choose: how a token is chosen: a function of the scores, [1, vocabulary].
    """
    cache = Cache(model.config, window, model.dtype)
    one_token = aot.AbstractTensor(1, 1, dtype=INT64)

    def read_some(tokens, read, keys, values):
        scores, keys, values = read_tokens(model, cache, tokens, read, keys, values)
        return choose(scores), read + tokens.shape[1], keys, values

    def is_unfinished(index, count, token):
        return (index < count) & (True if end is None else token[0, 0] != end)

    class LlamaModule(aot.CompiledModule):
        params = aot.export_parameters(
            model, external=True, name_mapper=lambda name: name.removeprefix("params.")
        )
        read = aot.export_global(aot.AbstractTensor(1, dtype=INT64), mutable=True)
        keys = aot.export_global(cache.type, mutable=True, uninitialized=True)
        values = aot.export_global(cache.type, mutable=True, uninitialized=True)

        run = aot.jittable(read_some)
        unfinished = aot.jittable(is_unfinished)
        zero = aot.jittable(lambda: torch.zeros(1, dtype=INT64))

        def prefill(self, tokens=aot.AbstractTensor(1, None, dtype=INT64)):
            n = tokens.dynamic_dim(1)
            token, self.read, self.keys, self.values = self.run(
                tokens, self.read, self.keys, self.values, constraints=[n >= 1, n <= window]
            )
            return token

        def decode(self, token=one_token):
            token, self.read, self.keys, self.values = self.run(
                token, self.read, self.keys, self.values
            )
            return token

        def generate(self, token=one_token, count=aot.AbstractI64):
            def goes_on(index, token, tokens):
                return self.unfinished(index, count, token)

            def step(index, token, tokens):
                token = self.decode(token)
                return index + 1, token, aot.IREE.tensor_update(tokens, token, 0, index)

            tokens = aot.IREE.tensor_splat(1, count, value=0 if end is None else end, dtype=INT64)
            return aot.while_loop(goes_on, step, (0, token, tokens))[2]

        def reset(self):
            self.read = self.zero()

    return LlamaModule


def load_model(folder):
    """Load a checkpoint folder.

    Raises:
        ValueError: it holds no Llama, or one whose rotary embedding depends on the length.
    """
    config = AutoConfig.from_pretrained(Path(folder), local_files_only=True)
    if config.model_type != "llama":
        raise ValueError(f"{folder} is a checkpoint of {config.model_type!r}, not of 'llama'")
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise ValueError(f"{folder} turns by other angles as the text grows (rope_type {kind!r})")
    return LlamaForCausalLM.from_pretrained(Path(folder), local_files_only=True).eval()


def build(folder, *, window=512, end=None):
    """Return the `CompiledModule` class of a checkpoint folder; see `build_module`."""
    return build_module(load_model(folder), window=window, end=end)
