//! The words that all forms share: names, dates, sides, confidence.

use prelim_proto::comparison::{ChangeKind, Prior, PriorSource};
use prelim_proto::finding::{Finding, Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::question::QuestionKind;
use prelim_proto::report::{Inserted, ModelProvenance, Passage, Report, Urgency};
use prelim_proto::review::{Origin, Review, Standing, Wording};
use prelim_proto::study::{Unread, UnreadReason};

use super::lookup::Image;

/// The words that no form of a draft may lack.
const DRAFT_BANNER: &str = "UNSIGNED DRAFT — not a medical device";
/// What is added where the weights are a demonstration.
pub(crate) const DEMONSTRATION: &str = "DEMONSTRATION MODEL — trained on generated phantoms, not for clinical use";
/// What a confidence is, beside every number.
pub(super) const CONFIDENCE_NOTE: &str =
    "Confidence is the model's own estimate that the finding is there. It is not a probability of disease.";

/// What a form says where there are no findings.
pub(super) fn no_findings(report: &Report) -> &'static str {
    match report.standing() {
        Standing::Signed | Standing::Amended => "No finding.",
        Standing::Rejected => "The draft was rejected: its findings are not told.",
        Standing::Draft => {
            "None of the findings that the model looks for was seen. This does not say that the study is normal."
        }
    }
}

/// What the report is, in the line that no form may lack: an unsigned draft, or whose word it is.
pub(super) fn banner(report: &Report) -> String {
    let Some(review) = &report.review else { return DRAFT_BANNER.to_owned() };
    let by = format!("by {}, {}", shortened(&person_name(&review.reviewer.name), 60), utc(review.at_ms));
    match review.standing {
        Standing::Draft => DRAFT_BANNER.to_owned(),
        Standing::Signed => format!("SIGNED {by} — drafted by software"),
        Standing::Amended => format!("AMENDED AND SIGNED {by} — drafted by software"),
        Standing::Rejected => format!("REJECTED {by} — not to be used"),
    }
}

/// What the report is, in two words for names of series and titles.
pub(super) fn kind_of_report(standing: Standing) -> &'static str {
    match standing {
        Standing::Draft => "UNSIGNED DRAFT",
        Standing::Signed => "SIGNED REPORT",
        Standing::Amended => "AMENDED REPORT",
        Standing::Rejected => "REJECTED DRAFT",
    }
}

/// Where a report stands, in a word.
pub(crate) fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Draft => "drafted",
        Standing::Signed => "signed",
        Standing::Amended => "amended",
        Standing::Rejected => "rejected",
    }
}

/// What the report is, and who answers for it, in sentences.
pub fn statement(review: &Review) -> String {
    let Review { standing, reviewer, at_ms, reason, .. } = review;
    let name = person_name(&reviewer.name);
    let who = if name.is_empty() { clean(&reviewer.id) } else { name };
    let by = format!("by {who} for {} on {}", clean(&reviewer.organization), utc(*at_ms));
    // It has a full stop, also where the reviewer typed none: another sentence may follow.
    let reason = clean(reason);
    let stop = if reason.ends_with(['.', '!', '?', '…', '。']) { "" } else { "." };
    let why = if reason.is_empty() { String::new() } else { format!(" Reason: {reason}{stop}") };
    match standing {
        Standing::Rejected => {
            format!("Draft by software that is not a medical device, rejected {by}.{why} Nothing in it may be used.")
        }
        Standing::Amended => {
            format!("Report amended and signed {by}. It was drafted by software that is not a medical device.{why}")
        }
        _ => format!("Report signed {by}. It was drafted by software that is not a medical device."),
    }
}

/// What a report is that is shown as it would be signed, and which nobody has signed.
pub(crate) fn preview_statement(review: &Review) -> String {
    let what = if review.standing == Standing::Amended { "amended and signed" } else { "signed" };
    let name = person_name(&review.reviewer.name);
    format!(
        "PREVIEW of the report as it would be {what} by {name}: nobody has signed it. It was drafted by software that is not \
         a medical device."
    )
}

