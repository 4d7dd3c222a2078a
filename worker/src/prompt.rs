//! The prompt: the profile's words and the pictures, through the model's own chat template, to tokens.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, context};
use prelim_proto::priors::{MAX_TOLD_CHARS, ToldPrior};
use prelim_proto::question::Asked;
use serde_json::{Value, json};

use crate::engine::request::{Picture, Prompt, PromptImage};
use crate::engine::tokenizer::{TokenId, Tokenizer, TokenizerError};
use crate::model::ModelConfig;
use crate::profile::{KindProfile, QuestionProfile};

/// Longest label of an image that goes into a prompt, in characters.
const MAX_LABEL: usize = 64;

/// A prompt that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A file of the model folder.
    #[error("{path} is not readable: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the model folder says something that is not understood.
    #[error("{path} is not usable: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no chat template in the folder.
    #[error("{0} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)")]
    NoTemplate(PathBuf),
    /// The template refuses the messages.
    #[error("chat template does not render: {0}")]
    Template(String),
    /// The text holds another number of pictures than there are.
    #[error("prompt text has {places} places for pictures, there are {pictures}")]
    Pictures {
        /// Places in the text.
        places: usize,
        /// Pictures given.
        pictures: usize,
    },
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A picture and what it shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The picture.
    pub picture: Arc<Picture>,
    /// What it shows, in a few words: "PA", "slice 12 of 40".
    pub label: String,
}

/// Writes prompts for one model.
pub struct PromptWriter {
    template: String,
    bos: String,
    pictures: PictureWords,
}

/// How pictures are written in text.
pub struct PictureWords {
    tokenizer: Tokenizer,
    /// The token that stands for a picture in templated text.
    place: String,
    /// The whole of it: soft tokens, with what stands around them.
    full: String,
    soft: TokenId,
    tokens: usize,
}

impl PictureWords {
    /// The words of the model in `folder`.
    pub fn open(folder: &Path, config: &ModelConfig, tokenizer: Tokenizer) -> Result<Self, PromptError> {
        let word = |id: TokenId| {
            tokenizer.word_of(id).ok_or_else(|| PromptError::Malformed {
                path: folder.join("tokenizer.json"),
                detail: format!("token {id}, which config.json names, is not in it"),
            })
        };
        let soft = word(config.image_token)?;
        let all = soft.repeat(config.tokens_per_image);
        let (place, full) = match config.image_marks {
            // As Gemma 3's processor writes it: the line breaks are part of a picture.
            Some(marks) => {
                let (start, end) = (word(marks.start)?, word(marks.end)?);
                let full = format!("\n\n{start}{all}{end}\n\n");
                (start, full)
            }
            None => (soft, all),
        };
        let (soft, tokens) = (config.image_token, config.tokens_per_image);
        Ok(Self { tokenizer, place, full, soft, tokens })
    }

    /// Tokens of templated text, in which one token (`<start_of_image>`, `<image>`) stands for each picture.
    pub fn tokenize(&self, text: &str, pictures: &[Arc<Picture>]) -> Result<Prompt, PromptError> {
        let places = text.matches(&self.place).count();
        if places != pictures.len() {
            return Err(PromptError::Pictures { places, pictures: pictures.len() });
        }
        let tokens = self.tokenizer.encode(&text.replace(&self.place, &self.full))?;
        let mut images = Vec::with_capacity(pictures.len());
        let mut at = 0;
        for picture in pictures {
            let soft = tokens[at..].iter().position(|token| *token == self.soft);
            let start = at + soft.ok_or(PromptError::Pictures { places: images.len(), pictures: pictures.len() })?;
            at = start + self.tokens;
            images.push(PromptImage { span: start..at, picture: Arc::clone(picture) });
        }
        Ok(Prompt { tokens, images })
    }
}

impl PromptWriter {
    /// Reads the chat template of the model in `folder`.
    pub fn open(folder: &Path, config: &ModelConfig, tokenizer: Tokenizer) -> Result<Self, PromptError> {
        let settings = read_settings(&folder.join("tokenizer_config.json"))?;
        let template = read_template(folder, &settings)?;
        let pictures = PictureWords::open(folder, config, tokenizer)?;
        let older = read_settings(&folder.join("special_tokens_map.json"))?;
        let words = [&settings["bos_token"], &older["bos_token"]].map(word_of_setting);
        let bos = words.into_iter().find(|word| !word.is_empty()).unwrap_or_default();
        if bos.is_empty() && template.contains("bos_token") {
            return Err(PromptError::Malformed {
                path: folder.join("tokenizer_config.json"),
                detail: "the chat template begins prompts with bos_token, which neither this file nor \
                         special_tokens_map.json names: copy them from the published checkpoint"
                    .to_owned(),
            });
        }
        Ok(Self { template, bos, pictures })
    }

