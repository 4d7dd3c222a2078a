//! Which sentences of a report have words of a model's answer. Pure: it looks at the words, so that an answer that was taken out
//! again leaves no trace, and one that was changed since does.

use prelim_proto::report::{Inserted, Passage, Report, Sentence};

use crate::question::said::{has_long_run_of, has_words_of, words};
use crate::question::{How, Taken};

/// The sentences of `after`, a review of `before`, that have words of the answers in `taken`, or had them before. What a text of
/// `before` says already is whose it was then.
pub(super) fn of(before: &Report, after: &Report, taken: &[Taken]) -> Vec<Inserted> {
    Passage::ALL.into_iter().flat_map(|passage| of_passage(passage, before, passage.of(after), taken)).collect()
}

fn of_passage(passage: Passage, before: &Report, sentences: &[Sentence], taken: &[Taken]) -> Vec<Inserted> {
    let text_of = |known: &Inserted| known.passage.of(before).get(known.sentence as usize);
    let known: Vec<(&Inserted, Vec<String>)> =
        before.inserted.iter().filter_map(|known| Some((known, words(&text_of(known)?.text)))).collect();
    let answers: Vec<(&Taken, Vec<Vec<String>>)> =
        taken.iter().map(|taken| (taken, taken.text.lines().map(words).collect())).collect();
    let mut found: Vec<Inserted> = Vec::new();
    for (index, sentence) in (0_u32..).zip(sentences) {
        if let Some(place) = passage.of(before).iter().position(|each| each.text == sentence.text) {
            let is_it = |known: &&Inserted| known.passage == passage && known.sentence as usize == place;
            let own = before.inserted.iter().filter(is_it);
            found.extend(own.map(|known| Inserted { sentence: index, ..known.clone() }));
            continue;
        }
        let said = words(&sentence.text);
        let first = found.len();
        let mark = |answer: &Taken, lines: &[Vec<String>]| {
            let changed = !lines.contains(&said);
            Inserted { passage, sentence: index, changed, ..inserted(answer) }
        };
        for (answer, lines) in answers.iter().filter(|(answer, _)| answer.how != How::Found) {
            if lines.iter().any(|line| has_words_of(&said, line)) {
                found.push(mark(answer, lines));
            }
        }
        // Which answer they are of is known then: that another says the same is nothing to tell.
        let is_known = found.len() > first;
        for (answer, lines) in answers.iter().filter(|(answer, _)| !is_known && answer.how == How::Found) {
            let by_the_same = |each: &Inserted| (&each.model, &each.adapter) == (&answer.model, &answer.adapter);
            if !found[first..].iter().any(by_the_same) && lines.iter().any(|line| has_long_run_of(&said, line)) {
                found.push(mark(answer, lines));
            }
        }
        for (known, line) in &known {
            let is_told = found[first..].iter().any(|each| each.answered_at_ms == known.answered_at_ms);
            if !is_told && has_words_of(&said, line) {
                found.push(Inserted { passage, sentence: index, changed: true, ..(*known).clone() });
            }
        }
    }
    found
}

