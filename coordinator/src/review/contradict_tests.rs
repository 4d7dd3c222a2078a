use super::super::inserted::tests::report;
use super::*;

fn finding(code: FindingCode, presence: Presence, laterality: Option<Laterality>) -> Finding {
    Finding {
        code,
        presence,
        laterality,
        zone: None,
        severity: None,
        size_mm: None,
        confidence: 0.9,
        evidence: Vec::new(),
    }
}

/// What is found where a report has these findings, each with its words, and this impression.
fn found(findings: &[(Finding, &str)], impression: &[&str]) -> Vec<String> {
    let sentence =
        |(index, (_, text)): (u32, &(Finding, &str))| Sentence { text: (*text).to_owned(), findings: vec![index] };
    let all: Vec<Finding> = findings.iter().map(|(finding, _)| finding.clone()).collect();
    contradictions(&Report {
        urgency: crate::merge::urgency(&all),
        findings_text: (0..).zip(findings).map(sentence).collect(),
        findings: all,
        ..report(impression, Vec::new())
    })
}

/// A finding that is there, with a size in words.
fn sized(code: FindingCode, laterality: Option<Laterality>, severity: Severity) -> Finding {
    Finding { severity: Some(severity), ..finding(code, Presence::Present, laterality) }
}

const LEFT: Option<Laterality> = Some(Laterality::Left);
const RIGHT: Option<Laterality> = Some(Laterality::Right);
const BOTH: Option<Laterality> = Some(Laterality::Bilateral);

#[test]
fn words_that_deny_what_is_marked_present_are_named_with_it() {
    let consolidation = finding(Consolidation, Presence::Present, LEFT);
    let told = found(&[(consolidation, "No consolidation.")], &["Normal chest."]);
    assert_eq!(
        told,
        [
            "\"No consolidation.\" denies the finding \"left consolidation\", which is marked present.",
            "\"Normal chest.\" says that nothing is wrong, against the finding \"left consolidation\", which is marked present.",
        ]
    );
}

#[test]
fn denials_are_told_from_what_only_sounds_like_them() {
    for (text, is_denied) in [
        ("No pleural effusion.", true),
        ("There is no evidence of a right pleural effusion.", true),
        ("Without effusion.", true),
        ("Negative for effusion", true),
        ("Pleural effusion is absent.", true),
        ("Effusion: none.", true),
        ("A right effusion is not seen.", true),
        ("No pneumothorax, pneumonia or effusion.", true),
        ("Neither pneumothorax nor effusion.", true),
        ("No pneumothorax and effusion.", true),
        ("The chest is free of effusion.", true),
        ("None.", true),
        ("No change in the pleural effusion.", false),
        ("No new effusion.", false),
        ("No increase of the effusion.", false),
        ("Effusion, no longer increasing.", false),
        ("No large effusion.", false),
        ("No effusion larger than before.", false),
        ("No pneumothorax. Pleural effusion on the right.", false),
        ("No pneumothorax/effusion.", true),
        ("There isn't an effusion.", true),
        ("Effusion isn't seen.", true),
        ("The images don't show an effusion.", true),
        ("The effusion has resolved.", true),
        ("Resolved right effusion.", true),
        ("Interval resolution of the effusion.", true),
        ("The costophrenic angles are clear.", true),
        ("The right costophrenic angle is sharp.", true),
        ("Pleural spaces are clear.", true),
        ("The left costophrenic angle is clear.", false),
        ("The right costophrenic angle isn't clear.", false),
        ("The left costophrenic angle is clear, the right is blunted.", false),
        ("Right effusion, no left effusion.", false),
        ("No left effusion, small right effusion.", false),
        ("No pneumothorax on the left, right effusion.", false),
        ("The effusion has nearly resolved.", false),
        ("Partly resolved effusion.", false),
        ("Pneumothorax resolved and effusion on the right.", false),
        ("No pneumothorax, small right effusion.", false),
        ("No pneumothorax but an effusion.", false),
        ("No pericardial effusion.", false),
        ("No left effusion.", false),
        ("Effusion not seen previously.", false),
        ("Effusion cannot be excluded.", false),
        ("Not a large effusion.", false),
        ("Pleural effusion on the right.", false),
    ] {
        let effusion = finding(PleuralEffusion, Presence::Present, RIGHT);
        // In the impression; its own sentence has a side of its own to fit.
        let told = found(&[(effusion, "Right pleural effusion.")], &[text]);
        let is_own = text == "None.";
        assert_eq!(told.iter().any(|each| each.contains("denies")), is_denied && !is_own, "{text}: {told:?}");
        let effusion = finding(PleuralEffusion, Presence::Present, RIGHT);
        let told = found(&[(effusion, text)], &[]);
        assert_eq!(told.iter().any(|each| each.contains("denies")), is_denied, "{text}: {told:?}");
    }
    // What may be there is not denied by "no definite".
    let maybe = || finding(Consolidation, Presence::Uncertain, None);
    assert_eq!(found(&[(maybe(), "No definite consolidation.")], &[]), Vec::<String>::new());
    assert_eq!(found(&[(maybe(), "No consolidation.")], &[]).len(), 1);
}

