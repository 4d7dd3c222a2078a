//! Reports to write: an X-ray with two views, a CT with many slices, an enhanced CT, a normal study, a hostile header.

use prelim_coordinator::report::{self, Format, KeyImage, ReportError, ReportInputs, Shading, Window};
use prelim_imaging::photometry::WindowFunction;
use prelim_proto::UNSIGNED_DRAFT_STATEMENT;
use prelim_proto::comparison::{Change, ChangeKind, Prior, PriorFinding, PriorSource};
use prelim_proto::cost::StudyCost;
use prelim_proto::finding::{Evidence, Finding, ImageBox, Laterality, Presence, Severity, Zone};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::image::{ImageAttributes, ImageKind};
use prelim_proto::report::{ModelProvenance, Report, Sentence, Urgency};
use prelim_proto::study::{Instance, Priority, Series, Study, StudyAttributes, StudyState, Unread, UnreadReason};
use prelim_proto::vocabulary::FindingCode;

/// A report with its study.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) study: Study,
    pub(crate) report: Report,
}

impl Sample {
    /// Writes it, with the key images that it wants.
    pub(crate) fn write(&self, format: Format) -> Vec<u8> {
        self.written(format).unwrap_or_else(|| panic!("nothing to show in {format} of {}", self.name))
    }

    /// Writes it; nothing where the form has nothing to show.
    pub(crate) fn written(&self, format: Format) -> Option<Vec<u8>> {
        let (key_images, shadings) = (self.key_images(), self.shadings());
        let (key_images, shadings) = (&key_images, &shadings);
        match report::write(format, &ReportInputs { report: &self.report, study: &self.study, key_images, shadings }) {
            Ok(bytes) => Some(bytes),
            Err(ReportError::NothingToShow(_)) => None,
            Err(error) => panic!("{format} of {}: {error}", self.name),
        }
    }

    /// The form as text.
    pub(crate) fn text(&self, format: Format) -> String {
        String::from_utf8(self.write(format)).unwrap()
    }

    pub(crate) fn demonstration(&self) -> bool {
        self.report.models.iter().any(|model| model.demonstration)
    }

    /// A window for every frame with boxes, as the intake's headers have them.
    fn shadings(&self) -> Vec<Shading> {
        let is_ct = self.report.kinds == [ImageKind::Ct];
        let rescale = if is_ct { (1.0, -1024.0) } else { (1.0, 0.0) };
        let (center, width) = if is_ct { (40.0, 400.0) } else { (2048.0, 4096.0) };
        let window = Some(Window { center, width, function: WindowFunction::Linear });
        let boxed = report::boxed_frames(&self.report).into_iter();
        boxed.map(|(instance, frame)| Shading { instance, frame, rescale, window }).collect()
    }

    fn key_images(&self) -> Vec<KeyImage> {
        let wanted = report::wanted_key_images(&self.report).into_iter();
        wanted.map(|(instance, frame)| KeyImage { instance, frame, png: grey_png(), width: 384, height: 384 }).collect()
    }
}

pub(crate) fn all() -> Vec<Sample> {
    vec![chest_xray(), chest_ct(), enhanced_ct(), normal(), nothing_read(), hostile(), flood(), compared()]
}

