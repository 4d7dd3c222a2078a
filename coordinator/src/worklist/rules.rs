//! What a workitem must have and may become (PS3.4 tables CC.1.1-2 and CC.2.5-3; pure).

use prelim_proto::ids::Uid;

use super::dataset::{self, Dataset, code, has_value, items, moment, put, put_text, tag, text};
use crate::store::worklist::{Workitem, WorkitemState};

/// SOP class of every workitem: Unified Procedure Step - Push.
pub(crate) const CLASS: &str = "1.2.840.10008.5.1.4.34.6.1";
/// Label of the worklist where a workitem has none.
const WORKLIST: &str = "PRELIM";

/// Attributes that a new workitem must have a value of.
const NEEDED: [(&str, &str); 4] = [
    (tag::PRIORITY, "Scheduled Procedure Step Priority (0074,1200)"),
    (tag::LABEL, "Procedure Step Label (0074,1204)"),
    (tag::START, "Scheduled Procedure Step Start DateTime (0040,4005)"),
    (tag::READINESS, "Input Readiness State (0040,4041)"),
];
/// Attributes that a new workitem must have, with or without a value: those that are missing are added without one.
const PRESENT: [(&str, &str); 18] = [
    ("00081080", "LO"),
    ("00081084", "SQ"),
    ("00100010", "PN"),
    ("00100030", "DA"),
    ("00100040", "CS"),
    ("00101002", "SQ"),
    ("00380010", "LO"),
    ("00380014", "SQ"),
    ("00400400", "LT"),
    (tag::WORKITEM_CODES, "SQ"),
    (tag::INPUTS, "SQ"),
    (tag::STATIONS, "SQ"),
    ("00404026", "SQ"),
    ("00404027", "SQ"),
    ("0040A370", "SQ"),
    (tag::PROGRESS, "SQ"),
    ("00741210", "SQ"),
    (tag::PERFORMED, "SQ"),
];
/// The same of attributes that it need not have: one that is added is no change.
const CONDITIONAL: [(&str, &str); 3] =
    [("00100020", "LO"), (tag::STUDY_INSTANCE_UID, "UI"), (tag::HUMAN_PERFORMERS, "SQ")];
/// Attributes that a new workitem must have no value of.
const EMPTY: [&str; 3] = [tag::TRANSACTION_UID, tag::PROGRESS, tag::PERFORMED];
/// Attributes that do not change once a workitem was created, or not by an update.
const FIXED: [&str; 14] = [
    tag::TRANSACTION_UID,
    tag::SOP_CLASS_UID,
    tag::SOP_INSTANCE_UID,
    tag::STATE,
    "00081080",
    "00081084",
    "00100010",
    "00100020",
    "00100030",
    "00100040",
    "00380010",
    "00380014",
    "0040A370",
    "00741224",
];
/// Attributes that are there only while the request is made.
const OF_REQUESTS: [&str; 2] = [tag::TRANSACTION_UID, tag::AFFECTED_SOP_INSTANCE_UID];

/// Why something is not done with a workitem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The data set is not what it should be.
    #[error("{0}")]
    Dataset(String),
    /// The workitem is claimed, and the request does not say by which transaction.
    #[error("the workitem is claimed; name its Transaction UID")]
    NoTransaction,
    /// The request names another transaction than the claim's.
    #[error("the Transaction UID is not that of the claim")]
    OtherTransaction,
    /// The request names a transaction, and nobody has claimed the workitem.
    #[error("the workitem is not claimed")]
    NotClaimed,
    /// The workitem is over, and is not updated any more.
    #[error("the workitem is {}", .0.as_str())]
    Final(WorkitemState),
    /// The workitem is over, and is not canceled any more.
    #[error("the workitem is {}", .0.as_str())]
    Over(WorkitemState),
    /// It does not fit where the workitem stands.
    #[error("{0}")]
    State(String),
    /// The performer goes on.
    #[error("{0}")]
    NotCanceled(String),
}

