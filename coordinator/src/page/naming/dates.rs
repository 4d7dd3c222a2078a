//! Dates, great ages, and numbers that are no measurements. Pure.

use crate::spelling::{folded, is_in, words};

/// Digits in a row that are no measurement, but where the unit of a size is after them.
const MIN_DIGITS: usize = 4;

/// The same, whatever is after them.
const MIN_LONG: usize = 5;

/// Units of sizes.
const SIZES: [&str; 6] = ["mm", "cm", "ml", "cc", "um", "m\u{b2}"];

/// Digits in all that are a number to call, where only spaces, dots, dashes and brackets are between them.
const MIN_CALLED: usize = 7;

/// Ages from which there are few people of an age.
const OLD: std::ops::Range<u32> = 90..130;

/// Words by which a number is an age, where they stand close before or right after it.
const OF_AGE: &str = "age aged old patient woman man lady gentleman female male he she";

/// Such ages in words.
const OLD_IN_WORDS: [&str; 5] = ["ninety", "nineties", "nonagenarian", "centenarian", "nonagenarians"];

/// Words between that and the age.
const NEAR: usize = 3;

/// What a number is of that is no age.
const UNITS: &str =
    "mm cm m ml cc um hu percent per kg kv kvp ma mas ms msv mgy hz bpm degrees degree images slices of";

/// Days of a month in words.
const ORDINALS: &str = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth \
    fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth twenty thirty";

/// Months, as they are written beside a number.
const MONTHS: &str = "january february march april may june july august september october november december jan feb mar apr jun \
    jul aug sep sept oct nov dec januar februar marz maerz mai juni juli oktober dezember janvier fevrier mars \
    avril juin juillet aout septembre octobre novembre decembre enero febrero marzo abril mayo junio julio \
    agosto octubre diciembre";

/// Years, months and days of East Asian dates.
const AFTER_NUMBERS: [&str; 6] = ["年", "月", "日", "년", "월", "일"];

/// Whether a text in folded letters has a date, in figures or with the name of its month, a year, or a great age.
pub(super) fn is_dated(text: &str) -> bool {
    let all: Vec<&str> = words(text).collect();
    let is_day = |at: Option<usize>| {
        let word = at.and_then(|at| all.get(at));
        word.is_some_and(|word| word.starts_with(char::is_numeric) || is_in(ORDINALS, word))
    };
    for (at, word) in all.iter().enumerate() {
        let before = at.checked_sub(1).filter(|before| all[*before] != "of").or(at.checked_sub(2));
        let after = if all.get(at + 1) == Some(&"the") { at + 2 } else { at + 1 };
        if is_in(MONTHS, word) && (is_day(before) || is_day(Some(after))) {
            return true;
        }
        let number = word.parse::<u32>().unwrap_or_default();
        if (word.len() == 4 && (1_900..2_100).contains(&number)) || is_great_age(&all, at) {
            return true;
        }
    }
    let figures = figures(text);
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
        AFTER_NUMBERS.iter().any(|unit| after.starts_with(&*folded(unit)))
    };
    figures.windows(2).any(is_day) || figures.windows(3).any(is_whole) || figures.iter().any(is_eastern)
}

/// Whether the word there is an age above 89: in words, with years after it, or close to a word that tells of people.
fn is_great_age(all: &[&str], at: usize) -> bool {
    let word = all[at];
    let (digits, years) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    let is_years = |word: &str| ["y", "yo", "yr", "yrs"].contains(&word) || word.starts_with("year");
    if OLD_IN_WORDS.contains(&word) {
        return true;
    }
    if !digits.parse().is_ok_and(|age: u32| OLD.contains(&age)) {
        return false;
    }
    let next = all.get(at + 1).copied().unwrap_or_default();
    let is_near = || all[at.saturating_sub(NEAR)..at].iter().any(|before| is_in(OF_AGE, before)) || is_in(OF_AGE, next);
    is_years(years) || (years.is_empty() && (is_years(next) || (!is_in(UNITS, next) && is_near())))
}

/// Whether it has digits that are no measurement: a number to call, an identifier, or four and more that are no size.
pub(super) fn has_long_numbers(text: &str) -> bool {
    let mut called = 0;
    let figures = figures(text);
    for (at, Figure { digits, after }) in figures.iter().enumerate() {
        let count = digits.chars().count();
        called += count;
        // The unit of "1234.5 mm" is after its decimals.
        let decimals = figures.get(at + 1).filter(|_| matches!(*after, "." | ","));
        let unit = decimals.map_or(*after, |decimals| decimals.after);
        let is_size = words(unit).next().is_some_and(|unit| SIZES.contains(&unit));
        if count >= MIN_LONG || (count >= MIN_DIGITS && !is_size) || called >= MIN_CALLED {
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