/// The chest X-ray, compared with one of six weeks before; a report of another system is at hand, too.
pub(crate) fn compared() -> Sample {
    let Sample { study, report, .. } = chest_xray();
    let then = |code, laterality, zone, severity, size_mm| PriorFinding {
        code,
        presence: Presence::Present,
        laterality,
        zone,
        severity,
        size_mm,
    };
    let (left, right) = (Some(Laterality::Left), Some(Laterality::Right));
    let effusion = then(FindingCode::PleuralEffusion, left, Some(Zone::Lower), Some(Severity::Large), None);
    let nodule = then(FindingCode::Nodule, right, Some(Zone::Upper), None, Some(11.2));
    let pneumothorax = then(FindingCode::Pneumothorax, right, None, None, None);
    let change = |kind, finding, prior| Change { kind, finding, prior };
    let xray = Prior {
        study: Uid::parse("1.2.826.0.1.3680043.8.498.90").unwrap(),
        date: "20261012".into(),
        time: "080000".into(),
        days_before: 42,
        what: "chest X-ray".into(),
        kinds: vec![ImageKind::Xray],
        source: PriorSource::Draft { version: 2, digest: Digest::from_bytes(&[7; 32]), demonstration: true },
        changes: vec![
            change(ChangeKind::New, Some(3), None),
            change(ChangeKind::Larger, Some(2), Some(nodule)),
            change(ChangeKind::Smaller, Some(0), Some(effusion)),
            change(ChangeKind::NoLongerSeen, None, Some(pneumothorax)),
        ],
    };
    let ct = Prior {
        study: Uid::parse("1.2.826.0.1.3680043.8.498.91").unwrap(),
        what: "chest <CT> & more".into(),
        kinds: vec![ImageKind::Ct],
        source: PriorSource::Report {
            instance: Uid::parse("1.2.826.0.1.3680043.8.498.91.1").unwrap(),
            digest: Digest::from_bytes(&[8; 32]),
            verified: true,
        },
        changes: Vec::new(),
        ..xray.clone()
    };
    let comparison = vec![
        "Compared with chest X-ray of 2026-10-12, 42 days before (draft by software, unsigned; demonstration model)."
            .to_owned(),
        "Larger or more: right lung nodule, upper zone, 18 mm (then 11 mm).".to_owned(),
        "No longer seen: right pneumothorax.".to_owned(),
        "At hand, and not compared finding by finding: chest <CT> & more of 2026-10-12. It says: \"</div>|^~\\&\""
            .to_owned(),
    ];
    Sample { name: "compared", study, report: Report { comparison, priors: vec![xray, ct], ..report } }
}

/// A DX study with two views by the demonstration model; the effusion is seen in both views.
pub(crate) fn chest_xray() -> Sample {
    let mut study = study("1.2.826.0.1.3680043.8.498.1", "Müller^Jörg^^Dr.");
    let view = |n: u32, position: &str| {
        let image = ImageAttributes { view_position: Some(position.to_owned()), ..image(2500, 2048, 1) };
        instance(&study.uid, "1.2.840.10008.5.1.4.1.1.1.1.1", 1, n, image)
    };
    study.series = vec![series(&study.uid, "DX", 1, "Thorax", vec![view(1, "PA"), view(2, "LL")])];
    let evidence = |n: usize, bounds: [f32; 4], confidence: f32| seen(&study, 0, n, 1, Some(bounds), confidence);
    let findings = vec![
        Finding {
            laterality: Some(Laterality::Left),
            zone: Some(Zone::Lower),
            severity: Some(Severity::Small),
            size_mm: Some(61.4),
            evidence: vec![evidence(0, [0.66, 0.58, 0.84, 0.86], 0.973), evidence(1, [0.7, 0.2, 0.86, 0.5], 0.81)],
            ..finding(FindingCode::PleuralEffusion, 0.973)
        },
        Finding { presence: Presence::Absent, ..finding(FindingCode::Pneumothorax, 0.964) },
        Finding {
            laterality: Some(Laterality::Right),
            zone: Some(Zone::Upper),
            size_mm: Some(17.6),
            evidence: vec![evidence(0, [0.2, 0.22, 0.27, 0.3], 0.712)],
            ..finding(FindingCode::Nodule, 0.712)
        },
        Finding {
            presence: Presence::Uncertain,
            evidence: vec![seen(&study, 0, 0, 1, None, 0.48)],
            ..finding(FindingCode::Cardiomegaly, 0.48)
        },
    ];
    let report = Report {
        findings,
        technique: vec!["Chest radiographs, PA and lateral views.".to_owned()],
        comparison: vec!["None available.".to_owned()],
        findings_text: vec![
            sentence("There is a small left pleural effusion in the lower zone, 61 mm.", &[0]),
            sentence("There is no pneumothorax.", &[1]),
            sentence("There is a right lung nodule in the upper zone, 18 mm.", &[2]),
            sentence("Cardiomegaly is possible.", &[3]),
        ],
        impression: vec![
            sentence("Small left pleural effusion.", &[0]),
            sentence("Right upper zone lung nodule, 18 mm.", &[2]),
            sentence("Possible cardiomegaly.", &[3]),
        ],
        urgency: Urgency::Urgent,
        limitations: vec!["The lateral view was read with little training data behind it.".to_owned()],
        models: vec![model(true)],
        ..empty_report(&study, ImageKind::Xray)
    };
    Sample { name: "chest_xray", study, report }
}

