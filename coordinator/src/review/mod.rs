//! Radiologists answer for reports: a draft is signed as it is or with changes, a signed report is amended, a draft is rejected.
//!
//! # Layout
//! - `edit`: what an edit makes of a report; `agreed`: what became of a draft, over all its reviews (pure)
//! - `contradict`: where its words say another thing than its findings; `phrases`: English sentences taken apart; `said`: which
//!   findings they say are there (pure)
//! - `inserted`: which of its sentences have words of a model's answer; `wording`: where the words of all are from (pure)
//! - here: a review from the request to the version that holds it
//!
//! **Invariant**: a version does not change. What is signed, amended or rejected is a new one, which says who reviewed which
//! version when, and what was decided of each finding.
//! **Invariant**: only the newest version can be reviewed, or what stands where that is a rejection; of two who review at once one
//! is told that it came late.
//! **Invariant**: a draft that was rejected is signed by who says that they have seen that, and by nobody else.
//! **Invariant**: nobody signs who is not known by name.
//! **Invariant**: a report that contradicts itself is signed by who says that they have seen it, and by nobody else.

mod agreed;
pub(crate) mod contradict;
pub(crate) mod edit;
mod inserted;
pub(crate) mod phrases;
mod said;
mod wording;

pub(crate) use self::agreed::Agreed;
use jiff::Timestamp;
use prelim_proto::ids::Uid;
use prelim_proto::report::{Replaced, Report};
use prelim_proto::review::{Assessment, Decision, Edit, Review, Reviewer, Standing};
use prelim_proto::study::Study;
use prelim_proto::trace::without_uids;

use crate::access::{Caller, Refusal};
use crate::merge;
use crate::report::{self, Format, Identifiers, ReportInputs, present};
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::StoreError;
use crate::store::record::{Done, DraftRecord, Judged, Reviewed};
use crate::summary::summary;

/// Longest id of a request, in characters.
const MAX_REQUEST: usize = 64;

/// What a reviewer wants of the newest version of a study's report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// The study.
    pub(crate) study: Uid,
    /// The version that was reviewed.
    pub(crate) version: u32,
    /// The id of the request.
    pub(crate) request: String,
    /// What it is to become; none where it is rejected.
    pub(crate) edit: Option<Edit>,
    /// Why.
    pub(crate) reason: String,
    /// The reviewer has seen where it contradicts itself.
    pub(crate) contradictions_seen: bool,
    /// The version that says that the draft was rejected, where the reviewer has seen that and signs it all the same; else 0.
    pub(crate) rejection_seen: u32,
}

impl Wanted {
    /// Tells it from what another person wants, or wants otherwise.
    fn fingerprint(&self, caller: &str) -> String {
        let all = format!("{:?}", (caller, self.version, &self.edit, &self.reason));
        prelim_imaging::header::digest(all.as_bytes()).as_str()[..32].to_owned()
    }
}

impl Coordinator {
    /// Reviews a report: the version that came of it, and where it stands. What came of it is in the audit, and before anything
    /// is signed.
    pub(crate) async fn review(&self, session: &Session, wanted: Wanted) -> Result<(u32, Standing), ServiceError> {
        let study = wanted.study.clone();
        let done = self.review_as(session, wanted).await;
        if let Err(error) = &done {
            // What the report says of the patient is for no audit.
            let why = match error {
                ServiceError::Contradicts(found) => format!("the report contradicts itself {} times", found.len()),
                error => without_uids(error),
            };
            session.note_review(&study, Err(&why)).await?;
        }
        done
    }

    /// The report as a review would make it. Nothing is stored.
    pub(crate) async fn preview(&self, session: &Session, wanted: Wanted) -> Result<Report, ServiceError> {
        let Wanted { study: uid, version, edit, reason, .. } = wanted;
        let record = self.record(&uid).await?;
        let reviewer = self.reviewer(session.caller(), &record.attributes.institution)?;
        let newest = self.store.draft(&uid, None).await?.filter(|_| record.state.is_reported());
        let Some(newest) = newest else {
            return Err(ServiceError::NoDraft { study: uid, state: record.state, reason: record.state_reason });
        };
        let Some(before) = self.reviewable(&uid, &newest, record.standing_version(), version).await? else {
            return Err(StoreError::Outdated(uid).into());
        };
        let standing = if record.signed_version > 0 { Standing::Amended } else { Standing::Signed };
        let study = self.study(&uid).await?;
        self.reviewed(&study, (&before, newest.version + 1), edit, standing, reason, (reviewer, session.caller())).await
    }