#[test]
fn what_is_marked_absent_is_denied_by_its_words() {
    let absent =
        |text: &str, impression: &[&str]| found(&[(finding(Pneumothorax, Presence::Absent, None), text)], impression);
    for fits in ["No pneumothorax.", "Pneumothorax is not seen.", "Pneumothorax: resolved.", "Both lungs are expanded."]
    {
        assert_eq!(absent(fits, &["No pneumothorax.", "CT to look for pneumothorax."]), Vec::<String>::new(), "{fits}");
    }
    for told in [absent("Left pneumothorax.", &[]), absent("No pneumothorax.", &["Small left pneumothorax."])] {
        assert!(told.len() == 2 && told[0].contains("does not deny") && told[1].contains("urgent"), "{told:?}");
    }
}

#[test]
fn side_part_size_and_amount_are_compared() {
    let nodule = |side| Finding {
        zone: Some(Zone::Upper),
        size_mm: Some(12.4),
        severity: Some(Severity::Small),
        ..finding(Nodule, Presence::Present, side)
    };
    for (side, text, word) in [
        (LEFT, "Nodule on the right.", Some("says \"right\"")),
        (LEFT, "Nodule on the left, larger than on the right.", None),
        (LEFT, "Bilateral nodules.", Some("says \"bilateral\"")),
        (BOTH, "Nodule in the left lung.", Some("says \"left\"")),
        (BOTH, "Nodules, larger on the left.", None),
        (BOTH, "Nodules on the left and right.", None),
        (None, "Nodule on the left.", None),
        (LEFT, "Bright nodule, leftover contrast.", None),
        (LEFT, "Nodule at the left apex.", None),
        (LEFT, "Basal nodule.", Some("says \"basal\"")),
        (LEFT, "Nodule in the lower zone.", Some("says \"lower\"")),
        (LEFT, "Nodule in the upper lobe.", None),
        (LEFT, "Nodule, lower than before.", None),
        (LEFT, "Nodule of 12 mm.", None),
        (LEFT, "Nodule of 1.2 cm.", None),
        (LEFT, "Nodule of 1 cm.", None),
        (LEFT, "Nodule of 21 mm.", Some("says \"21 mm\"")),
        (LEFT, "Nodule of 3 cm.", Some("says \"3 cm\"")),
        (LEFT, "Nodule of 12 x 30 mm.", None),
        (LEFT, "Nodule of 12 mm, previously 8 mm.", None),
        (LEFT, "Nodule 3 cm above the diaphragm.", None),
        (LEFT, "Large left nodule.", Some("says \"large\"")),
        (LEFT, "Small left nodule.", None),
        (LEFT, "Moderate left nodule.", Some("says \"moderate\"")),
        (LEFT, "Small to moderate left nodule.", None),
        (LEFT, "Nodule, large.", Some("says \"large\"")),
        (LEFT, "The nodule is large.", Some("says \"large\"")),
        (LEFT, "Nodule, large heart.", None),
        (LEFT, "Nodule, not large.", None),
    ] {
        let told = found(&[(nodule(side), text)], &[]);
        assert_eq!(told.len(), usize::from(word.is_some()), "{text}: {told:?}");
        assert!(word.is_none_or(|word| told[0].contains(word) && told[0].contains("lung nodule")), "{text}: {told:?}");
    }
    // What is said of another finding is not of this one.
    let effusion = (finding(PleuralEffusion, Presence::Present, RIGHT), "Effusion.");
    assert_eq!(found(&[effusion, (nodule(LEFT), "Nodule. Effusion on the right.")], &[]), Vec::<String>::new());
    // The impression, where it can be of one finding only.
    let told = |impression: &str| found(&[(nodule(LEFT), "Left lung nodule.")], &[impression]);
    assert_eq!(told("Nodule of 45 mm in the left lung.").len(), 1);
    assert_eq!(told("Right nodule.").len(), 1);
    assert_eq!(told("No nodule on the right."), Vec::<String>::new());
    assert_eq!(
        told("Right fracture."),
        ["\"Right fracture.\" says \"fracture\", and the report has no finding \"fracture\"."]
    );
    assert_eq!(
        told("Multiple nodules."),
        ["\"Multiple nodules.\" says \"multiple\", and the report has one lung nodule."]
    );
    assert_eq!(told("Nodule of 45 mm, no effusion.").len(), 1);
}

