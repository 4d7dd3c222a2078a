//! The studies of a patient that are held, their drafts and reports.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use prelim_imaging::Limits;
use prelim_imaging::scan::scan;
use prelim_proto::comparison::{Prior, PriorFinding, PriorSource};
use prelim_proto::ids::{Digest, Tenant, Uid};
use prelim_proto::job::JobSpec;
use prelim_proto::priors::{ToldBlob, ToldPrior};
use prelim_proto::study::{Instance, Study, StudyState};

use super::choose::{Likeness, Ruled, days_before, likeness, same_patient};
use super::document::{self, Document};
use super::region::Shown;
use super::{Compared, Earlier, NOT_WANTED, PriorRules, Reader};
use crate::report::json;
use crate::service::{Coordinator, ServiceError};
use crate::store::record::{StudyCursor, StudyQuery, StudyRecord, by_series};
use crate::traces;

/// Records of one patient that are looked at together, and in all.
const PAGE: usize = 200;
const MAX_LISTED: usize = 1_000;
/// Earlier studies whose instances are looked at, the newest.
const MAX_OPENED: usize = 32;
/// Reports of one study that are read, the smallest.
const MAX_REPORTS: usize = 16;
/// Largest object whose header is read for the issuer of the Patient ID, in bytes.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// What a draft says where that was lost.
const LOST: &str = "What the study was to be compared with could not be read any more: it was compared with nothing.";

/// Issuers that are remembered.
const MAX_ISSUERS: usize = 4_096;

/// Who gave the Patient IDs in objects, as it was read lately: no object is fetched each time that somebody opens a study.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Mutex<VecDeque<(Digest, Option<String>)>>);

impl Issuers {
    fn of(&self, object: &Digest) -> Option<Option<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(digest, _)| digest == object).map(|(_, issuer)| issuer.clone())
    }

    fn note(&self, object: &Digest, issuer: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_front((object.clone(), issuer));
        known.truncate(MAX_ISSUERS);
    }
}

/// An earlier study that may count.
struct Candidate {
    days_before: u32,
    record: StudyRecord,
}

/// Studies that are told with why they were not compared, the first.
const MAX_RULED_OUT: usize = 100;

/// How many studies were not compared, by reason; and which.
#[derive(Default)]
struct RuledOut {
    counts: BTreeMap<Ruled, usize>,
    studies: Vec<(Uid, String)>,
}

impl RuledOut {
    fn note(&mut self, study: &Uid, reason: Ruled) {
        *self.counts.entry(reason).or_default() += 1;
        if self.studies.len() < MAX_RULED_OUT {
            self.studies.push((study.clone(), reason.to_string()));
        }
    }

    /// One sentence a reason, those that readers want to know of or all.
    fn sentences(&self, all: bool) -> Vec<String> {
        let told = self.counts.iter().filter(|(reason, _)| all || reason.concerns_readers());
        let sentence = |(reason, count): (&Ruled, &usize)| match count {
            1 => format!("Another study was not compared: {reason}."),
            count => format!("{count} other studies were not compared: {reason}."),
        };
        told.map(sentence).collect()
    }
}

/// What was decided of a study's priors.
pub(crate) struct Decided {
    compared: Compared,
    told: Vec<ToldPrior>,
    /// The same in sentences, for the study's record.
    pub(crate) notes: Vec<String>,
}