    async fn review_as(&self, session: &Session, wanted: Wanted) -> Result<(u32, Standing), ServiceError> {
        let caller = session.caller();
        let said = wanted.fingerprint(&caller.key());
        let Wanted { study: uid, version, request: id, edit, reason, contradictions_seen, rejection_seen } = wanted;
        if id.is_empty() || id.chars().count() > MAX_REQUEST || !id.chars().all(|c| c.is_ascii_graphic()) {
            let problem = format!("not 1 to {MAX_REQUEST} printable characters without blanks");
            return Err(ServiceError::Invalid { field: "request_id", problem });
        }
        // An id says nothing of who sends it, nor of what is to be done.
        let request = format!("{id} {said}");
        let reason = edit::text("the reason", &reason).map_err(|error| invalid("reason", &error))?;
        let record = self.record(&uid).await?;
        let reviewer = self.reviewer(caller, &record.attributes.institution)?;
        let newest = self.store.draft(&uid, None).await?;
        match newest.as_ref().filter(|newest| newest.request.split(' ').next() == Some(id.as_str())) {
            // The answer to this request was lost.
            Some(done) if done.request == request => return Ok((done.version, done.standing)),
            Some(_) => return Err(StoreError::RequestReused(id).into()),
            None => {}
        }
        let Some(newest) = newest.filter(|_| record.state.is_reported()) else {
            return Err(ServiceError::NoDraft { study: uid, state: record.state, reason: record.state_reason });
        };
        if newest.standing == Standing::Rejected && newest.version == version {
            let problem = format!("version {version} says that draft {} was rejected: review that one", version - 1);
            return Err(ServiceError::Invalid { field: "version", problem });
        }
        let Some(before) = self.reviewable(&uid, &newest, record.standing_version(), version).await? else {
            return Err(StoreError::Outdated(uid).into());
        };
        if newest.standing == Standing::Rejected && before.standing.is_draft() && rejection_seen != newest.version {
            return Err(ServiceError::DraftRejected { draft: before.version, rejection: newest.version });
        }
        let standing = match (&edit, record.signed_version) {
            (Some(_), 0) => Standing::Signed,
            (Some(_), _) => Standing::Amended,
            (None, _) => Standing::Rejected,
        };
        if standing == Standing::Rejected && (before.version != newest.version || !newest.standing.is_draft()) {
            return Err(StoreError::WrongState { study: uid, state: record.state }.into());
        }
        if standing != Standing::Signed && reason.is_empty() {
            let problem = match standing {
                Standing::Rejected => "why the draft is rejected is not said",
                _ => "a signed report is amended, and why is not said",
            };
            let problem = problem.to_owned();
            return Err(ServiceError::Invalid { field: "reason", problem });
        }
        let study = self.study(&uid).await?;
        let reviewed =
            self.reviewed(&study, (&before, newest.version + 1), edit, standing, reason, (reviewer, caller)).await?;
        if standing == Standing::Amended
            && before.standing.is_signed()
            && says_the_same(&self.held_report(&uid, &before).await?, &reviewed)
        {
            let problem = "nothing of the signed report is changed: there is nothing to amend".to_owned();
            return Err(ServiceError::Invalid { field: "decisions", problem });
        }
        let contradictions = contradict::contradictions(&reviewed);
        if !contradictions.is_empty() && !contradictions_seen {
            return Err(ServiceError::Contradicts(contradictions));
        }
        let inputs = ReportInputs { report: &reviewed, study: &study, key_images: &[], shadings: &[] };
        let content = report::write(Format::Json, &inputs)?;
        let digest = prelim_imaging::header::digest(&content);
        let objects = match standing {
            // What was signed before is what stands.
            Standing::Rejected if record.signed_version > 0 => self.objects_of(&study, record.signed_version).await?,
            _ => report::objects(&reviewed, &study),
        };
        // Where a draft is rejected that came after a signature, what was signed stands.
        let judged = match standing {
            Standing::Rejected if record.signed_version > 0 => None,
            _ => Some(self.judged(&reviewed).await?),
        };
        let summary = summary(&reviewed, &study, record.summary.as_ref(), judged);
        let objects = objects.iter().map(ToString::to_string).collect();
        let commit = Reviewed {
            version: newest.version + 1,
            standing,
            request,
            digest: digest.clone(),
            size_bytes: content.len() as u64,
            objects,
            summary,
            deliveries: self.wishes(&study, standing.into(), record.signed_version > 0),
        };
        self.bytes.put(&uid, &digest, content.into()).await?;
        let word = present::standing_word(standing);
        let seen = match contradictions.len() {
            0 => String::new(),
            count => format!(", {count} contradictions seen"),
        };
        session.note_review(&uid, Ok(&format!("version {}, {word}{seen}", commit.version))).await?;
        if self.store.commit_review(&uid, commit).await? == Done::Now {
            self.metrics.reviewed(&reviewed);
            self.deliveries.notify_one();
            self.changed(&uid);
        }
        Ok((newest.version + 1, standing))
    }

