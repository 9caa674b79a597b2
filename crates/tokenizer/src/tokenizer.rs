//! The tokenizer itself: files in and out, text to ids, ids to text, and what is known of an id.

use crate::byte_alphabet;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::format::File;
use crate::offsets::{self, Encoding};
use crate::roles::{self, Role};
use crate::stream::DecodeStream;
use idiolect_files::write_atomic;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What happens to special tokens when a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Special {
    /// Those in the text are matched, and those of the file's post-processor (`[CLS]`, `[SEP]`) are added.
    Add,
    /// Those in the text are matched, none are added.
    Match,
    /// Neither: the text is only text.
    Ordinary,
}

/// A tokenizer. Cloning is cheap, and clones share their caches.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    file: File,
    engine: Engine,
    ids: HashMap<String, u32>,
    /// The bytes each id spells, without the marks of its vocabulary (`##`, `</w>`).
    pieces: Vec<Vec<u8>>,
    roles: HashMap<Role, u32>,
    frame: (Vec<u32>, Vec<u32>),
    is_byte_level: bool,
    hash: String,
}

const FILE_NAME: &str = "tokenizer.json";
const CONFIG_NAME: &str = "tokenizer_config.json";

/// Files in and out.
impl Tokenizer {
    /// Opens what is there: a folder as [`from_folder`](Self::from_folder) does, a file as [`from_gguf`](Self::from_gguf).
    pub fn open(place: &Path) -> Result<Tokenizer> {
        if place.is_file() { Self::from_gguf(place) } else { Self::from_folder(place) }
    }

    /// Loads `tokenizer.json` of a folder, with the roles of `tokenizer_config.json` if that is there.
    pub fn from_folder(folder: &Path) -> Result<Tokenizer> {
        let config = folder.join(CONFIG_NAME);
        let roles = if config.exists() {
            let text = read(&config)?;
            roles::read_config(&text).map_err(|what| invalid(&config.display(), what))?
        } else {
            HashMap::new()
        };
        let path = folder.join(FILE_NAME);
        Tokenizer::load(&read(&path)?, roles).map_err(|what| invalid(&path.display(), what))
    }

    /// Loads a file of version 1.0 or 2.0.
    pub fn from_file(path: &Path) -> Result<Tokenizer> {
        Tokenizer::load(&read(path)?, HashMap::new()).map_err(|what| invalid(&path.display(), what))
    }

    /// Loads the text of such a file.
    pub fn from_json(text: &str) -> Result<Tokenizer> {
        Tokenizer::load(text, HashMap::new()).map_err(|what| invalid(&"the given text", what))
    }

    /// The text of a file of version 1.0, which Python's `tokenizers` and Transformers read.
    pub fn to_json(&self) -> String {
        self.0.file.to_text()
    }

    /// Writes such a file.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_atomic(path, self.to_json().as_bytes())?)
    }

    /// Writes `tokenizer.json` and a `tokenizer_config.json` with which Transformers loads the folder.
    pub fn save_folder(&self, folder: &Path) -> Result<()> {
        let is_wordpiece = self.0.file.model_type() == "WordPiece";
        let config = roles::write_config(&self.0.roles, is_wordpiece, |id| self.id_to_token(id));
        write_atomic(&folder.join(CONFIG_NAME), config.as_bytes())?;
        self.save(&folder.join(FILE_NAME))
    }

    /// The tokens that the files name for a role, by its key in `tokenizer_config.json`.
    #[cfg(feature = "chat")]
    pub(crate) fn named_roles(&self) -> &HashMap<String, String> {
        &self.0.file.roles
    }

    /// A blake3 hash that two tokenizers share when their files say the same, whatever their version and layout.
    pub fn hash(&self) -> String {
        self.0.hash.clone()
    }

    pub(crate) fn load(
        text: &str,
        roles: HashMap<String, String>,
    ) -> std::result::Result<Tokenizer, String> {
        let mut file = File::parse(text)?;
        file.roles.extend(roles);
        let unknown = file.unknown_token().and_then(|unknown| {
            file.tokens.iter().position(|token| token == unknown).map(|id| id as u32)
        });
        let engine = Engine::load(file.for_engine(), file.tokens.len() as u32, unknown)?;
        let given = engine.added_ids();
        if let Some(id) = file.added.keys().find(|id| !given.contains(id)) {
            return Err(format!("its added token {id} fills a hole in the vocabulary"));
        }
        let ids: HashMap<String, u32> = file.tokens.iter().cloned().zip(0..).collect();
        if let Some(token) = file.unknown_token().map(str::to_string) {
            // The model's own word on it counts: encoding uses that one.
            file.roles.insert("unk_token".to_string(), token);
        }
        let roles = roles::find(&file.roles, |token| ids.get(token).copied());
        let (frame, hash) = (engine.frame(), file.hash());
        let is_byte_level = file.is_byte_level();
        let pieces = pieces(&file, is_byte_level);
        let inner = Inner { file, engine, ids, pieces, roles, frame, is_byte_level, hash };
        Ok(Tokenizer(Arc::new(inner)))
    }
}

