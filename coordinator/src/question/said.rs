//! Whether a text has words of a model's answer. Pure: it looks at the words, however they are written.

use std::collections::HashSet;

/// Words in a row that are the answer's, where a text has as many of one of its lines.
const RUN: usize = 5;
/// Words of a line that is known inside of a text; a shorter one is known only as the whole text.
const SHORTEST: usize = 3;

/// Whether a text has a run of words of a line, or all of a shorter line.
pub(crate) fn has_words_of(text: &[String], line: &[String]) -> bool {
    match line.len().min(RUN) {
        0 => false,
        run if run < SHORTEST => text == line,
        run => {
            let said: HashSet<&[String]> = text.windows(run).collect();
            line.windows(run).any(|part| said.contains(part))
        }
    }
}

/// Whether a text has a long run of words of a line. Short lines, such as "No pneumothorax.", are everybody's: who writes one has
/// it of nobody.
pub(crate) fn has_long_run_of(text: &[String], line: &[String]) -> bool {
    line.len() >= RUN && has_words_of(text, line)
}

/// The words of a text, in lower case and without what stands between them. In writing without blanks each character is one.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for c in text.chars() {
        let is_alone = c >= '\u{2e80}' && c.is_alphanumeric();
        if !c.is_alphanumeric() {
            is_open = false;
            continue;
        }
        match words.last_mut().filter(|_| is_open && !is_alone) {
            Some(word) => word.extend(c.to_lowercase()),
            None => words.push(c.to_lowercase().collect()),
        }
        is_open = !is_alone;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_without_blanks_has_words_too() {
        assert_eq!(words("左侧, Größe 3 mm"), ["左", "侧", "größe", "3", "mm"]);
        assert!(has_words_of(&words("可见左侧胸腔积液"), &words("左侧胸腔积液")));
    }

    #[test]
    fn what_nobody_said_is_inserted_is_known_by_many_words_in_a_row() {
        let said = words("The left costophrenic angle is blunted.");
        for (text, some, many) in [
            ("Seen: the left costophrenic angle is blunted", true, true),
            ("The costophrenic angle on the left is blunted.", false, false),
        ] {
            assert_eq!(
                (has_words_of(&words(text), &said), has_long_run_of(&words(text), &said)),
                (some, many),
                "{text}"
            );
        }
        let short = words("No pneumothorax.");
        assert!(has_words_of(&short, &short) && !has_long_run_of(&short, &short));
    }
}