#[test]
fn a_normal_impression_does_not_stand_beside_a_finding() {
    let with = |code, text: &str| found(&[(finding(code, Presence::Present, RIGHT), "As coded.")], &[text]);
    for text in [
        "Normal.",
        "Normal chest x-ray.",
        "The chest is normal.",
        "Unremarkable study.",
        "Within normal limits.",
        "No abnormality.",
        "No acute cardiopulmonary disease.",
        "There is no evidence of acute disease.",
        "No findings.",
        "Clear lungs, normal heart.",
        "The lungs are clear.",
    ] {
        assert_eq!(with(Consolidation, text).len(), 1, "{text}");
        assert_eq!(with(Pacemaker, text), Vec::<String>::new(), "{text}");
    }
    for text in [
        "Normal heart size.",
        "Heart and mediastinum are normal.",
        "Otherwise normal chest.",
        "Normal chest apart from this.",
        "No other abnormality.",
        "No acute change.",
        "No acute findings in the bones.",
        "No abnormal opacity on the left.",
        "Left lung clear.",
        "Not normal.",
        "Abnormal chest.",
        "Unclear opacity.",
        "Clearing of the lungs.",
        "Within 3 days.",
    ] {
        assert_eq!(with(Consolidation, text), Vec::<String>::new(), "{text}");
    }
    // What is not acute, and named, stands beside "nothing acute"; unnamed it was overlooked.
    let nodule = || (finding(Nodule, Presence::Present, RIGHT), "Right lung nodule.");
    assert_eq!(found(&[nodule()], &["No acute disease.", "Stable nodule."]), Vec::<String>::new());
    assert_eq!(found(&[nodule()], &["No acute disease."]).len(), 1);
    assert_eq!(found(&[nodule()], &["Normal chest.", "Stable nodule."]).len(), 1);
    // Nothing is wrong with what is absent.
    let absent = (finding(Consolidation, Presence::Absent, None), "No consolidation.");
    assert_eq!(found(&[absent], &["Normal chest."]), Vec::<String>::new());
}

#[test]
fn a_finding_is_not_present_and_absent() {
    let of = |presence, side| (finding(PleuralEffusion, presence, side), "");
    for (present, absent, count) in
        [(RIGHT, None, 1), (RIGHT, RIGHT, 1), (BOTH, LEFT, 1), (RIGHT, LEFT, 0), (RIGHT, BOTH, 1)]
    {
        let told = found(&[of(Presence::Present, present), of(Presence::Absent, absent)], &[]);
        assert_eq!(told.len(), count, "{present:?} {absent:?}: {told:?}");
    }
    let texts = crate::merge::findings_text(&[of(Presence::Present, RIGHT).0, of(Presence::Absent, LEFT).0]);
    let made = [(of(Presence::Present, RIGHT).0, &*texts[0].text), (of(Presence::Absent, LEFT).0, &*texts[1].text)];
    assert_eq!(found(&made, &[]), Vec::<String>::new());
    assert_eq!(found(&[of(Presence::Uncertain, RIGHT), of(Presence::Absent, None)], &[]).len(), 0);
}