    /// The version of that number, where it can be reviewed: the newest, or where that says that a draft was rejected, that draft
    /// or what stands.
    async fn reviewable(
        &self,
        study: &Uid,
        newest: &DraftRecord,
        standing: u32,
        version: u32,
    ) -> Result<Option<DraftRecord>, ServiceError> {
        Ok(match newest.standing {
            Standing::Rejected if version == standing || version == newest.version - 1 => {
                self.store.draft(study, Some(version)).await?
            }
            Standing::Rejected => None,
            _ => Some(newest.clone()).filter(|newest| newest.version == version),
        })
    }

    /// What a review came to, for counts.
    async fn judged(&self, reviewed: &Report) -> Result<Judged, ServiceError> {
        let decisions = self.agreed(reviewed).await?.iter().map(|each| (each.code, each.decision)).collect();
        Ok(Judged { at_ms: reviewed.review.as_ref().map_or(0, |review| review.at_ms), decisions })
    }

    /// What became, in a reviewed version, of the draft that it goes back to: over all reviews in between.
    pub(crate) async fn agreed(&self, reviewed: &Report) -> Result<Vec<Agreed>, ServiceError> {
        let mut replaced = reviewed.replaces.clone();
        while let Some(version) = replaced {
            let Some(held) = self.store.draft(&reviewed.study, Some(version.version)).await? else { break };
            let report = self.held_report(&reviewed.study, &held).await?;
            if report.review.is_none() {
                return Ok(agreed::agreed(&report, &report::tracking(&report)?, reviewed));
            }
            replaced = report.replaces;
        }
        Ok(Vec::new())
    }

    /// What a reviewer took out of the signed version, for a draft that is made after it; nothing where nothing was.
    pub(crate) async fn taken_out(&self, study: &Uid, signed: u32) -> Result<Option<String>, ServiceError> {
        let Some(held) = self.store.draft(study, Some(signed)).await? else { return Ok(None) };
        let report = self.held_report(study, &held).await?;
        let rejected = |assessment: &Assessment| {
            let finding = assessment.before.as_ref().filter(|_| assessment.decision == Decision::Rejected)?;
            let why = if assessment.reason.is_empty() { String::new() } else { format!(" ({})", assessment.reason) };
            Some(format!("{}{why}", present::finding_title(finding)))
        };
        let review = report.review.iter().flat_map(|review| &review.assessments);
        let rejected: Vec<String> = review.filter_map(rejected).collect();
        let words = rejected.join("; ");
        Ok((!rejected.is_empty())
            .then(|| format!("From report {signed}, which is signed, its reviewer took out: {words}.")))
    }

