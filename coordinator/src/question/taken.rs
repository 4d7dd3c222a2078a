//! Answers whose words somebody put into a report: noted when that is done, and kept for as long as unfinished work is, also where
//! the question is forgotten before. Who signs does not say which words are whose: it is looked up here. Words that are typed or
//! pasted are found in what is kept unfinished, and in what is signed.

use prelim_proto::ids::Uid;
use prelim_proto::question::QuestionKind;
use prelim_proto::review::Reviewer;
use serde::{Deserialize, Serialize};

use super::held::{Answered, End, Held, id_of};
use super::said::{has_long_run_of, words};
use super::{MAX_NOTES, invalid, now_ms, who};
use crate::access::Caller;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::notes::{Note, PutNote};

/// Their keys begin so; then come study, who and question.
const TAKEN: &str = "taken/";
/// How long one is kept, in ms: as long as unfinished work is, thirty days.
const LASTS_MS: u64 = 30 * 86_400_000;
/// Answers that one person has put into the report of one study; of more, the oldest go.
const MAX_TAKEN: usize = 64;

/// How words of an answer came into a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// By the command for that.
    #[default]
    Inserted,
    /// Pasted: the page saw it.
    Pasted,
    /// Nobody said how: a text of the person's has many of them in a row.
    Found,
}

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
    #[serde(default)]
    pub(crate) how: How,
}

impl Taken {
    fn of(held: &Held, said: &Answered, by: &str, how: How) -> Self {
        let said = said.clone();
        Self {
            kind: held.kind,
            text: said.text,
            model: said.model,
            adapter: said.adapter,
            prompt_version: said.prompt_version,
            demonstration: said.demonstration,
            answered_at_ms: said.at_ms,
            by: by.to_owned(),
            at_ms: now_ms(),
            how,
        }
    }
}

impl Coordinator {
    /// Notes that the caller puts words of an answer into the report. Idempotent but for the time.
    pub(crate) async fn take_answer(
        &self,
        session: &Session,
        study: &Uid,
        id: &str,
        how: How,
    ) -> Result<(), ServiceError> {
        let held = self.held_of(session, study, id).await?;
        let held = held.ok_or_else(|| ServiceError::NoQuestion(id.chars().take(64).collect()))?;
        let Some(End::Answered(said)) = &held.end else { return Err(invalid("question", "it has no answer")) };
        // What is pasted is there already: it is told, whatever it is.
        let is_by_command = how == How::Inserted;
        if is_by_command && said.truncated {
            let problem = "its answer is cut off, and half a sentence may say the opposite of the whole";
            return Err(invalid("question", problem));
        }
        if is_by_command && held.is_no_shorter(said) {
            return Err(invalid("question", "its answer is no shorter than the text that was to be shortened"));
        }
        if is_by_command && held.kind == QuestionKind::Explain {
            return Err(invalid("question", "words for the patient are no part of a report"));
        }
        let of_person = of_person(study, &who(session));
        let before = self.store.notes(&of_person, usize::MAX).await?;
        let key = format!("{of_person}{id}/");
        if !is_by_command && before.iter().any(|note| note.key == key && how_of(note) != Some(How::Found)) {
            // It is on record by the command for that.
            return Ok(());
        }
        self.note_taken(before, key, &Taken::of(&held, said, name_of(session), how)).await
    }

    /// Notes the answers, whoever asked for them, of which the caller's unfinished texts have words, which nobody said were
    /// inserted: so that it is known when the answers are forgotten by then.
    pub(crate) async fn note_words(&self, session: &Session, study: &Uid, texts: &[&str]) -> Result<(), ServiceError> {
        let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        if texts.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let who = who(session);
        let of_person = of_person(study, &who);
        let mut noted = self.store.notes(&of_person, usize::MAX).await?;
        for (held, said) in self.all_answered(study).await? {
            let key = format!("{of_person}{}/", id_of(held.number));
            let has_words = || {
                let mut lines = said.text.lines().map(words);
                lines.any(|line| texts.iter().any(|text| has_long_run_of(text, &line)))
            };
            if noted.iter().any(|note| note.key == key) || !has_words() {
                continue;
            }
            self.note_taken(noted, key, &Taken::of(&held, &said, name_of(session), How::Found)).await?;
            noted = self.store.notes(&of_person, usize::MAX).await?;
        }
        Ok(())
    }

    async fn note_taken(&self, mut before: Vec<Note>, key: String, taken: &Taken) -> Result<(), ServiceError> {
        before.retain(|note| note.key != key);
        before.sort_by_key(|note| note.written_at_ms);
        let excess = (before.len() + 1).saturating_sub(MAX_TAKEN);
        for note in before.iter().take(excess) {
            self.store.drop_notes(&note.key).await?;
        }
        let text = serde_json::to_string(taken).unwrap_or_default();
        self.store.put_note(PutNote { max_notes: MAX_NOTES, ..PutNote::new(key, text, LASTS_MS) }).await?;
        Ok(())
    }

    /// The answers that a person may have put into the report of a study: those that are noted, the oldest first, then all others
    /// that are kept, whoever asked for them, of which only many words in a row count.
    pub(crate) async fn taken(
        &self,
        (reviewer, caller): (&Reviewer, &Caller),
        study: &Uid,
    ) -> Result<Vec<Taken>, ServiceError> {
        let who = crate::page::name_in_key(&caller.key());
        let of_person = of_person(study, &who);
        let notes = self.store.notes(&of_person, usize::MAX).await?;
        let is_noted = |number: u32| notes.iter().any(|note| note.key == format!("{of_person}{}/", id_of(number)));
        let mut taken: Vec<Taken> = notes.iter().filter_map(|note| serde_json::from_str(&note.text).ok()).collect();
        taken.sort_by_key(|taken| taken.at_ms);
        let kept = self.all_answered(study).await?;
        let kept = kept.iter().filter(|(held, _)| !is_noted(held.number));
        taken.extend(kept.map(|(held, said)| Taken::of(held, said, &reviewer.name, How::Found)));
        Ok(taken)
    }

    /// What anybody was answered about a study.
    async fn all_answered(&self, study: &Uid) -> Result<Vec<(Held, Answered)>, ServiceError> {
        let all = self.all_held(study).await?.into_iter().map(|(held, _)| held);
        let answered = all.filter_map(|held| match held.end.clone() {
            Some(End::Answered(said)) => Some((held, said)),
            _ => None,
        });
        Ok(answered.collect())
    }
}

/// The caller as reports name people.
fn name_of(session: &Session) -> &str {
    let caller = session.caller();
    caller.person.as_deref().unwrap_or(&caller.name)
}

fn how_of(note: &Note) -> Option<How> {
    serde_json::from_str::<Taken>(&note.text).ok().map(|taken| taken.how)
}

/// What the keys of all that was taken into the report of a study begin with.
pub(super) fn of_study(study: &Uid) -> String {
    format!("{TAKEN}{study}/")
}

fn of_person(study: &Uid, who: &str) -> String {
    format!("{}{who}/", of_study(study))
}
