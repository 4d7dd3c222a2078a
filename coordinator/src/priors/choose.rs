//! Which earlier studies count. Pure.

use std::fmt;

use jiff::civil::Date;
use prelim_proto::study::StudyAttributes;

use super::PriorRules;
use super::region::Shown;
use crate::report::present;
use crate::spelling::spellings;

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
    let (now, then) = (names(&now.patient_name), names(&then.patient_name));
    let is_one_script =
        now.iter().flatten().any(|one| then.iter().flatten().any(|other| are_of_one_script(one, other)));
    if dates.is_some() {
        // People marry, and names are typed the wrong way round. But where nothing of the name is the same, the ID and the
        // birth date may be those that an emergency room gives to everybody.
        let is_shared = now.iter().flatten().any(|one| then.iter().flatten().any(|other| is_same(one, other)));
        return if is_shared || !is_one_script { Ok(()) } else { Err(Ruled::Name) };
    }
    let is_whole =
        |one: &Group, other: &Group| one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b));
    match is_one_script {
        true if now.iter().any(|one| then.iter().any(|other| is_whole(one, other))) => Ok(()),
        true => Err(Ruled::Name),
        false => Err(Ruled::OnlyId),
    }
}

/// Family and given name, each in the ways in which it is spelt: with an umlaut, or without.
type Group = Vec<Vec<String>>;

/// The groups of a name that say something (PS3.5 section 6.2.1.1: in Latin letters, in ideographs, by sound), as they are compared.
fn names(value: &str) -> Vec<Group> {
    let parts = |group: &str| {
        let parts = group.split('^').take(2).map(present::clean).filter(|part| !part.trim().is_empty());
        parts.map(|part| spellings(part.trim())).collect::<Group>()
    };
    value.split('=').map(parts).filter(|group| !group.is_empty()).collect()
}

fn is_same(one: &[String], other: &[String]) -> bool {
    one.iter().any(|spelt| other.contains(spelt))
}

/// Whether two parts of names can contradict each other: what one writes in Latin letters, another may write in its own.
fn are_of_one_script(one: &[String], other: &[String]) -> bool {
    let is_latin = |part: &[String]| part.iter().any(|spelt| spelt.chars().any(|c| c.is_ascii_alphanumeric()));
    is_latin(one) == is_latin(other)
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
            ("in letters of another script alone", |s| s.patient_name = "=山田^花子".into(), Ok(42)),
            (
                "no birth date, in letters of another script alone",
                |s| (s.patient_birth_date, s.patient_name) = (String::new(), "=山田^花子".into()),
                Err(Ruled::OnlyId),
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
    fn a_name_is_the_same_however_it_is_spelt() {
        let of = |name: &str| StudyAttributes {
            patient_name: name.into(),
            patient_birth_date: String::new(),
            ..study("20260501", "1200")
        };
        for (now, then, expected) in [
            ("Müller^Jörg", "Mueller^Joerg", Ok(())),
            ("Müller^Jörg", "MULLER^JORG", Ok(())),
            ("Yamada^Tarou=山田^太郎", "=山田^太郎=やまだ^たろう", Ok(())),
            ("Wang^XiaoDong=王^小东", "王^小东", Ok(())),
            ("Wałęsa^Lech", "Walesa^Lech", Ok(())),
            ("Иванов^Пётр", "ИВАНОВ^ПЕТР", Ok(())),
            ("Yamada^Tarou", "山田^太郎", Err(Ruled::OnlyId)),
            ("Yamada^Tarou=山田^太郎", "=山田^花子", Err(Ruled::Name)),
            ("Smith^Anna", "Miller^Bob", Err(Ruled::Name)),
            ("Smith", "Smith^Anna", Err(Ruled::Name)),
            ("^", "Smith^Anna", Err(Ruled::OnlyId)),
        ] {
            assert_eq!(same_patient(&of(now), &of(then)), expected, "{now} {then}");
            assert_eq!(same_patient(&of(then), &of(now)), expected, "{then} {now}");
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
