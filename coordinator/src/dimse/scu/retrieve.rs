//! C-GET and C-MOVE as SCU (PS3.4 annex C): a study from a PACS, over the same association or to our own listener.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use prelim_proto::ids::Uid;

use super::association::{Association, MAX_CONTEXTS, Proposed};
use super::error::ScuError;
use super::find::{failed, identifier};
use crate::dimse::command::{Command, field};
use crate::dimse::message::{DataSet, Message};
use crate::dimse::part10::Meta;
use crate::dimse::status::Status;
use crate::dimse::syntaxes;

/// Medium priority (0000,0700).
const MEDIUM: u16 = 0x0000;
/// Others follow.
const PENDING: u16 = 0xFF00;
/// Sub-operations complete, one or more failures.
const SOME_FAILED: u16 = 0xB000;
/// Unable to perform sub-operations: all of them failed.
const NONE_DONE: u16 = 0xA702;

/// Sub-operations as the peer counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Done.
    pub completed: u16,
    /// Not done.
    pub failed: u16,
    /// Done, with a warning.
    pub warnings: u16,
}

impl Counts {
    /// Adds those of another operation.
    pub fn add(&mut self, other: Self) {
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.warnings = self.warnings.saturating_add(other.warnings);
    }
}

/// An object that came by C-GET, as a file, and what it is called.
#[derive(Debug)]
pub struct Incoming {
    /// The file.
    pub file: Vec<u8>,
    /// SOP class and instance that its sender says it is.
    pub claimed: (String, String),
}

/// What takes objects in, and says what became of each.
pub trait Intake {
    /// Takes one in.
    fn take(&mut self, object: Incoming) -> impl Future<Output = Taken> + Send;
}

/// What became of an object that came by C-GET, for its sender.
pub struct Taken(pub(crate) Status);

/// The contexts that a C-GET of objects of these classes needs. Each class has one for uncompressed objects and, as far as
/// there is room, one for each other transfer syntax: an object comes as it is stored only in a context of its own syntax.
pub fn get_proposals(classes: &[String]) -> Vec<Proposed> {
    let get = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET;
    let plain = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    let mut contexts = vec![Proposed::new(get, &plain)];
    let mine = |class: &String, syntaxes: &[&str]| Proposed { as_scp: true, ..Proposed::new(class, syntaxes) };
    contexts.extend(classes.iter().map(|class| mine(class, &plain)));
    for syntax in syntaxes::taken().filter(|syntax| !plain.contains(&syntax.as_str())) {
        contexts.extend(classes.iter().map(|class| mine(class, &[&syntax])));
    }
    contexts.truncate(MAX_CONTEXTS);
    contexts
}

/// The context that a C-MOVE needs.
pub fn move_proposal() -> Proposed {
    let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    Proposed::new(uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE, &syntaxes)
}

/// Gets a study over this association: each object is handed to `intake` and answered for before the next comes.
pub async fn get(
    association: &mut Association,
    study: &Uid,
    intake: &mut (impl Intake + Send),
) -> Result<Counts, ScuError> {
    let keys = [(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str())];
    get_of(association, "STUDY", &keys, intake).await
}

/// The same for one series of a study.
pub async fn get_series(
    association: &mut Association,
    study: &Uid,
    series: &Uid,
    intake: &mut (impl Intake + Send),
) -> Result<Counts, ScuError> {
    let keys =
        [(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str()), (tags::SERIES_INSTANCE_UID, VR::UI, series.as_str())];
    get_of(association, "SERIES", &keys, intake).await
}

async fn get_of(
    association: &mut Association,
    level: &str,
    keys: &[(Tag, VR, &str)],
    intake: &mut (impl Intake + Send),
) -> Result<Counts, ScuError> {
    const WHAT: &str = "the C-GET";
    let class = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET;
    let id = begin(association, field::C_GET, class, "C-GET in the Study Root model", (level, keys), "").await?;
    loop {
        let message = association.receive(WHAT).await?;
        if message.command.field == field::C_STORE {
            take(association, message, intake).await?;
            continue;
        }
        if let Some(counts) = read(association, WHAT, field::C_GET, id, &message)? {
            return Ok(counts);
        }
    }
}

