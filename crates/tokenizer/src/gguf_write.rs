//! A tokenizer in, the metadata out by which llama.cpp, and [`Tokenizer::from_gguf`], make it anew.

use crate::error::{Error, Result};
use crate::gguf::{CONTROL, CUTS, USER_DEFINED, pre_tokenizer};
use crate::tokenizer::{Special, Tokenizer};
use idiolect_files::gguf::MetadataValue;
use serde_json::Value;

/// Kinds of tokens, as `tokenizer.ggml.token_type` numbers them, besides those of special ones.
const NORMAL: i64 = 1;
const UNUSED: i64 = 5;

/// A key without what all begin with, and its value.
type Entry = (&'static str, MetadataValue);

/// What a model says of texts beside its vocabulary.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GgufExtras<'a> {
    /// Ids that the model takes: names are made up for those that no token has.
    pub vocab_size: usize,
    /// The ids that end a text or a turn; three find a place.
    pub stop_ids: &'a [u32],
    /// The Jinja template of conversations.
    pub chat_template: Option<&'a str>,
}

impl Tokenizer {
    /// The keys `tokenizer.*` of a GGUF file, as llama.cpp's converter writes them.
    ///
    /// # Errors
    /// If such files cannot say what the tokenizer does: it is neither byte-level BPE nor BERT's uncased WordPiece, cuts or
    /// normalises texts in a way that has no name there, or has more tokens than the model takes ids.
    pub fn to_gguf(&self, extras: &GgufExtras<'_>) -> Result<Vec<(String, MetadataValue)>> {
        let refuse = |what: String| Error::Invalid { origin: "GGUF: the tokenizer".into(), what };
        let n_tokens = self.vocab_size();
        if n_tokens > extras.vocab_size {
            let most = extras.vocab_size;
            return Err(refuse(format!(
                "it has {n_tokens} tokens, and the model takes {most} ids"
            )));
        }
        let text = |value: &str| MetadataValue::Text(value.to_string());
        let mut all = vec![("token_type", MetadataValue::I32s(self.types(extras.vocab_size)))];
        let tokens = self.all_tokens(extras.vocab_size);
        if self.json()["model"]["type"] == "WordPiece" {
            self.check_wordpiece().map_err(refuse)?;
            let marked = (0..).zip(tokens).map(|(id, token)| self.marked(id, token)).collect();
            all.extend([("model", text("bert")), ("tokens", MetadataValue::Texts(marked))]);
            all.extend(self.frame_of_bert());
        } else {
            let pre = self.pre().map_err(refuse)?;
            all.extend([
                ("model", text("gpt2")),
                ("pre", text(pre)),
                ("tokens", MetadataValue::Texts(tokens)),
                ("merges", MetadataValue::Texts(self.merges())),
            ]);
            all.extend(self.special(extras.stop_ids).map_err(refuse)?);
        }
        let keyed = all.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
        let template =
            extras.chat_template.map(|source| ("tokenizer.chat_template".into(), text(source)));
        Ok(keyed.chain(template).collect())
    }

