//! Whether a sentence may say who the patient is, or name another person. Pure.
//!
//! A sentence that may is one that has a part of a name or number that is known of the study, a title, a written date, what looks
//! like an identifier, a number to call or an address, or that tells of who was spoken to. A name that is known nowhere and has no
//! title ("Brown was asked") is not found: what is made of this is for a person to look through.

use prelim_proto::study::StudyAttributes;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Shortest part of a name, and shortest number, that is looked for as a word; single letters are everywhere.
const MIN_WORD: usize = 2;
/// From so many letters on, words that go on after the name ("Does", "Garcías") are it, too.
const MIN_BEGINNING: usize = 3;
/// Shortest number that is looked for without what is between its characters.
const MIN_JOINED: usize = 4;
/// Digits in a row that are no measurement.
const MIN_DIGITS: usize = 5;
/// Digits in all that are a number to call, where only spaces, dots, dashes and brackets are between them.
const MIN_CALLED: usize = 7;
/// Ages from which there are few people of an age.
const OLD: std::ops::Range<u32> = 90..130;

/// Titles, places to reach somebody, and words for telling somebody something.
const OF_PEOPLE: &str = "dr drs prof professor doctor doctors mrs mister frau herr herrn mme mlle monsieur madame senor senora sra \
    signor signora san sama sensei phone phoned telephone telephoned tel fax faxed pager paged email mail mailed \
    http https www address street told informed notified communicated discussed conveyed spoke spoken called \
    contacted relayed monday tuesday wednesday thursday friday saturday sunday";
/// Titles that are other words, too (magnetic resonance, multiple sclerosis, to miss): these are titles before a capital letter.
const TITLES: [&str; 3] = ["mr", "ms", "miss"];
/// What stands before an identifier.
const LABELS: &str = "id mrn pid accession acc chart ssn nhs room bed ward number";
/// Months, as they are written beside a number.
const MONTHS: &str = "january february march april may june july august september october november december jan feb mar apr jun \
    jul aug sep sept oct nov dec januar februar marz maerz mai juni juli oktober dezember janvier fevrier mars \
    avril juin juillet aout septembre octobre novembre decembre enero febrero marzo abril mayo junio julio \
    agosto octubre diciembre";
/// Years, months and days of East Asian dates, and what is said after names there.
const AFTER_NUMBERS: [&str; 6] = ["年", "月", "日", "년", "월", "일"];
const AFTER_NAMES: [&str; 3] = ["さん", "先生", "医師"];

/// What is known of the people of a study.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Parts of names, and numbers, as words.
    words: Vec<String>,
    /// Parts of names in scripts that have no spaces, and numbers without what is between their characters.
    inside: Vec<String>,
}