/// Has a study sent to the application entity `destination`, which is our listener.
pub async fn move_to(association: &mut Association, study: &Uid, destination: &str) -> Result<Counts, ScuError> {
    const WHAT: &str = "the C-MOVE";
    let class = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE;
    let of = ("STUDY", &[(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str())][..]);
    let id = begin(association, field::C_MOVE, class, "C-MOVE in the Study Root model", of, destination).await?;
    loop {
        let message = association.receive(WHAT).await?;
        if let Some(counts) = read(association, WHAT, field::C_MOVE, id, &message)? {
            return Ok(counts);
        }
    }
}

/// Sends the request; its message id.
async fn begin(
    association: &mut Association,
    field: u16,
    class: &str,
    what: &str,
    (level, keys): (&str, &[(Tag, VR, &str)]),
    destination: &str,
) -> Result<u16, ScuError> {
    let context = association.contexts(class).next().cloned();
    let context = context.ok_or_else(|| association.refusal(class, what))?;
    let identifier = identifier(level, keys, &context.transfer_syntax)?;
    let request = Command {
        field,
        priority: Some(MEDIUM),
        sop_class: class.to_owned(),
        destination: destination.to_owned(),
        ..Command::default()
    };
    association.request(context.id, request, Some(&identifier)).await
}

/// Reads a response: the counts where it is the last one.
fn read(
    association: &Association,
    what: &'static str,
    field: u16,
    id: u16,
    message: &Message,
) -> Result<Option<Counts>, ScuError> {
    let command = &message.command;
    if !command.answers(field, id) {
        return Err(association.unexpected(format!("{what} with another message")));
    }
    let [_, completed, failures, warnings] = command.suboperations.map(Option::unwrap_or_default);
    match command.status {
        Some(PENDING) => Ok(None),
        Some(0x0000 | SOME_FAILED | NONE_DONE) => Ok(Some(Counts { completed, failed: failures, warnings })),
        status => Err(failed(association, what, status, command.comment.clone())),
    }
}

/// Takes in an object that the peer sends, and answers for it.
async fn take(
    association: &mut Association,
    message: Message,
    intake: &mut (impl Intake + Send),
) -> Result<(), ScuError> {
    let Message { context: id, command, data_set } = message;
    let context = association.context(id).cloned();
    let context = context.ok_or_else(|| association.unexpected("the C-GET with an object in no context"))?;
    let status = match data_set {
        None => Status::without_data_set(),
        Some(DataSet::Dropped(why)) => why.into(),
        Some(DataSet::Whole(..)) if command.sop_class != context.sop_class => {
            Status::mismatch("the command's SOP class is not its presentation context's")
        }
        Some(DataSet::Whole(..)) if Uid::parse(&command.sop_instance).is_err() => {
            Status::mismatch("the command's SOP Instance UID is none")
        }
        Some(DataSet::Whole(mut file, _memory)) => {
            let (sop_class, sop_instance) = (command.sop_class.as_str(), command.sop_instance.as_str());
            let meta = Meta { sop_class, sop_instance, transfer_syntax: &context.transfer_syntax };
            file.splice(0..0, meta.header());
            let claimed = (command.sop_class.clone(), command.sop_instance.clone());
            intake.take(Incoming { file, claimed }).await.0
        }
    };
    association.send(id, &command.respond(status.code, &status.comment), None).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_get_has_a_context_for_each_syntax_as_far_as_there_is_room() {
        let one = get_proposals(&["1.2.3".to_owned()]);
        assert!(one[0].sop_class.ends_with(".2.3") && !one[0].as_scp);
        assert_eq!(one[1].transfer_syntaxes.len(), 2);
        assert!(one[2..].iter().all(|each| each.as_scp && each.transfer_syntaxes.len() == 1));
        assert_eq!(one.len(), 2 + syntaxes::taken().count() - 2);
        let classes: Vec<String> = (1..=60).map(|n| format!("1.2.{n}")).collect();
        let many = get_proposals(&classes);
        assert_eq!(many.len(), MAX_CONTEXTS);
        assert!(classes.iter().all(|class| many.iter().any(|each| each.sop_class == *class)));
    }
}