/// A time for people: "2026-11-28 09:30 UTC".
fn utc(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Whether any model behind the report is a demonstration.
pub(crate) fn is_demonstration(report: &Report) -> bool {
    report.models.iter().any(|model| model.demonstration) || report.inserted.iter().any(|words| words.demonstration)
}

/// The version of prelim that made the report.
pub(super) fn software_version(report: &Report) -> &str {
    report.models.first().map_or(env!("CARGO_PKG_VERSION"), |model| &model.software_version)
}

/// `text` on one line, without control characters and without the marks that turn the direction of writing: a header value
/// must not be able to move a terminal's cursor or to show its neighbours in another order.
pub fn clean(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(
            |c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}'),
        )
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// [`clean`] text of at most so many characters, the last of which says that more was there.
pub(crate) fn shortened(text: &str, chars: usize) -> String {
    let text = clean(text);
    match text.char_indices().nth(chars) {
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
        None => text,
    }
}

/// A Person Name (PS3.5 section 6.2.1) for people: "Family, Given Middle", with the ideographic and phonetic groups behind
/// slashes.
pub(super) fn person_name(value: &str) -> String {
    let group = |text: &str| {
        let parts: Vec<String> = text.split('^').map(clean).collect();
        let part = |i: usize| parts.get(i).map_or("", String::as_str);
        let given =
            [part(3), part(1), part(2), part(4)].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ");
        match (part(0), given.as_str()) {
            (family, "") => family.to_owned(),
            ("", given) => given.to_owned(),
            (family, given) => format!("{family}, {given}"),
        }
    };
    value.split('=').map(group).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" / ")
}

/// A DICOM date as YYYY-MM-DD; as it came where it is no date.
pub(super) fn date(value: &str) -> String {
    match valid_date(value) {
        Some(da) => format!("{}-{}-{}", &da[..4], &da[4..6], &da[6..]),
        None => clean(value),
    }
}

/// The value as a DICOM DA (PS3.5 section 6.2), where it is one; the older form with dots is taken too.
pub(crate) fn valid_date(value: &str) -> Option<String> {
    let digits: String = value.trim().chars().filter(|&c| c != '.').collect();
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let month: u32 = digits[4..6].parse().ok()?;
    let day: u32 = digits[6..].parse().ok()?;
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(digits)
}