/// A new workitem's data set, made whole; and whether anything had to be changed.
///
/// # Errors
/// [`Refused::Dataset`] where it lacks what cannot be made up.
pub(crate) fn created(mut dataset: Dataset, uid: &Uid, now: jiff::Timestamp) -> Result<(Dataset, bool), Refused> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(tag, _)| !has_value(&dataset, tag)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        return Err(Refused::Dataset(format!("the workitem has no {}", missing.join(", no "))));
    }
    match text(&dataset, tag::STATE) {
        None | Some("SCHEDULED") => {}
        Some(other) => {
            return Err(Refused::Dataset(format!("Procedure Step State is {other:?}: a new workitem is SCHEDULED")));
        }
    }
    if let Some(filled) = EMPTY.iter().find(|tag| has_value(&dataset, tag)) {
        return Err(Refused::Dataset(format!("{filled} has a value, which a new workitem must not have")));
    }
    checked(&dataset)?;
    let mut is_changed = !has_value(&dataset, tag::STATE);
    for (tag, vr) in PRESENT {
        if !dataset.contains_key(tag) {
            put(&mut dataset, tag, vr, Vec::new());
            is_changed = true;
        }
    }
    for (tag, vr) in CONDITIONAL {
        if !dataset.contains_key(tag) {
            put(&mut dataset, tag, vr, Vec::new());
        }
    }
    if !has_value(&dataset, tag::WORKLIST_LABEL) {
        put_text(&mut dataset, tag::WORKLIST_LABEL, "LO", WORKLIST);
        is_changed = true;
    }
    for tag in OF_REQUESTS {
        dataset.remove(tag);
    }
    put_text(&mut dataset, tag::SOP_CLASS_UID, "UI", CLASS);
    put_text(&mut dataset, tag::SOP_INSTANCE_UID, "UI", uid.as_str());
    put_text(&mut dataset, tag::SPECIFIC_CHARACTER_SET, "CS", "ISO_IR 192");
    put_text(&mut dataset, tag::STATE, "CS", WorkitemState::Scheduled.as_str());
    put_text(&mut dataset, tag::MODIFIED, "DT", moment(now));
    Ok((dataset, is_changed))
}

/// Holds the values that have a list of terms, or a form, to it.
fn checked(dataset: &Dataset) -> Result<(), Refused> {
    let terms: [(&str, &str, &[&str]); 2] = [
        (tag::PRIORITY, "Scheduled Procedure Step Priority", &["HIGH", "MEDIUM", "LOW"]),
        (tag::READINESS, "Input Readiness State", &["READY", "INCOMPLETE", "UNAVAILABLE"]),
    ];
    for (tag, name, known) in terms {
        if let Some(term) = text(dataset, tag)
            && !known.contains(&term)
        {
            return Err(Refused::Dataset(format!("{name} is {term:?}, and none of {}", known.join(", "))));
        }
    }
    for (tag, name) in [(tag::START, "Start"), (tag::EXPIRATION, "Expiration")] {
        if let Some(text) = text(dataset, tag)
            && dataset::read_moment(text).is_none()
        {
            return Err(Refused::Dataset(format!("Scheduled Procedure Step {name} DateTime is {text:?}")));
        }
    }
    Ok(())
}

/// The workitem after an update (PS3.4 section CC.2.6.3).
pub(crate) fn updated(
    before: &Workitem,
    transaction: Option<&str>,
    changes: Dataset,
    now: jiff::Timestamp,
) -> Result<Workitem, Refused> {
    match before.state {
        WorkitemState::Scheduled if transaction.is_some() => return Err(Refused::NotClaimed),
        WorkitemState::Scheduled => {}
        WorkitemState::InProgress => owned(before, transaction)?,
        over => return Err(Refused::Final(over)),
    }
    let mut after = before.clone();
    for (tag, attribute) in changes {
        // Clients are met that send back the whole of what they were given.
        let is_same = before.dataset.get(&tag) == Some(&attribute);
        if is_same || OF_REQUESTS.contains(&tag.as_str()) {
            continue;
        }
        if FIXED.contains(&tag.as_str()) {
            return Err(Refused::Dataset(format!("{tag} cannot be changed by an update")));
        }
        after.dataset.insert(tag, attribute);
    }
    if let Some((_, name)) = NEEDED.iter().find(|(tag, _)| !has_value(&after.dataset, tag)) {
        return Err(Refused::Dataset(format!("the workitem would have no {name}")));
    }
    checked(&after.dataset)?;
    // Many small updates make a long workitem.
    let bytes = serde_json::Value::from(after.dataset.clone()).to_string().len();
    if bytes > dataset::MAX_BYTES {
        return Err(Refused::Dataset(format!("the workitem would have more than {} KiB", dataset::MAX_BYTES >> 10)));
    }
    put_text(&mut after.dataset, tag::MODIFIED, "DT", moment(now));
    Ok(after)
}

