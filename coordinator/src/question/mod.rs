//! Questions about a study in plain words: asked by a person, answered by a worker, and kept apart from the study's report.
//!
//! A question is a note of the store ([`crate::store::notes`]) that ends by itself, and, while it is open, a job. The job says
//! which images are to be looked at; the words are in the note alone, and are put into the lease when it is given out. So
//! what becomes of a job can be seen by everybody who looks at queues, and what was asked only by who asked.
//!
//! # Layout
//! - `held`: a question as it is kept, and as the person sees it who asked
//! - `choose`: which images it is about (pure)
//! - `taken`: answers whose words somebody put into a report; `said`: whether a text has words of an answer (pure)
//! - `open`: leases, answers and failures; and what nobody answers
//! - this file: asking, looking and withdrawing
//!
//! **Invariant**: a question changes nothing of its study: no state, no draft, no report, no cost.
//! **Invariant**: no word of a question or an answer is in a job, a key, a log, a span, an error or a metric.

mod choose;
mod held;
mod open;
pub(crate) mod said;
mod taken;

use std::time::{SystemTime, UNIX_EPOCH};

use prelim_proto::demand::Demand;
use prelim_proto::finding::ImageBox;
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, JobKind, JobSpec};
use prelim_proto::question::{MAX_TEXT_CHARS, QuestionKind};
use prelim_proto::report::{Report, Sentence};
use prelim_proto::review::Standing;
use prelim_proto::study::{Priority, Route, Study};
use sha2::{Digest as _, Sha256};

use self::choose::Images;
use self::held::{Asking, End, Held, LASTS_MS, key, number_of};
pub(crate) use self::held::{Looked, Pointed, Question, State};
pub(crate) use self::taken::{How, Taken};
use crate::access::Caller;
use crate::audit::Act;
use crate::queue::QUESTION_HEAD_START_MS;
use crate::report::present;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::StoreError;
use crate::store::notes::{Note, PutNote};
use crate::store::record::Heartbeat;

/// Questions of one person that may be open at once.
const MAX_OPEN: usize = 20;
/// Questions of one person about one study that are kept; of more, the oldest that are over go.
const MAX_KEPT: usize = 64;
/// Notes that may be held when a question is asked: sessions and unfinished work have room beside them.
const MAX_NOTES: u64 = crate::store::notes::MAX_NOTES / 2;
/// How often the note of what a person asks is written anew, where others write it at the same time: each time that it fails
/// another question was noted, and of those only so many may be open.
const MAX_TRIES: usize = 4 * MAX_OPEN;
/// Longest name of a request, in characters.
const MAX_REQUEST: usize = 64;
/// A worker that was not heard of for so long is not counted on: it is heard of every 10 s, and may be missed once.
const SILENT_MS: u64 = 25_000;

/// A question to be asked.
#[derive(Clone)]
pub(crate) struct NewQuestion {
    pub(crate) study: Uid,
    /// The asker's name for the request.
    pub(crate) request: String,
    pub(crate) kind: QuestionKind,
    pub(crate) text: String,
    /// The image that it is about.
    pub(crate) image: Option<Pointed>,
}

/// What the model looks at.
struct Chosen {
    images: Vec<ImageRef>,
    is_ct: bool,
    body_part: Option<String>,
    /// How many there were to choose from, where nobody pointed at one.
    of: Option<u32>,
}

fn invalid(field: &'static str, problem: impl Into<String>) -> ServiceError {
    ServiceError::Invalid { field, problem: problem.into() }
}

/// A caller's name as a part of a key.
fn who(session: &Session) -> String {
    crate::page::name_in_key(&session.caller().key())
}

impl NewQuestion {
    /// What can be said of it without looking at anything.
    fn check(&self) -> Result<(), ServiceError> {
        let is_named = |name: &str| name.chars().all(|c| c.is_ascii_graphic());
        if self.request.is_empty() || self.request.chars().count() > MAX_REQUEST || !is_named(&self.request) {
            let problem = format!("not 1 to {MAX_REQUEST} printable characters without blanks");
            return Err(invalid("request_id", problem));
        }
        let characters = self.text.chars().count();
        if characters > self.kind.max_chars() {
            return Err(invalid("text", format!("{characters} characters, more than {}", self.kind.max_chars())));
        }
        if self.kind != QuestionKind::Describe && !self.text.chars().any(char::is_alphanumeric) {
            return Err(invalid("text", "it has no words"));
        }
        if self.image.is_some() && !self.kind.has_images() {
            return Err(invalid("image", "a text is worked on, and no image is looked at"));
        }
        let is_part =
            |b: &ImageBox| ImageBox::new(b.top, b.left, b.bottom, b.right).as_ref() == Some(b) && b.area() > 0.0;
        if self.image.as_ref().and_then(|image| image.bounds).is_some_and(|bounds| !is_part(&bounds)) {
            return Err(invalid("image", "its box is not top, left, bottom and right from 0 to 1, with an area"));
        }
        Ok(())
    }