/// The value as a DICOM TM to the second, where it is one. Missing minutes and seconds are zero.
pub(crate) fn valid_time(value: &str) -> Option<String> {
    let digits: String = value.trim().split('.').next()?.chars().filter(|&c| c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let full = format!("{digits:0<6}");
    let within = |range: std::ops::Range<usize>, limit: u32| full[range].parse::<u32>().is_ok_and(|n| n < limit);
    (within(0..2, 24) && within(2..4, 60) && within(4..6, 60)).then_some(full)
}

/// A DICOM time as HH:MM; empty where it is no time.
pub(super) fn time(value: &str) -> String {
    valid_time(value).map(|tm| format!("{}:{}", &tm[..2], &tm[2..4])).unwrap_or_default()
}

/// Full years from birth to the study, where both dates are known and in order.
pub(super) fn age_years(birth: &str, study: &str) -> Option<u32> {
    let number = |value: &str| valid_date(value)?.parse::<u32>().ok();
    let (birth, study) = (number(birth)?, number(study)?);
    (study >= birth).then(|| (study - birth) / 10_000).filter(|years| *years <= 130)
}

/// A confidence in per cent. It never says 0 % or 100 %: no model is that sure.
pub fn percent(confidence: f32) -> String {
    let value = (f64::from(confidence) * 100.0).round();
    match value {
        v if !v.is_finite() => "unknown".to_owned(),
        v if v >= 100.0 => "> 99 %".to_owned(),
        v if v < 1.0 => "< 1 %".to_owned(),
        v => format!("{v:.0} %"),
    }
}

/// A length, to the tenth of a millimetre where it has one.
pub(crate) fn millimetres(size: f32) -> String {
    let text = format!("{size:.1}");
    format!("{} mm", text.strip_suffix(".0").unwrap_or(&text))
}

/// The finding in a few words: "left pleural effusion", "possible right lung nodule", "no pneumothorax".
pub(crate) fn finding_title(finding: &Finding) -> String {
    let mut words = Vec::new();
    match finding.presence {
        Presence::Present => {}
        Presence::Absent => words.push("no"),
        Presence::Uncertain => words.push("possible"),
    }
    let is_of_none = finding.presence == Presence::Absent && finding.laterality == Some(Laterality::Bilateral);
    words.extend(finding.laterality.filter(|_| !is_of_none).map(laterality));
    words.push(finding.code.name());
    words.extend(is_of_none.then_some("on either side"));
    words.join(" ")
}

/// [`finding_title`] with a capital letter.
pub(super) fn finding_heading(finding: &Finding) -> String {
    let title = finding_title(finding);
    let mut chars = title.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Site, severity and size, those that are known, in that order.
pub(super) fn finding_details(finding: &Finding) -> Vec<String> {
    let zone = finding.zone.map(|z| zone(z).to_owned());
    let severity = finding.severity.map(|s| severity(s).to_owned());
    [zone, severity, finding.size_mm.map(millimetres)].into_iter().flatten().collect()
}

/// The side.
pub(crate) fn laterality(side: Laterality) -> &'static str {
    match side {
        Laterality::Left => "left",
        Laterality::Right => "right",
        Laterality::Bilateral => "bilateral",
    }
}

/// The part of the chest.
pub(crate) fn zone(zone: Zone) -> &'static str {
    match zone {
        Zone::Upper => "upper zone",
        Zone::Mid => "mid zone",
        Zone::Lower => "lower zone",
        Zone::Anterior => "anterior",
        Zone::Posterior => "posterior",
    }
}

/// The amount.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Small => "small",
        Severity::Mild => "mild",
        Severity::Moderate => "moderate",
        Severity::Large => "large",
        Severity::Severe => "severe",
    }
}

/// How soon a person should look.
pub(crate) fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Routine => "Routine",
        Urgency::Urgent => "Urgent",
        Urgency::Critical => "Critical",
    }
}

/// Which version it takes the place of, where there is one.
pub(super) fn replaces(report: &Report) -> Option<String> {
    let replaced = report.replaces.as_ref()?;
    let (now, before) = (report.version, replaced.version);
    Some(match (report.standing(), replaced.standing) {
        (Standing::Draft, Standing::Draft) => format!("Amended draft {now}: it replaces draft {before} of this study"),
        // A draft takes nothing back that somebody answers for.
        (Standing::Draft, Standing::Signed | Standing::Amended) => {
            format!("Draft {now}, made after report {before} was signed, which stands until this one is")
        }
        (Standing::Draft, Standing::Rejected) => format!("Draft {now}, made after draft {before} was rejected"),
        (Standing::Rejected, _) => format!("Draft {before} of this study, rejected"),
        (Standing::Signed, _) => format!("Report {now}, signed after review of draft {before}"),
        (Standing::Amended, Standing::Draft) => {
            format!("Amended report {now}, signed after review of draft {before}: it replaces what was signed before")
        }
        (Standing::Amended, _) => format!("Amended report {now}: it replaces report {before} of this study"),
    })
}

/// The model's confidence in a finding, in per cent; none in what a radiologist answers for.
pub(super) fn confidence(report: &Report, finding: &Finding) -> Option<String> {
    (!report.standing().is_signed()).then(|| percent(finding.confidence))
}