impl Coordinator {
    /// Which earlier studies `study` is to be compared with, of those that are held. `missing` says why some may not be.
    pub(crate) async fn decide_priors(
        &self,
        study: &Study,
        rules: &PriorRules,
        missing: Option<String>,
    ) -> Result<Decided, ServiceError> {
        let why_none = match study.attributes.patient_id.trim() {
            _ if rules.most == 0 => Some(NOT_WANTED),
            "" => Some("Earlier studies were not looked for: the study has no Patient ID."),
            _ => None,
        };
        if let Some(why) = why_none {
            let notes = vec![why.to_owned()];
            return Ok(Decided {
                // That there is no Patient ID, a draft knows by itself.
                compared: Compared {
                    earlier: Vec::new(),
                    notes: if rules.most == 0 { notes.clone() } else { Vec::new() },
                    ruled_out: Vec::new(),
                },
                told: Vec::new(),
                notes,
            });
        }
        let mut out = RuledOut::default();
        let candidates = self.candidates(study, rules, &mut out).await?;
        let chosen = self.chosen(study, rules, candidates, &mut out).await?;
        let known: Vec<_> =
            std::iter::once(&study.attributes).chain(chosen.iter().map(|(of, _)| &of.attributes)).collect();
        let earlier = chosen.iter().map(|(_, earlier)| earlier.clone()).collect();
        let of_readers = out.sentences(false).into_iter().chain(missing.clone()).collect();
        let compared = Compared { earlier, notes: of_readers, ruled_out: out.studies.clone() };
        let told = super::tell::tell(&compared, &known);
        let mut notes: Vec<String> = compared.earlier.iter().map(|earlier| note(&earlier.prior)).collect();
        notes.extend(out.sentences(true).into_iter().chain(missing));
        let hash = traces::hash(&study.uid);
        tracing::info!(
            study.hash = hash,
            priors = compared.earlier.len(),
            ruled_out = out.counts.values().sum::<usize>(),
            "priors chosen"
        );
        Ok(Decided { compared, told, notes })
    }

    /// Stores what was decided, and names it in the jobs. Nothing is stored where there is nothing to say.
    pub(crate) async fn store_priors(
        &self,
        study: &Uid,
        decided: &Decided,
        jobs: &mut [JobSpec],
    ) -> Result<(), ServiceError> {
        if jobs.is_empty() || decided.compared == Compared::default() {
            return Ok(());
        }
        let compared = serde_json::to_vec(&decided.compared).map_err(crate::report::ReportError::from)?;
        let digest = prelim_imaging::header::digest(&compared);
        self.bytes.put(study, &digest, compared.into()).await?;
        let told = match decided.told.is_empty() {
            true => None,
            false => {
                let blob = ToldPrior::to_blob(&decided.told);
                let (digest, size_bytes) = (prelim_imaging::header::digest(&blob), blob.len() as u64);
                self.bytes.put(study, &digest, blob.into()).await?;
                Some(ToldBlob { digest, size_bytes })
            }
        };
        for job in jobs {
            job.compared = Some(digest.clone());
            job.told.clone_from(&told);
        }
        Ok(())
    }

    /// What the jobs of a study say that it is compared with.
    pub(crate) async fn compared(&self, study: &Uid, jobs: &[traces::StudyJob]) -> Result<Compared, ServiceError> {
        let Some(digest) = jobs.iter().find_map(|(_, spec, _)| spec.compared.as_ref()) else {
            return Ok(Compared::default());
        };
        let lost = || Compared { notes: vec![LOST.to_owned()], ..Compared::default() };
        match self.bytes.get(study, digest).await {
            Ok(blob) => Ok(serde_json::from_slice(&blob).unwrap_or_else(|_| lost())),
            Err(error) if error.is_retryable() => Err(error.into()),
            // The findings are worth a draft without it.
            Err(_) => Ok(lost()),
        }
    }

    /// The same as it is known now, and whether that is other than when the study was planned: where reports of earlier studies
    /// were signed, amended, rejected or drafted anew since, what stands of them counts.
    pub(crate) async fn compared_now(
        &self,
        study: &Uid,
        jobs: &[traces::StudyJob],
    ) -> Result<(Compared, bool), ServiceError> {
        let mut compared = self.compared(study, jobs).await?;
        let (mut is_other, mut earlier) = (false, Vec::new());
        for known in std::mem::take(&mut compared.earlier) {
            let uid = known.prior.study.clone();
            // What was removed since stays known as it was.
            let Some(record) = self.store.study(&uid).await? else {
                earlier.push(known);
                continue;
            };
            let held = known.prior.source.version();
            let (standing, is_signed) = (record.compared_version(), record.signed_version > 0);
            let stands = is_signed || (record.state.is_reported() && record.state != StudyState::Rejected);
            if record.state == StudyState::Rejected && held.is_some() {
                is_other = true;
                compared.notes.push(format!("Another study was not compared: {}.", Ruled::Rejected));
                compared.ruled_out.push((uid, Ruled::Rejected.to_string()));
            } else if stands && held != Some(standing) {
                match self.draft_known(&uid, standing).await? {
                    // What another system reported stands until somebody here signs.
                    Some((PriorSource::Draft { .. }, _)) if held.is_none() => earlier.push(known),
                    Some((source, now)) => {
                        is_other = true;
                        earlier.push(now(Prior { source, ..known.prior }));
                    }
                    None => earlier.push(known),
                }
            } else {
                earlier.push(known);
            }
        }
        compared.earlier = earlier;
        Ok((compared, is_other))
    }