    /// The prompt that asks what `kind` wants to be asked about the pictures, and tells of earlier studies where it takes them.
    pub fn write(&self, kind: &KindProfile, shown: &[Shown], priors: &[ToldPrior]) -> Result<Prompt, PromptError> {
        self.whole(&messages(kind, shown, priors), shown)
    }

    /// The prompt of a question, in the words of `template`, which is one of the profile's.
    pub fn ask(
        &self,
        profile: &QuestionProfile,
        template: &str,
        asked: &Asked,
        shown: &[Shown],
        priors: &[ToldPrior],
    ) -> Result<Prompt, PromptError> {
        self.whole(&conversation(&questioning(profile, template, asked, priors), shown), shown)
    }

    fn whole(&self, messages: &Value, shown: &[Shown]) -> Result<Prompt, PromptError> {
        let text = self.render(messages)?;
        let pictures: Vec<_> = shown.iter().map(|shown| Arc::clone(&shown.picture)).collect();
        self.tokenize(&text, &pictures)
    }

    /// Puts messages, as `transformers` takes them, through the chat template, up to where the model's turn begins.
    pub fn render(&self, messages: &Value) -> Result<String, PromptError> {
        let mut environment = Environment::new();
        // What `transformers` sets; templates are written for it.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| PromptError::Template(error.to_string()))?);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment
            .render_str(
                &self.template,
                context! { messages => Serde(messages), bos_token => self.bos.as_str(), add_generation_prompt => true },
            )
            .map_err(|error| PromptError::Template(error.to_string()))
    }

    /// [`PictureWords::tokenize`]
    pub fn tokenize(&self, text: &str, pictures: &[Arc<Picture>]) -> Result<Prompt, PromptError> {
        self.pictures.tokenize(text, pictures)
    }
}

/// The words of a conversation.
struct Words<'a> {
    system: Option<&'a str>,
    /// The user turn.
    prompt: &'a str,
    /// What goes into its placeholders; written after the template was taken apart.
    filled: Option<(&'static str, String)>,
    caption: Option<&'a str>,
    /// What is told at the head of the user turn.
    told: Option<String>,
}

/// The conversation that the profile wants for images to be read.
fn messages(kind: &KindProfile, shown: &[Shown], priors: &[ToldPrior]) -> Value {
    let told = kind.priors.as_ref().filter(|_| !priors.is_empty());
    let words = Words {
        system: kind.system.as_deref(),
        prompt: &kind.prompt,
        filled: None,
        caption: kind.image_caption.as_deref(),
        told: told.map(|words| words.replace("{priors}", &lines(priors))),
    };
    conversation(&words, shown)
}

/// The words of a question. What people wrote goes in last: it can open no placeholder.
fn questioning<'a>(profile: &'a QuestionProfile, template: &'a str, asked: &Asked, priors: &[ToldPrior]) -> Words<'a> {
    let mut told = Vec::new();
    if asked.kind.has_images() {
        let report = written(&asked.report);
        let earlier = profile.priors.as_ref().filter(|_| !priors.is_empty());
        told.extend(earlier.map(|words| words.replace("{priors}", &lines(priors))));
        let said = profile.report.as_ref().filter(|_| !report.is_empty());
        told.extend(said.map(|words| words.replace("{report}", &report)));
    }
    let placeholder = if asked.kind.has_images() { "{question}" } else { "{text}" };
    Words {
        system: profile.system.as_deref(),
        prompt: template,
        filled: Some((placeholder, written(&asked.text))),
        caption: profile.image_caption.as_deref(),
        told: Some(told.join("\n\n")).filter(|told| !told.is_empty()),
    }
}

/// A conversation of an optional system turn, and one of text and pictures.
fn conversation(words: &Words<'_>, shown: &[Shown]) -> Value {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let prompt = words.prompt.replace("{count}", &shown.len().to_string());
    let (before, after) = prompt.split_once("{images}").unwrap_or(("", &prompt));
    let fill = |text: &str| match &words.filled {
        Some((placeholder, with)) => text.replacen(placeholder, with, 1),
        None => text.to_owned(),
    };
    let (before, after) = (fill(before), fill(after));
    let mut content = Vec::new();
    // Chat templates trim each text: what is told is one with the text that follows, a line apart.
    let mut told = words.told.as_deref();
    let mut after_told = |words: &str| match told.take() {
        Some(told) => format!("{}\n\n{words}", told.trim_end()),
        None => words.to_owned(),
    };
    if !before.is_empty() {
        content.push(text(&after_told(&before)));
    }
    for (number, shown) in (1..).zip(shown) {
        if let Some(caption) = words.caption {
            let caption = caption.replace("{number}", &number.to_string()).replace("{label}", &plain(&shown.label));
            content.push(text(&after_told(&caption)));
        } else if content.is_empty() {
            content.extend(Some(after_told("")).filter(|told| !told.is_empty()).map(|told| text(&told)));
        }
        content.push(json!({ "type": "image" }));
    }
    if !after.is_empty() {
        content.push(text(&after_told(&after)));
    }
    let mut messages = Vec::new();
    if let Some(system) = words.system {
        messages.push(json!({ "role": "system", "content": [text(system)] }));
    }
    messages.push(json!({ "role": "user", "content": content }));
    Value::Array(messages)
}