/// An earlier study by kind, date and source: "chest X-ray of 2026-05-01, 42 days before (draft by software, unsigned)".
pub(crate) fn prior(prior: &Prior) -> String {
    let at = if prior.days_before == 0 { time(&prior.time) } else { String::new() };
    let when = format!("{} {at}", date(&prior.date));
    let before = match prior.days_before {
        0 => "the same day".to_owned(),
        1 => "1 day before".to_owned(),
        days => format!("{days} days before"),
    };
    let source = match &prior.source {
        PriorSource::Draft { demonstration: true, .. } => "draft by software, unsigned; demonstration model",
        PriorSource::Draft { demonstration: false, .. } => "draft by software, unsigned",
        PriorSource::Signed { demonstration: true, .. } => "signed report, drafted by a demonstration model",
        PriorSource::Signed { demonstration: false, .. } => "signed report",
        PriorSource::Report { verified: true, .. } => "report of another system, verified",
        PriorSource::Report { verified: false, .. } => "report of another system, unverified",
    };
    format!("{} of {}, {before} ({source})", prior.what, when.trim())
}

/// What became of the finding of that index since an earlier study, where it was compared with one and that can be told.
pub(super) fn change(report: &Report, index: usize) -> Option<ChangeKind> {
    let mut changes = report.priors.iter().flat_map(|prior| &prior.changes);
    changes.find(|change| change.finding == u32::try_from(index).ok()).map(|change| change.kind)
}

/// What a model is called, with the one that it changes where it is an adapter.
pub(super) fn model(model: &ModelProvenance) -> String {
    let on = model.base.as_ref().map_or_else(String::new, |base| format!(" on {base}"));
    format!("{}{on}", model.name)
}

/// What read a report, and how, in a line.
pub(super) fn provenance(by: &ModelProvenance, report: &Report) -> String {
    format!(
        "{} (sha256 {}), prompt {}, preprocessing {}, {}, prelim {}; report version {}",
        model(by),
        by.digest,
        by.prompt_version,
        by.preprocess_version,
        by.arithmetic,
        by.software_version,
        report.version,
    )
}

/// The word for a report's text.
fn passage(passage: Passage) -> &'static str {
    match passage {
        Passage::Findings => "findings",
        Passage::Impression => "impression",
    }
}

/// Where the words of a reviewed report are from: a line for each origin and person, with the sentences counted from 1.
pub(super) fn origins(report: &Report) -> Vec<String> {
    let mut found: Vec<(Origin, &str, Vec<&Wording>)> = Vec::new();
    for words in report.review.iter().flat_map(|review| &review.words) {
        match found.iter_mut().find(|(origin, by, _)| (*origin, *by) == (words.origin, words.by.as_str())) {
            Some((_, _, all)) => all.push(words),
            None => found.push((words.origin, &words.by, vec![words])),
        }
    }
    let line = |(origin, by, all): (Origin, &str, Vec<&Wording>)| {
        let places = Passage::ALL.into_iter().filter_map(|of| {
            let here = all.iter().filter(|words| words.passage == of);
            let places: Vec<String> = here.map(|words| (words.sentence + 1).to_string()).collect();
            (!places.is_empty()).then(|| format!("{} {}", passage(of), places.join(", ")))
        });
        let places = places.collect::<Vec<_>>().join("; ");
        let what = match origin {
            Origin::Draft => "as drafted".to_owned(),
            Origin::Decisions => "made by software of the findings as decided".to_owned(),
            Origin::Answer => format!("with words of a model's answer, taken by {}", person_name(by)),
            Origin::Person => format!("typed or pasted by {}", person_name(by)),
        };
        clean(&format!("Words {what}: {places}"))
    };
    found.into_iter().map(line).collect()
}

