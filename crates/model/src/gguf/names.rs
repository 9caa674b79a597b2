//! The tensors of a GGUF file in, the same under Hugging Face's names out.

use super::config::Architecture;
use idiolect_files::gguf::GgufFile;
use std::collections::BTreeMap;

/// Where a tensor is, and how its rows lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name in the file.
    pub(super) name: String,
    pub(super) order: Order,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Same,
    /// The halves of each head alternate.
    Interleaved {
        heads: i64,
    },
}

/// Hugging Face's names of the tensors of a file.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Place>);

/// Outside of blocks.
const WHOLE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Inside of a block, without `.weight` or `.bias`.
const IN_BLOCK: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl Names {
    /// Names every tensor, or gives the name of one that has no place, and what is wrong with it.
    pub(super) fn new(
        file: &GgufFile,
        architecture: Architecture,
    ) -> Result<Self, (String, String)> {
        let heads = |key: &str| {
            let key = format!("{}.attention.{key}", architecture.name());
            file.integer(&key).ok().flatten().and_then(|count| i64::try_from(count).ok())
        };
        let queries = heads("head_count").unwrap_or(1);
        let keys = heads("head_count_kv").unwrap_or(queries);
        let mut names = BTreeMap::new();
        for tensor in file.tensors() {
            let problem = |what: String| (tensor.name.clone(), what);
            let name = renamed(&tensor.name)
                .ok_or_else(|| problem("belongs to no layer of this model".into()))?;
            let order = match (architecture, part(&name)) {
                (Architecture::Llama, Some("q_proj")) => Order::Interleaved { heads: queries },
                (Architecture::Llama, Some("k_proj")) => Order::Interleaved { heads: keys },
                _ => Order::Same,
            };
            if let Order::Interleaved { heads } = order
                && (heads < 1 || tensor.shape[0] as i64 % (2 * heads) != 0)
            {
                let rows = tensor.shape[0];
                return Err(problem(format!("has {rows} rows, which {heads} heads do not share")));
            }
            names.insert(name, Place { name: tensor.name.clone(), order });
        }
        Ok(Self(names))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Place> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.0.iter().map(|(name, place)| (name.as_str(), place))
    }
}

/// The layer that a weight or bias belongs to.
fn part(name: &str) -> Option<&str> {
    name.rsplit('.').nth(1)
}

fn renamed(name: &str) -> Option<String> {
    if let Some(known) = WHOLE.iter().find(|known| known.0 == name) {
        return Some(known.1.to_string());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (part, what) = rest.rsplit_once('.')?;
    let known = IN_BLOCK.iter().find(|known| known.0 == part)?;
    matches!(what, "weight" | "bias").then(|| format!("model.layers.{layer}.{}.{what}", known.1))
}

#[test]
fn names_are_hugging_faces() {
    let check = |name, expected: Option<&str>| assert_eq!(renamed(name).as_deref(), expected);
    check("token_embd.weight", Some("model.embed_tokens.weight"));
    check("blk.12.attn_q.bias", Some("model.layers.12.self_attn.q_proj.bias"));
    check("blk.0.ffn_down.weight", Some("model.layers.0.mlp.down_proj.weight"));
    check("blk.0.ffn_down.scale", None);
    check("blk.x.ffn_down.weight", None);
    check("blk.0.ssm_a", None);
}