/// Earlier studies, a line each: "1. chest X-ray, 42 days before (verified report): Impression: …".
fn lines(priors: &[ToldPrior]) -> String {
    let line = |(number, prior): (usize, &ToldPrior)| {
        let (what, source, text) = (quoted(&prior.what), quoted(&prior.source), quoted(&prior.text));
        let before = match prior.days_before {
            0 => "the same day".to_owned(),
            1 => "1 day before".to_owned(),
            days => format!("{days} days before"),
        };
        format!("{number}. {what}, {before} ({source}): {text}")
    };
    (1..).zip(priors).map(line).collect::<Vec<_>>().join("\n")
}

/// A label with nothing in it that a tokenizer or a model could take for a turn or a token: labels come from headers,
/// which come from outside.
fn plain(label: &str) -> String {
    let harmless = |c: char| if c.is_alphanumeric() || " .,-+/".contains(c) { c } else { ' ' };
    label.chars().take(MAX_LABEL).map(harmless).collect()
}

/// A text of a report on one line, of at most [`MAX_TOLD_CHARS`] characters.
fn quoted(text: &str) -> String {
    let first: String = text.chars().take(MAX_TOLD_CHARS).collect();
    let plain: String = written(&first).chars().take(MAX_TOLD_CHARS).collect();
    plain.trim_end().to_owned()
}

/// What a person wrote on one line, without any of which tokens, turns or code are made. Signs that mean something are said in
/// words or by others: a model that is told of "3 mm" where "≤ 3 mm" was written answers something else.
fn written(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    for c in text.chars() {
        let words = match c {
            '<' | '\u{ff1c}' => " less than ",
            '>' | '\u{ff1e}' => " more than ",
            '≤' | '⩽' => " at most ",
            '≥' | '⩾' => " at least ",
            '≈' | '~' | '∼' => " about ",
            '≠' => " not equal to ",
            '±' => " plus or minus ",
            '→' => " to ",
            '&' => " and ",
            '#' => " number ",
            '×' | '✕' => " x ",
            '‐' | '‑' | '‒' | '–' | '—' | '−' => "-",
            '…' => "...",
            '[' | '{' => "(",
            ']' | '}' => ")",
            '|' => "/",
            '’' | '‘' | '“' | '”' | '`' => "'",
            _ => {
                said.push(if is_harmless(c) { c } else { ' ' });
                continue;
            }
        };
        said.push_str(words);
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Letters, figures and marks of any script, and the signs of sentences and numbers. What cannot be seen, and the two signs
/// besides those of ASCII of which tokens of published models are made (`｜`, `▁`), are not.
fn is_harmless(c: char) -> bool {
    match c {
        ' '..='~' => c.is_ascii_alphanumeric() || " .,;:()+-/%'?!=*^@$".contains(c),
        '｜' | '▁' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            false
        }
        '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'.. => false,
        _ => !c.is_control() && !c.is_whitespace(),
    }
}

fn read_settings(path: &Path) -> Result<Value, PromptError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(source) => return Err(PromptError::Unreadable { path: path.to_owned(), source }),
    };
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| PromptError::Malformed { path: path.to_owned(), detail: error.to_string() })
}

/// The template: a file of its own in newer folders, a setting of the tokenizer in older ones.
fn read_template(folder: &Path, settings: &Value) -> Result<String, PromptError> {
    let path = folder.join("chat_template.jinja");
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(PromptError::Unreadable { path, source }),
    }
    let json = read_settings(&folder.join("chat_template.json"))?;
    let found = [&settings["chat_template"], &json["chat_template"]].into_iter().find_map(template_of_setting);
    found.map(str::to_owned).ok_or_else(|| PromptError::NoTemplate(folder.to_owned()))
}

/// A template in a tokenizer's settings: the text itself, or a list of named ones, of which one is the default.
fn template_of_setting(setting: &Value) -> Option<&str> {
    let named = || setting.as_array()?.iter().find(|named| named["name"] == "default")?["template"].as_str();
    setting.as_str().or_else(named)
}

/// A special token in a tokenizer's settings: the word itself, or an object that holds it.
fn word_of_setting(setting: &Value) -> String {
    setting.as_str().or_else(|| setting["content"].as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
