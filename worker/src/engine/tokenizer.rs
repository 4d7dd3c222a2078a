//! Text to tokens and back, with the tokenizer that the model folder holds.

use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer as HfTokenizer;
use toktrie::{TokEnv, TokTrie};
use toktrie_hf_tokenizers::{ByteTokenizer, ByteTokenizerEnv};

/// A token's number in the vocabulary.
pub type TokenId = u32;

/// The largest vocabulary, and the longest token in bytes, of the trees that grammars walk through (toktrie). The largest
/// vocabulary that is published has 262,208 tokens.
const MAX_VOCABULARY: usize = 1 << 20;
const MAX_TOKEN_BYTES: usize = 1 << 10;

/// A tokenizer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// `tokenizer.json` is missing or not understood.
    #[error("tokenizer {path} is not usable: {detail}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Text that the tokenizer refuses.
    #[error("text is not tokenizable: {0}")]
    Text(String),
}

/// The model's tokenizer. Clones share it.
#[derive(Clone)]
pub struct Tokenizer {
    text: Arc<HfTokenizer>,
    bytes: TokEnv,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in `folder`.
    ///
    /// `vocabulary` is the width of the model's logits, which may exceed the tokenizer's own count (padded embedding
    /// tables); `stops` are the tokens that end an answer.
    pub fn open(folder: &Path, vocabulary: usize, stops: &[TokenId]) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer.json");
        let unusable = |detail: String| TokenizerError::Unusable { path: path.display().to_string(), detail };
        let text = HfTokenizer::from_file(&path).map_err(|error| unusable(error.to_string()))?;
        let count = text.get_vocab_size(true);
        if count > vocabulary {
            return Err(unusable(format!("it has {count} tokens, the model {vocabulary}")));
        }
        if vocabulary > MAX_VOCABULARY {
            return Err(unusable(format!(
                "the model has {vocabulary} tokens, and at most {MAX_VOCABULARY} can be used"
            )));
        }
        if stops.is_empty() || stops.iter().any(|stop| *stop as usize >= count) {
            return Err(unusable(format!("stop tokens {stops:?} are not among its {count}")));
        }
        let mut bytes = ByteTokenizer::from_tokenizer(text.clone()).map_err(|error| unusable(error.to_string()))?;
        if let Some(long) = bytes.token_bytes().iter().map(Vec::len).find(|len| *len > MAX_TOKEN_BYTES) {
            return Err(unusable(format!("it has a token of {long} bytes, and {MAX_TOKEN_BYTES} is the most")));
        }
        bytes.set_eos_tokens(stops);
        let env = ByteTokenizerEnv::new(bytes, Some(vocabulary)).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { text: Arc::new(text), bytes: env.to_env() })
    }

    /// The tokens of `text`, in which special tokens are written out (`<bos>`, `<start_of_turn>`): none is added.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        let encoding = self.text.encode(text, false).map_err(|error| TokenizerError::Text(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes of one token; nothing for a special one.
    pub fn bytes_of(&self, token: TokenId) -> &[u8] {
        let bytes = self.trie().token(token);
        if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) { &[] } else { bytes }
    }

    /// Text of an answer for people: without special tokens, and without those that stand for no text although the tokenizer
    /// does not call them special (`<unused7>`, `<start_of_image>`).
    pub fn text_of(&self, tokens: impl IntoIterator<Item = TokenId>) -> String {
        let is_mark = |bytes: &[u8]| bytes.len() > 2 && bytes.starts_with(b"<") && bytes.ends_with(b">");
        let mut text = Vec::new();
        for token in tokens {
            let bytes = self.bytes_of(token);
            if !is_mark(bytes) {
                text.extend_from_slice(bytes);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A token written out in full, special ones included.
    pub fn word_of(&self, token: TokenId) -> Option<String> {
        self.text.id_to_token(token)
    }

    /// Whether `token` ends an answer.
    pub fn is_stop(&self, token: TokenId) -> bool {
        self.trie().eos_tokens().contains(&token)
    }

    /// The width of the logits that go with it.
    pub fn vocabulary(&self) -> usize {
        self.trie().vocab_size()
    }

    /// What the grammar compiler needs.
    pub(super) fn environment(&self) -> &TokEnv {
        &self.bytes
    }

    pub(super) fn trie(&self) -> &TokTrie {
        self.bytes.tok_trie()
    }
}
