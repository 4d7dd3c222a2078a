//! Plain text.

use prelim_coordinator::report::Format;

use crate::samples;

#[test]
fn lines_fit_a_terminal_and_hold_no_control_characters() {
    for sample in samples::all() {
        let text = sample.text(Format::Text);
        for line in text.lines() {
            // Only a word that is longer than a line may pass the margin: the page cuts between words.
            let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
            assert!(line.chars().count() <= 80 || longest > 60, "{}: {line}", sample.name);
            assert!(!line.chars().any(char::is_control), "{}: {line:?}", sample.name);
        }
    }
}

#[test]
fn a_draft_reads_as_a_report() {
    let text = samples::chest_xray().text(Format::Text);
    let expected = "\
UNSIGNED DRAFT — not a medical device
DEMONSTRATION MODEL — trained on generated phantoms, not for clinical use

Patient    Müller, Dr. Jörg, ID PID-4711, born 1958-03-12 (68 y), M
Study      2026-11-23 13:59, X-ray, Thorax p.a. & seitlich
Request    accession ACC2026-118, referred by Weiß, Änne, Städtisches Klinikum
Study UID  1.2.826.0.1.3680043.8.498.1
Urgency    Urgent

IMPRESSION
- Small left pleural effusion.
- Right upper zone lung nodule, 18 mm.
- Possible cardiomegaly.

FINDINGS (4)
1. Left pleural effusion, lower zone, small, 61.4 mm, confidence 97 %
   seen on: PA view; LL view
2. No pneumothorax, confidence 96 %
3. Right lung nodule, upper zone, 17.6 mm, confidence 71 %
   seen on: PA view
4. Possible cardiomegaly, confidence 48 %
   seen on: PA view
";
    assert!(text.starts_with(expected), "{text}");
}
