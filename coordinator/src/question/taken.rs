//! Answers whose words somebody put into a report: noted when that is done, and kept for as long as unfinished work is, also where
//! the question is forgotten before. Who signs does not say which words are whose: it is looked up here.

use prelim_proto::ids::Uid;
use prelim_proto::question::QuestionKind;
use serde::{Deserialize, Serialize};

use super::held::End;
use super::{MAX_NOTES, invalid, now_ms, who};
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::notes::PutNote;

/// Their keys begin so; then come study, who and question.
const TAKEN: &str = "taken/";
/// How long one is kept, in ms: as long as unfinished work is, thirty days.
const LASTS_MS: u64 = 30 * 86_400_000;
/// Answers that one person has put into the report of one study; of more, the oldest go.
const MAX_TAKEN: usize = 64;

/// An answer whose words somebody put into a report. It has no `Debug`: its words are for nobody else.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Taken {
    pub(crate) kind: QuestionKind,
    pub(crate) text: String,
    pub(crate) model: String,
    pub(crate) adapter: Option<String>,
    pub(crate) prompt_version: String,
    pub(crate) demonstration: bool,
    pub(crate) answered_at_ms: i64,
    /// Who put it there: the person's name, as DICOM writes names.
    pub(crate) by: String,
    pub(crate) at_ms: i64,
}

impl Coordinator {
    /// Notes that the caller puts words of an answer into the report. Idempotent but for the time.
    pub(crate) async fn take_answer(&self, session: &Session, study: &Uid, id: &str) -> Result<(), ServiceError> {
        let held = self.held_of(session, study, id).await?;
        let held = held.ok_or_else(|| ServiceError::NoQuestion(id.chars().take(64).collect()))?;
        let Some(End::Answered(said)) = &held.end else { return Err(invalid("question", "it has no answer")) };
        if said.truncated {
            let problem = "its answer is cut off, and half a sentence may say the opposite of the whole";
            return Err(invalid("question", problem));
        }
        if held.is_no_shorter(said) {
            return Err(invalid("question", "its answer is no shorter than the text that was to be shortened"));
        }
        if held.kind == QuestionKind::Explain {
            return Err(invalid("question", "words for the patient are no part of a report"));
        }
        let caller = session.caller();
        let said = said.clone();
        let taken = Taken {
            kind: held.kind,
            text: said.text,
            model: said.model,
            adapter: said.adapter,
            prompt_version: said.prompt_version,
            demonstration: said.demonstration,
            answered_at_ms: said.at_ms,
            by: caller.person.clone().unwrap_or_else(|| caller.name.clone()),
            at_ms: now_ms(),
        };
        let of_person = of_person(study, &who(session));
        let mut before = self.store.notes(&of_person, usize::MAX).await?;
        before.sort_by_key(|note| note.written_at_ms);
        let excess = (before.len() + 1).saturating_sub(MAX_TAKEN);
        for note in before.iter().take(excess) {
            self.store.drop_notes(&note.key).await?;
        }
        let text = serde_json::to_string(&taken).unwrap_or_default();
        let key = format!("{of_person}{id}/");
        self.store.put_note(PutNote { max_notes: MAX_NOTES, ..PutNote::new(key, text, LASTS_MS) }).await?;
        Ok(())
    }

    /// The answers that somebody put into the report of a study, the oldest first.
    pub(crate) async fn taken(&self, caller: &str, study: &Uid) -> Result<Vec<Taken>, ServiceError> {
        let of_person = of_person(study, &crate::page::name_in_key(caller));
        let notes = self.store.notes(&of_person, usize::MAX).await?;
        let mut taken: Vec<Taken> =
            notes.into_iter().filter_map(|note| serde_json::from_str(&note.text).ok()).collect();
        taken.sort_by_key(|taken| taken.at_ms);
        Ok(taken)
    }
}

/// What the keys of all that was taken into the report of a study begin with.
pub(super) fn of_study(study: &Uid) -> String {
    format!("{TAKEN}{study}/")
}

fn of_person(study: &Uid, who: &str) -> String {
    format!("{}{who}/", of_study(study))
}
