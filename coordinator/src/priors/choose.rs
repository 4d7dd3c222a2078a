//! Which earlier studies count. Pure.

use std::fmt;

use jiff::civil::Date;
use prelim_proto::study::StudyAttributes;

use super::PriorRules;
use super::region::Shown;
use crate::report::present;

/// Why a study is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ruled {
    /// The same Patient ID, and another birth date.
    BirthDate,
    /// The same Patient ID, and another sex.
    Sex,
    /// The same Patient ID, and another name.
    Name,
    /// The same Patient ID of another issuer.
    Issuer,
    /// Nothing but the Patient ID says that it is the same patient.
    OnlyId,
    /// It has no date, or the study has none.
    Undated,
    /// It was made on the same day, and no time says which came first.
    SameDay,
    /// It was made later.
    Later,
    /// It is older than is looked at.
    Old,
    /// It shows another part of the body.
    Part,
    /// Which part it shows is not said.
    PartUnknown,
    /// It was made by another kind of device than X-ray or CT.
    Kind,
    /// It has neither a draft nor a report.
    NoReport,
    /// Its draft was rejected, and no other report is there.
    Rejected,
    /// Its draft or report cannot be read.
    Unreadable,
    /// Enough others are closer.
    Enough,
}

impl Ruled {
    /// Whether the draft is to say it: whoever reads it may know of that study, and would miss it.
    pub(super) fn concerns_readers(self) -> bool {
        !matches!(self, Self::Later | Self::Old | Self::Part | Self::Kind | Self::Enough)
    }
}

impl fmt::Display for Ruled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BirthDate => "the same Patient ID, but another birth date",
            Self::Sex => "the same Patient ID, but another sex",
            Self::Name => "the same Patient ID, but another name",
            Self::Issuer => "the same Patient ID, but of another issuer",
            Self::OnlyId => "nothing but the Patient ID says that it is of the same patient",
            Self::Undated => "which came first is not known: a study date is missing",
            Self::SameDay => "made on the same day, and no time says which came first",
            Self::Later => "made later",
            Self::Old => "older than the site's rules look at",
            Self::Part => "another part of the body",
            Self::PartUnknown => "which part of the body is shown is not stated",
            Self::Kind => "neither X-ray nor CT",
            Self::NoReport => "neither a draft nor a report of it is there",
            Self::Rejected => "its draft was rejected, and there is no other report",
            Self::Unreadable => "its draft or report could not be read",
            Self::Enough => "others are closer",
        })
    }
}

/// How alike two studies are; the smaller is the closer. Within one, the newest is the closest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// The same part of the body by the same kind of image.
    Same,
    /// The same part of the body by another kind of image.
    OtherKind,
}

/// Days from the study `then` to the study `now`, where it may be an earlier one of the same patient by what their headers
/// say. Both have the same Patient ID.
pub(super) fn days_before(now: &StudyAttributes, then: &StudyAttributes, rules: &PriorRules) -> Result<u32, Ruled> {
    same_patient(now, then)?;
    let (Some(now_date), Some(then_date)) = (date(&now.study_date), date(&then.study_date)) else {
        return Err(Ruled::Undated);
    };
    let days = (now_date - then_date).get_days();
    if days < 0 {
        return Err(Ruled::Later);
    }
    if days == 0 {
        let time = |of: &StudyAttributes| present::valid_time(&of.study_time);
        match (time(now), time(then)) {
            (Some(now), Some(then)) if then < now => {}
            (Some(now), Some(then)) if then > now => return Err(Ruled::Later),
            _ => return Err(Ruled::SameDay),
        }
    }
    let oldest = i64::from(rules.years) * 366;
    if i64::from(days) > oldest { Err(Ruled::Old) } else { Ok(days.unsigned_abs()) }
}

/// Whether two studies with one Patient ID are of one patient. Something beside the id must say so, and nothing may contradict.
/// Whose ID it is, headers of records do not say: `gather` looks at that.
pub(super) fn same_patient(now: &StudyAttributes, then: &StudyAttributes) -> Result<(), Ruled> {
    let born = |of: &StudyAttributes| present::valid_date(&of.patient_birth_date);
    let sex = |of: &StudyAttributes| Some(of.patient_sex.trim().to_uppercase()).filter(|sex| sex == "M" || sex == "F");
    if sex(now).zip(sex(then)).is_some_and(|(now, then)| now != then) {
        return Err(Ruled::Sex);
    }
    let dates = born(now).zip(born(then));
    if dates.as_ref().is_some_and(|(now, then)| now != then) {
        return Err(Ruled::BirthDate);
    }
    let (now, then) = (name(&now.patient_name), name(&then.patient_name));
    if dates.is_some() {
        // People marry, and names are typed the wrong way round. But where nothing of the name is the same, the ID and the
        // birth date may be those that an emergency room gives to everybody.
        let is_shared = now.split('^').any(|part| then.split('^').any(|other| other == part));
        return if is_shared || now.is_empty() || then.is_empty() { Ok(()) } else { Err(Ruled::Name) };
    }
    match (now.is_empty(), then.is_empty()) {
        (false, false) if now == then => Ok(()),
        (false, false) => Err(Ruled::Name),
        _ => Err(Ruled::OnlyId),
    }
}