    /// llama.cpp's name for the way in which texts are cut, or why there is none.
    fn pre(&self) -> std::result::Result<&'static str, String> {
        let json = self.json();
        let model = &json["model"];
        if model["type"] != "BPE" || !self.is_byte_level() {
            let kind = model["type"].as_str().unwrap_or("of no type");
            return Err(format!("it is {kind}; only byte-level BPE and WordPiece are written"));
        }
        // llama.cpp has no normaliser for these: texts that are composed already come out the same.
        if !json["normalizer"].is_null() && json["normalizer"]["type"] != "NFC" {
            return Err(format!("no name is known for its normalizer {}", json["normalizer"]));
        }
        let whole_pieces = model["ignore_merges"] == true;
        let cut = without_offsets(&json["pre_tokenizer"]);
        let found = CUTS.iter().find(|&&(_, known, ignores_merges)| {
            ignores_merges == whole_pieces && without_offsets(&pre_tokenizer(known)) == cut
        });
        let none = || format!("no name is known for the way in which it cuts texts: {cut}");
        found.map(|known| known.0).ok_or_else(none)
    }

    /// Whether texts are cut as llama.cpp cuts all that it calls "bert": lowercase, without accents, `##` before what goes on.
    fn check_wordpiece(&self) -> std::result::Result<(), String> {
        let json = self.json();
        let (normalizer, model) = (&json["normalizer"], &json["model"]);
        let is_plain = normalizer["type"] == "BertNormalizer"
            && normalizer["lowercase"] == true
            && normalizer["strip_accents"] != false
            && normalizer["handle_chinese_chars"] == true
            && json["pre_tokenizer"]["type"] == "BertPreTokenizer"
            && model["continuing_subword_prefix"] == "##";
        let (before, after) = self.frame(Special::Add);
        let is_framed = before.iter().eq(&self.cls_id()) && after.iter().eq(&self.sep_id());
        match is_plain && is_framed {
            true => Ok(()),
            false => {
                Err("it is a WordPiece other than BERT's uncased one, which has no name".into())
            }
        }
    }

    /// A token of WordPiece as llama.cpp has it: what begins a word is marked, and not what goes on.
    fn marked(&self, id: u32, token: String) -> String {
        match token.strip_prefix("##") {
            _ if self.added(id) == Some(true) => token,
            Some(rest) => rest.to_string(),
            None => format!("▁{token}"),
        }
    }

    fn frame_of_bert(&self) -> Vec<Entry> {
        let ids = [
            ("bos_token_id", self.cls_id()),
            ("eos_token_id", self.sep_id()),
            ("cls_token_id", self.cls_id()),
            ("seperator_token_id", self.sep_id()), // The format spells it so.
            ("unknown_token_id", self.unk_id()),
            ("padding_token_id", self.pad_id()),
            ("mask_token_id", self.mask_id()),
        ];
        ids.into_iter().filter_map(|(key, id)| Some((key, MetadataValue::U32(id?)))).collect()
    }

    /// Tokens by id, as many as the model takes.
    fn all_tokens(&self, vocab_size: usize) -> Vec<String> {
        let token = |id: usize| self.id_to_token(id as u32).unwrap_or_else(|| format!("[PAD{id}]"));
        (0..vocab_size).map(token).collect()
    }

    fn types(&self, vocab_size: usize) -> Vec<i32> {
        let kind = |id: usize| {
            let kind = match (id < self.vocab_size(), self.added(id as u32)) {
                (false, _) => UNUSED,
                (_, Some(true)) => CONTROL,
                (_, Some(false)) => USER_DEFINED,
                (_, None) => NORMAL,
            };
            kind as i32
        };
        (0..vocab_size).map(kind).collect()
    }

    /// Pairs with a blank between.
    fn merges(&self) -> Vec<String> {
        let part = |merge: &Value, index: usize| merge[index].as_str().unwrap_or("").to_string();
        let merges = self.json()["model"]["merges"].as_array().into_iter().flatten();
        merges.map(|merge| format!("{} {}", part(merge, 0), part(merge, 1))).collect()
    }

    /// The ids with a role, and whether some are put around a text.
    fn special(&self, stop_ids: &[u32]) -> std::result::Result<Vec<Entry>, String> {
        let named = self.eos_id().filter(|id| stop_ids.is_empty() || stop_ids.contains(id));
        let eos = named.or_else(|| stop_ids.first().copied());
        let mut others = stop_ids.iter().copied().filter(|&id| Some(id) != eos);
        let bos = self.bos_id();
        let ids = [
            ("bos_token_id", bos),
            ("eos_token_id", eos),
            ("eot_token_id", others.next()),
            ("eom_token_id", others.next()),
            ("unknown_token_id", self.unk_id()),
            ("padding_token_id", self.pad_id()),
        ];
        let mut all: Vec<_> =
            ids.into_iter().filter_map(|(key, id)| Some((key, MetadataValue::U32(id?)))).collect();
        let (before, after) = self.frame(Special::Add);
        let is = |ids: &[u32], role: Option<u32>| matches!(ids, [id] if Some(*id) == role);
        if !(before.is_empty() || is(before, bos)) || !(after.is_empty() || is(after, eos)) {
            return Err(format!(
                "the ids {before:?} and {after:?} that it puts around a text are not those that begin and end one"
            ));
        }
        all.push(("add_bos_token", MetadataValue::Bool(!before.is_empty())));
        all.push(("add_eos_token", MetadataValue::Bool(!after.is_empty())));
        all.push(("add_space_prefix", MetadataValue::Bool(false)));
        Ok(all)
    }
}

