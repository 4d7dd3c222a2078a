//! One question about a study: its words and images to an answer. [`run`] is the path.
//!
//! An answer is free text, without a grammar, of the most likely tokens: the same question gives the same answer.
//!
//! **Invariant**: no word of a question or an answer is in a log, a span, an error or a metric.

use std::sync::Arc;

use prelim_proto::finding::ImageBox;
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, JobKind, JobOutcome, Lease};
use prelim_proto::question::{Answer, Asked, MAX_ANSWER_BYTES};

use crate::engine::request::{Completion, Finish, Request, Sampling};
use crate::fetch::{ObjectSource, Objects};
use crate::job::{JobError, add_cost, fetch, hold, name_of, told};
use crate::prompt::Shown;
use crate::reader::Reader;
use crate::traces;

/// What a part of an image is called that is shown by itself.
const PART: &str = "the marked part of the first image";

/// Answers the question of the leased job.
pub(crate) async fn run<S: ObjectSource>(
    reader: &Arc<Reader>,
    objects: &Objects<S>,
    lease: &Lease,
) -> Result<JobOutcome, JobError> {
    let asked = lease.asked.as_ref().ok_or(JobError::NoQuestion)?;
    let (profile, adapter) = reader.questions(&lease.job)?;
    let template = profile.template(asked.kind).ok_or(JobError::QuestionKind(asked.kind.verb()))?;
    let mut outcome = reader.answer_outcome();
    outcome.model.prompt_version.clone_from(&profile.prompt_version);
    let looked = match asked.kind.has_images() {
        true => look(reader, objects, lease, (asked, profile.images_per_prompt), &mut outcome).await?,
        false => Looked::default(),
    };
    let priors = told(objects, lease, profile.priors.is_some() && asked.kind.has_images(), &mut outcome).await?;
    let request = Request {
        prompt: reader.prompts.ask(profile, template, asked, &looked.shown, &priors)?,
        adapter,
        grammar: None,
        max_new_tokens: profile.max_new_tokens,
        sampling: Sampling::default(),
        alternatives: 0,
    };
    let said = traces::step("answer", reader.engine.submit(request)).await?;
    add_cost(&mut outcome.cost, &said);
    let (text, is_cut) = words(reader, &said)?;
    outcome.truncated = is_cut;
    outcome.frames_read = looked.places.len() as u32;
    outcome.answer = Some(Answer {
        text,
        shown: looked.places,
        box_shown: looked.part,
        adapter: adapter.map(|adapter| reader.adapter_name(adapter)),
    });
    Ok(outcome)
}

/// What the model is shown.
#[derive(Default)]
struct Looked {
    shown: Vec<Shown>,
    /// Places in the job of the images that are shown, in order.
    places: Vec<u32>,
    /// A part of the first is shown by itself, beside it where there is a place.
    part: bool,
}

/// Looks at the first images of the job, as many as go into one prompt. An image that does not decode is passed over, and the
/// answer says which were looked at; where none does there is nothing to answer.
async fn look<S: ObjectSource>(
    reader: &Arc<Reader>,
    objects: &Objects<S>,
    lease: &Lease,
    (asked, most): (&Asked, usize),
    outcome: &mut JobOutcome,
) -> Result<Looked, JobError> {
    let kind = if asked.is_ct { ImageKind::Ct } else { ImageKind::Xray };
    let windows = reader.profile.kind(kind).ok_or(JobError::Kind(name_of(JobKind::Read(kind))))?.windows_hu;
    // The part takes the place of an image: of the last, or of its own where there is no other.
    let part = asked.bounds;
    let is_alone = part.is_some() && most == 1;
    let wanted: Vec<&ImageRef> = lease.job.images.iter().take((most - usize::from(part.is_some())).max(1)).collect();
    let _held = hold(reader, &wanted).await?;
    let bytes = traces::step("fetch", fetch(objects, lease, &wanted, outcome)).await?;
    let (mut looked, mut problem) = (Looked::default(), "there is none".to_owned());
    for (place, image) in wanted.into_iter().enumerate() {
        // Fetched just now.
        let Some(bytes) = bytes.get(&image.digest).cloned() else { continue };
        let part = part.filter(|_| place == 0);
        let whole = if is_alone { None } else { Some(None) };
        let views: Vec<(u32, Option<ImageBox>)> =
            [whole, part.map(Some)].into_iter().flatten().map(|bounds| (image.frame, bounds)).collect();
        let bounded: Vec<bool> = views.iter().map(|(_, bounds)| bounds.is_some()).collect();
        let worker = Arc::clone(reader);
        let seeing = tokio::task::spawn_blocking(move || worker.sight.see_parts(&bytes, &views, windows, &worker.desk));
        let (seen, spent) = seeing.await.map_err(|_| JobError::Panic)?;
        outcome.cost.decode_ms += spent.decode_ms;
        outcome.cost.preprocess_ms += spent.preprocess_ms;
        for (is_part, seen) in bounded.into_iter().zip(seen) {
            match seen {
                Ok(seen) => {
                    let label = if is_part { PART.to_owned() } else { image.label.clone() };
                    looked.shown.push(Shown { picture: seen.picture, label });
                    if !is_part || is_alone {
                        looked.places.push(place as u32);
                    }
                    looked.part |= is_part;
                }
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => problem = error.to_string(),
            }
        }
    }
    if looked.places.is_empty() { Err(JobError::NothingSeen(problem)) } else { Ok(looked) }
}

/// What the model said, for people, and whether it was cut.
fn words(reader: &Reader, said: &Completion) -> Result<(String, bool), JobError> {
    let text = plain(&reader.tokenizer.text_of(said.tokens.iter().map(|token| token.token)));
    if text.is_empty() {
        return Err(JobError::NoWords);
    }
    let kept = &text[..text.floor_char_boundary(MAX_ANSWER_BYTES)];
    Ok((kept.to_owned(), said.finish == Finish::Length || kept.len() < text.len()))
}

/// Text without control characters but line feeds, and without characters that stand for none or change the order of others.
fn plain(text: &str) -> String {
    let is_odd = |c: char| {
        c == '\u{fffd}' || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let lines = text.lines().map(|line| {
        let line: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
        line.chars().filter(|c| !c.is_control() && !is_odd(*c)).collect::<String>().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_plain_lines() {
        assert_eq!(
            plain(" No\teffusion.\r\n\u{7}\u{202e}Heart \u{1b}[31msize\u{fffd} normal. \n\n"),
            "No effusion.\nHeart [31msize normal."
        );
        assert_eq!(plain("\u{0}\n \u{200b}"), "");
    }
}