/// Family and given name of the first group, as they are compared.
fn name(value: &str) -> String {
    let group = value.split('=').find(|group| !group.trim_matches(['^', ' ']).is_empty()).unwrap_or_default();
    let parts = group.split('^').take(2).map(|part| present::clean(part).to_uppercase());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("^")
}

/// How alike the two studies are.
pub(super) fn likeness(now: &Shown, then: &Shown) -> Result<Likeness, Ruled> {
    if then.is_of_other_kind {
        return Err(Ruled::Kind);
    }
    if then.regions.is_empty() || now.regions.is_empty() {
        return Err(Ruled::PartUnknown);
    }
    if now.regions.is_disjoint(&then.regions) {
        return Err(Ruled::Part);
    }
    let shares_kind = now.kinds.iter().any(|kind| then.kinds.contains(kind));
    Ok(if shares_kind { Likeness::Same } else { Likeness::OtherKind })
}

/// A date as DICOM writes it.
fn date(text: &str) -> Option<Date> {
    Date::strptime("%Y%m%d", present::valid_date(text)?).ok()
}

#[cfg(test)]
mod tests {
    use prelim_proto::image::ImageKind;

    use super::super::region::Region;
    use super::*;

    const RULES: PriorRules = PriorRules { most: 3, years: 5, source: None };

    fn study(date: &str, time: &str) -> StudyAttributes {
        StudyAttributes {
            patient_id: "4711".into(),
            patient_name: "Doe^Jane".into(),
            patient_birth_date: "19580312".into(),
            patient_sex: "F".into(),
            study_date: date.into(),
            study_time: time.into(),
            ..StudyAttributes::default()
        }
    }

    #[test]
    fn a_study_counts_where_it_is_earlier_and_of_the_same_patient() {
        let now = study("20260501", "120000");
        let with = |change: fn(&mut StudyAttributes)| {
            let mut then = study("20260320", "080000");
            change(&mut then);
            days_before(&now, &then, &RULES)
        };
        for (what, change, expected) in [
            ("as it is", (|_| {}) as fn(&mut StudyAttributes), Ok(42)),
            ("married since", |s| s.patient_name = "Roe^Jane".into(), Ok(42)),
            ("the wrong way round", |s| s.patient_name = "Jane^Doe".into(), Ok(42)),
            ("nothing of the name the same", |s| s.patient_name = "Notfall^Zwei".into(), Err(Ruled::Name)),
            ("another birth date", |s| s.patient_birth_date = "19580313".into(), Err(Ruled::BirthDate)),
            ("another sex", |s| s.patient_sex = "M".into(), Err(Ruled::Sex)),
            ("sex not stated", |s| s.patient_sex.clear(), Ok(42)),
            ("no birth date, the same name", |s| s.patient_birth_date.clear(), Ok(42)),
            (
                "the same name in other letters",
                |s| (s.patient_birth_date, s.patient_name) = (String::new(), "DOE^JANE^^^".into()),
                Ok(42),
            ),
            (
                "no birth date, another name",
                |s| (s.patient_birth_date, s.patient_name) = (String::new(), "Roe^Rita".into()),
                Err(Ruled::Name),
            ),
            (
                "neither birth date nor name",
                |s| (s.patient_birth_date, s.patient_name) = (String::new(), "^".into()),
                Err(Ruled::OnlyId),
            ),
            ("no date", |s| s.study_date = "unknown".into(), Err(Ruled::Undated)),
            ("that morning", |s| s.study_date = "20260501".into(), Ok(0)),
            ("that evening", |s| (s.study_date, s.study_time) = ("20260501".into(), "2000".into()), Err(Ruled::Later)),
            (
                "that day at no time",
                |s| (s.study_date, s.study_time) = ("20260501".into(), String::new()),
                Err(Ruled::SameDay),
            ),
            ("the day after", |s| s.study_date = "20260502".into(), Err(Ruled::Later)),
            ("long ago", |s| s.study_date = "20110101".into(), Err(Ruled::Old)),
        ] {
            assert_eq!(with(change), expected, "{what}");
        }
    }

    #[test]
    fn the_part_must_be_the_same_and_the_kind_need_not() {
        let shown = |kinds: &[ImageKind], regions: &[Region]| Shown {
            kinds: kinds.to_vec(),
            regions: regions.iter().copied().collect(),
            is_of_other_kind: false,
        };
        let now = shown(&[ImageKind::Xray], &[Region::Chest]);
        for (then, expected) in [
            (shown(&[ImageKind::Xray], &[Region::Chest]), Ok(Likeness::Same)),
            (shown(&[ImageKind::Ct], &[Region::Chest, Region::Abdomen]), Ok(Likeness::OtherKind)),
            (shown(&[], &[Region::Chest]), Ok(Likeness::OtherKind)),
            (shown(&[ImageKind::Ct], &[Region::Head]), Err(Ruled::Part)),
            (shown(&[ImageKind::Xray], &[]), Err(Ruled::PartUnknown)),
            (Shown { is_of_other_kind: true, ..now.clone() }, Err(Ruled::Kind)),
        ] {
            assert_eq!(likeness(&now, &then), expected, "{then:?}");
        }
        assert!(Likeness::Same < Likeness::OtherKind);
    }
}
