# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""More architectures of text: relative positions, ALiBi, one key for all heads, experts, state spaces."""

from __future__ import annotations

from tests.aot.models.families import GROUPED, POSITIONS, SMALL, VOCABULARY, encoder_decoder, text

from .architectures import architecture, classes, next_tokens, spans, target_tokens

_LEFT, _RIGHT = text("left"), text("right")
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

_ENCODERS = (
    architecture(
        "deberta_v2",
        "DebertaV2ForQuestionAnswering",
        "DebertaV2Config",
        _RIGHT,
        spans,
        **SMALL,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
    ),
    architecture(
        "modernbert",
        "ModernBertForMaskedLM",
        "ModernBertConfig",
        _RIGHT,
        next_tokens,
        **SMALL,
        **_SPECIAL,
        cls_token_id=1,
        sep_token_id=2,
        local_attention=6,
        global_attn_every_n_layers=2,
    ),
    architecture(
        "xlnet",
        "XLNetForSequenceClassification",
        "XLNetConfig",
        _LEFT,
        classes,
        vocab_size=VOCABULARY,
        d_model=32,
        n_layer=2,
        n_head=4,
        d_inner=48,
    ),
)

_DECODERS = (
    architecture(
        "bloom",
        "BloomForCausalLM",
        "BloomConfig",
        _LEFT,
        next_tokens,
        vocab_size=VOCABULARY,
        hidden_size=32,
        n_layer=2,
        n_head=4,
        use_cache=False,
    ),
    architecture(
        "falcon",
        "FalconForCausalLM",
        "FalconConfig",
        _LEFT,
        next_tokens,
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        use_cache=False,
    ),
    architecture(
        "phi3",
        "Phi3ForCausalLM",
        "Phi3Config",
        _LEFT,
        next_tokens,
        **SMALL,
        **_SPECIAL,
        num_key_value_heads=2,
        use_cache=False,
    ),
    architecture(
        "gemma3",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        _LEFT,
        next_tokens,
        **GROUPED,
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=6,
        query_pre_attn_scalar=8,
        use_cache=False,
    ),
    architecture(
        "mixtral",
        "MixtralForCausalLM",
        "MixtralConfig",
        _LEFT,
        next_tokens,
        **GROUPED,
        num_local_experts=4,
        output_router_logits=True,
        use_cache=False,
    ),
    architecture(
        "mamba",
        "MambaForCausalLM",
        "MambaConfig",
        _LEFT,
        next_tokens,
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        use_cache=False,
    ),
    architecture(
        "mamba2",
        "Mamba2ForCausalLM",
        "Mamba2Config",
        _LEFT,
        next_tokens,
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=8,
        head_dim=8,
        n_groups=2,
        state_size=8,
        chunk_size=4,
        use_cache=False,
    ),
)

_ENCODER_DECODERS = (
    architecture(
        "m2m_100",
        "M2M100ForConditionalGeneration",
        "M2M100Config",
        encoder_decoder,
        target_tokens,
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=POSITIONS,
        use_cache=False,
    ),
)

MORE_TEXT = (*_ENCODERS, *_DECODERS, *_ENCODER_DECODERS)
