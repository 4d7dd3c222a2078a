//! How often drafts stand now that radiologists looked at them: counted from what each study's record says of what is signed, against
//! the draft that it goes back to (`crate::review`). Pure, but for the answers.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use hyper::Response;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use prelim_proto::review::Decision;
use serde::Serialize;
use serde_json::json;

use super::fault::Fault;
use super::row::Row;
use super::{Call, answer_json};
use crate::access::Caller;
use crate::session::Session;
use crate::web::query;

/// Groups that are told; of more, those with the most findings.
const MAX_GROUPS: usize = 100;
/// Weeks that are told, the last: a machine whose clock was set wrong for a while leaves no list of thousands.
const MAX_WEEKS: i64 = 520;
/// What stands in the place of what no record says.
const UNKNOWN: &str = "not stated";

/// By what findings are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Finding,
    Site,
    Model,
    Scanner,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    by: By,
    from: Option<Date>,
    /// The last day.
    to: Option<Date>,
}

/// What was decided of findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Counts {
    accepted: u64,
    changed: u64,
    rejected: u64,
    added: u64,
}

/// Counts in all and by week.
#[derive(Debug, Default, PartialEq, Eq)]
struct Agreement {
    reports: u64,
    groups: BTreeMap<String, Counts>,
    /// By the Monday that a week begins with.
    weeks: BTreeMap<Date, BTreeMap<String, Counts>>,
}

impl Counts {
    fn add(&mut self, decision: Decision) {
        match decision {
            Decision::Accepted => self.accepted += 1,
            Decision::Changed => self.changed += 1,
            Decision::Rejected => self.rejected += 1,
            Decision::Added => self.added += 1,
        }
    }

    fn total(&self) -> u64 {
        self.accepted + self.changed + self.rejected + self.added
    }
}

/// Tells the counts.
pub(super) async fn tell(call: &Call<'_>, session: &Session) -> Result<Response<Body>, Fault> {
    let wanted = Wanted::read(&query::pairs(call.head.uri.query()))?;
    let view = call.web.page.board.view(&call.web.coordinator).await?;
    session.note_query(query::told(call.head.uri.query()), &[]).await?;
    let today = Timestamp::now().to_zoned_datetime(TimeZone::UTC).date();
    let found = count(&view.rows, session.caller(), wanted, today);
    let mut groups: Vec<(&String, &Counts)> = found.groups.iter().collect();
    groups.sort_by_key(|(name, counts)| (Reverse(counts.total()), name.as_str()));
    groups.truncate(MAX_GROUPS);
    let told: Vec<_> = groups.iter().map(|(name, counts)| json!({"group": name, "counts": counts})).collect();
    let week = |(monday, groups): (&Date, _)| json!({"week": monday.to_string(), "groups": groups});
    let weeks: Vec<_> = found.weeks.iter().map(week).collect();
    Ok(answer_json(&json!({"reports": found.reports, "groups": told, "weeks": weeks})))
}

impl Wanted {
    fn read(pairs: &[(String, String)]) -> Result<Self, Fault> {
        let mut wanted = Self { by: By::Finding, from: None, to: None };
        let day = |name: &str, value: &str| {
            let words = || Fault::invalid(name, format!("{name}: no day as 2026-01-31"));
            value.parse::<Date>().map(Some).map_err(|_| words())
        };
        for (name, value) in pairs {
            match (name.as_str(), value.as_str()) {
                ("by", "finding") => wanted.by = By::Finding,
                ("by", "site") => wanted.by = By::Site,
                ("by", "model") => wanted.by = By::Model,
                ("by", "scanner") => wanted.by = By::Scanner,
                ("by", _) => return Err(Fault::invalid("by", "by: finding, site, model or scanner")),
                ("from", value) => wanted.from = day("from", value)?,
                ("to", value) => wanted.to = day("to", value)?,
                _ => return Err(Fault::invalid(name, format!("agreement has no parameter {name:?}"))),
            }
        }
        Ok(wanted)
    }
}

/// Counts what was decided of the drafts of studies that a caller may see. Days are UTC's. What is dated after today, or more than
/// [`MAX_WEEKS`] before, counts, and in no week.
fn count(rows: &[Arc<Row>], caller: &Caller, wanted: Wanted, today: Date) -> Agreement {
    let mut found = Agreement::default();
    let last = monday_of(today.tomorrow().unwrap_or(today));
    let first = last.checked_sub((MAX_WEEKS - 1).weeks()).unwrap_or(last);
    for row in rows.iter().filter(|row| caller.may_see(&row.tenant)) {
        let Some(judged) = &row.judged else { continue };
        let Ok(at) = Timestamp::from_millisecond(judged.at_ms) else { continue };
        let day = at.to_zoned_datetime(TimeZone::UTC).date();
        if wanted.from.is_some_and(|from| day < from) || wanted.to.is_some_and(|to| day > to) {
            continue;
        }
        found.reports += 1;
        let monday = Some(monday_of(day)).filter(|monday| (first..=last).contains(monday));
        let mut week = monday.map(|monday| found.weeks.entry(monday).or_default());
        for (code, decision) in &judged.decisions {
            let named = |name: &str| if name.is_empty() { UNKNOWN.to_owned() } else { name.to_owned() };
            let group = match wanted.by {
                By::Finding => code.key().to_owned(),
                By::Site => named(&row.institution),
                By::Model => named(&row.models.join(", ")),
                By::Scanner => named(row.device.as_deref().unwrap_or_default()),
            };
            found.groups.entry(group.clone()).or_default().add(*decision);
            if let Some(week) = &mut week {
                week.entry(group).or_default().add(*decision);
            }
        }
    }
    // Time goes on where nothing was reviewed.
    let last = found.weeks.keys().next_back().copied();
    let mut monday = found.weeks.keys().next().copied();
    while let Some(week) = monday.filter(|week| Some(*week) < last) {
        found.weeks.entry(week).or_default();
        monday = week.checked_add(7.days()).ok();
    }
    found
}