/// A CT series of 40 slices, with a mass on five, an effusion on both sides, and objects that were not read.
pub(crate) fn chest_ct() -> Sample {
    let mut study = study("1.2.826.0.1.3680043.8.498.2", "Yamada^Tarou=山田^太郎=やまだ^たろう");
    let slices =
        (1..=40).map(|n| instance(&study.uid, "1.2.840.10008.5.1.4.1.1.2", 2, n, image(512, 512, 1))).collect();
    let mut dose = instance(&study.uid, "1.2.840.10008.5.1.4.1.1.88.67", 9, 1, image(1, 1, 1));
    dose.image = None;
    let dose_uid = dose.uid.clone();
    study.series =
        vec![series(&study.uid, "CT", 2, "Lung 1.5 mm", slices), series(&study.uid, "SR", 9, "Dose", vec![dose])];
    let evidence = |n: usize, bounds: [f32; 4], confidence: f32| seen(&study, 0, n, 1, Some(bounds), confidence);
    let findings = vec![
        Finding {
            laterality: Some(Laterality::Bilateral),
            severity: Some(Severity::Moderate),
            evidence: (4..16)
                .flat_map(|n| [evidence(n, [0.62, 0.15, 0.8, 0.4], 0.93), evidence(n, [0.62, 0.6, 0.8, 0.86], 0.9)])
                .collect(),
            ..finding(FindingCode::PleuralEffusion, 0.93)
        },
        Finding {
            laterality: Some(Laterality::Right),
            zone: Some(Zone::Anterior),
            size_mm: Some(41.27),
            evidence: [22, 21, 23, 20, 24].map(|n| evidence(n, [0.3, 0.2, 0.42, 0.32], 0.9991)).to_vec(),
            ..finding(FindingCode::Mass, 0.9991)
        },
    ];
    let unread = vec![
        Unread {
            instance: dose_uid,
            frame: None,
            reason: UnreadReason::NotReadable,
            detail: "X-Ray Radiation Dose SR is no image".to_owned(),
        },
        Unread {
            instance: study.series[0].instances[39].uid.clone(),
            frame: None,
            reason: UnreadReason::Corrupt,
            detail: "pixel data of 1,024 bytes where 524,288 were expected".to_owned(),
        },
    ];
    let report = Report {
        findings,
        technique: vec!["CT of the chest, 40 slices of 1.5 mm.".to_owned()],
        impression: vec![
            sentence("Right anterior lung mass, 41 mm.", &[1]),
            sentence("Moderate bilateral pleural effusions.", &[0]),
        ],
        urgency: Urgency::Critical,
        partial: true,
        unread,
        models: vec![model(false)],
        ..empty_report(&study, ImageKind::Ct)
    };
    Sample { name: "chest_ct", study, report }
}

/// A multi-frame CT: evidence names frames.
pub(crate) fn enhanced_ct() -> Sample {
    let mut study = study("1.2.826.0.1.3680043.8.498.3", "Παπαδόπουλος^Νίκος");
    let frames = instance(&study.uid, "1.2.840.10008.5.1.4.1.1.2.1", 1, 1, image(512, 256, 60));
    study.series = vec![series(&study.uid, "CT", 1, "Enhanced", vec![frames])];
    let evidence = |frame: u32| seen(&study, 0, 0, frame, Some([0.25, 0.5, 0.5, 0.75]), 0.9);
    let findings = vec![Finding {
        laterality: Some(Laterality::Left),
        zone: Some(Zone::Mid),
        evidence: vec![evidence(17), evidence(18)],
        ..finding(FindingCode::Consolidation, 0.9)
    }];
    let impression = vec![sentence("Left mid zone consolidation.", &[0])];
    let report = Report { findings, impression, models: vec![model(false)], ..empty_report(&study, ImageKind::Ct) };
    Sample { name: "enhanced_ct", study, report }
}