#[test]
fn what_words_say_is_there_is_among_the_findings() {
    let effusion = || (sized(PleuralEffusion, LEFT, Severity::Small), "Small left pleural effusion.");
    for text in [
        "Large left pneumothorax with small effusion.",
        "Left pneumothorax.",
        "Left PTX.",
        "Left effusion and pneumothorax.",
        "There is a tension pneumothorax on the left.",
        "Possible pneumothorax.",
        "Suspicious for pneumothorax.",
        "Consistent with a pneumothorax.",
        "New left pneumothorax since the previous film.",
        "No effusion on the right, small left pneumothorax.",
        "Heart normal, left pneumothorax.",
        "Pneumothorax, no mediastinal shift.",
        "Left effusion. Pneumothorax; drain recommended.",
    ] {
        let told = found(&[effusion()], &[text]);
        assert!(told.len() == 2 && told[0].contains("the report has no finding \"pneumothorax\""), "{text}: {told:?}");
        let urgency = if text.contains("Large") { "critical" } else { "urgent" };
        let raised = format!("With the pneumothorax that is said the study would be {urgency}; its report is routine.");
        assert_eq!(told[1], raised, "{text}");
    }
    for (text, code) in [
        ("Right lower lobe infiltrate.", "consolidation"),
        ("Airspace disease.", "consolidation"),
        ("Multiple nodules.", "lung nodule"),
        ("Mass at the right hilum.", "lung mass"),
        ("The heart is enlarged.", "cardiomegaly"),
        ("Mild pulmonary oedema.", "interstitial edema"),
        ("Pacer in place.", "cardiac pacemaker"),
        ("ETT above the carina.", "endotracheal tube"),
        ("Basal atelectasis.", "atelectasis"),
        ("Broken ribs on the left.", "fracture"),
    ] {
        let told = found(&[effusion()], &[text]);
        assert!(told.len() == 1 && told[0].contains(&format!("no finding \"{code}\"")), "{text}: {told:?}");
        assert_eq!(found(&[], &[text]).len(), 1, "{text}");
    }
    for text in [
        "No change of the pneumothorax.",
        "History of pneumothorax.",
        "CT to rule out pneumothorax.",
        "To look for pneumothorax.",
        "Chest tube for pneumothorax.",
        "Pneumothorax cannot be excluded.",
        "Pneumothorax, now resolved.",
        "Pneumothorax has resolved.",
        "Previous pneumothorax.",
        "No fracture, pneumothorax.",
        "Without pneumothorax.",
        "Not consistent with pneumothorax.",
        "Skin fold rather than pneumothorax.",
        "Clinical question: pneumothorax.",
        "If there is pneumothorax, call.",
        "Effusion or consolidation.",
        "Mass effect on the trachea.",
        "Kein Pneumothorax.",
        "Pneumothorax nicht nachweisbar.",
        "Pas de pneumothorax.",
        "The patient has a knee effusion.",
        "Old healed fracture.",
    ] {
        assert_eq!(found(&[effusion()], &[text]), Vec::<String>::new(), "{text}");
    }
    // A mass is no nodule; a possible one is enough; and what was rejected is said to be.
    let nodule = |presence| [(finding(Nodule, presence, RIGHT), "As coded.")];
    assert_eq!(found(&nodule(Presence::Present), &["Right mass."]).len(), 1);
    assert_eq!(found(&nodule(Presence::Uncertain), &["Right nodule."]), Vec::<String>::new());
    // Sides and amounts are each finding's own.
    let two = [effusion(), (sized(Pneumothorax, LEFT, Severity::Moderate), "Moderate left pneumothorax.")];
    assert_eq!(
        found(&two, &["Left pneumothorax, right effusion."]),
        [
            "\"Left pneumothorax, right effusion.\" says \"right\", and the finding \"pleural effusion\" is coded as left."
        ]
    );
    assert_eq!(found(&two, &["Small left effusion and pneumothorax."]), Vec::<String>::new());
    let told = found(&two, &["Large left pneumothorax with effusion."]);
    assert!(told.len() == 2 && told[0].contains("says \"large\"") && told[1].contains("critical"), "{told:?}");
    let right = [(finding(Pneumothorax, Presence::Present, RIGHT), "Right pneumothorax.")];
    assert_eq!(found(&right, &["Left pneumothorax."]).len(), 1);
}

