//! What changed since an earlier study: findings of then and now put together by code, side and place, and sentences made from
//! what came of it. Words and structure cannot disagree: each sentence is made from the changes that it tells of.

use prelim_proto::comparison::{Change, ChangeKind, Prior, PriorFinding};
use prelim_proto::finding::{Finding, Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::report::ModelProvenance;
use prelim_proto::study::Study;

use super::join::{Identity, family, identity};
use super::prose;
use crate::priors::{Compared, Earlier};
use crate::report::present;

/// From this share of the earlier size on, a difference counts. Sizes come from boxes, whose edges are coarse.
const CHANGED_SHARE: f32 = 0.2;
/// And from this length on, in mm: slices show a thing as large as it is, films enlarge it by the patient's place.
const CHANGED_CT_MM: f32 = 3.0;
const CHANGED_XRAY_MM: f32 = 5.0;
/// Characters of a report of others that a draft quotes.
const QUOTED: usize = 400;

/// What the comparison rests on: the study that is read, with its merged findings.
pub(super) struct Now<'a> {
    pub(super) study: &'a Study,
    pub(super) kinds: &'a [ImageKind],
    pub(super) findings: &'a [Finding],
    pub(super) partial: bool,
    pub(super) models: &'a [ModelProvenance],
    /// A person changed the findings since the models made them.
    pub(super) is_decided: bool,
}

/// How a report takes an earlier study into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Finding by finding.
    Compared,
    /// In what its report says: that has no codes.
    Words,
    /// By name: another one is compared.
    Named,
}

/// How a report with this comparison takes `prior` into account.
pub(crate) fn taken(comparison: &[String], prior: &Prior) -> Taken {
    let begins = |with: String| comparison.iter().any(|sentence| sentence.starts_with(&with));
    if !prior.changes.is_empty() || begins(compared_with(prior)) {
        Taken::Compared
    } else if begins(words_of(prior)) {
        Taken::Words
    } else {
        Taken::Named
    }
}

/// How the comparison with a study begins, and how the mention of one whose report has no codes does.
fn compared_with(prior: &Prior) -> String {
    format!("Compared with {}.", present::prior(prior))
}

fn words_of(prior: &Prior) -> String {
    format!("At hand, and not compared finding by finding: {}.", present::prior(prior))
}

/// The comparison in sentences, and the earlier studies with what changed since one of them: the closest by the same kind of
/// image whose findings are coded, or else by another.
pub(super) fn compare(now: &Now<'_>, compared: &Compared) -> (Vec<String>, Vec<Prior>) {
    let is_coded = |earlier: &&Earlier| earlier.findings.is_some();
    let shares_kind = |earlier: &&Earlier| earlier.prior.kinds.iter().any(|kind| now.kinds.contains(kind));
    let coded = || compared.earlier.iter().filter(is_coded);
    let chosen = coded().find(shares_kind).or_else(|| coded().next()).map(|earlier| earlier.prior.study.clone());
    let (mut sentences, mut priors) = (Vec::new(), Vec::new());
    for earlier in &compared.earlier {
        let mut prior = earlier.prior.clone();
        match &earlier.findings {
            Some(findings) if chosen.as_ref() == Some(&prior.study) => {
                prior.changes = changes(now, earlier, findings);
                // What is compared is told first.
                let told = told(now, earlier, &prior);
                sentences.splice(0..0, told);
            }
            Some(_) => sentences
                .push(format!("Also at hand, and not compared finding by finding: {}.", present::prior(&prior))),
            None => sentences.push(quote(&prior, &earlier.words)),
        }
        priors.push(prior);
    }
    if compared.earlier.is_empty() {
        let has_id = !now.study.attributes.patient_id.trim().is_empty();
        if !has_id {
            sentences.push("Earlier studies were not looked for: the study has no Patient ID.".to_owned());
        } else if compared.notes.is_empty() {
            sentences.push("No earlier study was at hand.".to_owned());
        }
    }
    sentences.extend(compared.notes.iter().cloned());
    (sentences, priors)
}

/// What became of each finding, in the order of [`ChangeKind::ALL`], then as the findings are listed.
fn changes(now: &Now<'_>, earlier: &Earlier, then: &[PriorFinding]) -> Vec<Change> {
    let seen_now: Vec<(u32, &Finding)> =
        (0..).zip(now.findings).filter(|(_, finding)| finding.presence != Presence::Absent).collect();
    let seen_then: Vec<&PriorFinding> = then.iter().filter(|finding| finding.presence != Presence::Absent).collect();
    let pairs = pairs(&seen_now, &seen_then);
    let same_kind = shared_kind(now, &earlier.prior);
    let mut changes: Vec<Change> = Vec::new();
    for (place, (index, finding)) in seen_now.iter().enumerate() {
        let pair = pairs.iter().find(|(now, _)| *now == place).map(|(_, then)| seen_then[*then]);
        let kind = match pair {
            Some(then) => size_change(finding, then, same_kind),
            None if same_kind.is_some() && !earlier.partial => ChangeKind::New,
            None => ChangeKind::SeenOnlyNow,
        };
        changes.push(Change { kind, finding: Some(*index), prior: pair.cloned() });
    }
    for (place, finding) in seen_then.iter().enumerate() {
        if pairs.iter().all(|(_, then)| *then != place) {
            let is_gone = same_kind.is_some() && !now.partial;
            let kind = if is_gone { ChangeKind::NoLongerSeen } else { ChangeKind::SeenOnlyThen };
            changes.push(Change { kind, finding: None, prior: Some((*finding).clone()) });
        }
    }
    changes.sort_by_key(|change| ChangeKind::ALL.iter().position(|kind| *kind == change.kind));
    changes
}