/// A CR study without a finding, without dates and without a name.
pub(crate) fn normal() -> Sample {
    let mut study = study("1.2.826.0.1.3680043.8.498.4", "");
    study.attributes = StudyAttributes::default();
    let film = instance(&study.uid, "1.2.840.10008.5.1.4.1.1.1", 1, 1, image(1024, 1024, 1));
    study.series = vec![series(&study.uid, "CR", 1, "", vec![film])];
    let impression = vec![sentence("No finding of the model's list was seen.", &[])];
    let report = Report { impression, models: vec![model(false)], ..empty_report(&study, ImageKind::Xray) };
    Sample { name: "normal", study, report }
}

/// A study of which nothing could be read.
pub(crate) fn nothing_read() -> Sample {
    let mut sample = normal();
    sample.name = "nothing_read";
    sample.report.models.clear();
    sample.report.kinds.clear();
    sample.report.impression.clear();
    sample.report.partial = true;
    sample.report.unread = vec![Unread {
        instance: sample.study.series[0].instances[0].uid.clone(),
        frame: None,
        reason: UnreadReason::TransferSyntax,
        detail: "transfer syntax 1.2.840.10008.1.2.4.100 (MPEG2) has no decoder".to_owned(),
    }];
    sample
}

/// Header values that try to be markup, terminal commands, several DICOM values, or far too long.
pub(crate) fn hostile() -> Sample {
    let mut sample = chest_xray();
    sample.name = "hostile";
    let known = &mut sample.study.attributes;
    known.patient_name = "<script>alert(1)</script>^\"><img src=x onerror=alert(2)>".to_owned();
    known.patient_id = "1\\2\u{1b}[2J".to_owned();
    known.description = "x".repeat(500);
    known.accession_number = "A-very-long-accession-number\n&copy;".to_owned();
    known.study_date = "not a date".to_owned();
    known.patient_sex = "female".to_owned();
    // One group: dciodvfy of 2022 holds all groups together to the 64 characters that each of them may have.
    known.referring_physician = format!("{}^a^b^c^d^e", "R".repeat(100));
    sample.report.limitations.push("</style><script src=//host/x></script>\u{202e}txt".to_owned());
    sample
}

/// Header values that are too long by far, that end fields and messages, that hold NULs, and that no font has.
pub(crate) fn flood() -> Sample {
    let mut sample = chest_ct();
    sample.name = "flood";
    let known = &mut sample.study.attributes;
    known.patient_name = format!("{}^|^~\\&^\u{0}", "N\u{0}ame ".repeat(11_000));
    known.patient_id = "|PID~2^^^&\\.br\\\r\nMSH|^~\\&|".repeat(2_000);
    known.accession_number = "\u{1b}$B;3ED\u{1b}(B".to_owned();
    known.description =
        "\u{1f9ea}\u{13000}\u{fffe}\u{301}\u{301} \u{5d0}\u{5d1} \u{645}\u{631}\u{62d}\u{628}\u{627}".to_owned();
    known.institution = "山]]>--><!-- %PDF-1.7 endstream endobj (".repeat(200);
    known.patient_birth_date = "99999999".to_owned();
    sample.report.limitations.push("unbroken".repeat(2_000));
    sample
}

fn study(uid: &str, patient: &str) -> Study {
    Study {
        uid: Uid::parse(uid).unwrap(),
        tenant: Default::default(),
        state: StudyState::Drafted,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes: StudyAttributes {
            patient_id: "PID-4711".to_owned(),
            patient_name: patient.to_owned(),
            patient_birth_date: "19580312".to_owned(),
            patient_sex: "M".to_owned(),
            accession_number: "ACC2026-118".to_owned(),
            study_id: "118".to_owned(),
            study_date: "20261123".to_owned(),
            study_time: "135907.25".to_owned(),
            description: "Thorax p.a. & seitlich".to_owned(),
            referring_physician: "Weiß^Änne".to_owned(),
            institution: "Städtisches Klinikum".to_owned(),
            ..StudyAttributes::default()
        },
        series: Vec::new(),
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 1,
        jobs_finished: 1,
        cost: StudyCost::default(),
        intake: Default::default(),
    }
}

