//! The pages, as qpdf, poppler and DICOM's tools read them.

use prelim_coordinator::report::Format;

use crate::samples::{self, Sample};
use crate::tools;

/// The words on the pages, as poppler takes them out.
pub(crate) fn text(sample: &Sample) -> String {
    let file = tools::written(sample, Format::Pdf);
    let text = tempfile::NamedTempFile::new().unwrap();
    tools::run("pdftotext", &["-layout", file.path().to_str().unwrap()], text.path());
    std::fs::read_to_string(text.path()).unwrap()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn qpdf_finds_nothing_wrong() {
    for sample in samples::all() {
        let file = tools::written(&sample, Format::Pdf);
        let said = tools::run("qpdf", &["--check"], file.path());
        assert!(said.contains("No syntax or stream encoding errors found"), "{}: {said}", sample.name);
    }
}

#[test]
fn every_font_is_embedded() {
    for sample in samples::all() {
        let file = tools::written(&sample, Format::Pdf);
        let fonts = tools::run("pdffonts", &[], file.path());
        // name, type, encoding, emb, sub, uni, object
        let flags = |line: &str| line.matches(" yes").count();
        assert!(fonts.lines().count() > 3 && fonts.lines().skip(2).all(|line| flags(line) == 3), "{fonts}");
    }
}

#[test]
fn every_page_says_what_it_is_and_which() {
    for sample in samples::all() {
        let text = text(&sample);
        let pages: Vec<&str> = text.split('\u{c}').filter(|page| !page.trim().is_empty()).collect();
        for (number, page) in pages.iter().enumerate() {
            assert!(page.contains("UNSIGNED DRAFT — not a medical device"), "{}: {page}", sample.name);
            assert_eq!(page.contains("DEMONSTRATION MODEL"), sample.demonstration(), "{}", sample.name);
            assert!(page.contains(&format!("Page {} of {}", number + 1, pages.len())), "{}: {page}", sample.name);
        }
    }
}

#[test]
fn the_pages_say_what_the_draft_says() {
    for sample in samples::all() {
        let text = squeezed(&text(&sample));
        let sentences = sample.report.impression.iter().chain(&sample.report.findings_text);
        for sentence in sentences {
            assert!(text.contains(&squeezed(&sentence.text)), "{}: {}\n{text}", sample.name, sentence.text);
        }
        assert!(text.contains(&squeezed(&sample.report.statement)), "{}", sample.name);
    }
    let normal = squeezed(&text(&samples::normal()));
    assert!(normal.contains("This does not say that the study is normal."), "{normal}");
}

#[test]
fn names_of_other_scripts_are_on_the_page() {
    let japanese = text(&samples::chest_ct());
    assert!(
        japanese.contains("Yamada, Tarou") && japanese.contains("山田") && japanese.contains("やまだ"),
        "{japanese}"
    );
    assert!(text(&samples::enhanced_ct()).contains("Παπαδόπουλος, Νίκος"));
    let mut sample = samples::normal();
    sample.study.attributes.patient_name = "Hong^Gildong=洪^吉洞=홍^길동".to_owned();
    let korean = text(&sample);
    assert!(korean.contains("홍") && korean.contains("길동") && korean.contains("洪"), "{korean}");
    sample.study.attributes.patient_name = "قباني^لنزار".to_owned();
    let arabic = text(&sample);
    assert!(arabic.contains("قباني") || arabic.contains("ينابق"), "{arabic}");
}

#[test]
fn what_no_font_has_is_marked_and_explained() {
    let text = squeezed(&text(&samples::flood()));
    assert!(text.contains("stands for a character that no font of this page has"), "{text}");
    assert!(!squeezed(&self::text(&samples::chest_ct())).contains("stands for a character"));
}

#[test]
fn the_dicom_object_holds_the_same_pdf() {
    for sample in samples::all() {
        tools::dciodvfy(&sample, Format::DicomPdf, "EncapsulatedPDF");
        let read = tools::object(&sample, Format::DicomPdf);
        let pdf = sample.write(Format::Pdf);
        assert_eq!(read["pdf"]["length"], pdf.len(), "{}", sample.name);
        assert_eq!(read["pdf"]["sha256"], prelim_imaging::header::digest(&pdf).as_str(), "{}", sample.name);
        tools::check_header(&sample, &read, "DOC");
    }
}
