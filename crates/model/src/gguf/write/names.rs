//! Hugging Face's names of tensors in, the names that llama.cpp's converter writes out, with what becomes of their rows; and
//! the other way round.

/// The layout of an architecture of GGUF files.
#[derive(Debug)]
pub(in crate::gguf) struct Layout {
    /// What files call it, and put before its keys.
    pub(in crate::gguf) name: &'static str,
    /// Before the number of a block.
    blocks: &'static str,
    /// Outside of blocks, without `.weight` and `.bias`: Hugging Face's name, the file's.
    whole: &'static [(&'static str, &'static str)],
    /// The same inside of a block.
    in_block: &'static [(&'static str, &'static str)],
    /// Parts that such files have no place for, at the beginning of names.
    pub(super) left_out: &'static [&'static str],
    /// Whether halves of queries and keys alternate, because neighbours are turned against each other.
    pub(in crate::gguf) is_interleaved: bool,
    /// Whether norms are written with the one that is added to them.
    pub(in crate::gguf) adds_one_to_norms: bool,
}

const MODERN: Layout = Layout {
    name: "llama",
    blocks: "model.layers.",
    whole: &[
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ],
    in_block: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ],
    left_out: &[],
    is_interleaved: false,
    adds_one_to_norms: false,
};

const GEMMA: Layout = Layout {
    in_block: &[
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ],
    adds_one_to_norms: true,
    ..MODERN
};

const GPT2: Layout = Layout {
    name: "gpt2",
    blocks: "transformer.h.",
    whole: &[
        ("transformer.wte", "token_embd"),
        ("transformer.wpe", "position_embd"),
        ("transformer.ln_f", "output_norm"),
        ("lm_head", "output"),
    ],
    in_block: &[
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ],
    ..MODERN
};

const BERT: Layout = Layout {
    name: "bert",
    blocks: "bert.encoder.layer.",
    whole: &[
        ("bert.embeddings.word_embeddings", "token_embd"),
        ("bert.embeddings.position_embeddings", "position_embd"),
        ("bert.embeddings.token_type_embeddings", "token_types"),
        ("bert.embeddings.LayerNorm", "token_embd_norm"),
    ],
    in_block: &[
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
    ],
    left_out: &["bert.pooler.", "cls."],
    ..MODERN
};

/// Transformers' `model_type`, and the layout of its files.
static LAYOUTS: [(&str, Layout); 8] = [
    ("llama", Layout { is_interleaved: true, ..MODERN }),
    ("mistral", Layout { is_interleaved: true, ..MODERN }),
    ("qwen2", Layout { name: "qwen2", ..MODERN }),
    ("qwen3", Layout { name: "qwen3", ..MODERN }),
    ("gemma2", Layout { name: "gemma2", ..GEMMA }),
    ("gemma3_text", Layout { name: "gemma3", ..GEMMA }),
    ("gpt2", GPT2),
    ("bert", BERT),
];