/// Lets who shows the transaction of the claim go on.
fn owned(workitem: &Workitem, transaction: Option<&str>) -> Result<(), Refused> {
    match transaction {
        None => Err(Refused::NoTransaction),
        Some(shown) if shown == workitem.transaction => Ok(()),
        Some(_) => Err(Refused::OtherTransaction),
    }
}

/// The workitem after a change of state (PS3.4 table CC.1.1-2); nothing where it is in that state already.
pub(crate) fn moved(
    before: &Workitem,
    transaction: Option<&str>,
    to: WorkitemState,
    now: jiff::Timestamp,
) -> Result<Option<Workitem>, Refused> {
    use WorkitemState::{Canceled, Completed, InProgress, Scheduled};
    let Some(shown) = transaction else { return Err(Refused::NoTransaction) };
    if before.state != Scheduled {
        owned(before, transaction)?;
    }
    match (before.state, to) {
        (_, Scheduled) => Err(Refused::State("a workitem is SCHEDULED only when it is created".to_owned())),
        (Scheduled, InProgress) => {
            let mut after = in_state(before, to, now);
            after.transaction = shown.to_owned();
            Ok(Some(after))
        }
        (Scheduled, _) => Err(Refused::State("the workitem is not yet IN PROGRESS".to_owned())),
        (InProgress, InProgress) => Err(Refused::State("the workitem is already IN PROGRESS".to_owned())),
        (Completed, Completed) | (Canceled, Canceled) => Ok(None),
        (Completed | Canceled, _) => Err(Refused::State(format!("the workitem is {}", before.state.as_str()))),
        (InProgress, Completed | Canceled) => {
            let after = in_state(before, to, now);
            let missing = missing_for(&after);
            if missing.is_empty() {
                return Ok(Some(after));
            }
            let missing = missing.join(", ");
            Err(Refused::State(format!("the workitem cannot be {} without a value of {missing}", to.as_str())))
        }
    }
}

/// The workitem in a state, with what we fill in there.
pub(crate) fn in_state(before: &Workitem, state: WorkitemState, now: jiff::Timestamp) -> Workitem {
    let mut after = before.clone();
    after.state = state;
    put_text(&mut after.dataset, tag::STATE, "CS", state.as_str());
    put_text(&mut after.dataset, tag::MODIFIED, "DT", moment(now));
    if state == WorkitemState::Canceled {
        let mut progress = items(&after.dataset, tag::PROGRESS).next().cloned().unwrap_or_default();
        if !has_value(&progress, tag::CANCELED_AT) {
            put_text(&mut progress, tag::CANCELED_AT, "DT", moment(now));
        }
        if !has_value(&progress, tag::DISCONTINUATION_CODES) {
            // PS3.16 CID 9300.
            let unspecified = code("110513", "DCM", "Discontinued for unspecified reason");
            dataset::put_items(&mut progress, tag::DISCONTINUATION_CODES, [unspecified]);
        }
        dataset::put_items(&mut after.dataset, tag::PROGRESS, [progress]);
    }
    after
}