    /// Studies with the Patient ID that may be earlier ones of the patient, by their records; the newest first.
    async fn candidates(
        &self,
        study: &Study,
        rules: &PriorRules,
        out: &mut RuledOut,
    ) -> Result<Vec<Candidate>, ServiceError> {
        let mut query = with_patient_id(&study.tenant, &study.attributes.patient_id);
        let (mut candidates, mut listed) = (Vec::new(), 0);
        loop {
            let page = self.store.studies(query.clone()).await?;
            let last = page.last().filter(|_| page.len() == PAGE);
            query.after = last.map(StudyCursor::from);
            listed += page.len();
            for record in page.into_iter().filter(|record| record.uid != study.uid) {
                match days_before(&study.attributes, &record.attributes, rules) {
                    Ok(days_before) => candidates.push(Candidate { days_before, record }),
                    Err(reason) => out.note(&record.uid, reason),
                }
            }
            if query.after.is_none() || listed >= MAX_LISTED {
                break;
            }
        }
        let newest = |of: &Candidate| {
            let said = &of.record.attributes;
            (of.days_before, std::cmp::Reverse(said.study_time.clone()), of.record.uid.clone())
        };
        candidates.sort_by_cached_key(newest);
        Ok(candidates)
    }

    /// The closest of the candidates, with what is known of them.
    async fn chosen(
        &self,
        study: &Study,
        rules: &PriorRules,
        candidates: Vec<Candidate>,
        out: &mut RuledOut,
    ) -> Result<Vec<(Study, Earlier)>, ServiceError> {
        let shown = Shown::of(study);
        let mut alike: Vec<(Likeness, u32, Study, u32, Shown)> = Vec::new();
        for (place, Candidate { days_before, record }) in candidates.into_iter().enumerate() {
            if place >= MAX_OPENED {
                out.note(&record.uid, Ruled::Enough);
                continue;
            }
            let (version, instances) = (record.standing_version(), self.store.instances(&record.uid).await?);
            let then = record.into_study(by_series(instances));
            let of = Shown::of(&then);
            match likeness(&shown, &of) {
                Ok(likeness) => alike.push((likeness, days_before, then, version, of)),
                Err(reason) => out.note(&then.uid, reason),
            }
        }
        // They came the newest first, and stay so within a likeness.
        alike.sort_by_key(|(likeness, ..)| *likeness);
        let (mut chosen, mut issuer) = (Vec::new(), None);
        for (_, days_before, then, version, of) in alike {
            if chosen.len() >= rules.most as usize {
                out.note(&then.uid, Ruled::Enough);
                continue;
            }
            if self.is_of_other_issuer(&mut issuer, &study.uid, &then.uid).await? {
                out.note(&then.uid, Ruled::Issuer);
                continue;
            }
            match self.known(&then, version, days_before, &of).await? {
                Ok(earlier) => chosen.push((then, earlier)),
                Err(reason) => out.note(&then.uid, reason),
            }
        }
        Ok(chosen)
    }

    /// The other studies that are held of the patient of one, the newest first, at most `most`: by the rule by which a study is
    /// compared with others. A Patient ID alone says of nobody who they are.
    pub(crate) async fn of_patient(&self, record: &StudyRecord, most: usize) -> Result<Vec<StudyRecord>, ServiceError> {
        let (known, mut found, mut listed) = (&record.attributes, Vec::new(), 0);
        let mut issuer = None;
        if known.patient_id.trim().is_empty() {
            return Ok(found);
        }
        let mut query = with_patient_id(&record.tenant, &known.patient_id);
        loop {
            let page = self.store.studies(query.clone()).await?;
            let last = page.last().filter(|_| page.len() == PAGE);
            query.after = last.map(StudyCursor::from);
            listed += page.len();
            let is_theirs = |other: &StudyRecord| same_patient(known, &other.attributes).is_ok();
            for other in page.into_iter().filter(|other| other.uid != record.uid && is_theirs(other)) {
                if found.len() < most && !self.is_of_other_issuer(&mut issuer, &record.uid, &other.uid).await? {
                    found.push(other);
                }
            }
            if query.after.is_none() || listed >= MAX_LISTED || found.len() >= most {
                return Ok(found);
            }
        }
    }

