//! Named prompts: other words in which a model can be asked, for the studies that a rule names them for.
//!
//! A prompt is a file `NAME.toml`, in the folder `prompts` of the model's folder or in one of the site's. It changes the
//! words, may narrow what the answer can name, and nothing else: pictures, sides, places and grammar stay the model's. Its
//! version and the digest of its bytes are part of a draft's provenance.
//!
//! **Invariant**: a prompt can add no finding to those that the model's own profile names.
//! **Invariant**: confidences were calibrated with the model's own prompt: with another they count as not calibrated, unless
//! that brings a calibration of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prelim_proto::demand::{MAX_PROMPTS, PromptName};
use prelim_proto::vocabulary::FindingCode;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{KindProfile, Kinds, ReadingProfile, check};

/// The folder of a model's folder that holds its prompts.
pub const PROMPTS_FOLDER: &str = "prompts";
/// Largest file, in bytes.
const MAX_BYTES: u64 = 64 << 10;
/// Longest version, in bytes.
const MAX_VERSION: usize = 32;

/// Why a prompt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamedPromptError {
    /// A folder or file.
    #[error("prompt {path} is not readable: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the TOML of a prompt, or one that contradicts the model's profile.
    #[error("prompt {path} is not usable: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Every problem that was found.
        detail: String,
    },
    /// A folder in which there is none.
    #[error("{0} has no prompt: each is a file NAME.toml in it")]
    None(PathBuf),
    /// More than a worker may offer.
    #[error("{0} prompts, more than {MAX_PROMPTS}")]
    TooMany(usize),
    /// A model that knows its own prompt only.
    #[error(
        "the demonstration model was trained with its own prompt and takes no other; start the worker with another --model"
    )]
    Demonstration,
}

/// A prompt by name, laid over the profile of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedPrompt {
    /// What a draft's provenance calls it: name, version and digest.
    pub version: String,
    /// What the model is asked, by kind of image; a kind that is absent is not for this prompt.
    kinds: Kinds,
}