    /// The DICOM objects that a version can be had as.
    async fn objects_of(&self, study: &Study, version: u32) -> Result<Vec<Format>, ServiceError> {
        let Some(held) = self.store.draft(&study.uid, Some(version)).await? else { return Ok(Vec::new()) };
        Ok(report::objects(&self.held_report(&study.uid, &held).await?, study))
    }

    /// Who reviews.
    fn reviewer(&self, caller: &Caller, institution: &str) -> Result<Reviewer, ServiceError> {
        let name = caller.person.clone().ok_or_else(|| Refusal::NoPerson { caller: caller.name.clone() })?;
        let named = [self.config.organization.as_deref().unwrap_or_default(), institution.trim(), "not stated"];
        let organization = named.into_iter().find(|name| !name.is_empty()).unwrap_or_default().to_owned();
        Ok(Reviewer { id: caller.name.clone(), name, organization })
    }

    /// The report that comes of a review of a version, as the version `next`.
    async fn reviewed(
        &self,
        study: &Study,
        (held, next): (&DraftRecord, u32),
        edit: Option<Edit>,
        standing: Standing,
        reason: String,
        (reviewer, caller): (Reviewer, &Caller),
    ) -> Result<Report, ServiceError> {
        let before = self.held_report(&study.uid, held).await?;
        let inputs = ReportInputs { report: &before, study, key_images: &[], shadings: &[] };
        let Identifiers { document, mut tracking } = report::identifiers(&inputs)?;
        let added = edit.as_ref().map_or(0, |edit| edit.added.len());
        for place in 0..added {
            tracking.push(report::tracking_of_added(&study.uid, next, place)?);
        }
        let at_ms = Timestamp::now().as_millisecond();
        let mut after = before.clone();
        let assessments = match edit {
            None => edit::reject(&before, &tracking),
            Some(wanted) => {
                let taken = self.taken((&reviewer, caller), &study.uid).await?;
                let edited =
                    edit::apply(&before, &tracking, study, &wanted).map_err(|error| invalid("the report", &error))?;
                let (compared, is_other) = self.compared_now(&study.uid, &self.store.jobs(&study.uid).await?).await?;
                if edited.is_changed || is_other {
                    // What changed since earlier studies is told of the findings and of their reports as they are now.
                    (after.comparison, after.priors) = merge::comparison(study, &edited.findings, &before, &compared);
                }
                if edited.is_changed {
                    after.urgency = merge::urgency(&edited.findings);
                }
                after.findings = edited.findings;
                after.findings_text = edited.findings_text;
                after.impression = edited.impression;
                after.inserted = inserted::of(&before, &after, &taken);
                edited.assessments
            }
        };
        if standing == Standing::Rejected {
            // What was rejected is told as assessments alone.
            after.findings.clear();
            after.findings_text.clear();
            after.impression.clear();
            after.inserted.clear();
            after.comparison.clear();
            after.priors.iter_mut().for_each(|prior| prior.changes.clear());
            after.urgency = merge::urgency(&[]);
        }
        after.version = next;
        let words =
            if standing == Standing::Rejected { Vec::new() } else { wording::of(&before, &after, &reviewer.name) };
        let review = Review { standing, reviewer, at_ms, reason, document, assessments, words };
        after.replaces = Some(Replaced { version: held.version, digest: held.digest.clone(), standing: held.standing });
        after.statement = present::statement(&review);
        after.review = Some(review);
        Ok(after)
    }
}

/// Whether two versions say the same of the patient.
fn says_the_same(before: &Report, after: &Report) -> bool {
    let words = |report: &Report| -> Vec<String> {
        let sentences = report.findings_text.iter().chain(&report.impression);
        sentences.map(|sentence| sentence.text.clone()).chain(report.comparison.iter().cloned()).collect()
    };
    before.findings == after.findings && words(before) == words(after)
}

fn invalid(field: &'static str, error: &edit::EditError) -> ServiceError {
    ServiceError::Invalid { field, problem: error.to_string() }
}