    /// Whether the Patient IDs of two studies are of different issuers. Where one of them names none, that says nothing. `known`
    /// keeps the issuer of the first, from one other study to the next.
    async fn is_of_other_issuer(
        &self,
        known: &mut Option<Option<String>>,
        study: &Uid,
        other: &Uid,
    ) -> Result<bool, ServiceError> {
        if known.is_none() {
            *known = Some(self.issuer(study).await?);
        }
        let Some(Some(own)) = known else { return Ok(false) };
        Ok(self.issuer(other).await?.is_some_and(|found| found != *own))
    }

    /// Issuer of Patient ID (0010,0021), from the smallest object of the study: records do not keep it.
    async fn issuer(&self, study: &Uid) -> Result<Option<String>, ServiceError> {
        let instances = self.store.instances(study).await?;
        let smallest = instances.iter().map(|held| &held.instance).min_by_key(|each| (each.size_bytes, &each.uid));
        let Some(smallest) = smallest.filter(|smallest| smallest.size_bytes <= MAX_HEADER_BYTES) else {
            return Ok(None);
        };
        if let Some(known) = self.issuers.of(&smallest.digest) {
            return Ok(known);
        }
        let Some(bytes) = self.object_of(study, smallest).await? else { return Ok(None) };
        let reading = move || {
            let scanned = scan(&bytes, &Limits::default()).ok()?;
            scanned.attributes().text(dicom_dictionary_std::tags::ISSUER_OF_PATIENT_ID)
        };
        let issuer = tokio::task::spawn_blocking(reading).await.unwrap_or_default();
        let issuer = issuer.map(|issuer| issuer.trim().to_uppercase()).filter(|issuer| !issuer.is_empty());
        self.issuers.note(&smallest.digest, issuer.clone());
        Ok(issuer)
    }

