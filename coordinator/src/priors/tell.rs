//! What a model is told of earlier studies: an interval, a kind of study, and words without what names the patient.

use prelim_proto::comparison::PriorSource;
use prelim_proto::priors::{MAX_TOLD_CHARS, ToldPrior};
use prelim_proto::study::StudyAttributes;

use super::Compared;
use crate::report::present;

/// Shortest identifier that is taken out: shorter ones are parts of common words.
const SHORTEST: usize = 3;
/// What stands in the place of an identifier.
const GONE: &str = "[removed]";

/// What is told of the studies that `of` is compared with; `known` is what headers say of the patient.
pub(super) fn tell(compared: &Compared, known: &[&StudyAttributes]) -> Vec<ToldPrior> {
    let names = identifiers(known);
    let told = compared.earlier.iter().filter(|earlier| !earlier.words.is_empty()).map(|earlier| {
        let source = match earlier.prior.source {
            PriorSource::Draft { .. } => "unsigned draft by software",
            PriorSource::Signed { .. } => "signed report",
            PriorSource::Report { verified: true, .. } => "verified report",
            PriorSource::Report { verified: false, .. } => "report that nobody verified",
        };
        ToldPrior {
            what: earlier.prior.what.clone(),
            days_before: earlier.prior.days_before,
            source: source.to_owned(),
            text: present::shortened(&without(&earlier.words, &names), MAX_TOLD_CHARS),
        }
    });
    told.collect()
}

/// What names the patient and the request: each part of names, ids, the birth date as it may be written.
fn identifiers(known: &[&StudyAttributes]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for of in known {
        found.extend(of.patient_name.split(['^', '=', ' ']).map(present::clean));
        found.extend([&of.patient_id, &of.accession_number, &of.study_id].map(|id| present::clean(id)));
        if let Some(born) = present::valid_date(&of.patient_birth_date) {
            let (year, month, day) = (&born[..4], &born[4..6], &born[6..]);
            found.extend([
                born.clone(),
                format!("{year}-{month}-{day}"),
                format!("{day}.{month}.{year}"),
                format!("{day}/{month}/{year}"),
                format!("{month}/{day}/{year}"),
            ]);
        }
    }
    found.retain(|text| text.chars().count() >= SHORTEST);
    // The longest first: a name may be a part of another.
    found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    found.dedup();
    found
}

/// `text` without those words, in small or capital letters alike, where they stand alone.
fn without(text: &str, names: &[String]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_begin = kept.chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        let name = names.iter().filter(|_| is_begin).find_map(|name| {
            let end = end_of(rest, name)?;
            rest[end..].chars().next().is_none_or(|after| !after.is_alphanumeric()).then_some(end)
        });
        match name {
            Some(end) => {
                kept.push_str(GONE);
                rest = &rest[end..];
            }
            None => {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    kept
}

/// Where `name` ends, if `text` begins with it.
fn end_of(text: &str, name: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    for wanted in name.chars() {
        let (_, found) = letters.next()?;
        if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(letters.next().map_or(text.len(), |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_patient_is_taken_out() {
        let known = StudyAttributes {
            patient_name: "Müller^Jörg=山田太^郎".into(),
            patient_id: "PID-4711".into(),
            patient_birth_date: "19580312".into(),
            accession_number: "A1".into(),
            ..StudyAttributes::default()
        };
        let names = identifiers(&[&known]);
        for (text, expected) in [
            ("Herr MÜLLER, geb. 12.03.1958, ID pid-4711.", "Herr [removed], geb. [removed], ID [removed]."),
            ("Mr Müllerson has A1 segments; 山田太", "Mr Müllerson has A1 segments; [removed]"),
            ("Small effusion, 12 mm.", "Small effusion, 12 mm."),
            ("", ""),
        ] {
            assert_eq!(without(text, &names), expected);
        }
    }
}