    /// The number of its job: the same for the same request of the same person.
    fn number(&self, who: &str) -> u32 {
        let hash = Sha256::digest(format!("{who} {} {}", self.study, self.request).as_bytes());
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) | JobId::FIRST_QUESTION
    }
}

impl Coordinator {
    /// Asks a question. Idempotent by request.
    pub(crate) async fn ask(&self, session: &Session, mut new: NewQuestion) -> Result<Question, ServiceError> {
        new.text = plain(&new.text);
        new.check()?;
        let who = who(session);
        let (study, versions) = self.study_and_versions(&new.study).await?;
        let number = new.number(&who);
        if let Some((held, _)) = self.held_question(&study.uid, number).await? {
            return match held.who == who && held.is_of(&new) {
                true => Ok(self.question_now(&held).await?),
                false => Err(invalid("request_id", "it named another question about this study")),
            };
        }
        let demand = demand(study.intake.route.as_ref());
        self.answers_kind(&demand, new.kind).await?.map_err(ServiceError::NobodyAnswers)?;
        let (chosen, report) = match new.kind.has_images() {
            true => {
                let report = match self.store.draft(&study.uid, Some(versions.newest)).await? {
                    Some(draft) if draft.standing != Standing::Rejected => {
                        Some(self.held_report(&study.uid, &draft).await?)
                    }
                    _ => None,
                };
                (self.images_of_question(&study, report.as_ref(), &new)?, report)
            }
            false => (Chosen { images: Vec::new(), is_ct: false, body_part: None, of: None }, None),
        };
        let jobs = self.store.jobs(&study.uid).await?;
        let spec = JobSpec {
            id: JobId::new(study.uid.clone(), number),
            kind: JobKind::Answer,
            images: chosen.images,
            body_part: chosen.body_part,
            priority: Priority::Stat,
            demand: demand.clone().of_question(new.kind),
            told: jobs.into_iter().find_map(|(_, spec, _)| spec.told).filter(|_| new.kind.has_images()),
            compared: None,
        };
        let held = Held {
            study: study.uid.clone(),
            number,
            who: who.clone(),
            kind: new.kind,
            text: new.text,
            image: new.image,
            asked_at_ms: now_ms(),
            report: report.as_ref().map(words).unwrap_or_default(),
            is_ct: chosen.is_ct,
            images: spec.images.iter().map(Looked::of).collect(),
            of_images: chosen.of,
            demand,
            end: None,
        };
        session.note_question(Act::Asked, &study.uid, kind_word(held.kind)).await?;
        // The words before the job: a worker that gets it finds them. Who repeats the request at this very moment asks once.
        let is_first = match self.store.put_note(put(&held, 0, MAX_NOTES)).await {
            Ok(_) => true,
            Err(StoreError::NoteChanged { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = self.enqueue(&who, spec).await {
            // There are too many, or the study is on its way out: nothing of it stays behind.
            if is_first {
                self.store.drop_notes(&key(&study.uid, number)).await?;
            }
            return Err(error);
        }
        self.make_room(&study.uid, &who).await?;
        self.metrics.questions_asked.inc();
        self.work.notify_waiters();
        self.changed(&study.uid);
        self.question_now(&held).await
    }

    /// The caller's questions about a study, the newest first; and what can be asked about it, or why nothing.
    pub(crate) async fn questions(
        &self,
        session: &Session,
        study: &Uid,
    ) -> Result<(Vec<Question>, Result<Vec<QuestionKind>, String>), ServiceError> {
        let answers = self.answering(study).await?;
        let mut mine = self.all_held(study).await?;
        let who = who(session);
        mine.retain(|(held, _)| held.who == who);
        mine.sort_by_key(|(held, _)| std::cmp::Reverse((held.asked_at_ms, held.number)));
        let mut questions = Vec::with_capacity(mine.len());
        for (held, _) in &mine {
            questions.push(self.question_now(held).await?);
        }
        Ok((questions, answers))
    }

    /// What can be asked about a study now, or why nothing.
    pub(crate) async fn answering(&self, study: &Uid) -> Result<Result<Vec<QuestionKind>, String>, ServiceError> {
        let route = self.record(study).await?.route;
        self.answers(&demand(route.as_ref())).await
    }

    /// One question of the caller.
    pub(crate) async fn question(&self, session: &Session, study: &Uid, id: &str) -> Result<Question, ServiceError> {
        let held = self.held_of(session, study, id).await?;
        self.question_now(&held.ok_or_else(|| ServiceError::NoQuestion(id.chars().take(64).collect()))?).await
    }

    /// Withdraws a question of the caller, or forgets it with its answer. Idempotent.
    pub(crate) async fn drop_question(&self, session: &Session, study: &Uid, id: &str) -> Result<(), ServiceError> {
        let Some(held) = self.held_of(session, study, id).await? else { return Ok(()) };
        self.store.end_question(&held.job(), None).await?;
        self.store.drop_notes(&key(study, held.number)).await?;
        if held.end.is_none() {
            self.metrics.question("withdrawn");
        }
        self.changed(study);
        Ok(())
    }

    /// The questions of a person that are open, or were over a moment ago, as they are now.
    pub(crate) async fn open_questions(&self, caller: &Caller) -> Result<Vec<Question>, ServiceError> {
        let asking = self.asking(&crate::page::name_in_key(&caller.key())).await?;
        let mut questions = Vec::with_capacity(asking.held.len());
        for held in &asking.held {
            questions.push(self.question_now(held).await?);
        }
        Ok(questions)
    }

    /// Which questions with such a demand are answered now, or why none.
    pub(crate) async fn answers(&self, demand: &Demand) -> Result<Result<Vec<QuestionKind>, String>, ServiceError> {
        if self.veil.is_some() {
            let why =
                "questions are free text, which cannot be de-identified: no worker is given any here (--deidentify)";
            return Ok(Err(why.to_owned()));
        }
        let workers = self.workers().await?;
        let going_on = workers.iter().filter(|(worker, silent_ms)| !worker.draining && *silent_ms < SILENT_MS);
        let answering: Vec<&Heartbeat> = going_on
            .map(|(worker, _)| &worker.heartbeat)
            .filter(|worker| worker.kinds.contains(&JobKind::Answer))
            .collect();
        if answering.is_empty() {
            let why =
                "no model here answers questions: no worker that is up has one that does (worker/MODELS.md, Questions)";
            return Ok(Err(why.to_owned()));
        }
        let meeting: Vec<_> = answering.into_iter().filter(|worker| worker.offer().meets(demand)).collect();
        if meeting.is_empty() {
            return Ok(Err(format!(
                "no model here answers questions about this study: it is for {demand}, which no worker offers that answers"
            )));
        }
        let is_answered = |kind: &QuestionKind| meeting.iter().any(|worker| worker.answers(*kind));
        Ok(Ok(QuestionKind::ALL.into_iter().filter(is_answered).collect()))
    }

    /// Why no question of that kind with such a demand is answered now, where none is.
    pub(crate) async fn answers_kind(
        &self,
        demand: &Demand,
        kind: QuestionKind,
    ) -> Result<Result<(), String>, ServiceError> {
        let why = || format!("the models that answer questions here were not made to {}", kind.verb());
        let kinds = self.answers(demand).await?;
        Ok(kinds.and_then(|kinds| if kinds.contains(&kind) { Ok(()) } else { Err(why()) }))
    }

    /// The images that a question is about.
    fn images_of_question(
        &self,
        study: &Study,
        report: Option<&Report>,
        asked: &NewQuestion,
    ) -> Result<Chosen, ServiceError> {
        let limits = self.config.partition_limits();
        let chosen = choose::images(study, report, &asked.text, asked.image.as_ref(), &limits);
        let Images { kind, images, body_part, of } = chosen.map_err(|problem| invalid("image", problem))?;
        Ok(Chosen { images, is_ct: kind == ImageKind::Ct, body_part, of })
    }

    /// A question as it is held, with the version of its note.
    async fn held_question(&self, study: &Uid, number: u32) -> Result<Option<(Held, u64)>, ServiceError> {
        Ok(self.store.note(&key(study, number)).await?.and_then(read))
    }

    /// All questions about a study.
    async fn all_held(&self, study: &Uid) -> Result<Vec<(Held, u64)>, ServiceError> {
        let notes = self.store.notes(&held::of_study(study), usize::MAX).await?;
        Ok(notes.into_iter().filter_map(read).collect())
    }

    async fn held_of(&self, session: &Session, study: &Uid, id: &str) -> Result<Option<Held>, ServiceError> {
        let Some(number) = number_of(id) else { return Ok(None) };
        let held = self.held_question(study, number).await?.map(|(held, _)| held);
        Ok(held.filter(|held| held.who == who(session)))
    }

    /// What a person asks now.
    async fn asking(&self, who: &str) -> Result<Asking, ServiceError> {
        let note = self.store.note(&held::asking_key(who)).await?;
        let mut asking = Asking { version: note.as_ref().map_or(0, |note| note.version), ..Asking::default() };
        for (study, number) in note.map(|note| Asking::numbers(&note.text)).unwrap_or_default() {
            if let Some((held, _)) = self.held_question(&study, number).await?
                && held.who == who
            {
                asking.note(held, now_ms());
            }
        }
        Ok(asking)
    }

    /// Notes that a person asks one more, and makes its job.
    async fn enqueue(&self, who: &str, spec: JobSpec) -> Result<(), ServiceError> {
        self.note_asking(who, spec.id.study(), spec.id.number()).await?;
        self.store.ask(spec, QUESTION_HEAD_START_MS).await?;
        Ok(())
    }

    /// Notes that a person asks one more, unless too many are open. Questions that are asked at once are all noted.
    async fn note_asking(&self, who: &str, study: &Uid, number: u32) -> Result<(), ServiceError> {
        for _ in 0..MAX_TRIES {
            let mut asking = self.asking(who).await?;
            if asking.open >= MAX_OPEN {
                break;
            }
            asking.added.push((study.clone(), number));
            match self.store.put_note(asking.put(who)).await {
                Err(StoreError::NoteChanged { .. }) => {}
                put => return Ok(put.map(drop)?),
            }
        }
        Err(ServiceError::TooManyQuestions { limit: MAX_OPEN })
    }

    /// Forgets the oldest questions of a person about a study that are over, past what is kept.
    async fn make_room(&self, study: &Uid, who: &str) -> Result<(), ServiceError> {
        let mut mine = self.all_held(study).await?;
        mine.retain(|(held, _)| held.who == who);
        let excess = mine.len().saturating_sub(MAX_KEPT);
        mine.retain(|(held, _)| held.end.is_some());
        mine.sort_by_key(|(held, _)| held.asked_at_ms);
        for (held, _) in mine.iter().take(excess) {
            self.store.drop_notes(&key(study, held.number)).await?;
        }
        Ok(())
    }

    /// A question as the person sees it.
    async fn question_now(&self, held: &Held) -> Result<Question, ServiceError> {
        let job = match held.end {
            Some(_) => None,
            None => self.store.job(&held.job()).await?,
        };
        Ok(held.shown(job.as_ref(), now_ms()))
    }
}

/// Forgets what was asked about a study that is removed.
pub(crate) async fn forget(coordinator: &Coordinator, study: &Uid) -> Result<(), StoreError> {
    coordinator.store.drop_notes(&held::of_study(study)).await?;
    coordinator.store.drop_notes(&taken::of_study(study)).await.map(|_| ())
}

/// A text as people write it, without what is no character and the marks that turn the direction of others, as in reports; its
/// lines stay.
fn plain(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(present::clean).collect();
    lines.join("\n").trim().to_owned()
}

/// What a question about a study that a rule took so demands: the model that reads it. Its prompt is for reading.
fn demand(route: Option<&Route>) -> Demand {
    Demand { model: route.and_then(|route| route.demand.model.clone()), prompt: None }
}

/// A question, as it is to be kept in the place of the version `after`.
fn put(held: &Held, after: u64, max_notes: u64) -> PutNote {
    let text = serde_json::to_string(held).unwrap_or_default();
    let gone_ms = u64::try_from(now_ms().saturating_sub(held.asked_at_ms)).unwrap_or(0);
    let lasts_ms = LASTS_MS.saturating_sub(gone_ms).max(1);
    PutNote { after: Some(after), max_notes, ..PutNote::new(key(&held.study, held.number), text, lasts_ms) }
}

fn read(note: Note) -> Option<(Held, u64)> {
    Some((serde_json::from_str(&note.text).ok()?, note.version))
}

/// What a report says, for a model.
fn words(report: &Report) -> String {
    let text =
        |sentences: &[Sentence]| sentences.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ");
    let parts = [("Findings", text(&report.findings_text)), ("Impression", text(&report.impression))];
    let parts = parts.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}: {text}"));
    parts.collect::<Vec<_>>().join("\n").chars().take(MAX_TEXT_CHARS).collect()
}

/// What the audit calls a kind of question.
fn kind_word(kind: QuestionKind) -> &'static str {
    match kind {
        QuestionKind::Question => "question",
        QuestionKind::Describe => "describe",
        QuestionKind::Shorten => "shorten",
        QuestionKind::Explain => "explain",
    }
}

/// Now, in ms since the Unix epoch.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_has_no_characters_that_nobody_sees() {
        assert_eq!(plain("Is\u{0}  it\u{1b}[31m\u{202e} a\r\n\u{200e}nodule?\n"), "Is it [31m a\nnodule?");
        assert_eq!(plain("\u{0}\u{202e}\n"), "");
    }
}
