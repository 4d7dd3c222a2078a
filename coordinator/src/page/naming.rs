//! Whether a sentence may say who the patient is, or name another person. Pure.
//!
//! # Layout
//! - `dates`: dates, great ages and numbers that are no measurements
//! - here: what is known of a study, and what tells of people
//!
//! A sentence that may is one that has a part of a name, identifier or place that is known of the study, a title, a written date, an
//! age above 89, a number of four digits or more that is no size, or an address, or that tells of who was spoken to. A name that is
//! known nowhere and has no title ("Brown was asked") is not found: what is made of this is for a person to look through.

mod dates;

use prelim_proto::review::Review;
use prelim_proto::study::StudyAttributes;
use prelim_proto::vocabulary::FindingCode;

use self::dates::{has_long_numbers, is_dated};
use crate::spelling::{folded, has_no_spaces, is_in, joined, pieces, spellings, visible, words};

/// Shortest part of a name, and shortest number, that is looked for as a word; single letters are everywhere.
const MIN_WORD: usize = 2;
/// From so many letters on, words that go on after the name ("Does", "Garcías") are it, too.
const MIN_BEGINNING: usize = 3;
/// Shortest number that is looked for without what is between its characters; a shorter one is looked for as whole words.
const MIN_JOINED: usize = 4;
/// Shortest part of an identifier that is looked for by itself.
const MIN_PART: usize = 3;
/// Shortest word of a place that is looked for by itself, and those that are not: they are words of reports and of many places.
const MIN_OF_PLACE: usize = 4;
const OF_PLACES: &str = "north south east west upper lower left right middle side central main near high clear large small chest lung \
    lungs heart thorax thoracic cardiac pulmonary pleural bone spine abdomen breast head neck clinic clinical hospital center centre \
    ward house street road lane avenue square park hill field green bridge general medical medicine university college city town \
    county state national region regional department division section unit floor room building block wing tower radiology imaging \
    diagnostic radiography emergency intensive care critical urgent outpatient inpatient surgery surgical oncology internal \
    paediatric pediatric children trauma health institute foundation group private public practice service services first second third \
    saint base not stated with from the and for";

/// Titles, places to reach somebody, and words for telling somebody something.
const OF_PEOPLE: &str = "dr drs prof professor doctor doctors mrs mister frau herr herrn mme mlle monsieur madame senor senora sra \
    signor signora san sama sensei phone phoned telephone telephoned tel fax faxed pager paged email mail mailed \
    http https www address street told informed notified communicated discussed conveyed spoke spoken called \
    contacted relayed monday tuesday wednesday thursday friday saturday sunday";
/// Titles that are other words, too (magnetic resonance, multiple sclerosis, to miss): these are titles before a capital letter.
const TITLES: [&str; 3] = ["mr", "ms", "miss"];
/// What stands before an identifier.
const LABELS: &str = "id mrn pid accession acc chart ssn nhs room bed ward number dob born geb geboren birth birthday";
/// What is said after names in East Asia.
const AFTER_NAMES: [&str; 3] = ["さん", "先生", "医師"];

/// What is known of the people of a study.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Parts of names and places, as words.
    words: Vec<String>,
    /// What is found as one word, or as words in a row: names and identifiers without what is between their characters.
    runs: Vec<String>,
    /// Parts of names in scripts that have no spaces, and numbers without what is between their characters.
    inside: Vec<String>,
}

impl Known {
    /// What headers say of the patient, the request and the people around it.
    pub(super) fn of(patient: &StudyAttributes) -> Self {
        let mut known = Self::default();
        for name in [&patient.patient_name, &patient.referring_physician, &patient.other_names] {
            name.lines().for_each(|name| known.add_name(name));
        }
        let numbers = [&patient.patient_id, &patient.accession_number, &patient.study_id, &patient.patient_birth_date];
        for number in numbers.into_iter().map(String::as_str).chain(patient.other_ids.lines()) {
            known.add_number(number);
        }
        for place in [patient.institution.as_str()].into_iter().chain(patient.places.lines()) {
            known.add_place(place);
        }
        known
    }

    /// Also who reviewed, for whom, and whose words are in it.
    pub(super) fn add_review(&mut self, review: &Review) {
        self.add_name(&review.reviewer.name);
        self.add_place(&review.reviewer.organization);
        review.words.iter().for_each(|words| self.add_name(&words.by));
    }

