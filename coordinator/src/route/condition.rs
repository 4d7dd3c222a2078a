//! What a rule asks of a study.

use std::ops::Range;

use wildmatch::WildMatch;

use super::facts::Facts;

/// Characters of a header that a reason quotes.
const QUOTED: usize = 64;

/// A text with `*` for anything and `?` for one character, in small or capital letters alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(WildMatch);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(WildMatch::new_case_insensitive(text))
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

/// An attribute that patterns are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    Sender,
    Tenant,
    Modality,
    BodyPart,
    StudyDescription,
    SeriesDescription,
    Institution,
    PatientId,
    PatientName,
}

impl Attribute {
    /// Its name in the file and for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Tenant => "tenant",
            Self::Modality => "modality",
            Self::BodyPart => "body_part",
            Self::StudyDescription => "study_description",
            Self::SeriesDescription => "series_description",
            Self::Institution => "institution",
            Self::PatientId => "patient_id",
            Self::PatientName => "patient_name",
        }
    }

    fn of(self, facts: &Facts) -> &[String] {
        match self {
            Self::Sender => &facts.senders,
            Self::Tenant => std::slice::from_ref(&facts.tenant),
            Self::Modality => &facts.modalities,
            Self::BodyPart => &facts.body_parts,
            Self::StudyDescription => &facts.study_description,
            Self::SeriesDescription => &facts.series_descriptions,
            Self::Institution => &facts.institution,
            Self::PatientId => &facts.patient_id,
            Self::PatientName => &facts.patient_name,
        }
    }
}

/// Something that must hold for a rule to take a study.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// One of the values of an attribute fits one of the patterns.
    Fits { attribute: Attribute, patterns: Vec<Pattern> },
    /// The study was made so many days ago.
    StudyAge(Range<i64>),
    /// The patient was so many whole years old.
    PatientAge(Range<i64>),
    /// A phantom was imaged; or nothing says so.
    QualityControl(bool),
}

impl Condition {
    /// What holds, or why it does not.
    pub(super) fn check(&self, facts: &Facts) -> Result<String, String> {
        match self {
            Self::Fits { attribute, patterns } => fits(*attribute, attribute.of(facts), patterns),
            Self::StudyAge(days) => within("the study", "day", facts.study_age_days, days),
            Self::PatientAge(years) => within("the patient", "year", facts.patient_age_years, years),
            Self::QualityControl(wanted) => match (&facts.quality_control, wanted) {
                (Some(sign), true) => Ok(format!("quality_control: {sign}")),
                (None, false) => Ok("quality_control: nothing says that it is a phantom".to_owned()),
                (Some(sign), false) => Err(format!("quality_control: {sign}")),
                (None, true) => Err("quality_control: nothing says that it is a phantom".to_owned()),
            },
        }
    }
}

fn fits(attribute: Attribute, values: &[String], patterns: &[Pattern]) -> Result<String, String> {
    let name = attribute.name();
    for value in values {
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.fits(value)) {
            return Ok(format!("{name}: {} fits \"{}\"", quoted(value), pattern.0));
        }
    }
    let wanted: Vec<String> = patterns.iter().map(|pattern| format!("\"{}\"", pattern.0)).collect();
    let wanted = wanted.join(", ");
    match values {
        [] => Err(format!("{name}: none is stated, {wanted} is asked for")),
        values => {
            let found: Vec<String> = values.iter().take(4).map(|value| quoted(value)).collect();
            let more = if values.len() > 4 { format!(" and {} more", values.len() - 4) } else { String::new() };
            Err(format!("{name}: {}{more}: none fits {wanted}", found.join(", ")))
        }
    }
}

/// A value of a header between quotes, at most so long.
fn quoted(value: &str) -> String {
    let cut: String = value.chars().take(QUOTED).collect();
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("\"{cut}{more}\"")
}

fn within(whose: &str, unit: &str, age: Option<i64>, range: &Range<i64>) -> Result<String, String> {
    let Some(age) = age else { return Err(format!("how old {whose} is, is not stated")) };
    let plural = if age == 1 { "" } else { "s" };
    let asked = match (range.start, range.end) {
        (i64::MIN, below) => format!("less than {below}"),
        (from, i64::MAX) => format!("{from} or more"),
        (from, below) => format!("{from} or more, and less than {below}"),
    };
    let said = format!("{whose} is {age} {unit}{plural} old; {asked} is asked for");
    if range.contains(&age) { Ok(said) } else { Err(said) }
}