/// A pre-tokenizer without what says nothing of ids.
fn without_offsets(node: &Value) -> Value {
    let mut node = node.clone();
    if let Some(map) = node.as_object_mut() {
        map.shift_remove("trim_offsets");
    }
    for step in node["pretokenizers"].as_array_mut().into_iter().flatten() {
        *step = without_offsets(step);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downgrade::byte_level;
    use crate::train::{Pattern, TrainConfig, train};
    use idiolect_files::gguf::GgufWriter;
    use serde_json::json;

    fn trained(pattern: Pattern) -> Tokenizer {
        let texts = ["the cat sat on 12345 mats", "it's é 🐈 — the dog  sat\n\n12 times"];
        let mut config = TrainConfig::bpe(290);
        if let TrainConfig::Bpe { pattern: of_config, .. } = &mut config {
            *of_config = pattern;
        }
        train(texts.iter(), &config, &mut |_| {}).unwrap()
    }

    /// Writes a file with these keys, and reads the tokenizer out of it.
    fn read_back(metadata: &[(String, MetadataValue)]) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        GgufWriter::create(&path, metadata, &[]).unwrap().finish().unwrap();
        Tokenizer::from_gguf(&path).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let tokenizer = trained(Pattern::Gpt2);
        let (vocab_size, stop_ids) = (tokenizer.vocab_size() + 3, [tokenizer.eos_id().unwrap(), 5]);
        let chat_template = Some("{{ messages }}");
        let extras = GgufExtras { vocab_size, stop_ids: &stop_ids, chat_template };
        let metadata = tokenizer.to_gguf(&extras).unwrap();
        let again = read_back(&metadata);
        assert_eq!(again.vocab_size(), vocab_size);
        assert_eq!(
            again.id_to_token(vocab_size as u32 - 1),
            Some(format!("[PAD{}]", vocab_size - 1))
        );
        assert_eq!((again.eos_id(), again.bos_id()), (tokenizer.eos_id(), tokenizer.bos_id()));
        assert_eq!(again.special_ids(), tokenizer.special_ids());
        for text in ["the cat's mats 1234", "  é🐈\n\n  x <|endoftext|>", ""] {
            assert_eq!(again.encode(text), tokenizer.encode(text), "{text:?}");
        }
        let value = |key: &str| metadata.iter().find(|entry| entry.0 == key).map(|entry| &entry.1);
        assert_eq!(value("tokenizer.ggml.pre"), Some(&MetadataValue::Text("gpt-2".into())));
        assert_eq!(value("tokenizer.ggml.eot_token_id"), Some(&MetadataValue::U32(5)));
        assert_eq!(
            value("tokenizer.chat_template"),
            Some(&MetadataValue::Text("{{ messages }}".into()))
        );
    }

    #[test]
    fn each_known_cut_has_a_name() {
        let pre = |tokenizer: &Tokenizer| tokenizer.pre().unwrap();
        assert_eq!(pre(&trained(Pattern::Gpt4)), "dbrx");
        for (name, cut, ignore_merges) in CUTS {
            let mut json = trained(Pattern::Gpt2).json().clone();
            json["pre_tokenizer"] = pre_tokenizer(cut);
            json["model"]["ignore_merges"] = ignore_merges.into();
            let found = Tokenizer::from_json(&json.to_string()).unwrap().pre().unwrap();
            let same = CUTS.iter().find(|known| known.0 == found).unwrap();
            assert_eq!(
                (pre_tokenizer(same.1), same.2),
                (pre_tokenizer(cut), ignore_merges),
                "{name}"
            );
        }
    }

    #[test]
    fn word_pieces_are_marked_where_words_begin() {
        let texts = ["the cat sat on the mat"];
        let tokenizer = train(texts.iter(), &TrainConfig::wordpiece(60), &mut |_| {}).unwrap();
        let extras = GgufExtras { vocab_size: tokenizer.vocab_size(), ..GgufExtras::default() };
        let metadata = tokenizer.to_gguf(&extras).unwrap();
        let value = |key: &str| {
            let key = format!("tokenizer.ggml.{key}");
            metadata.iter().find(|entry| entry.0 == key).map(|entry| entry.1.clone())
        };
        let Some(MetadataValue::Texts(tokens)) = value("tokens") else { panic!("no tokens") };
        for (id, token) in (0..).zip(&tokens) {
            let own = tokenizer.id_to_token(id).unwrap();
            let expected = match own.strip_prefix("##") {
                Some(rest) => rest.to_string(),
                None if tokenizer.is_special(id) => own,
                None => format!("▁{own}"),
            };
            assert_eq!(*token, expected);
        }
        assert_eq!(value("bos_token_id"), tokenizer.cls_id().map(MetadataValue::U32));
        assert_eq!(value("seperator_token_id"), tokenizer.sep_id().map(MetadataValue::U32));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let check = |tokenizer: &Tokenizer, vocab_size: usize, expected: &str| {
            let extras = GgufExtras { vocab_size, ..GgufExtras::default() };
            let error = tokenizer.to_gguf(&extras).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&trained(Pattern::Gpt2), 100, "and the model takes 100 ids");
        let texts = ["the cat sat on the mat"];
        let wordpiece = train(texts.iter(), &TrainConfig::wordpiece(60), &mut |_| {}).unwrap();
        let mut cased = wordpiece.json().clone();
        cased["normalizer"]["lowercase"] = false.into();
        let cased = Tokenizer::from_json(&cased.to_string()).unwrap();
        check(&cased, 1000, "a WordPiece other than BERT's uncased one");
        let character = train(texts.iter(), &TrainConfig::character(), &mut |_| {}).unwrap();
        check(&character, 1000, "only byte-level BPE and WordPiece are written");
        let changed = |key: &str, value: Value| {
            let mut json = trained(Pattern::Gpt2).json().clone();
            json[key] = value;
            Tokenizer::from_json(&json.to_string()).unwrap()
        };
        let lowered = changed("normalizer", json!({"type": "Lowercase"}));
        check(&lowered, 1000, "no name is known for its normalizer");
        let digits = json!({"type": "Digits", "individual_digits": false});
        let steps = json!([digits, byte_level(true)]);
        let cut = changed("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": steps}));
        check(&cut, 1000, "the way in which it cuts texts");
    }
}