fn inserted(taken: &Taken) -> Inserted {
    Inserted {
        passage: Passage::default(),
        sentence: 0,
        kind: taken.kind,
        model: taken.model.clone(),
        adapter: taken.adapter.clone(),
        prompt_version: taken.prompt_version.clone(),
        demonstration: taken.demonstration,
        answered_at_ms: taken.answered_at_ms,
        by: taken.by.clone(),
        at_ms: taken.at_ms,
        changed: false,
        by_hand: taken.how != How::Inserted,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use prelim_proto::ids::Uid;
    use prelim_proto::question::QuestionKind;
    use prelim_proto::report::Urgency;

    use super::*;

    /// A report of an impression alone.
    pub(in crate::review) fn report(impression: &[&str], inserted: Vec<Inserted>) -> Report {
        Report {
            study: Uid::parse("1.2").unwrap(),
            version: 1,
            replaces: None,
            review: None,
            kinds: Vec::new(),
            technique: Vec::new(),
            comparison: Vec::new(),
            priors: Vec::new(),
            findings: Vec::new(),
            findings_text: Vec::new(),
            impression: sentences(impression),
            inserted,
            urgency: Urgency::Routine,
            unread: Vec::new(),
            partial: false,
            limitations: Vec::new(),
            models: Vec::new(),
            statement: String::new(),
        }
    }

    fn sentences(texts: &[&str]) -> Vec<Sentence> {
        texts.iter().map(|text| Sentence { text: (*text).to_owned(), findings: Vec::new() }).collect()
    }

    fn answer(text: &str, answered_at_ms: i64) -> Taken {
        Taken {
            kind: QuestionKind::Question,
            text: text.to_owned(),
            model: "model".to_owned(),
            adapter: None,
            prompt_version: "1".to_owned(),
            demonstration: false,
            answered_at_ms,
            by: "Doe^Jane".to_owned(),
            at_ms: answered_at_ms + 1,
            how: How::Inserted,
        }
    }

    /// A report of `before`'s study with another impression.
    fn after(impression: &[&str]) -> Report {
        report(impression, Vec::new())
    }

    /// Sentence, when the answer was given, whether it was changed.
    fn told(found: &[Inserted]) -> Vec<(u32, i64, bool)> {
        found.iter().map(|each| (each.sentence, each.answered_at_ms, each.changed)).collect()
    }

    #[test]
    fn words_of_answers_are_known_as_they_are_and_changed() {
        let drafted = report(&["Small left pleural effusion."], Vec::new());
        let said = answer("The left costophrenic angle is blunted.\nNo pneumothorax seen.\nYes.", 7);
        for (impression, want) in [
            (&["Small left pleural effusion.", "The left costophrenic angle is blunted."][..], &[(1, 7, false)][..]),
            // However it is written, and with more around it.
            (&["the left  costophrenic angle is blunted"], &[(0, 7, false)]),
            (&["Effusion: the left costophrenic angle is blunted. No pneumothorax seen."], &[(0, 7, true)]),
            // Changed, and still the model's; written anew, and no longer.
            (&["The left costophrenic angle is clearly blunted."], &[(0, 7, true)]),
            (&["No pneumothorax seen.", "I see no pneumothorax seen before."], &[(0, 7, false), (1, 7, true)]),
            (&["Blunted angle on the left."], &[]),
            // A word that everybody uses is known as a whole sentence alone.
            (&["Yes, an effusion."], &[]),
            (&["Yes."], &[(0, 7, false)]),
            // It was taken out again.
            (&["Small left pleural effusion."], &[]),
        ] {
            assert_eq!(told(&of(&drafted, &after(impression), std::slice::from_ref(&said))), want, "{impression:?}");
        }
        // What the draft says already is the draft's.
        let same = answer("Small left pleural effusion.", 7);
        assert_eq!(of(&drafted, &drafted, &[same]), []);
    }

    #[test]
    fn words_that_nobody_inserted_are_known_by_hand_and_in_sentences_of_findings() {
        let drafted = report(&["Small left pleural effusion."], Vec::new());
        let line = "The left costophrenic angle is blunted by fluid.";
        let answer = |how| Taken { how, ..answer(&format!("{line}\nNo pneumothorax."), 7) };
        let mut signed =
            after(&["No pneumothorax.", "Angle blunted by fluid: the left costophrenic angle is blunted."]);
        signed.findings_text = sentences(&[line]);
        let places = |how| -> Vec<(Passage, u32, bool, bool)> {
            let found = of(&drafted, &signed, &[answer(how)]);
            found.iter().map(|each| (each.passage, each.sentence, each.changed, each.by_hand)).collect()
        };
        let long = [(Passage::Findings, 0, false, true), (Passage::Impression, 1, true, true)];
        // What everybody writes is the person's own, unless the page saw that it was pasted.
        assert_eq!(places(How::Found), long);
        assert_eq!(places(How::Pasted), [long[0], (Passage::Impression, 0, false, true), long[1]]);
        // It stays so in later versions, also in the other text.
        signed.inserted = of(&drafted, &signed, &[answer(How::Found)]);
        let later = of(&signed, &after(&[line]), &[]);
        assert_eq!((told(&later), later[0].by_hand), (vec![(0, 7, true)], true));
    }

    #[test]
    fn what_was_inserted_stays_so_in_later_versions() {
        let signed = report(&["Effusion.", "The left costophrenic angle is blunted."], Vec::new());
        let said = answer("The left costophrenic angle is blunted.", 7);
        let first = of(&report(&["Effusion."], Vec::new()), &signed, &[said]);
        assert_eq!(told(&first), [(1, 7, false)]);
        let signed = report(&["Effusion.", "The left costophrenic angle is blunted."], first);
        let later = after(&["The left costophrenic angle is blunted.", "Effusion, larger than before."]);
        assert_eq!(told(&of(&signed, &later, &[])), [(0, 7, false)]);
        let later = after(&["The left costophrenic angle is blunted since Monday."]);
        assert_eq!(told(&of(&signed, &later, &[])), [(0, 7, true)]);
        assert_eq!(of(&signed, &after(&["Effusion."]), &[]), []);
    }
}
