//! Which lines of the worklist are wanted, in which order. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prelim_proto::ids::Uid;
use prelim_proto::report::Urgency;
use prelim_proto::study::StudyState;

use super::fault::Fault;
use super::row::Row;
use crate::access::Caller;
use crate::spelling::folded;

/// Lines of a page where the caller does not say.
const DEFAULT_LIMIT: usize = 100;
/// Lines of a page at most.
const MAX_LIMIT: usize = 500;
/// Longest text that is looked for, in characters.
const MAX_TEXT: usize = 200;
/// Names of sites and kinds of devices that are offered to choose from.
const MAX_CHOICES: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wanted {
    states: Vec<StudyState>,
    modalities: Vec<String>,
    urgencies: Vec<Urgency>,
    /// Folded.
    sites: Vec<String>,
    /// Words that must all be found, folded.
    words: Vec<String>,
    confidence_below: Option<f64>,
    received_after_ms: Option<i64>,
    received_before_ms: Option<i64>,
    by_urgency: bool,
    after: Option<Place>,
    limit: usize,
}

/// A place in the order: what it goes by, and then the UID.
type Place = (i64, i64, String);

/// A page of lines.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) rows: Vec<Arc<Row>>,
    /// Where the next page goes on.
    pub(super) next: Option<String>,
    /// Lines by state that fit all but the state.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// What the caller may choose from.
    pub(super) sites: BTreeSet<String>,
    pub(super) modalities: BTreeSet<String>,
}