/// The kind of image that both studies have, where there is one; with both, sizes are those of CT.
fn shared_kind(now: &Now<'_>, prior: &Prior) -> Option<ImageKind> {
    [ImageKind::Ct, ImageKind::Xray].into_iter().find(|kind| now.kinds.contains(kind) && prior.kinds.contains(kind))
}

/// Findings of now and then that are one thing, by their places in the lists: the best fits first, each finding once.
fn pairs(now: &[(u32, &Finding)], then: &[&PriorFinding]) -> Vec<(usize, usize)> {
    let mut fits: Vec<(u32, usize, usize)> = Vec::new();
    for (place, (_, finding)) in now.iter().enumerate() {
        for (other, earlier) in then.iter().enumerate() {
            fits.extend(misfit(finding, earlier).map(|misfit| (misfit, place, other)));
        }
    }
    fits.sort_unstable();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (_, place, other) in fits {
        if pairs.iter().all(|(now, then)| *now != place && *then != other) {
            pairs.push((place, other));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// How badly two findings fit together, 0 for the best; none where they are not one thing.
///
/// Images of two studies are not registered, so that only side, part and size can tell: of things that may be several on one
/// side, parts must be the same or neighbours, since the border between thirds is coarse.
fn misfit(now: &Finding, then: &PriorFinding) -> Option<u32> {
    if family(now.code) != family(then.code) {
        return None;
    }
    let code = u32::from(now.code != then.code);
    let side = match (now.laterality, then.laterality) {
        (a, b) if a == b => 0,
        (None, _) | (_, None) | (Some(Laterality::Bilateral), _) | (_, Some(Laterality::Bilateral)) => 1,
        _ if identity(now.code) == Identity::Patient => 1,
        _ => return None,
    };
    if identity(now.code) != Identity::Place {
        return Some(side * 100 + code);
    }
    let zone = match (now.zone, then.zone) {
        (a, b) if a == b => 0,
        (None, _) | (_, None) => 1,
        (Some(Zone::Mid), _) | (_, Some(Zone::Mid)) => 2,
        _ => return None,
    };
    let size = match (now.size_mm, then.size_mm) {
        (Some(a), Some(b)) => ((a.max(b) / a.min(b).max(1.0) - 1.0) * 10.0).clamp(0.0, 90.0) as u32,
        _ => 5,
    };
    Some(side * 1_000 + zone * 300 + size + code)
}

/// What became of a finding that is on both studies. Sides come before sizes, measured sizes before estimates; sizes on
/// different kinds of image are not compared.
fn size_change(now: &Finding, then: &PriorFinding, same_kind: Option<ImageKind>) -> ChangeKind {
    use Laterality::Bilateral;
    match (now.laterality, then.laterality) {
        (Some(Bilateral), Some(one)) if one != Bilateral => return ChangeKind::Larger,
        (Some(one), Some(Bilateral)) if one != Bilateral => return ChangeKind::Smaller,
        _ => {}
    }
    let Some(kind) = same_kind else { return ChangeKind::Unchanged };
    let difference = match (now.size_mm.map(tenths), then.size_mm.map(tenths), now.severity, then.severity) {
        (Some(now), Some(then), ..) => {
            let counts = (now - then).abs() >= threshold_mm(kind).max(CHANGED_SHARE * then);
            if counts { now - then } else { 0.0 }
        }
        (_, _, Some(now), Some(then)) => amount(now) - amount(then),
        _ => 0.0,
    };
    match difference {
        d if d > 0.0 => ChangeKind::Larger,
        d if d < 0.0 => ChangeKind::Smaller,
        _ => ChangeKind::Unchanged,
    }
}

fn threshold_mm(kind: ImageKind) -> f32 {
    match kind {
        ImageKind::Ct => CHANGED_CT_MM,
        ImageKind::Xray => CHANGED_XRAY_MM,
    }
}

/// A length as drafts keep it: those of the earlier study were.
fn tenths(mm: f32) -> f32 {
    (mm * 10.0).round() / 10.0
}

/// Amounts that are compared: the words of two scales, three steps each.
fn amount(severity: Severity) -> f32 {
    match severity {
        Severity::Small | Severity::Mild => 1.0,
        Severity::Moderate => 2.0,
        Severity::Large | Severity::Severe => 3.0,
    }
}

/// The comparison with one study, in sentences.
fn told(now: &Now<'_>, earlier: &Earlier, prior: &Prior) -> Vec<String> {
    let mut sentences = vec![compared_with(prior)];
    let with = |kind: ChangeKind| prior.changes.iter().filter(move |change| change.kind == kind);
    for kind in ChangeKind::ALL {
        let each: Vec<String> = with(kind).map(|change| in_words(now, change)).collect();
        if !each.is_empty() {
            sentences.push(format!("{}: {}.", heading(kind), each.join("; ")));
        }
    }
    if prior.changes.is_empty() {
        sentences.push("No finding on either of them.".to_owned());
    }
    let measured = |change: &Change| {
        let then = change.prior.as_ref().and_then(|then| then.size_mm);
        change.finding.and_then(|index| now.findings[index as usize].size_mm).zip(then).is_some()
    };
    match shared_kind(now, prior) {
        Some(kind) if prior.changes.iter().any(measured) => sentences.push(format!(
            "A measured size counts as changed from {:.0} % and {:.0} mm of difference on.",
            CHANGED_SHARE * 100.0,
            threshold_mm(kind)
        )),
        Some(_) => {}
        None => sentences.push(
            "The two are of different kinds, which do not show the same: what is on one of them alone may be no change, and \
             sizes were not compared."
                .to_owned(),
        ),
    }
    if (now.partial || earlier.partial) && shared_kind(now, prior).is_some() {
        let which = match (now.partial, earlier.partial) {
            (true, true) => "Neither study was read whole",
            (true, false) => "This study was not read whole",
            _ => "The earlier study was not read whole",
        };
        sentences.push(format!("{which}: a finding that was not seen may be there."));
    }
    let is_known = |model: &ModelProvenance| {
        earlier.readers.iter().any(|it| it.model == model.digest && it.prompt_version == model.prompt_version)
    };
    // No model: a person's.
    if now.models.is_empty() || !now.models.iter().all(is_known) {
        let reader = if earlier.readers.is_empty() { "another reader" } else { "another model or prompt" };
        sentences.push(format!("The earlier findings are of {reader}: some differences may be the readers'."));
    } else if now.is_decided {
        sentences.push(
            "The findings of this study are as a person decided on them, the earlier ones were read by the same model: some \
             differences may be the readers'."
                .to_owned(),
        );
    }
    sentences
}

/// A report that has only words: they stand for themselves.
fn quote(prior: &Prior, words: &str) -> String {
    let words = present::shortened(words, QUOTED).replace('"', "'");
    let said = if words.is_empty() { "It holds no words".to_owned() } else { format!("It says: \"{words}\"") };
    format!("{} {said}", words_of(prior))
}

fn heading(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::New => "New",
        ChangeKind::Larger => "Larger or more",
        ChangeKind::Smaller => "Smaller or less",
        ChangeKind::NoLongerSeen => "No longer seen",
        ChangeKind::Unchanged => "Unchanged",
        ChangeKind::SeenOnlyNow => "Seen now, and not then",
        ChangeKind::SeenOnlyThen => "Seen then, and not now",
    }
}

/// One change: "right lung nodule, upper zone, 18 mm; then 12 mm".
fn in_words(now: &Now<'_>, change: &Change) -> String {
    let current = change.finding.map(|index| &now.findings[index as usize]);
    match (current, &change.prior) {
        (Some(current), Some(then)) => {
            let was = what_differed(current, then);
            let was = if was.is_empty() { was } else { format!(" (then {was})") };
            format!("{}{was}", prose::detailed(current))
        }
        (Some(current), None) => prose::detailed(current),
        (None, Some(then)) => prose::detailed(&as_finding(then)),
        (None, None) => String::new(),
    }
}

/// What the earlier study said of it otherwise than this one.
fn what_differed(now: &Finding, then: &PriorFinding) -> String {
    let mut parts: Vec<String> = Vec::new();
    if then.presence != now.presence && then.presence == Presence::Uncertain {
        parts.push("possible".to_owned());
    }
    if then.presence != now.presence && then.presence == Presence::Present {
        parts.push("sure".to_owned());
    }
    if then.code != now.code {
        parts.push(then.code.name().to_owned());
    }
    parts.extend(then.severity.filter(|_| then.severity != now.severity).map(|s| present::severity(s).to_owned()));
    parts.extend(
        then.laterality.filter(|_| then.laterality != now.laterality).map(|s| present::laterality(s).to_owned()),
    );
    parts.extend(then.zone.filter(|_| then.zone != now.zone).map(|z| present::zone(z).to_owned()));
    let sizes = then.size_mm.map(tenths).zip(now.size_mm.map(tenths));
    match (then.size_mm, sizes) {
        (Some(_), Some((then, now))) if then == now => {}
        (Some(mm), _) => parts.push(present::millimetres(mm)),
        (None, _) => {}
    }
    parts.join(", ")
}

fn as_finding(then: &PriorFinding) -> Finding {
    Finding {
        code: then.code,
        presence: then.presence,
        laterality: then.laterality,
        zone: then.zone,
        severity: then.severity,
        size_mm: then.size_mm,
        confidence: 0.0,
        evidence: Vec::new(),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