    /// Also a place: as a whole, each part of an address, and words of it that are no words of reports ("West", "Chest").
    fn add_place(&mut self, name: &str) {
        let name = visible(name);
        let of_findings =
            |word: &str| FindingCode::ALL.iter().any(|code| code.name().split(' ').any(|part| part == word));
        let is_common = |word: &str| is_in(OF_PLACES, word) || of_findings(word);
        for part in name.split([',', ';', '^']).chain([name.as_str()]) {
            let part = joined(&folded(part));
            if part.chars().count() >= MIN_OF_PLACE && !is_common(&part) {
                push(&mut self.inside, &part);
            }
        }
        for spelling in spellings(&name) {
            for word in words(&spelling).filter(|word| word.chars().count() >= MIN_OF_PLACE) {
                if !is_common(word) && !word.chars().any(char::is_numeric) {
                    push(&mut self.words, word);
                }
            }
        }
    }

    fn add_name(&mut self, name: &str) {
        let name = visible(name);
        for component in name.split(['^', '=', ',']) {
            // "Xiao Dong" is also written "Xiaodong", and the other way round.
            for whole in spellings(component).iter().map(|each| joined(each)) {
                if whole.chars().count() >= MIN_JOINED {
                    push(&mut self.runs, &whole);
                }
            }
        }
        let parts = name.split(['^', '=', ',']).flat_map(str::split_whitespace);
        for part in parts.flat_map(|part| pieces(part).into_iter().chain([part.to_owned()])) {
            for spelling in spellings(&part) {
                // "O'Brien" is also written "OBrien".
                let joined = spelling.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
                for word in words(&spelling).chain([joined.as_str()]) {
                    if word.chars().any(has_no_spaces) {
                        push(&mut self.inside, word);
                    } else if word.chars().count() >= MIN_WORD {
                        push(&mut self.words, word);
                    }
                }
            }
        }
    }

    fn add_number(&mut self, number: &str) {
        let number = folded(&visible(number));
        let whole = joined(&number);
        if whole.chars().count() >= MIN_JOINED {
            push(&mut self.inside, &whole);
        } else if whole.chars().count() >= MIN_WORD {
            push(&mut self.runs, &whole);
        }
        // "MRN-4719" is also told as "4719".
        let all_digits: String = number.chars().filter(|c| c.is_numeric()).collect();
        let digits = number.split(|c: char| !c.is_numeric()).chain([all_digits.as_str()]);
        for part in digits.chain(number.split(|c: char| !c.is_alphabetic())) {
            if part.chars().count() >= MIN_PART {
                push(&mut self.runs, part);
            }
        }
    }

    /// Whether `text` may say who somebody is.
    pub(super) fn may_be_in(&self, text: &str) -> bool {
        let text = &*visible(text);
        let is_said = spellings(text).iter().any(|spelling| {
            let joined = joined(spelling);
            let is_word = |word: &str| self.words.iter().any(|known| is_of(word, known));
            let all: Vec<&str> = words(spelling).collect();
            all.iter().any(|word| is_word(word))
                || self.runs.iter().any(|known| is_run(&all, known))
                || self.inside.iter().any(|known| joined.contains(known.as_str()))
        });
        is_said || text.contains('@') || AFTER_NAMES.iter().any(|after| text.contains(after)) || {
            let folded = folded(text);
            is_of_people(text, &folded) || is_dated(&folded) || has_long_numbers(&folded)
        }
    }
}

fn is_of(word: &str, known: &str) -> bool {
    word == known || (known.chars().count() >= MIN_BEGINNING && word.starts_with(known))
}

/// Whether words in a row make up `known`.
fn is_run(all: &[&str], known: &str) -> bool {
    (0..all.len()).any(|from| {
        let mut rest = known;
        for word in &all[from..] {
            match rest.strip_prefix(word) {
                Some("") => return true,
                Some(after) => rest = after,
                None => return false,
            }
        }
        false
    })
}

fn push(to: &mut Vec<String>, word: &str) {
    if !word.is_empty() && !to.iter().any(|held| held == word) {
        to.push(word.to_owned());
    }
}

