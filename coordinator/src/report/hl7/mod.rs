//! The draft as an HL7 v2.5.1 message, ORU^R01 (chapter 7): one order with an OBX for each sentence and each coded finding.
//!
//! # Layout
//! - `segment`: segments in the making: escapes, limits, coded elements
//! - `results`: the OBX segments
//!
//! **Invariant**: only the writer of `segment` puts text into the message, so that no header value can end a field, a
//! segment or the message.

mod results;
mod segment;

use prelim_proto::review::Standing;

use super::lookup::images_read;
use super::present;
use super::uid::Names;
use super::{ReportError, ReportInputs, concepts};
use segment::{Message, coded, escaped, joined};

/// Writes the message in UTF-8, its segments ended by carriage returns (chapter 2.6).
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let mut message = Message::default();
    message.segment("MSH", &header(inputs, &names));
    message.segment("PID", &patient(inputs));
    message.segment("PV1", &visit(inputs));
    let filler = escaped(&inputs.study.attributes.accession_number);
    message.segment("ORC", &["RE".to_owned(), String::new(), filler.clone()]);
    message.segment("OBR", &order(inputs, filler));
    message.segment("NTE", &note(1, &present::banner(inputs.report)));
    if present::is_demonstration(inputs.report) {
        message.segment("NTE", &note(2, present::DEMONSTRATION));
    }
    results::write(&mut message, inputs, &names);
    Ok(message.into_bytes())
}

/// MSH from MSH-2. The sender and the receivers are the matter of whoever sends the message.
fn header(inputs: &ReportInputs<'_>, names: &Names) -> Vec<String> {
    // Training, for what systems in use throw away.
    let processing = if present::is_demonstration(inputs.report) { "T" } else { "P" };
    let control_id: String = names.uuid("hl7 message").chars().filter(|c| *c != '-').take(20).collect();
    let mut fields = vec![String::new(); 17];
    fields[0] = "^~\\&".to_owned();
    fields[1] = "PRELIM".to_owned();
    fields[5] = recorded(inputs);
    fields[7] = "ORU^R01^ORU_R01".to_owned();
    fields[8] = control_id;
    fields[9] = processing.to_owned();
    fields[10] = "2.5.1".to_owned();
    fields[16] = "UNICODE UTF-8".to_owned();
    fields
}

/// PID. A patient without an id is known by the study alone: a made-up id could be another's.
fn patient(inputs: &ReportInputs<'_>) -> Vec<String> {
    let known = &inputs.study.attributes;
    let id = match escaped(&known.patient_id) {
        id if id.is_empty() => joined('^', &[inputs.study.uid.as_str(), "", "", "", "ANON"]),
        id => joined('^', &[&id, "", "", "", "MR"]),
    };
    let sex = match known.patient_sex.trim() {
        sex @ ("M" | "F" | "O") => sex,
        _ => "U",
    };
    let born = present::valid_date(&known.patient_birth_date).unwrap_or_default();
    vec!["1".into(), String::new(), id, String::new(), person(&known.patient_name), String::new(), born, sex.into()]
}

/// A Person Name as XPN, one repetition for each of its groups: alphabetic, ideographic, phonetic. Prefix and suffix change
/// places.
fn person(value: &str) -> String {
    let groups = value.split('=').take(3).zip(["A", "I", "P"]);
    let known = groups.filter(|(group, _)| !present::person_name(group).is_empty());
    let name = |(group, representation): (&str, &str)| {
        let parts: Vec<String> = group.split('^').take(5).map(escaped).collect();
        let part = |i: usize| parts.get(i).map_or("", String::as_str);
        joined('^', &[part(0), part(1), part(2), part(4), part(3), "", "L", representation])
    };
    let names: Vec<String> = known.map(name).collect();
    // U: unspecified.
    if names.is_empty() { "^^^^^^U".to_owned() } else { names.join("~") }
}

/// PV1: nothing is known of the visit but who referred the patient (PV1-8, XCN).
fn visit(inputs: &ReportInputs<'_>) -> Vec<String> {
    let referring = &inputs.study.attributes.referring_physician;
    let parts: Vec<String> = referring.split('=').next().unwrap_or("").split('^').take(5).map(escaped).collect();
    let part = |i: usize| parts.get(i).map_or("", String::as_str);
    let name = joined('^', &["", part(0), part(1), part(2), part(4), part(3)]);
    let mut fields = vec![String::new(); 8];
    fields[0] = "1".to_owned();
    fields[1] = "U".to_owned();
    fields[7] = name;
    fields
}

/// OBR up to its status (OBR-25).
fn order(inputs: &ReportInputs<'_>, filler: String) -> Vec<String> {
    let read = images_read(inputs.study, inputs.report);
    let procedure = concepts::procedures(inputs.report, &read).first().map(|&concept| coded(concept));
    let imaging = coded(concepts::DIAGNOSTIC_IMAGING_STUDY);
    let mut fields = vec![String::new(); 25];
    fields[0] = "1".to_owned();
    fields[2] = filler;
    fields[3] = procedure.map_or_else(|| imaging.clone(), |procedure| format!("{procedure}^{imaging}"));
    fields[6] = studied(inputs);
    fields[21] = recorded(inputs);
    fields[23] = "RAD".to_owned();
    fields[24] = status(inputs.report.standing()).to_owned();
    fields
}

/// OBR-25 (table 0123) and OBX-11 (table 0085), which agree on these.
fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Draft => "P",
        Standing::Signed => "F",
        Standing::Amended => "C",
        Standing::Rejected => "X",
    }
}

/// OBX-16, Responsible Observer (XCN): who answers for the report.
fn reviewer(inputs: &ReportInputs<'_>) -> String {
    let Some(review) = inputs.report.review.as_ref() else { return String::new() };
    let parts: Vec<String> =
        review.reviewer.name.split('=').next().unwrap_or("").split('^').take(5).map(escaped).collect();
    let part = |i: usize| parts.get(i).map_or("", String::as_str);
    joined('^', &[&escaped(&review.reviewer.id), part(0), part(1), part(2), part(4), part(3)])
}

/// NTE.
fn note(number: usize, text: &str) -> Vec<String> {
    vec![number.to_string(), "L".to_owned(), escaped(text)]
}

/// When the study was made, by the scanner's clock.
fn studied(inputs: &ReportInputs<'_>) -> String {
    let known = &inputs.study.attributes;
    let date = present::valid_date(&known.study_date).unwrap_or_default();
    let time = present::valid_time(&known.study_time).filter(|_| !date.is_empty()).unwrap_or_default();
    date + &time
}

/// When the report was reviewed, or for a draft, when the study came. It stands for the message's own time: a clock would make
/// the same report two messages.
fn recorded(inputs: &ReportInputs<'_>) -> String {
    let at_ms = inputs.report.review.as_ref().map_or(inputs.study.received_at_ms, |review| review.at_ms);
    let recorded = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    recorded.strftime("%Y%m%d%H%M%S+0000").to_string()
}
