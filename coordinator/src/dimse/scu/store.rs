//! C-STORE as SCU (PS3.4 annex B): objects out, each with its own answer.

use dicom_dictionary_std::uids;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::association::{Association, Proposed};
use super::error::ScuError;
use crate::dimse::command::{Command, field};
use crate::dimse::part10::{self, Parts};

/// Medium priority (0000,0700): nobody waits for a draft more than for a patient's images.
const MEDIUM: u16 = 0x0000;

/// What became of an object that was sent (PS3.4 table B.2-1, PS3.7 annex C).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The peer's comment; may be empty.
    pub comment: String,
}

/// What an answer means for the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The peer holds it, perhaps with a warning.
    Taken,
    /// It may be taken later.
    Later,
    /// It will never be taken as it is.
    Never,
}

impl Answer {
    /// What the answer means. Every status that is not known may change.
    pub fn meaning(&self) -> Meaning {
        match self.status {
            // Success, the warnings of storage, and an instance that is held already: ours are named by their content.
            0x0000 | 0xB000 | 0xB006 | 0xB007 | 0x0001 | 0x0107 | 0x0111 | 0x0116 => Meaning::Taken,
            // Data set does not match the SOP class; cannot understand.
            0xA900..=0xA9FF | 0xC000..=0xCFFF => Meaning::Never,
            // No such SOP class, invalid instance, class and instance do not fit, unrecognized operation.
            0x0117..=0x0119 | 0x0122 | 0x0211 => Meaning::Never,
            _ => Meaning::Later,
        }
    }

    /// The answer in words.
    pub fn words(&self) -> String {
        let what = match self.status {
            0x0000 => "stored",
            0xB000 => "stored, elements coerced",
            0xB006 => "stored, elements discarded",
            0xB007 => "stored, data set does not match the SOP class",
            0x0110 => "processing failure",
            0x0111 => "held already",
            0x0122 => "SOP class not supported",
            0x0124 => "not authorized",
            0xA700..=0xA7FF => "out of resources",
            0xA900..=0xA9FF => "data set does not match the SOP class",
            0xC000..=0xCFFF => "cannot understand",
            _ => "not stored",
        };
        let comment = if self.comment.is_empty() { String::new() } else { format!(": {}", self.comment) };
        format!("{:04X}, {what}{comment}", self.status)
    }
}

/// The contexts to propose for these objects: each with the transfer syntax that it has first, and with the one that every
/// application entity takes, where it can be had (PS3.5 section 10.1). Objects of one kind share them.
pub fn proposals<'a>(files: impl IntoIterator<Item = &'a Parts<'a>>) -> Vec<Proposed> {
    let mut contexts: Vec<Proposed> = Vec::new();
    let mut add = |context: Proposed| {
        if !contexts.contains(&context) {
            contexts.push(context);
        }
    };
    for file in files {
        add(Proposed::new(&file.sop_class, &[&file.transfer_syntax]));
        if is_native(&file.transfer_syntax) && file.transfer_syntax != uids::IMPLICIT_VR_LITTLE_ENDIAN {
            add(Proposed::new(&file.sop_class, &[uids::IMPLICIT_VR_LITTLE_ENDIAN]));
        }
    }
    contexts
}

/// Whether data sets of the syntax can be written in another without touching pixels.
fn is_native(transfer_syntax: &str) -> bool {
    [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN].contains(&transfer_syntax)
}

/// Sends one object, as it is where that is taken, and waits for its answer.
///
/// # Errors
/// The association is over, but for [`ScuError::Refused`] and [`ScuError::Object`], which concern this object alone.
pub async fn store(association: &mut Association, file: &[u8]) -> Result<Answer, ScuError> {
    let parts = part10::split(file).map_err(ScuError::Object)?;
    let accepted: Vec<_> = association.contexts(&parts.sop_class).cloned().collect();
    let same = accepted.iter().find(|context| context.transfer_syntax == parts.transfer_syntax);
    let other = accepted.iter().find(|context| is_native(&context.transfer_syntax));
    let rewritten;
    let (context, data_set) = match (same, other) {
        (Some(context), _) => (context, parts.data_set),
        (None, Some(context)) if is_native(&parts.transfer_syntax) => {
            rewritten = rewrite(parts.data_set, &parts.transfer_syntax, &context.transfer_syntax)?;
            (context, rewritten.as_slice())
        }
        _ => return Err(association.refusal(&parts.sop_class, format!("SOP class {}", parts.sop_class))),
    };
    let request = Command {
        field: field::C_STORE,
        priority: Some(MEDIUM),
        sop_class: parts.sop_class.clone(),
        sop_instance: parts.sop_instance.clone(),
        ..Command::default()
    };
    let id = association.request(context.id, request, Some(data_set)).await?;
    let message = association.receive("the C-STORE").await?;
    if !message.command.answers(field::C_STORE, id) {
        return Err(association.unexpected("a C-STORE with another message"));
    }
    let status = message.command.status.ok_or_else(|| association.unexpected("a C-STORE without a status"))?;
    Ok(Answer { status, comment: message.command.comment })
}

/// A data set in another transfer syntax of the same pixels.
fn rewrite(data_set: &[u8], from: &str, to: &str) -> Result<Vec<u8>, ScuError> {
    let syntax = |uid: &str| {
        TransferSyntaxRegistry.get(uid).ok_or_else(|| ScuError::Object(format!("no transfer syntax {uid}")))
    };
    let wrong =
        |error: &dyn std::fmt::Display| ScuError::Object(format!("a data set that cannot be written anew: {error}"));
    let object = InMemDicomObject::read_dataset_with_ts(data_set, syntax(from)?).map_err(|error| wrong(&error))?;
    let mut bytes = Vec::with_capacity(data_set.len());
    object.write_dataset_with_ts(&mut bytes, syntax(to)?).map_err(|error| wrong(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_comes_next() {
        for (status, meaning) in [
            (0x0000, Meaning::Taken),
            (0xB000, Meaning::Taken),
            (0x0111, Meaning::Taken),
            (0xA700, Meaning::Later),
            (0x0110, Meaning::Later),
            (0x0124, Meaning::Later),
            (0xFE00, Meaning::Later),
            (0xA900, Meaning::Never),
            (0xC000, Meaning::Never),
            (0xC123, Meaning::Never),
            (0x0122, Meaning::Never),
        ] {
            let answer = Answer { status, comment: "why".to_owned() };
            assert_eq!(answer.meaning(), meaning, "{}", answer.words());
            assert!(answer.words().starts_with(&format!("{status:04X}, ")) && answer.words().ends_with(": why"));
        }
    }

    #[test]
    fn objects_of_one_kind_share_their_contexts() {
        let parts = |syntax: &str| Parts {
            sop_class: "1.2.3".to_owned(),
            sop_instance: "4".to_owned(),
            transfer_syntax: syntax.to_owned(),
            data_set: &[],
        };
        let (native, packed) = (parts(uids::EXPLICIT_VR_LITTLE_ENDIAN), parts(uids::JPEG_BASELINE8_BIT));
        let proposed = proposals([&native, &native, &packed]);
        let syntaxes: Vec<_> = proposed.iter().map(|each| each.transfer_syntaxes[0].as_str()).collect();
        let wanted = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::JPEG_BASELINE8_BIT];
        assert_eq!(syntaxes, wanted);
    }
}