/// What a final state needs and the workitem has not (PS3.4 table CC.2.5-3, column Final State).
fn missing_for(workitem: &Workitem) -> Vec<&'static str> {
    if workitem.state != WorkitemState::Completed {
        // What a canceled one needs was filled in.
        return Vec::new();
    }
    let mut missing = Vec::new();
    let performed: Vec<&Dataset> = items(&workitem.dataset, tag::PERFORMED).collect();
    if performed.is_empty() {
        missing.push("Unified Procedure Step Performed Procedure Sequence (0074,1216)");
    }
    for item in performed {
        for (tag, name) in [
            (tag::PERFORMED_STATIONS, "Performed Station Name Code Sequence (0040,4028)"),
            (tag::PERFORMED_START, "Performed Procedure Step Start DateTime (0040,4050)"),
            (tag::PERFORMED_WORKITEM_CODES, "Performed Workitem Code Sequence (0040,4019)"),
            (tag::PERFORMED_END, "Performed Procedure Step End DateTime (0040,4051)"),
        ] {
            if !has_value(item, tag) && !missing.contains(&name) {
                missing.push(name);
            }
        }
        // It may have no items.
        if !item.contains_key(tag::OUTPUTS) {
            missing.push("Output Information Sequence (0040,4033)");
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use WorkitemState::{Canceled, Completed, InProgress, Scheduled};

    fn now() -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn asked() -> Dataset {
        let dataset = json!({
            "00404005": {"vr": "DT", "Value": ["20260101120000"]},
            "00404041": {"vr": "CS", "Value": ["READY"]},
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
            "00741200": {"vr": "CS", "Value": ["HIGH"]},
            "00741204": {"vr": "LO", "Value": ["AI"]},
        });
        dataset.as_object().unwrap().clone()
    }

    fn workitem(state: WorkitemState) -> Workitem {
        let (dataset, _) = created(asked(), &Uid::parse("1.2").unwrap(), now()).unwrap();
        let transaction = if state == Scheduled { String::new() } else { "1.9".to_owned() };
        let (subscribers, base, request) = (BTreeMap::new(), String::new(), String::new());
        let scheduled = Workitem {
            state: Scheduled,
            is_ours: false,
            transaction,
            dataset,
            subscribers,
            base,
            study: None,
            request,
        };
        in_state(&scheduled, state, now())
    }

    #[test]
    fn a_new_workitem_has_what_the_standard_wants() {
        let uid = Uid::parse("1.2").unwrap();
        let (dataset, is_changed) = created(asked(), &uid, now()).unwrap();
        assert!(is_changed, "attributes of type 2 were missing");
        assert_eq!(text(&dataset, tag::SOP_INSTANCE_UID), Some("1.2"));
        assert_eq!(text(&dataset, tag::MODIFIED), Some("20270115080000+0000"));
        assert!(PRESENT.iter().chain(&CONDITIONAL).all(|(tag, _)| dataset.contains_key(*tag)));
        let (_, again) = created(dataset, &uid, now()).unwrap();
        assert!(!again);
        for (tag, value, named) in [
            (tag::LABEL, json!([]), "Procedure Step Label"),
            (tag::STATE, json!(["IN PROGRESS"]), "SCHEDULED"),
            (tag::PRIORITY, json!(["STAT"]), "HIGH"),
            (tag::READINESS, json!(["SOON"]), "READY"),
            (tag::START, json!(["tomorrow"]), "tomorrow"),
            (tag::TRANSACTION_UID, json!(["1.9"]), tag::TRANSACTION_UID),
            (tag::PROGRESS, json!([{}]), tag::PROGRESS),
        ] {
            let mut wrong = asked();
            wrong.insert(tag.to_owned(), json!({"vr": "CS", "Value": value}));
            let refused = created(wrong, &uid, now()).unwrap_err().to_string();
            assert!(refused.contains(named), "{tag}: {refused}");
        }
    }

    #[test]
    fn states_change_as_the_table_has_it() {
        let whole = |mut workitem: Workitem| {
            let mut performed = Dataset::new();
            for tag in [tag::PERFORMED_STATIONS, tag::PERFORMED_WORKITEM_CODES] {
                dataset::put_items(&mut performed, tag, [code("1", "L", "x")]);
            }
            for tag in [tag::PERFORMED_START, tag::PERFORMED_END] {
                put_text(&mut performed, tag, "DT", "20260101");
            }
            dataset::put_items(&mut performed, tag::OUTPUTS, []);
            dataset::put_items(&mut workitem.dataset, tag::PERFORMED, [performed]);
            workitem
        };
        let state = |text: &'static str| Err(text);
        // PS3.4 table CC.1.1-2, by row.
        for (from, shown, to, outcome) in [
            (Scheduled, Some("1.8"), InProgress, Ok(true)),
            (Scheduled, None, InProgress, state("name its Transaction")),
            (Scheduled, Some("1.8"), Completed, state("not yet IN PROGRESS")),
            (Scheduled, Some("1.8"), Canceled, state("not yet IN PROGRESS")),
            (InProgress, Some("1.9"), InProgress, state("already IN PROGRESS")),
            (InProgress, Some("1.8"), InProgress, state("not that of the claim")),
            (InProgress, Some("1.9"), Scheduled, state("only when it is created")),
            (InProgress, Some("1.9"), Completed, Ok(true)),
            (InProgress, Some("1.8"), Completed, state("not that of the claim")),
            (InProgress, Some("1.9"), Canceled, Ok(true)),
            (Completed, Some("1.9"), Completed, Ok(false)),
            (Completed, Some("1.8"), Completed, state("not that of the claim")),
            (Completed, Some("1.9"), Canceled, state("is COMPLETED")),
            (Canceled, Some("1.9"), Canceled, Ok(false)),
            (Canceled, Some("1.9"), Completed, state("is CANCELED")),
        ] {
            let moved = moved(&whole(workitem(from)), shown, to, now());
            match (moved, outcome) {
                (Ok(after), Ok(changes)) => {
                    assert_eq!(after.is_some(), changes, "{from:?} {to:?}");
                    assert!(after.is_none_or(|after| after.state == to && !after.transaction.is_empty()));
                }
                (Err(refused), Err(named)) => {
                    assert!(refused.to_string().contains(named), "{from:?} {to:?}: {refused}")
                }
                (moved, _) => panic!("{from:?} {to:?}: {moved:?}"),
            }
        }
        let unfinished = moved(&workitem(InProgress), Some("1.9"), Completed, now()).unwrap_err().to_string();
        assert!(unfinished.contains("(0074,1216)"), "{unfinished}");
        let canceled = moved(&workitem(InProgress), Some("1.9"), Canceled, now()).unwrap().unwrap();
        let progress = items(&canceled.dataset, tag::PROGRESS).next().unwrap();
        assert!(has_value(progress, tag::CANCELED_AT) && has_value(progress, tag::DISCONTINUATION_CODES));
    }

    #[test]
    fn who_owns_a_workitem_changes_it() {
        let label = |text: &str| {
            let mut changes = Dataset::new();
            put_text(&mut changes, tag::LABEL, "LO", text);
            changes
        };
        let after = updated(&workitem(Scheduled), None, label("x"), now()).unwrap();
        assert_eq!(text(&after.dataset, tag::LABEL), Some("x"));
        for (state, shown, refused) in [
            (Scheduled, Some("1.9"), Refused::NotClaimed),
            (InProgress, None, Refused::NoTransaction),
            (InProgress, Some("1.8"), Refused::OtherTransaction),
            (Completed, Some("1.9"), Refused::Final(Completed)),
        ] {
            assert_eq!(updated(&workitem(state), shown, label("x"), now()).unwrap_err(), refused);
        }
        let before = workitem(InProgress);
        let back = updated(&before, Some("1.9"), before.dataset.clone(), now()).unwrap();
        assert_eq!(back, before, "what was sent back as it is changes nothing");
        let mut other = Dataset::new();
        put_text(&mut other, "00100020", "LO", "P-2");
        assert!(matches!(updated(&before, Some("1.9"), other, now()), Err(Refused::Dataset(_))));
        assert!(matches!(updated(&before, Some("1.9"), label(""), now()), Err(Refused::Dataset(_))));
        let long = label(&"x".repeat(dataset::MAX_BYTES));
        assert!(updated(&before, Some("1.9"), long, now()).unwrap_err().to_string().contains("256 KiB"));
    }
}
