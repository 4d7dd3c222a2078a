//! What a study says of itself, as far as rules ask.

use jiff::civil::Date;
use prelim_proto::study::{Series, Study};

use super::quality_control;

/// What a study says of itself. It quotes the header: not for records, logs or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub(super) senders: Vec<String>,
    pub(super) tenant: String,
    pub(super) modalities: Vec<String>,
    pub(super) body_parts: Vec<String>,
    pub(super) study_description: Vec<String>,
    pub(super) series_descriptions: Vec<String>,
    pub(super) institution: Vec<String>,
    pub(super) patient_id: Vec<String>,
    pub(super) patient_name: Vec<String>,
    /// Days since the study was made; negative where its date is yet to come.
    pub(super) study_age_days: Option<i64>,
    /// Whole years of the patient when the study was made, or today where it does not say when that was.
    pub(super) patient_age_years: Option<i64>,
    /// What says that a phantom was imaged, and no patient.
    pub(super) quality_control: Option<String>,
}

impl Facts {
    /// What `study` says of itself, as seen today.
    pub fn of(study: &Study, today: Date) -> Self {
        let said = &study.attributes;
        let made = date(&said.study_date);
        let born = date(&said.patient_birth_date);
        let images = || study.series.iter().flat_map(|series| &series.instances).filter_map(|each| each.image.as_ref());
        Self {
            senders: study.intake.senders.clone(),
            tenant: study.tenant.to_string(),
            modalities: each_once(study.series.iter().map(|series| series.modality.as_str())),
            body_parts: each_once(images().filter_map(|image| image.body_part.as_deref())),
            study_description: stated(&said.description),
            series_descriptions: each_once(study.series.iter().map(|series: &Series| series.description.as_str())),
            institution: stated(&said.institution),
            patient_id: stated(&said.patient_id),
            patient_name: stated(&said.patient_name),
            study_age_days: made.map(|made| days_between(made, today)),
            patient_age_years: born.map(|born| whole_years(born, made.unwrap_or(today))),
            quality_control: quality_control::sign(study),
        }
    }
}

fn stated(text: &str) -> Vec<String> {
    each_once([text].into_iter())
}

fn each_once<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut each: Vec<String> = texts.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    each.sort();
    each.dedup();
    each
}

/// A date as DICOM writes it: YYYYMMDD (PS3.5 section 6.2, DA).
fn date(text: &str) -> Option<Date> {
    Date::strptime("%Y%m%d", text.trim()).ok()
}

fn days_between(from: Date, to: Date) -> i64 {
    (to - from).get_days().into()
}

fn whole_years(from: Date, to: Date) -> i64 {
    let birthday_is_to_come = (to.month(), to.day()) < (from.month(), from.day());
    i64::from(to.year()) - i64::from(from.year()) - i64::from(birthday_is_to_come)
}
