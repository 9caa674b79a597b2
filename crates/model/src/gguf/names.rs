//! The tensors of a GGUF file in, the same under Hugging Face's names out.

use super::write::names::Layout;
use idiolect_files::gguf::GgufFile;
use std::collections::BTreeMap;

/// The table of rotary divisors, which becomes part of the configuration.
pub(super) const FREQUENCIES: &str = "rope_freqs.weight";

/// Where a tensor is, and how it differs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name in the file.
    pub(super) name: String,
    pub(super) order: Order,
    /// Whether it is `[out, in]` in the file and `[in, out]` at Hugging Face's.
    pub(super) is_transposed: bool,
    /// Whether the file has one added to it.
    pub(super) has_one_added: bool,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Same,
    /// The halves of each head alternate.
    Interleaved {
        heads: i64,
    },
    /// All queries, all keys, all values; not those of each head together.
    Thirds {
        heads: i64,
    },
}

/// Hugging Face's names of the tensors of a file.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Place>);

impl Names {
    /// Names every tensor, or gives the name of one that has no place, and what is wrong with it.
    pub(super) fn new(file: &GgufFile, layout: &Layout) -> Result<Self, (String, String)> {
        let heads = |key: &str| {
            let key = format!("{}.attention.{key}", layout.name);
            file.integer(&key).ok().flatten().and_then(|count| i64::try_from(count).ok())
        };
        let queries = heads("head_count").unwrap_or(1);
        let keys = heads("head_count_kv").unwrap_or(queries);
        let mut names = BTreeMap::new();
        for tensor in file.tensors().iter().filter(|tensor| tensor.name != FREQUENCIES) {
            let problem = |what: String| (tensor.name.clone(), what);
            let name = layout
                .original(&tensor.name)
                .ok_or_else(|| problem("belongs to no layer of this model".into()))?;
            let part = part(&name).unwrap_or_default();
            let order = match part {
                "q_proj" if layout.is_interleaved => Order::Interleaved { heads: queries },
                "k_proj" if layout.is_interleaved => Order::Interleaved { heads: keys },
                "query_key_value" => Order::Thirds { heads: queries },
                _ => Order::Same,
            };
            let shared = match order {
                Order::Same => None,
                Order::Interleaved { heads } => Some((heads, 2)),
                Order::Thirds { heads } => Some((heads, 3)),
            };
            let rows = tensor.shape[0];
            if let Some((heads, parts)) = shared
                && (heads < 1
                    || heads.checked_mul(parts).is_none_or(|parts| rows as i64 % parts != 0))
            {
                return Err(problem(format!("has {rows} rows, which {heads} heads do not share")));
            }
            // GPT-2's layers are the only ones that Hugging Face has as `[in, out]`.
            let is_transposed = part.starts_with("c_") && tensor.shape.len() == 2;
            let has_one_added = layout.adds_one_to_norms && part.contains("norm");
            let place = Place { name: tensor.name.clone(), order, is_transposed, has_one_added };
            names.insert(name, place);
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
