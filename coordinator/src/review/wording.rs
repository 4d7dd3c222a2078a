//! Where the words of each sentence of a reviewed report are from: its draft, software, a model's answer, a person. Pure.

use prelim_proto::report::{Inserted, Passage, Report};
use prelim_proto::review::{Origin, Wording};

use crate::merge;

/// The origins of all sentences of `after`, a review of `before` by the person `reviewer`, whose inserted words are known already.
/// What a text of `before` says already is whose it was then; of a version that does not say, nothing is said.
pub(super) fn of(before: &Report, after: &Report, reviewer: &str) -> Vec<Wording> {
    Passage::ALL.into_iter().flat_map(|passage| of_passage(passage, before, after, reviewer)).collect()
}

fn of_passage(passage: Passage, before: &Report, after: &Report, reviewer: &str) -> Vec<Wording> {
    let made = match passage {
        Passage::Findings => merge::findings_text(&after.findings),
        Passage::Impression => merge::impression(&after.findings, after.partial),
    };
    let sentences = (0_u32..).zip(passage.of(after));
    let wording = |(sentence, said): (u32, &prelim_proto::report::Sentence)| {
        let new = |origin, by: &str| Wording { passage, sentence, origin, version: after.version, by: by.to_owned() };
        if let Some(place) = passage.of(before).iter().position(|each| each.text == said.text) {
            let Some(review) = &before.review else {
                return Some(Wording { version: before.version, ..new(Origin::Draft, "") });
            };
            let is_it = |each: &&Wording| each.passage == passage && each.sentence as usize == place;
            return review.words.iter().find(is_it).map(|known| Wording { sentence, ..known.clone() });
        }
        let is_it = |each: &&Inserted| each.passage == passage && each.sentence == sentence;
        if let Some(taken) = after.inserted.iter().find(is_it) {
            return Some(new(Origin::Answer, &taken.by));
        }
        let is_made = made.iter().any(|each| each.text == said.text);
        Some(if is_made { new(Origin::Decisions, "") } else { new(Origin::Person, reviewer) })
    };
    sentences.filter_map(wording).collect()
}