impl Known {
    /// What headers say of the patient and the request, and who else is named (as DICOM writes names).
    pub(super) fn of<'a>(patient: &'a StudyAttributes, people: impl Iterator<Item = &'a str>) -> Self {
        let mut known = Self::default();
        for name in [patient.patient_name.as_str(), &patient.referring_physician].into_iter().chain(people) {
            known.add_name(name);
        }
        for number in [&patient.patient_id, &patient.accession_number, &patient.study_id, &patient.patient_birth_date] {
            known.add_number(number);
        }
        known.add_place(&patient.institution);
        known
    }

    /// Also a place. Its words ("West", "Chest Clinic") are words of reports: it is looked for as a whole.
    pub(super) fn add_place(&mut self, name: &str) {
        let name = joined(&folded(name));
        if name.chars().count() >= MIN_BEGINNING {
            push(&mut self.inside, &name);
        }
    }

    fn add_name(&mut self, name: &str) {
        for part in name.split(['^', '=', ',']).flat_map(str::split_whitespace) {
            for spelling in spellings(part) {
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
        let number = joined(&folded(number));
        if number.chars().count() >= MIN_JOINED {
            push(&mut self.inside, &number);
        } else if number.chars().count() >= MIN_WORD {
            push(&mut self.words, &number);
        }
    }

    /// Whether `text` may say who somebody is.
    pub(super) fn may_be_in(&self, text: &str) -> bool {
        let is_said = spellings(text).iter().any(|spelling| {
            let joined = joined(spelling);
            let is_word = |word: &str| self.words.iter().any(|known| is_of(word, known));
            words(spelling).any(is_word) || self.inside.iter().any(|known| joined.contains(known.as_str()))
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

fn push(to: &mut Vec<String>, word: &str) {
    if !word.is_empty() && !to.iter().any(|held| held == word) {
        to.push(word.to_owned());
    }
}

/// A text without capitals, accents and other forms of the same letters.
fn folded(text: &str) -> String {
    let plain = text.chars().flat_map(char::to_lowercase).nfkd().filter(|c| !is_combining_mark(*c));
    let mut folded = String::with_capacity(text.len());
    for c in plain {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ı' => folded.push('i'),
            c => folded.push(c),
        }
    }
    folded
}

/// The ways to write it without accents: "Müller" is "muller" and "mueller".
fn spellings(text: &str) -> Vec<String> {
    let mut spelt = String::with_capacity(text.len());
    for c in text.nfc().flat_map(char::to_lowercase) {
        match c {
            'ä' => spelt.push_str("ae"),
            'ö' | 'ø' => spelt.push_str("oe"),
            'ü' => spelt.push_str("ue"),
            'å' => spelt.push_str("aa"),
            c => spelt.push(c),
        }
    }
    let (plain, spelt) = (folded(text), folded(&spelt));
    if plain == spelt { vec![plain] } else { vec![plain, spelt] }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|held| held == word)
}

fn joined(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether a letter is of a script whose words have no spaces between them, or take endings of their own: Thai, Hangul (whole
/// or taken apart), kana, Han.
fn has_no_spaces(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0E7F | 0x1100..=0x11FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF
            | 0x20000..=0x3FFFF)
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

/// Whether it has a date, in figures or with the name of its month, a year, or a great age.
fn is_dated(folded: &str) -> bool {
    let all: Vec<&str> = words(folded).collect();
    let starts_with_digit =
        |at: Option<usize>| at.and_then(|at| all.get(at)).is_some_and(|word| word.starts_with(char::is_numeric));
    for (at, word) in all.iter().enumerate() {
        let before = at.checked_sub(1).filter(|before| all[*before] != "of").or(at.checked_sub(2));
        if is_in(MONTHS, word) && (starts_with_digit(before) || starts_with_digit(Some(at + 1))) {
            return true;
        }
        let number = word.parse::<u32>().unwrap_or_default();
        let is_age = all.get(at + 1).is_some_and(|next| ["y", "yo", "yr"].contains(next) || next.starts_with("year"));
        if (word.len() == 4 && (1_900..2_100).contains(&number)) || (OLD.contains(&number) && is_age) {
            return true;
        }
    }
    let figures = figures(folded);
    let is_day = |pair: &[Figure<'_>]| {
        let [first, second] = pair else { return false };
        first.after == "/" && first.digits.len() <= 2 && second.digits.len() <= 2
    };
    let is_whole = |three: &[Figure<'_>]| {
        let [first, second, third] = three else { return false };
        let between = first.after.trim();
        matches!(between, "/" | "-" | "." | "–" | "‐") && second.after.trim() == between && third.digits.len() <= 4
    };
    let is_eastern = |figure: &Figure<'_>| {
        let after = figure.after.trim_start();
        AFTER_NUMBERS.iter().any(|unit| after.starts_with(&*self::folded(unit)))
    };
    figures.windows(2).any(is_day) || figures.windows(3).any(is_whole) || figures.iter().any(is_eastern)
}

/// Whether it has digits that are no measurement.
fn has_long_numbers(folded: &str) -> bool {
    let mut called = 0;
    for Figure { digits, after } in figures(folded) {
        let count = digits.chars().count();
        called += count;
        if count >= MIN_DIGITS || called >= MIN_CALLED {
            return true;
        }
        let is_between = |c: char| c.is_whitespace() || matches!(c, '-' | '/' | '.' | '(' | ')' | '+' | '–' | '‐');
        if !after.chars().all(is_between) || after.chars().count() > 3 {
            called = 0;
        }
    }
    false
}

/// Digits, and what comes between them and the next ones.
struct Figure<'a> {
    digits: &'a str,
    after: &'a str,
}

fn figures(text: &str) -> Vec<Figure<'_>> {
    let mut found = Vec::new();
    let mut rest = text.find(char::is_numeric).map_or("", |at| &text[at..]);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let next = after.find(char::is_numeric).unwrap_or(after.len());
        found.push(Figure { digits, after: &after[..next] });
        rest = &after[next..];
    }
    found
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
            ..StudyAttributes::default()
        };
        Known::of(&patient, ["Doe^John^^Dr."].into_iter())
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
        ] {
            assert!(!known.may_be_in(text), "{text}");
        }
    }
}