/// Whether it has a title, an address, an identifier with its label, or tells of who was told.
fn is_of_people(text: &str, folded: &str) -> bool {
    let mut before = "";
    for word in words(folded) {
        let is_labelled = is_in(LABELS, before) && word.contains(char::is_numeric);
        if is_labelled || is_in(OF_PEOPLE, word) {
            return true;
        }
        before = word;
    }
    let mut before = "";
    for word in words(text) {
        let is_title = TITLES.contains(&before.to_lowercase().as_str());
        // "Mr" and "Ms" are nothing else, whatever comes after them.
        if (is_title && word.starts_with(char::is_uppercase)) || matches!(before, "Mr" | "Ms") {
            return true;
        }
        before = word;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Known {
        let patient = StudyAttributes {
            patient_name: name.into(),
            patient_id: "P-77/4".into(),
            accession_number: "AC 2019 11".into(),
            institution: "St. Mary".into(),
            referring_physician: "Ångström^Eva".into(),
            other_names: "Doe^John^^Dr.\nZabriskie^Wolf".into(),
            other_ids: "HOSP-554433\nRP471\nA-12\nS7".into(),
            places: "Lindenweg 5, Kleinkleckersdorf\nHaus Virchow\nChest Clinic West\nChest".into(),
            ..StudyAttributes::default()
        };
        Known::of(&patient)
    }

    #[test]
    fn names_are_found_in_other_spellings_and_scripts() {
        for (name, text) in [
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎 san was seen."),
            ("Yamada^Tarou=山田^太郎=やまだ^たろう", "やまだの所見。"),
            ("Yamada^Tarou=山田^太郎", "YAMADA: clear lungs."),
            ("Kim^Chulsoo=金^哲秀=김^철수", "철수는 정상."),
            ("李^明", "李氏无异常。"),
            ("Wu^Li", "Li Wu is clear."),
            ("García^José", "Garcia, Jose is clear."),
            ("Garcia^Jose", "GARCÍAS lungs are clear."),
            ("Müller-Doe^Jo Ann", "Mueller: clear."),
            ("Mueller^Jo", "Müllers Lunge."),
            ("O'Brien^Al", "OBRIEN is clear."),
            ("O'Brien^Al", "Al is clear."),
            ("Strauß^Søren", "Strauss, Soren"),
            ("x", "John Doe is clear."),
            ("x", "As Angstrom asked."),
            ("x", "Patient P774 is clear."),
            ("x", "See AC201911."),
            ("x", "Compared with films of St Mary."),
            ("x", "Zabriskie was seen."),
            ("x", "Case 774 is clear."),
            ("x", "See #774."),
            ("x", "See 5544 33."),
            ("x", "HOSP is clear."),
            ("x", "471 is clear."),
            ("x", "RP 471 is clear."),
            ("x", "A-12 is clear."),
            ("x", "A12 is clear."),
            ("x", "S 7 is clear."),
            ("x", "Virchow agrees."),
            ("x", "From Kleinkleckersdorf."),
            ("x", "Lives at Lindenweg."),
            ("Wang^XiaoDong=王^小東", "Xiao Dong is clear."),
            ("Wang^XiaoDong", "Xiao-Dong is clear."),
            ("Wang^XiaoDong", "DONG is clear."),
            ("Wang^Xiao Dong", "Xiaodong is clear."),
            ("Featherstone^Al", "Feather stone is clear."),
            ("Rose^Effie", "Ro\u{ad}se is clear."),
            ("Rose^Effie", "Ro\u{200b}se is clear."),
            ("Rose^Effie", "R\u{43e}se is clear."),
            ("R\u{43e}se^Effie", "Rose is clear."),
        ] {
            assert!(known(name).may_be_in(text), "{name}: {text}");
        }
    }

    #[test]
    fn people_dates_and_numbers_are_found_without_being_known() {
        let known = Known::default();
        for text in [
            "Mr Li Wu was there.",
            "MR LI WU is clear.",
            "Ms. brown is clear.",
            "Dr Brown agrees.",
            "Prof. Brown agrees.",
            "Brown was told.",
            "Discussed with the surgeon.",
            "Born 1970-01-01.",
            "Since 1.5.19 unchanged.",
            "On 3/4 it was larger.",
            "Seen on 12 May.",
            "Seen in March 2019.",
            "Seen on the 3rd of June.",
            "Operated in 1999.",
            "2019年5月.",
            "2019년 5월.",
            "ID 37 is clear.",
            "MRN A12.",
            "Phone 5.",
            "Call 555 1234.",
            "Call +49 (30) 12 34.",
            "Number 12345.",
            "It is 4719.",
            "#4719 is clear.",
            "Seen on the seventeenth of May.",
            "Seen on May the twenty-first.",
            "The patient is 91.",
            "Aged 92.",
            "A 95yo man.",
            "A ninety-one year old woman.",
            "DOB 58.",
            "Write to a@b.example.",
            "A woman of 93 years.",
        ] {
            assert!(known.may_be_in(text), "{text}");
        }
    }

    #[test]
    fn findings_are_kept() {
        let known = known("Yamada^Tarou=山田^太郎");
        for text in [
            "A nodule of 12.5 mm in the right upper zone may be new.",
            "It was 12.5.",
            "Two nodules of 8 x 9 mm and 1.5 cm, on images 12 to 15.",
            "No pleural effusion. MR is advised; MR of the spine at 5 ms.",
            "To miss a lesion of 3 mm may be harmful.",
            "Compression of T11 to L2, 40 %.",
            "Heart size is normal, ratio 0.48.",
            "A woman of 40 years.",
            "A volume of 1250 ml, and 1234.5 mm in all.",
            "Saturation of the upper lobe, 95 percent of it, on 92 slices.",
            "It is 90 mm wide; the left chest tube may be first.",
            "The chest clinic is to the west of the right lung.",
        ] {
            assert!(!known.may_be_in(text), "{text}");
        }
    }
}