impl NamedPrompt {
    /// What the model is asked about `kind`; nothing where the prompt is not for such images.
    pub fn kind(&self, kind: prelim_proto::image::ImageKind) -> Option<&KindProfile> {
        self.kinds.of(kind)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Written {
    version: String,
    xray: Option<WrittenKind>,
    ct: Option<WrittenKind>,
}

/// Fields as in [`KindProfile`]; those that are left out are the model's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct WrittenKind {
    prompt: String,
    system: Option<String>,
    image_caption: Option<String>,
    priors: Option<String>,
    findings: Option<Vec<FindingCode>>,
    max_new_tokens: Option<usize>,
    #[serde(default)]
    calibration: Vec<[f32; 2]>,
    #[serde(default)]
    uncertain_below: f32,
    #[serde(default)]
    report_from: f32,
}

/// Adds the prompts in `folder` to `prompts`, each in the place of one with its name, and says how many there are.
///
/// # Errors
/// The first prompt that cannot be used, in order of name, with every problem of it.
pub(crate) fn read_folder(
    folder: &Path,
    profile: &ReadingProfile,
    prompts: &mut BTreeMap<PromptName, NamedPrompt>,
) -> Result<usize, NamedPromptError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| NamedPromptError::Unreadable { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let count = paths.len();
    for path in paths {
        let malformed = |detail: String| NamedPromptError::Malformed { path: path.clone(), detail };
        let length = fs::metadata(&path).map_err(unreadable(&path))?.len();
        if length > MAX_BYTES {
            return Err(malformed(format!("{length} bytes, more than {MAX_BYTES}")));
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let name = PromptName::parse(name).map_err(|error| malformed(error.to_string()))?;
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let prompt = parse(&name, &text, profile).map_err(malformed)?;
        prompts.insert(name, prompt);
    }
    if prompts.len() > MAX_PROMPTS {
        return Err(NamedPromptError::TooMany(prompts.len()));
    }
    Ok(count)
}

/// A prompt from its text, laid over `profile`; or every problem, in words.
fn parse(name: &PromptName, text: &str, profile: &ReadingProfile) -> Result<NamedPrompt, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(1..=MAX_VERSION).contains(&written.version.len()) || !written.version.bytes().all(allowed) {
        return Err(format!("version is not 1 to {MAX_VERSION} letters, digits, dots, dashes and underscores"));
    }
    let (mut problems, version) = (Vec::new(), written.version);
    let mut lay = |name: &str, over: Option<WrittenKind>, own: &Option<KindProfile>| match (over, own) {
        (Some(over), Some(own)) => Some(over.over(own, name, &mut problems)),
        (Some(_), None) => {
            problems.push(format!("{name}: the model reads no such images"));
            None
        }
        (None, _) => None,
    };
    let kinds =
        Kinds { xray: lay("xray", written.xray, &profile.kinds.xray), ct: lay("ct", written.ct, &profile.kinds.ct) };
    problems.extend(check::problems_of(&kinds));
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let digest: String = Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(NamedPrompt { version: format!("{name} {version} (SHA-256 {digest}…)"), kinds })
}

impl WrittenKind {
    /// This, laid over what the model wants.
    fn over(self, own: &KindProfile, kind: &str, problems: &mut Vec<String>) -> KindProfile {
        let findings = self.findings.unwrap_or_else(|| own.findings.clone());
        let foreign = findings.iter().filter(|code| !own.findings.contains(code));
        problems.extend(foreign.map(|code| format!("{kind}: {code:?} is no finding of the model's profile")));
        let or_none = |text: Option<String>, own: &Option<String>| match text {
            Some(text) if text.is_empty() => None,
            Some(text) => Some(text),
            None => own.clone(),
        };
        KindProfile {
            prompt: self.prompt,
            system: or_none(self.system, &own.system),
            image_caption: or_none(self.image_caption, &own.image_caption),
            priors: or_none(self.priors, &own.priors),
            measured: own.measured.iter().copied().filter(|code| findings.contains(code)).collect(),
            findings,
            max_new_tokens: self.max_new_tokens.unwrap_or(own.max_new_tokens),
            calibration: self.calibration,
            uncertain_below: self.uncertain_below,
            report_from: self.report_from,
            ..own.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use prelim_proto::image::ImageKind;

    use super::*;

    fn profile() -> ReadingProfile {
        let kind = r#"{ "system": "Own.", "prompt": "Own?", "images_per_prompt": 2, "max_new_tokens": 9,
            "findings": ["mass", "nodule"], "calibration": [[0.1, 0.2], [0.9, 0.8]], "report_from": 0.3 }"#;
        let text = format!(r#"{{ "schema": 1, "prompt_version": "t-1", "kinds": {{ "xray": {kind} }} }}"#);
        ReadingProfile::parse(&text, Path::new("prelim.json")).unwrap()
    }

    fn read(files: &[(&str, &str)]) -> Result<BTreeMap<PromptName, NamedPrompt>, NamedPromptError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut prompts = BTreeMap::new();
        read_folder(folder.path(), &profile(), &mut prompts).map(|_| prompts)
    }

    #[test]
    fn a_prompt_changes_words_and_narrows_findings_and_nothing_else() {
        let text = "version = '2'\n[xray]\nsystem = ''\nprompt = '{images}Any mass?'\nfindings = ['mass']\n";
        let prompts = read(&[("masses.toml", text), ("README", "not looked at")]).unwrap();
        let (name, prompt) = prompts.iter().next().unwrap();
        assert_eq!(name.as_str(), "masses");
        let digest = Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(prompt.version, format!("masses 2 (SHA-256 {digest}…)"));
        let (own, kind) = (profile(), prompt.kind(ImageKind::Xray).unwrap());
        let own = own.kind(ImageKind::Xray).unwrap();
        assert_eq!((kind.prompt.as_str(), &kind.system), ("{images}Any mass?", &None));
        assert_eq!((&kind.findings, &kind.measured), (&vec![FindingCode::Mass], &vec![FindingCode::Mass]));
        assert_eq!((kind.images_per_prompt, kind.max_new_tokens), (own.images_per_prompt, own.max_new_tokens));
        assert!(own.is_calibrated() && !kind.is_calibrated() && kind.report_from == 0.0);
        assert!(!kind.answer_schema(1).to_string().contains("nodule"));
        assert_eq!(prompt.kind(ImageKind::Ct), None);
    }

    #[test]
    fn the_prompt_of_the_documents_is_one() {
        let document = include_str!("../../MODELS.md").split("```toml\n");
        let block = document.filter_map(|rest| rest.split("```").next()).find(|block| block.starts_with("version ="));
        let built_in = ReadingProfile::load(Path::new("/nowhere")).unwrap();
        let name = PromptName::parse("trauma").unwrap();
        let prompt = parse(&name, block.expect("MODELS.md has a prompt"), &built_in).unwrap();
        assert_eq!(prompt.kind(ImageKind::Xray).map(|kind| kind.findings.len()), Some(3));
    }

    #[test]
    fn what_is_wrong_with_a_prompt_is_told_with_its_file() {
        let kind = "[xray]\nprompt = 'x'\n";
        for (file, text, says) in [
            ("a b.toml", format!("version = '1'\n{kind}"), "not the name of a prompt"),
            ("p.toml", kind.to_owned(), "missing field `version`"),
            ("p.toml", format!("version = '1 2'\n{kind}"), "version is not"),
            ("p.toml", "version = '1'\n".to_owned(), "kinds names neither xray nor ct"),
            ("p.toml", format!("version = '1'\n{kind}windows_hu = []\n"), "unknown field `windows_hu`"),
            ("p.toml", format!("version = '1'\n{kind}findings = ['fracture']\n"), "Fracture is no finding"),
            ("p.toml", format!("version = '1'\n{kind}findings = []\n"), "xray: findings is empty"),
            ("p.toml", "version = '1'\n[ct]\nprompt = 'x'\n".to_owned(), "ct: the model reads no such images"),
            ("p.toml", "version = '1'\n[xray]\nprompt = '{images}{images}'\n".to_owned(), "more than once"),
            (
                "p.toml",
                "version = '1'\n[xray]\nprompt = '{image}Any {findings}?'\n".to_owned(),
                "unknown {image}, {findings}",
            ),
            ("p.toml", " ".repeat(70_000), "more than 65536"),
        ] {
            let error = read(&[(file, &text)]).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(file), "{text:?}: {error}");
        }
        let text = format!("version = '1'\n{kind}");
        let names: Vec<String> = (0..17).map(|n| format!("p{n}.toml")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
        assert_eq!(read(&files).unwrap_err().to_string(), "17 prompts, more than 16");
        let none = read_folder(Path::new("/nowhere"), &profile(), &mut BTreeMap::new()).unwrap_err().to_string();
        assert!(none.contains("/nowhere is not readable"), "{none}");
    }
}