#[test]
fn the_words_of_a_finding_name_it() {
    let effusion = |text| found(&[(finding(PleuralEffusion, Presence::Present, LEFT), text)], &[]);
    let told = effusion("Left apical pneumothorax, 2 cm.");
    let own = "speaks of \"pneumothorax\", and is the sentence of the finding \"pleural effusion\".";
    assert!(told[0].ends_with(own) && told.len() == 3, "{told:?}");
    for fits in ["Fluid on the left.", "Left effusion next to the heart.", "Blunting of the left angle."] {
        assert_eq!(effusion(fits), Vec::<String>::new(), "{fits}");
    }
    // Also where the other one is there, too.
    let both = [
        (finding(PleuralEffusion, Presence::Present, LEFT), "Left pneumothorax."),
        (finding(Pneumothorax, Presence::Present, LEFT), "Left pneumothorax."),
    ];
    assert_eq!(found(&both, &[]).len(), 1);
}

#[test]
fn what_is_absent_is_so_on_its_side() {
    let there = || (finding(PleuralEffusion, Presence::Present, LEFT), "Left pleural effusion.");
    let absent = |text| found(&[there(), (finding(PleuralEffusion, Presence::Absent, RIGHT), text)], &[]);
    assert_eq!(absent("No right pleural effusion."), Vec::<String>::new());
    assert_eq!(
        absent("No pleural effusion."),
        ["\"No pleural effusion.\" denies the finding \"left pleural effusion\", which is marked present."]
    );
    let of = |laterality, zone| {
        let made = Finding { zone, ..finding(Nodule, Presence::Absent, laterality) };
        crate::merge::findings_text(&[made]).remove(0).text
    };
    assert_eq!(of(RIGHT, None), "No right lung nodule.");
    assert_eq!(of(BOTH, Some(Zone::Upper)), "No lung nodule on either side, upper zone.");
    assert_eq!(of(None, None), "No lung nodule.");
}

/// Sentences that software makes of findings fit them, whatever the findings are.
#[test]
fn what_is_made_of_findings_does_not_contradict_them() {
    let (presences, sides) = ([Presence::Present, Presence::Uncertain, Presence::Absent], [None, LEFT, RIGHT, BOTH]);
    let zones =
        [None, Some(Zone::Upper), Some(Zone::Mid), Some(Zone::Lower), Some(Zone::Anterior), Some(Zone::Posterior)];
    let severities = [
        None,
        Some(Severity::Small),
        Some(Severity::Mild),
        Some(Severity::Moderate),
        Some(Severity::Large),
        Some(Severity::Severe),
    ];
    for code in FindingCode::ALL {
        for (presence, side) in presences.iter().flat_map(|presence| sides.iter().map(move |side| (*presence, *side))) {
            for (zone, severity) in zones.iter().flat_map(|zone| severities.iter().map(move |each| (*zone, *each))) {
                let is_absent = presence == Presence::Absent;
                let size_mm = (!is_absent).then_some(12.5);
                let made = Finding { zone, severity, size_mm, ..finding(*code, presence, side) };
                let all = [made, finding(Nodule, Presence::Present, LEFT), finding(Fracture, Presence::Absent, None)];
                let all = &all[..if matches!(code, Nodule | Fracture) { 1 } else { 3 }];
                fits(all);
                // The same on the other side is another finding.
                if let (Some(other @ (Laterality::Left | Laterality::Right)), None) = (side, zone) {
                    let other = if other == Laterality::Left { RIGHT } else { LEFT };
                    for presence in presences {
                        let severity = severity.filter(|_| presence != Presence::Absent);
                        fits(&[all[0].clone(), Finding { severity, ..finding(*code, presence, other) }]);
                    }
                }
            }
        }
    }
}

/// Asserts that the sentences that are made of findings do not contradict them.
fn fits(all: &[Finding]) {
    let text = crate::merge::findings_text(all);
    let impression = crate::merge::impression(all, false);
    let findings: Vec<(Finding, &str)> =
        all.iter().cloned().zip(text.iter().map(|sentence| sentence.text.as_str())).collect();
    let impression: Vec<&str> = impression.iter().map(|sentence| sentence.text.as_str()).collect();
    assert_eq!(found(&findings, &impression), Vec::<String>::new(), "{findings:?} {impression:?}");
}