impl Wanted {
    /// Reads the parameters of a request, names and values.
    pub(super) fn read(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, Fault> {
        let mut wanted = Self { limit: DEFAULT_LIMIT, ..Self::default() };
        for (name, value) in pairs {
            let bad = |what: &str| Fault::invalid(&name, format!("{name}: {what}"));
            let words = || value.split(',').map(str::trim).filter(|word| !word.is_empty());
            let number = || value.parse::<i64>().map_err(|_| bad("no number"));
            match name.as_str() {
                "state" => {
                    for word in words() {
                        let state = serde_json::from_value(word.into()).map_err(|_| bad("no state of a study"))?;
                        wanted.states.push(state);
                    }
                }
                "urgency" => {
                    for word in words() {
                        let urgency = serde_json::from_value(word.into()).map_err(|_| bad("no urgency"))?;
                        wanted.urgencies.push(urgency);
                    }
                }
                "modality" => wanted.modalities.extend(words().map(str::to_uppercase)),
                // Names of sites may have commas.
                "site" => wanted.sites.extend((!value.is_empty()).then(|| folded(&value))),
                "text" if value.chars().count() > MAX_TEXT => return Err(bad("too long")),
                "text" => {
                    // Names are shown with a comma that they are not kept with.
                    let words = value.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
                    wanted.words = words.map(folded).filter(|word| !word.is_empty()).collect();
                }
                "confidence_below" => {
                    let below = value.parse::<f64>().ok().filter(|below| (0.0..=1.0).contains(below));
                    wanted.confidence_below = Some(below.ok_or_else(|| bad("no number from 0 to 1"))?);
                }
                "received_after_ms" => wanted.received_after_ms = Some(number()?),
                "received_before_ms" => wanted.received_before_ms = Some(number()?),
                "order" if value == "urgency" => wanted.by_urgency = true,
                "order" if value == "changed" => wanted.by_urgency = false,
                "order" => return Err(bad("urgency or changed")),
                "after" => wanted.after = Some(place(&value).ok_or_else(|| bad("no place in the list"))?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    wanted.limit = limit.ok_or_else(|| bad("no number from 1 to 500"))?;
                }
                _ => return Err(Fault::invalid(&name, format!("the worklist has no parameter {name:?}"))),
            }
        }
        Ok(wanted)
    }

    /// The lines of `rows` that a caller may see and wants.
    pub(super) fn of(&self, rows: &[Arc<Row>], caller: &Caller) -> Listed {
        let mut listed = Listed::default();
        let mut found: Vec<(Place, &Arc<Row>)> = Vec::new();
        for row in rows.iter().filter(|row| caller.may_see(&row.tenant)) {
            if listed.sites.len() < MAX_CHOICES && !row.institution.is_empty() {
                listed.sites.insert(row.institution.clone());
            }
            if listed.modalities.len() < MAX_CHOICES {
                listed.modalities.extend(row.modalities.iter().cloned());
            }
            if !self.fits(row) {
                continue;
            }
            *listed.counts.entry(row.state.as_str()).or_default() += 1;
            if self.states.is_empty() || self.states.contains(&row.state) {
                found.push((self.place(row), row));
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let from = self.after.as_ref().map_or(0, |after| found.partition_point(|(place, _)| place <= after));
        let rest = &found[from..];
        listed.rows = rest.iter().take(self.limit).map(|(_, row)| Arc::clone(row)).collect();
        listed.next =
            (rest.len() > self.limit).then(|| rest.get(self.limit - 1).map(|(place, _)| written(place))).flatten();
        listed
    }

    /// Whether a line is wanted, whatever its state.
    fn fits(&self, row: &Row) -> bool {
        let modality = |wanted: &String| row.modalities.iter().any(|held| held == wanted);
        let site = |wanted: &String| row.sought.site == *wanted;
        let word = |wanted: &String| row.sought.words.contains(wanted.as_str());
        (self.modalities.is_empty() || self.modalities.iter().any(modality))
            && (self.urgencies.is_empty() || row.pressing().is_some_and(|urgency| self.urgencies.contains(&urgency)))
            && (self.sites.is_empty() || self.sites.iter().any(site))
            && self.words.iter().all(word)
            && self.confidence_below.is_none_or(|below| row.confidence.is_some_and(|confidence| confidence < below))
            && self.received_after_ms.is_none_or(|after| row.received_at_ms >= after)
            && self.received_before_ms.is_none_or(|before| row.received_at_ms < before)
    }

    /// The newest change first; or the most urgent first, and of those the one that waited longest.
    fn place(&self, row: &Row) -> Place {
        let uid = row.uid.as_str().to_owned();
        if !self.by_urgency {
            return (-row.changed_at_ms, 0, uid);
        }
        (-row.pressing().map_or(0, |urgency| urgency as i64 + 1), row.received_at_ms, uid)
    }
}

/// The newest `most` of the lines.
pub(super) fn newest(mut rows: Vec<Arc<Row>>, most: usize) -> Vec<Arc<Row>> {
    rows.sort_by_key(|row| (Reverse(row.changed_at_ms), row.uid.clone()));
    rows.truncate(most);
    rows
}

fn written((first, second, uid): &Place) -> String {
    format!("{first}~{second}~{uid}")
}

fn place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '~');
    let (first, second) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let uid = Uid::parse(parts.next()?).ok()?;
    Some((first, second, uid.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use prelim_proto::ids::Tenant;
    use prelim_proto::study::Priority;

    use super::*;
    use crate::access::Tenants;
    use crate::store::conformance::fixture;

    fn row(n: i64, change: impl FnOnce(&mut Row)) -> Arc<Row> {
        let mut row = Row::of(&fixture::record_of(&format!("1.2.{n}")));
        (row.changed_at_ms, row.received_at_ms) = (n * 10, n * 5);
        change(&mut row);
        row.sought = row.sought();
        Arc::new(row)
    }

    fn rows() -> Vec<Arc<Row>> {
        vec![
            row(1, |row| row.state = StudyState::Signed),
            row(2, |row| (row.state, row.urgency) = (StudyState::Drafted, Some(Urgency::Critical))),
            row(3, |row| (row.state, row.confidence) = (StudyState::Drafted, Some(0.4))),
            row(4, |row| {
                row.tenant = Tenant::parse("er").unwrap();
                row.institution = "ER, West".into();
            }),
            row(5, |row| {
                (row.modalities, row.institution) = (vec!["CT".into()], "St. Mary".into());
                (row.patient.name, row.accession) = ("Doe^Jane".into(), "A-77".into());
            }),
        ]
    }

    fn listed(query: &[(&str, &str)], caller: &Caller) -> (Vec<String>, Listed) {
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let listed = Wanted::read(pairs).unwrap().of(&rows(), caller);
        (listed.rows.iter().map(|row| row.uid.as_str()["1.2.".len()..].to_owned()).collect(), listed)
    }

    #[test]
    fn lines_are_chosen_and_ordered() {
        for (query, want) in [
            (&[][..], "5 4 3 2 1"),
            (&[("order", "urgency")], "2 1 3 4 5"),
            (&[("state", "drafted,signed")], "3 2 1"),
            (&[("urgency", "critical,urgent")], "2"),
            (&[("modality", "ct")], "5"),
            (&[("site", "er, west")], "4"),
            (&[("text", "jane a-7")], "5"),
            (&[("text", "jane john")], ""),
            (&[("text", "DOE, Jane")], "5"),
            (&[("text", " , ")], "5 4 3 2 1"),
            (&[("text", "st. mary")], "5"),
            (&[("text", "1.2.3")], "3"),
            (&[("site", "ST. MARY")], "5"),
            (&[("confidence_below", "0.5")], "3"),
            (&[("received_after_ms", "15"), ("received_before_ms", "25")], "4 3"),
        ] {
            assert_eq!(listed(query, &Caller::anybody()).0.join(" "), want, "{query:?}");
        }
        for (name, value) in
            [("state", "new"), ("limit", "0"), ("limit", "501"), ("after", "1~2"), ("order", "x"), ("x", "y")]
        {
            assert!(Wanted::read([(name.to_owned(), value.to_owned())].into_iter()).is_err(), "{name}={value}");
        }
    }

    /// Promise: what somebody types without capitals and accents finds what has them, and the other way round.
    #[test]
    fn words_are_found_however_they_are_written() {
        for (held, typed) in [
            ("Wałęsa^Łucja", "lucja WALESA"),
            ("Çavuşoğlu^İSMET", "cavusoglu ismet"),
            ("Çavuşoğlu^İSMET", "çavuşoğlu İsmet"),
            ("Işık^Ali", "ISIK"),
            ("Isik^Ali", "ışık"),
            ("Люксембург^Анна", "АННА люксембург"),
            ("ΔΙΟΝΥΣΙΟΣ^Α", "διονυσιος"),
            ("Äneas^Rüdiger", "aneas rudiger"),
            ("Groß^Ida", "GROSS"),
            ("Œuvre^Zoë", "oeuvre zoe"),
        ] {
            let rows = [row(1, |row| row.patient.name = held.into()), row(2, |row| row.institution = held.into())];
            let wanted = Wanted::read([("text".to_owned(), typed.to_owned())].into_iter()).unwrap();
            assert_eq!(wanted.of(&rows, &Caller::anybody()).rows.len(), 2, "{held}: {typed}");
            let wanted = Wanted::read([("site".to_owned(), held.to_uppercase())].into_iter()).unwrap();
            assert_eq!(wanted.of(&rows, &Caller::anybody()).rows.len(), 1, "{held}");
        }
    }

    #[test]
    fn what_was_asked_for_counts_like_what_the_draft_says() {
        let rows = [
            row(1, |row| row.urgency = Some(Urgency::Routine)),
            row(2, |row| row.priority = Priority::Stat),
            row(3, |row| (row.priority, row.urgency) = (Priority::Stat, Some(Urgency::Routine))),
            row(4, |row| (row.priority, row.urgency) = (Priority::Urgent, Some(Urgency::Critical))),
            row(5, |row| row.priority = Priority::Urgent),
            row(6, |_| {}),
        ];
        for (name, value, want) in [
            ("order", "urgency", "2 3 4 5 1 6"),
            ("urgency", "critical", "4 3 2"),
            ("urgency", "urgent", "5"),
            ("urgency", "routine", "1"),
        ] {
            let wanted = Wanted::read([(name.to_owned(), value.to_owned())].into_iter()).unwrap();
            let listed = wanted.of(&rows, &Caller::anybody()).rows;
            let found: Vec<&str> = listed.iter().map(|row| &row.uid.as_str()["1.2.".len()..]).collect();
            assert_eq!(found.join(" "), want, "{name}={value}");
        }
    }

    #[test]
    fn pages_follow_each_other_and_counts_are_of_all() {
        for order in ["changed", "urgency"] {
            let (mut seen, mut after) = (Vec::new(), None::<String>);
            loop {
                let mut query = vec![("limit", "2"), ("order", order)];
                query.extend(after.as_deref().map(|after| ("after", after)));
                let (uids, page) = listed(&query, &Caller::anybody());
                assert_eq!(page.counts.values().sum::<u64>(), 5);
                seen.extend(uids);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, listed(&[("order", order)], &Caller::anybody()).0);
        }
    }

    #[test]
    fn studies_of_other_tenants_are_not_even_counted() {
        let caller = Caller { tenants: Tenants::named(["default"]).unwrap(), ..Caller::anybody() };
        let (uids, page) = listed(&[], &caller);
        assert_eq!(uids, ["5", "3", "2", "1"]);
        assert_eq!(page.counts.values().sum::<u64>(), 4);
        assert_eq!(page.sites.into_iter().collect::<Vec<_>>(), ["St. Mary"]);
    }
}