/// Text to ids.
impl Tokenizer {
    /// The ids of a text as the file means it: special tokens are matched, and those of the post-processor added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.encode_as(text, Special::Add)
    }

    /// The ids of text that is only text: what looks like a special token is spelled out. For training data.
    ///
    /// This is the fast path: no offsets, no copies of the text.
    pub fn encode_ordinary(&self, text: &str) -> Vec<u32> {
        self.0.engine.encode(text, false)
    }

    /// The ids of a text.
    pub fn encode_as(&self, text: &str, special: Special) -> Vec<u32> {
        let ids = self.0.engine.encode(text, special != Special::Ordinary);
        let (before, after) = self.frame(special);
        if before.len() + after.len() == 0 {
            return ids;
        }
        [before, &ids, after].into_iter().flatten().copied().collect()
    }

    /// The ids of many texts, in parallel.
    pub fn encode_batch(
        &self,
        texts: &[impl AsRef<str> + Sync],
        special: Special,
    ) -> Vec<Vec<u32>> {
        texts.par_iter().map(|text| self.encode_as(text.as_ref(), special)).collect()
    }

    /// The ids of a text with the bytes of the text each came from, also where it was normalised.
    pub fn encode_with_offsets(&self, text: &str, special: Special) -> Encoding {
        offsets::encode(self, text, special)
    }
}

/// Ids to text.
impl Tokenizer {
    /// The text of ids, without special tokens if these are to be skipped.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        ids.iter().try_for_each(|&id| self.check_id(id))?;
        self.0.engine.decode(ids, skip_special).map_err(Error::Library)
    }

    /// Decodes ids as they come, skipping special tokens.
    pub fn decode_stream(&self) -> DecodeStream<'_> {
        DecodeStream::new(self, true)
    }

    /// Decodes ids as they come, with or without special tokens.
    pub fn decode_stream_as(&self, skip_special: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special)
    }

    pub(crate) fn check_id(&self, id: u32) -> Result<()> {
        let vocab_size = self.vocab_size();
        if (id as usize) < vocab_size { Ok(()) } else { Err(Error::UnknownId { id, vocab_size }) }
    }
}

