//! The page for people.

use prelim_coordinator::report::Format;

use crate::samples;

#[test]
fn header_values_cannot_become_markup() {
    let page = samples::hostile().text(Format::Html);
    for live in ["<script", "<img src=x", "onerror=alert(2)>", "\u{1b}", "\u{202e}", "&copy;"] {
        assert!(!page.contains(live), "{live:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn the_page_needs_no_other_host_and_no_script() {
    for sample in samples::all() {
        let page = sample.text(Format::Html);
        for word in ["http:", "https:", "<link", "<iframe", "@import", "url(", "javascript:", " style=\"", " on"] {
            let found = page.match_indices(word).find(|(at, _)| word != " on" || page[at + 3..].starts_with("click"));
            assert!(found.is_none(), "{word} in {}", sample.name);
        }
        assert!(page.contains("default-src 'none'; img-src data:; style-src 'sha256-"));
    }
}

#[test]
fn boxes_are_numbered_as_the_findings_are() {
    let sample = samples::chest_xray();
    let page = sample.text(Format::Html);
    for (n, finding) in sample.report.findings.iter().enumerate().filter(|(_, finding)| !finding.evidence.is_empty()) {
        assert!(page.contains(&format!("id=\"finding-{}\"", n + 1)));
        let boxes = finding.evidence.iter().filter(|evidence| evidence.bounds.is_some()).count();
        assert_eq!(page.matches(&format!("\"line m{n}\"")).count(), boxes, "{:?}", finding.code);
    }
    // The left effusion: 0.58 of 384 columns, 0.66 of 384 rows.
    assert!(page.contains("x=\"222.72\" y=\"253.44\""));
    assert!(
        page.contains("alt=\"PA view, with boxes around findings 1, left pleural effusion; 3, right lung nodule\"")
    );
}

#[test]
fn every_finding_shows_an_honest_confidence() {
    let page = samples::chest_ct().text(Format::Html);
    assert!(page.contains("&gt; 99 %") && page.contains("93 %") && !page.contains("100 %"));
    assert!(page.contains("It is not a probability of disease."));
}

#[test]
fn a_page_without_findings_does_not_call_the_study_normal() {
    let page = samples::normal().text(Format::Html);
    assert!(page.contains("This does not say that the study is normal."));
    assert!(page.contains("Patient without a name"));
}

#[test]
fn what_was_not_read_is_listed_with_its_reason() {
    let sample = samples::chest_ct();
    let page = sample.text(Format::Html);
    for unread in &sample.report.unread {
        assert!(page.contains(unread.instance.as_str()) && page.contains(&unread.detail));
    }
    assert!(page.contains("Partial: not everything was read"));
}