/// Whose words a sentence has that a person took from a model's answer, in a line.
pub(super) fn inserted(inserted: &Inserted) -> String {
    let Inserted { sentence, model, adapter, prompt_version, answered_at_ms, by, at_ms, .. } = inserted;
    let of = passage(inserted.passage);
    let how = if inserted.by_hand { "typed or pasted" } else { "inserted" };
    let asked = match inserted.kind {
        QuestionKind::Question => "to a question",
        QuestionKind::Describe => "that describes an image",
        QuestionKind::Shorten => "that shortens the impression",
        QuestionKind::Explain => "that explains the report",
    };
    let adapter = adapter.as_ref().map(|adapter| format!(" with {adapter}")).unwrap_or_default();
    let demonstration = if inserted.demonstration { " (demonstration model)" } else { "" };
    let changed = if inserted.changed { " and changed" } else { "" };
    clean(&format!(
        "Sentence {} of the {of} has words of a model's answer {asked}, of {} by {model}{adapter}{demonstration}, prompt \
         {prompt_version}; {how}{changed} by {} on {}",
        sentence + 1,
        utc(*answered_at_ms),
        person_name(by),
        utc(*at_ms),
    ))
}

/// The kind of study.
pub(crate) fn kind(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Xray => "X-ray",
        ImageKind::Ct => "CT",
    }
}

/// Why something was not read.
pub(super) fn unread_reason(reason: UnreadReason) -> &'static str {
    match reason {
        UnreadReason::NotReadable => "kind of object that is not read",
        UnreadReason::NotNeeded => "not needed for the reading",
        UnreadReason::TransferSyntax => "encoding without a decoder",
        UnreadReason::Corrupt => "damaged or inconsistent",
        UnreadReason::TooLarge => "past a size limit",
        UnreadReason::JobDead => "reading was given up",
    }
}

/// What was not read, and why, in one line.
pub(super) fn unread(unread: &Unread) -> String {
    let frame = unread.frame.map(|frame| format!(", frame {frame}")).unwrap_or_default();
    clean(&format!("{}{frame}: {}: {}", unread.instance, unread_reason(unread.reason), unread.detail))
}

/// The image for people, as they find it in a viewer: "PA view", "series 2, image 34", "…, frame 5".
pub(super) fn image_label(image: &Image<'_>, frame: u32) -> String {
    let mut parts = Vec::new();
    if let Some(view) = image.attributes.view_position.as_deref().map(clean).filter(|view| !view.is_empty()) {
        parts.push(format!("{view} view"));
    }
    if let (Some(series), true) = (image.series.number, parts.is_empty()) {
        parts.push(format!("series {series}"));
    }
    match (image.instance.number, parts.is_empty()) {
        (Some(number), _) if image.attributes.view_position.is_none() => parts.push(format!("image {number}")),
        (_, true) => parts.push(format!("{} image", clean(&image.series.modality))),
        _ => {}
    }
    if image.attributes.frames > 1 {
        parts.push(format!("frame {frame}"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn person_names_are_written_for_people() {
        for (value, expected) in [
            ("Müller^Jörg^^Dr.", "Müller, Dr. Jörg"),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou / 山田, 太郎 / やまだ, たろう"),
            ("^Only", "Only"),
            ("PHANTOM", "PHANTOM"),
            ("a\u{1b}[2Jb^\u{202e}c", "a [2Jb, c"),
            ("", ""),
        ] {
            assert_eq!(person_name(value), expected, "{value:?}");
        }
    }

    #[test]
    fn dates_and_times_are_checked() {
        assert_eq!(date("20261123"), "2026-11-23");
        assert_eq!(date("2026.11.23"), "2026-11-23");
        assert_eq!(date("unknown"), "unknown");
        assert_eq!(valid_date("20261323"), None);
        assert_eq!(time("135907.25"), "13:59");
        assert_eq!(valid_time("13"), Some("130000".to_owned()));
        assert_eq!(valid_time("256000"), None);
        assert_eq!(age_years("19580312", "20261123"), Some(68));
        assert_eq!(age_years("20261123", "19580312"), None);
    }

    #[test]
    fn confidence_never_claims_certainty() {
        for (confidence, expected) in [
            (0.0, "< 1 %"),
            (0.004, "< 1 %"),
            (0.5, "50 %"),
            (0.994, "99 %"),
            (0.9999, "> 99 %"),
            (f32::NAN, "unknown"),
        ] {
            assert_eq!(percent(confidence), expected, "{confidence}");
        }
    }
}