/// GPT-NeoX: its fused queries, keys and values lie head by head here, and one after another there.
const GPT_NEOX: Layout = Layout {
    name: "gptneox",
    blocks: "gpt_neox.layers.",
    whole: &[
        ("gpt_neox.embed_in", "token_embd"),
        ("gpt_neox.final_layer_norm", "output_norm"),
        ("embed_out", "output"),
    ],
    in_block: &[
        ("input_layernorm", "attn_norm"),
        ("attention.query_key_value", "attn_qkv"),
        ("attention.dense", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
    ],
    ..MODERN
};

/// What is read and not written.
static READ_ONLY: [Layout; 1] = [GPT_NEOX];

impl Layout {
    /// The layouts that are read.
    pub(in crate::gguf) fn read() -> impl Iterator<Item = &'static Layout> {
        let written = LAYOUTS.iter().filter(|known| known.0 != "mistral").map(|known| &known.1);
        written.chain(&READ_ONLY)
    }

    /// Hugging Face's name for a tensor of a file.
    pub(in crate::gguf) fn original(&self, name: &str) -> Option<String> {
        let (part, what) =
            name.rsplit_once('.').filter(|(_, what)| ["weight", "bias"].contains(what))?;
        if let Some(rest) = part.strip_prefix("blk.") {
            let (layer, part) = rest.split_once('.')?;
            let layer: usize = layer.parse().ok()?;
            let known = self.in_block.iter().find(|known| known.1 == part)?;
            return Some(format!("{}{layer}.{}.{what}", self.blocks, known.0));
        }
        let known = self.whole.iter().find(|known| known.1 == part)?;
        Some(format!("{}.{what}", known.0))
    }

    /// The layout for a family, or the families that there are layouts for.
    pub(super) fn of(model_type: &str) -> Result<&'static Layout, Vec<&'static str>> {
        let found = LAYOUTS.iter().find(|known| known.0 == model_type).map(|known| &known.1);
        found.ok_or_else(|| LAYOUTS.iter().map(|known| known.0).collect())
    }

    /// The file's name for a tensor. Models without a head have no prefix before their names.
    pub(super) fn rename(&self, name: &str) -> Option<String> {
        self.rename_full(name).or_else(|| self.rename_full(&self.with_body(name)))
    }

    /// A name with what stands before those of models that have a head.
    fn with_body(&self, name: &str) -> String {
        let body = self.blocks.split('.').next().unwrap_or("");
        format!("{body}.{name}")
    }

    fn rename_full(&self, name: &str) -> Option<String> {
        let (part, what) = name.rsplit_once('.')?;
        if let Some(rest) = part.strip_prefix(self.blocks) {
            let (layer, part) = rest.split_once('.')?;
            let known = self.in_block.iter().find(|known| known.0 == part)?;
            return Some(format!("blk.{layer}.{}.{what}", known.1));
        }
        let known = self.whole.iter().find(|known| known.0 == part)?;
        Some(format!("{}.{what}", known.1))
    }

    /// Whether files have no place for a tensor.
    pub(super) fn leaves_out(&self, name: &str) -> bool {
        let full = self.with_body(name);
        self.left_out.iter().any(|start| name.starts_with(start) || full.starts_with(start))
    }
}

#[test]
fn names_are_hugging_faces() {
    let check = |architecture, name, expected: Option<&str>| {
        let layout = Layout::read().find(|layout| layout.name == architecture).unwrap();
        assert_eq!(layout.original(name).as_deref(), expected);
    };
    check("llama", "token_embd.weight", Some("model.embed_tokens.weight"));
    check("llama", "blk.12.attn_q.bias", Some("model.layers.12.self_attn.q_proj.bias"));
    check("llama", "blk.0.ffn_norm.weight", Some("model.layers.0.post_attention_layernorm.weight"));
    check(
        "gemma2",
        "blk.0.ffn_norm.weight",
        Some("model.layers.0.pre_feedforward_layernorm.weight"),
    );
    check(
        "gptneox",
        "blk.1.attn_qkv.bias",
        Some("gpt_neox.layers.1.attention.query_key_value.bias"),
    );
    check("llama", "blk.0.ffn_down.scale", None);
    check("llama", "blk.x.ffn_down.weight", None);
    check("llama", "blk.0.ssm_a", None);
}

#[test]
fn names_are_llama_cpps() {
    let check = |model_type, name, expected: Option<&str>| {
        assert_eq!(Layout::of(model_type).unwrap().rename(name).as_deref(), expected);
    };
    check("llama", "model.embed_tokens.weight", Some("token_embd.weight"));
    check("qwen2", "model.layers.12.self_attn.q_proj.bias", Some("blk.12.attn_q.bias"));
    check(
        "gemma2",
        "model.layers.0.post_attention_layernorm.weight",
        Some("blk.0.post_attention_norm.weight"),
    );
    check("gpt2", "transformer.h.3.attn.c_attn.weight", Some("blk.3.attn_qkv.weight"));
    check(
        "bert",
        "bert.encoder.layer.1.output.LayerNorm.bias",
        Some("blk.1.layer_output_norm.bias"),
    );
    check("bert", "bert.pooler.dense.weight", None);
    check("bert", "encoder.layer.1.output.dense.bias", Some("blk.1.ffn_down.bias"));
    let bert = Layout::of("bert").unwrap();
    assert!(bert.leaves_out("pooler.dense.weight") && bert.leaves_out("cls.predictions.bias"));
    assert!(Layout::of("nanochat").unwrap_err().contains(&"qwen3"));
}
