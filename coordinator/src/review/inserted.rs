//! Which sentences of an impression have words of a model's answer. Pure: it looks at the words, so that an answer that was taken
//! out again leaves no trace, and one that was changed since does.

use std::collections::HashSet;

use prelim_proto::report::{Inserted, Report, Sentence};

use crate::question::Taken;

/// Words in a row that are the answer's, where a sentence has as many of one of its lines.
const RUN: usize = 5;
/// Words of a line that is known inside of a sentence; a shorter one is known only as the whole sentence.
const SHORTEST: usize = 3;

/// The sentences of `impression`, which was made of that of `before`, that have words of the answers in `taken`, or had them
/// before. What a sentence of `before` says already is whose it was then.
pub(super) fn of(before: &Report, impression: &[Sentence], taken: &[Taken]) -> Vec<Inserted> {
    let known: Vec<(&Inserted, Vec<String>)> = before
        .inserted
        .iter()
        .filter_map(|known| Some((known, words(&before.impression.get(known.sentence as usize)?.text))))
        .collect();
    let answers: Vec<(Inserted, Vec<Vec<String>>)> =
        taken.iter().map(|taken| (inserted(taken), taken.text.lines().map(words).collect())).collect();
    let mut found: Vec<Inserted> = Vec::new();
    for (index, sentence) in (0_u32..).zip(impression) {
        if let Some(place) = before.impression.iter().position(|each| each.text == sentence.text) {
            let own = before.inserted.iter().filter(|known| known.sentence as usize == place);
            found.extend(own.map(|known| Inserted { sentence: index, ..known.clone() }));
            continue;
        }
        let said = words(&sentence.text);
        let first = found.len();
        for (answer, lines) in &answers {
            if lines.iter().any(|line| has_words_of(&said, line)) {
                let changed = !lines.contains(&said);
                found.push(Inserted { sentence: index, changed, ..answer.clone() });
            }
        }
        for (known, line) in &known {
            let is_told = found[first..].iter().any(|each| each.answered_at_ms == known.answered_at_ms);
            if !is_told && has_words_of(&said, line) {
                found.push(Inserted { sentence: index, changed: true, ..(*known).clone() });
            }
        }
    }
    found
}

fn inserted(taken: &Taken) -> Inserted {
    Inserted {
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
    }
}

/// Whether a sentence has a run of words of a line, or all of a shorter line.
fn has_words_of(sentence: &[String], line: &[String]) -> bool {
    match line.len().min(RUN) {
        0 => false,
        run if run < SHORTEST => sentence == line,
        run => {
            let said: HashSet<&[String]> = sentence.windows(run).collect();
            line.windows(run).any(|part| said.contains(part))
        }
    }
}

/// The words of a text, in lower case and without what stands between them. In writing without blanks each character is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for c in text.chars() {
        let is_alone = c >= '\u{2e80}' && c.is_alphanumeric();
        if !c.is_alphanumeric() {
            is_open = false;
            continue;
        }
        match words.last_mut().filter(|_| is_open && !is_alone) {
            Some(word) => word.extend(c.to_lowercase()),
            None => words.push(c.to_lowercase().collect()),
        }
        is_open = !is_alone;
    }
    words
}

#[cfg(test)]
mod tests {
    use prelim_proto::ids::Uid;
    use prelim_proto::question::QuestionKind;
    use prelim_proto::report::Urgency;

    use super::*;

    fn report(impression: &[&str], inserted: Vec<Inserted>) -> Report {
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
        }
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
            assert_eq!(
                told(&of(&drafted, &sentences(impression), std::slice::from_ref(&said))),
                want,
                "{impression:?}"
            );
        }
        // What the draft says already is the draft's.
        let same = answer("Small left pleural effusion.", 7);
        assert_eq!(of(&drafted, &drafted.impression, &[same]), []);
    }

    #[test]
    fn what_was_inserted_stays_so_in_later_versions() {
        let signed = report(&["Effusion.", "The left costophrenic angle is blunted."], Vec::new());
        let said = answer("The left costophrenic angle is blunted.", 7);
        let first = of(&report(&["Effusion."], Vec::new()), &signed.impression, &[said]);
        assert_eq!(told(&first), [(1, 7, false)]);
        let signed = report(&["Effusion.", "The left costophrenic angle is blunted."], first);
        let later = sentences(&["The left costophrenic angle is blunted.", "Effusion, larger than before."]);
        assert_eq!(told(&of(&signed, &later, &[])), [(0, 7, false)]);
        let later = sentences(&["The left costophrenic angle is blunted since Monday."]);
        assert_eq!(told(&of(&signed, &later, &[])), [(0, 7, true)]);
        assert_eq!(of(&signed, &sentences(&["Effusion."]), &[]), []);
    }

    #[test]
    fn writing_without_blanks_has_words_too() {
        assert_eq!(words("左侧, Größe 3 mm"), ["左", "侧", "größe", "3", "mm"]);
        let said = answer("左侧胸腔积液", 7);
        let found = of(&report(&[], Vec::new()), &sentences(&["可见左侧胸腔积液"]), &[said]);
        assert_eq!(told(&found), [(0, 7, true)]);
    }
}