fn monday_of(day: Date) -> Date {
    let since = day.weekday().since(Weekday::Monday);
    day.checked_sub(i64::from(since).days()).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use prelim_proto::vocabulary::FindingCode;

    use super::*;
    use crate::access::Tenants;
    use crate::store::conformance::fixture;
    use crate::store::record::Judged;

    fn row(n: u8, day: &str, decisions: &[(FindingCode, Decision)], device: &str) -> Arc<Row> {
        let mut row = Row::of(&fixture::record_of(&format!("1.2.{n}")));
        let at = day.parse::<Date>().unwrap().to_zoned_datetime(TimeZone::UTC).unwrap().timestamp();
        row.judged = Some(Judged { at_ms: at.as_millisecond(), decisions: decisions.to_vec() });
        row.device = (!device.is_empty()).then(|| device.to_owned());
        Arc::new(row)
    }

    #[test]
    fn decisions_are_counted_by_group_and_week() {
        use Decision::{Accepted, Added, Changed, Rejected};
        use FindingCode::{Mass, Nodule};
        let rows = [
            row(1, "2026-11-29", &[(Nodule, Accepted), (Nodule, Rejected)], "A"),
            row(2, "2026-11-30", &[(Nodule, Changed), (Mass, Added)], ""),
            row(3, "2026-12-06", &[], "A"),
            row(5, "2026-12-22", &[], "A"),
            Arc::new(Row::of(&fixture::record_of("1.2.4"))),
        ];
        let today: Date = "2026-12-23".parse().unwrap();
        let all = |by, from: Option<&str>| {
            let from = from.map(|day| day.parse().unwrap());
            count(&rows, &Caller::anybody(), Wanted { by, from, to: None }, today)
        };
        let found = all(By::Finding, None);
        assert_eq!(found.reports, 4);
        assert_eq!(found.groups["nodule"], Counts { accepted: 1, changed: 1, rejected: 1, added: 0 });
        assert_eq!(found.groups["mass"], Counts { added: 1, ..Counts::default() });
        let weeks: Vec<String> = found.weeks.keys().map(ToString::to_string).collect();
        let all_weeks = ["2026-11-23", "2026-11-30", "2026-12-07", "2026-12-14", "2026-12-21"];
        assert_eq!(weeks, all_weeks, "a Sunday ends its week, and none is left out");
        assert_eq!(all(By::Finding, Some("2026-11-30")).groups["nodule"].total(), 1);
        let by_device = all(By::Scanner, None);
        assert_eq!((by_device.groups["A"].total(), by_device.groups[UNKNOWN].total()), (2, 2));
        let stranger = Caller { tenants: Tenants::named(["er"]).unwrap(), ..Caller::anybody() };
        let wanted = Wanted { by: By::Finding, from: None, to: None };
        assert_eq!(count(&rows, &stranger, wanted, today), Agreement::default());
        // A clock that was set wrong.
        let odd = [row(1, "1971-01-04", &[(Nodule, Accepted)], ""), row(2, "2526-01-04", &[(Nodule, Accepted)], "")];
        let found = count(&[&odd[..], &rows[..1]].concat(), &Caller::anybody(), wanted, today);
        assert_eq!((found.reports, found.groups["nodule"].total(), found.weeks.len()), (3, 4, 1));
        let all = [row(1, "2026-12-24", &[(Mass, Added)], ""), row(2, "2017-01-09", &[(Mass, Added)], "")];
        assert_eq!(count(&all, &Caller::anybody(), wanted, today).weeks.len() as i64, MAX_WEEKS);
    }

    #[test]
    fn what_is_asked_is_read() {
        let read = |name: &str, value: &str| Wanted::read(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(read("by", "site").unwrap().by, By::Site);
        assert!(read("from", "2026-11-30").unwrap().from.is_some());
        for (name, value) in [("by", "reader"), ("from", "30.11.2026"), ("to", ""), ("x", "y")] {
            assert!(read(name, value).is_err(), "{name}={value}");
        }
    }
}