    /// The bytes of an object; none where they are damaged or gone.
    async fn object_of(&self, study: &Uid, instance: &Instance) -> Result<Option<bytes::Bytes>, ServiceError> {
        match self.bytes.get(study, &instance.digest).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_retryable() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// What is known of an earlier study: by its newest draft, or by a report of others.
    async fn known(
        &self,
        then: &Study,
        version: u32,
        days_before: u32,
        shown: &Shown,
    ) -> Result<Result<Earlier, Ruled>, ServiceError> {
        let is_rejected = then.state == StudyState::Rejected;
        let prior = |source| Prior {
            study: then.uid.clone(),
            date: crate::report::present::valid_date(&then.attributes.study_date).unwrap_or_default(),
            time: crate::report::present::valid_time(&then.attributes.study_time).unwrap_or_default(),
            days_before,
            what: shown.words(),
            kinds: shown.kinds.clone(),
            source,
            changes: Vec::new(),
        };
        let mut missing = if is_rejected { Ruled::Rejected } else { Ruled::NoReport };
        if version > 0 && !is_rejected {
            match self.draft_known(&then.uid, version).await? {
                Some((source, earlier)) => return Ok(Ok(earlier(prior(source)))),
                None => missing = Ruled::Unreadable,
            }
        }
        let Some((instance, document)) = self.newest_report(then).await? else { return Ok(Err(missing)) };
        let source = PriorSource::Report {
            instance: instance.uid.clone(),
            digest: instance.digest.clone(),
            verified: document.verified,
        };
        Ok(Ok(Earlier {
            prior: prior(source),
            words: words(&document.findings, &document.impression, &document.others),
            findings: document.coded,
            readers: Vec::new(),
            partial: false,
        }))
    }

    /// A draft of ours as what is known of its study; none where it cannot be read.
    async fn draft_known(
        &self,
        study: &Uid,
        version: u32,
    ) -> Result<Option<(PriorSource, impl FnOnce(Prior) -> Earlier + use<>)>, ServiceError> {
        let Some(draft) = self.store.draft(study, Some(version)).await? else { return Ok(None) };
        let content = match self.bytes.get(study, &draft.digest).await {
            Ok(content) => content,
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let Ok(report) = json::parse(&content).and_then(|document| document.to_report()) else { return Ok(None) };
        let demonstration = report.models.iter().any(|model| model.demonstration);
        let source = match report.standing().is_signed() {
            true => PriorSource::Signed { version: draft.version, digest: draft.digest, demonstration },
            false => PriorSource::Draft { version: draft.version, digest: draft.digest, demonstration },
        };
        let earlier = move |prior| {
            let texts = |sentences: &[prelim_proto::report::Sentence]| -> Vec<String> {
                sentences.iter().map(|sentence| sentence.text.clone()).collect()
            };
            let reader = |model: &prelim_proto::report::ModelProvenance| Reader {
                model: model.digest.clone(),
                prompt_version: model.prompt_version.clone(),
            };
            Earlier {
                prior,
                findings: Some(report.findings.iter().map(PriorFinding::from).collect()),
                readers: report.models.iter().map(reader).collect(),
                partial: report.partial,
                words: words(&texts(&report.findings_text), &texts(&report.impression), &[]),
            }
        };
        Ok(Some((source, earlier)))
    }

    /// The newest report of others in a study, one that somebody answers for before others.
    async fn newest_report<'s>(&self, study: &'s Study) -> Result<Option<(&'s Instance, Document)>, ServiceError> {
        let instances = study.series.iter().flat_map(|series| &series.instances);
        let is_report =
            |each: &&Instance| document::is_report(each.sop_class.as_str()) && each.size_bytes <= document::MAX_BYTES;
        let mut reports: Vec<&Instance> = instances.filter(is_report).collect();
        reports.sort_by_key(|each| (each.size_bytes, each.uid.clone()));
        let mut newest: Option<(&Instance, Document)> = None;
        for instance in reports.into_iter().take(MAX_REPORTS) {
            let Some(bytes) = self.object_of(&study.uid, instance).await? else { continue };
            let parsed = tokio::task::spawn_blocking(move || document::parse(&bytes)).await.unwrap_or_default();
            let Some(document) = parsed else { continue };
            let rank = |of: &Document, uid: &Uid| (of.verified, of.made.clone(), uid.clone());
            if newest.as_ref().is_none_or(|(held, known)| rank(known, &held.uid) < rank(&document, &instance.uid)) {
                newest = Some((instance, document));
            }
        }
        Ok(newest)
    }
}

/// Studies of a tenant with a Patient ID.
fn with_patient_id(tenant: &Tenant, patient_id: &str) -> StudyQuery {
    let (tenants, patient_id) = (Some(vec![tenant.clone()]), Some(patient_id.to_owned()));
    StudyQuery { tenants, patient_id, limit: PAGE, ..StudyQuery::default() }
}

/// Findings and impression in one text.
fn words(findings: &[String], impression: &[String], others: &[String]) -> String {
    let part = |heading: &str, lines: &[String]| match lines {
        [] => None,
        lines => Some(format!("{heading}: {}", lines.join(" "))),
    };
    // What a report says elsewhere stands for what it does not say under those headings.
    let others = if findings.is_empty() && impression.is_empty() { others } else { &[] };
    let parts = [part("Impression", impression), part("Findings", findings), part("Report", others)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A prior in a sentence, for the study's record.
fn note(prior: &Prior) -> String {
    let source = match &prior.source {
        PriorSource::Draft { version, .. } => format!("draft {version} of ours, unsigned"),
        PriorSource::Signed { version, .. } => format!("report {version}, signed"),
        PriorSource::Report { verified: true, .. } => "a report, verified".to_owned(),
        PriorSource::Report { verified: false, .. } => "a report, unverified".to_owned(),
    };
    let days = prior.days_before;
    let before = if days == 1 { "1 day before".to_owned() } else { format!("{days} days before") };
    format!("Compared with a {} {before} ({source}).", prior.what)
}
