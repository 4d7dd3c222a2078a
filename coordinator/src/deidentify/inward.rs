//! What workers say, on its way to the store.

use std::collections::HashMap;

use prelim_proto::ids::{FencingToken, JobId, Uid};
use prelim_proto::job::{ImageRole, JobOutcome, JobSpec};
use prelim_proto::study::{Unread, UnreadReason};
use prelim_proto::trace::replace_uids;

use super::Veil;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;

/// The images of a job by what workers call them.
struct Names(HashMap<Uid, Uid>);

impl Names {
    fn of(veil: &Veil, job: &JobSpec) -> Self {
        let images = job.images.iter().flat_map(|image| [&image.instance, &image.series]);
        let all = images.chain([job.id.study()]);
        Self(all.map(|uid| (veil.name(uid), uid.clone())).collect())
    }

    fn real(&self, uid: &mut Uid) -> Result<(), ServiceError> {
        let problem = || "it names an image that is not the job's".to_owned();
        *uid =
            self.0.get(uid).cloned().ok_or_else(|| ServiceError::Invalid { field: "outcome", problem: problem() })?;
        Ok(())
    }

    fn text(&self, said: &str) -> String {
        replace_uids(said, |uid| self.0.get(uid).unwrap_or(uid).to_string())
    }
}

impl Coordinator {
    /// The job that a worker names. One that is not found is lost to it.
    pub(crate) async fn job_of(&self, named: JobId, token: FencingToken) -> Result<JobId, ServiceError> {
        let Some(veil) = &self.veil else { return Ok(named) };
        match self.study_behind(veil, named.study()).await? {
            Some(study) => Ok(JobId::new(study, named.number())),
            None => Err(StoreError::LeaseLost { job: named, token }.into()),
        }
    }

    /// Of studies that a worker names, those that are known here.
    pub(crate) fn studies_of_worker(&self, named: Vec<Uid>) -> Vec<Uid> {
        match &self.veil {
            Some(veil) => named.iter().filter_map(|study| veil.studies.get(study)).collect(),
            None => named,
        }
    }

    /// An outcome as it is stored: with real UIDs, and with the images that the worker was not given.
    pub(crate) async fn unveiled_outcome(&self, job: &JobId, outcome: JobOutcome) -> Result<JobOutcome, ServiceError> {
        let Some(veil) = &self.veil else { return Ok(outcome) };
        let Some(spec) = self.spec(job).await? else { return Err(StoreError::NoJob(job.clone()).into()) };
        let names = Names::of(veil, &spec);
        // Named one by one: whatever is added to an outcome is thought of here. No question is asked of such workers.
        let JobOutcome { mut findings, frames_read, mut unread, truncated, limitations, model, cost, answer: _ } =
            outcome;
        for evidence in findings.iter_mut().flat_map(|finding| &mut finding.evidence) {
            names.real(&mut evidence.instance)?;
            names.real(&mut evidence.series)?;
        }
        for unread in &mut unread {
            names.real(&mut unread.instance)?;
            unread.detail = names.text(&unread.detail);
        }
        for image in spec.images.iter().filter(|image| image.role == ImageRole::Read) {
            if let Err(why) = self.given_of(veil, job.study(), &image.digest, image.size_bytes).await? {
                let (instance, frame) = (image.instance.clone(), Some(image.frame));
                let detail = format!("not de-identified, and so given to no worker: {why}");
                unread.push(Unread { instance, frame, reason: UnreadReason::NotReadable, detail });
            }
        }
        let limitations = limitations.iter().map(|sentence| names.text(sentence)).collect();
        Ok(JobOutcome { findings, frames_read, unread, truncated, limitations, model, cost, answer: None })
    }

    /// What a worker says of a failure, as it is stored.
    pub(crate) async fn unveiled_reason(&self, job: &JobId, reason: String) -> Result<String, ServiceError> {
        let Some(veil) = &self.veil else { return Ok(reason) };
        Ok(match self.spec(job).await? {
            Some(spec) => Names::of(veil, &spec).text(&reason),
            None => reason,
        })
    }
}