/// What is known of an id.
impl Tokenizer {
    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.0.file.tokens.len()
    }

    /// The id of a token as the vocabulary spells it.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.0.ids.get(token).copied()
    }

    /// The token as the vocabulary spells it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.file.tokens.get(id as usize).cloned()
    }

    /// The bytes that an id spells: byte-level characters as their bytes, continuing pieces without their mark.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.0.pieces.get(id as usize).cloned()
    }

    /// Whether an id is that of a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.0.file.added.get(&id) == Some(&true)
    }

    /// The ids of all special tokens, ascending.
    pub fn special_ids(&self) -> Vec<u32> {
        let special = self.0.file.added.iter().filter(|(_, special)| **special);
        let mut ids: Vec<u32> = special.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether an id goes on with the word before it: a `##` piece, or a byte-level or `▁` piece that does not begin
    /// with white space.
    pub fn continues_word(&self, id: u32) -> bool {
        let Some(token) = self.0.file.tokens.get(id as usize) else { return false };
        if self.0.file.added.contains_key(&id) {
            return false;
        }
        match self.0.file.model_type() {
            "WordPiece" => token.starts_with(self.wordpiece_prefix()),
            "WordLevel" => false,
            _ if self.0.is_byte_level => {
                self.0.pieces[id as usize].first().is_some_and(|byte| !byte.is_ascii_whitespace())
            }
            _ => !token.starts_with(['▁', ' ', '\n', '\t']),
        }
    }

    /// The id of `[MASK]` or `<mask>`.
    pub fn mask_id(&self) -> Option<u32> {
        self.role(Role::Mask)
    }

    /// The id of `[CLS]` or `<s>`.
    pub fn cls_id(&self) -> Option<u32> {
        self.role(Role::Cls)
    }

    /// The id of `[SEP]` or `</s>`.
    pub fn sep_id(&self) -> Option<u32> {
        self.role(Role::Sep)
    }

    /// The id of `[PAD]` or `<pad>`.
    pub fn pad_id(&self) -> Option<u32> {
        self.role(Role::Pad)
    }

    /// The id of the token for what the vocabulary cannot spell.
    pub fn unk_id(&self) -> Option<u32> {
        self.role(Role::Unk)
    }

    /// The id of the token that ends a document: `<|endoftext|>`, `</s>`.
    pub fn eos_id(&self) -> Option<u32> {
        self.role(Role::Eos)
    }

    /// The id of the token that begins a document, where there is one.
    pub fn bos_id(&self) -> Option<u32> {
        self.role(Role::Bos)
    }

    /// Whether every byte has a token, so that any text can be encoded and comes back.
    pub fn is_byte_level(&self) -> bool {
        self.0.is_byte_level
    }

    /// The ids that are put before and after a text.
    pub(crate) fn frame(&self, special: Special) -> (&[u32], &[u32]) {
        let (before, after) = &self.0.frame;
        if special == Special::Add { (before, after) } else { (&[], &[]) }
    }

    /// Whether an id is a single byte of a vocabulary that spells what it lacks in bytes.
    pub(crate) fn is_fallback_byte(&self, id: u32) -> bool {
        let token = self.0.file.tokens.get(id as usize);
        self.0.file.json["model"]["byte_fallback"] == true
            && token.is_some_and(|token| fallback_byte(token).is_some())
    }

    /// Whether an id is an added token's, and if so, whether that is special.
    pub(crate) fn added(&self, id: u32) -> Option<bool> {
        self.0.file.added.get(&id).copied()
    }

    /// The file as JSON, of version 1.0.
    pub(crate) fn json(&self) -> &serde_json::Value {
        &self.0.file.json
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn piece(&self, id: u32) -> &[u8] {
        self.0.pieces.get(id as usize).map_or(&[], Vec::as_slice)
    }

    fn role(&self, role: Role) -> Option<u32> {
        self.0.roles.get(&role).copied()
    }

    fn wordpiece_prefix(&self) -> &str {
        self.0.file.json["model"]["continuing_subword_prefix"].as_str().unwrap_or("##")
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, n) = (self.0.file.model_type(), self.vocab_size());
        write!(formatter, "Tokenizer({kind}, {n} tokens)")
    }
}

/// What each token spells.
fn pieces(file: &File, is_byte_level: bool) -> Vec<Vec<u8>> {
    let model = &file.json["model"];
    let mark = |key: &str| model[key].as_str().unwrap_or_default().to_string();
    let (prefix, suffix) = (mark("continuing_subword_prefix"), mark("end_of_word_suffix"));
    let byte_fallback = model["byte_fallback"] == true;
    let spell = |(token, id): (&String, u32)| {
        if file.added.contains_key(&id) {
            return token.clone().into_bytes();
        }
        if is_byte_level && let Some(bytes) = byte_alphabet::to_bytes(token) {
            return bytes;
        }
        if byte_fallback && let Some(byte) = fallback_byte(token) {
            return vec![byte];
        }
        let piece = token.strip_prefix(prefix.as_str()).unwrap_or(token);
        piece.strip_suffix(suffix.as_str()).unwrap_or(piece).as_bytes().to_vec()
    };
    file.tokens.iter().zip(0..).map(spell).collect()
}

/// SentencePiece's `<0x0A>` for a byte that no token spells.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| {
        let (action, path) = ("read", path.to_path_buf());
        Error::Files(idiolect_files::Error::Io { action, path, source })
    })
}

fn invalid(origin: &dyn std::fmt::Display, what: String) -> Error {
    Error::Invalid { origin: origin.to_string(), what }
}