fn series(study: &Uid, modality: &str, number: i32, description: &str, instances: Vec<Instance>) -> Series {
    let uid = Uid::parse(&format!("{study}.{number}")).unwrap();
    Series { uid, modality: modality.to_owned(), description: description.to_owned(), number: Some(number), instances }
}

fn instance(study: &Uid, class: &str, series: u32, number: u32, image: ImageAttributes) -> Instance {
    Instance {
        uid: Uid::parse(&format!("{study}.{series}.{number}")).unwrap(),
        sop_class: Uid::parse(class).unwrap(),
        transfer_syntax: Uid::parse("1.2.840.10008.1.2.1").unwrap(),
        digest: Digest::from_bytes(&[7; 32]),
        size_bytes: 1 << 20,
        number: i32::try_from(number).ok(),
        source_name: None,
        image: Some(image),
    }
}

fn image(rows: u32, columns: u32, frames: u32) -> ImageAttributes {
    ImageAttributes {
        rows,
        columns,
        frames,
        photometric: "MONOCHROME2".to_owned(),
        body_part: Some("CHEST".to_owned()),
        ..ImageAttributes::default()
    }
}

fn seen(
    study: &Study,
    series: usize,
    instance: usize,
    frame: u32,
    bounds: Option<[f32; 4]>,
    confidence: f32,
) -> Evidence {
    Evidence {
        instance: study.series[series].instances[instance].uid.clone(),
        series: study.series[series].uid.clone(),
        frame,
        bounds: bounds.and_then(|[top, left, bottom, right]| ImageBox::new(top, left, bottom, right)),
        confidence,
    }
}

fn finding(code: FindingCode, confidence: f32) -> Finding {
    Finding {
        code,
        presence: Presence::Present,
        laterality: None,
        zone: None,
        severity: None,
        size_mm: None,
        confidence,
        evidence: Vec::new(),
    }
}

fn sentence(text: &str, findings: &[u32]) -> Sentence {
    Sentence { text: text.to_owned(), findings: findings.to_vec() }
}

fn model(demonstration: bool) -> ModelProvenance {
    ModelProvenance {
        name: if demonstration { "prelim-demo" } else { "medgemma-4b-it" }.to_owned(),
        digest: Digest::from_bytes(&[0x5a; 32]),
        prompt_version: "findings-1".to_owned(),
        preprocess_version: "1".to_owned(),
        arithmetic: "cpu f32".to_owned(),
        software_version: "0.1.0".to_owned(),
        demonstration,
        base: None,
    }
}

fn empty_report(study: &Study, kind: ImageKind) -> Report {
    Report {
        study: study.uid.clone(),
        version: 1,
        replaces: None,
        review: None,
        kinds: vec![kind],
        technique: Vec::new(),
        comparison: Vec::new(),
        priors: Vec::new(),
        findings: Vec::new(),
        findings_text: Vec::new(),
        impression: Vec::new(),
        inserted: Vec::new(),
        urgency: Urgency::Routine,
        unread: Vec::new(),
        partial: false,
        limitations: Vec::new(),
        models: Vec::new(),
        statement: UNSIGNED_DRAFT_STATEMENT.to_owned(),
    }
}

/// A grey picture of 384 × 384 pixels, bright in its middle.
fn grey_png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 384, 384);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    let shade = |at: i32| 40 + (384 - (at % 384 - 192).abs() - (at / 384 - 192).abs()) / 3;
    let shades: Vec<u8> = (0..384 * 384).map(|at| shade(at) as u8).collect();
    writer.write_image_data(&shades).unwrap();
    writer.finish().unwrap();
    bytes
}
