//! Jobs and objects on their way to workers.

use std::time::Instant;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use prelim_imaging::Limits;
use prelim_imaging::deidentify::{Deidentified, DeidentifyError, burned_in, deidentify};
use prelim_proto::ids::{Digest, FencingToken, JobId, Uid};
use prelim_proto::job::{ImageRef, ImageRole, JobSpec, Lease};
use prelim_proto::trace::without_uids;

use super::{Given, Veil};
use crate::bytes::{BytesError, PIECE_BYTES, Pieces};
use crate::service::{Coordinator, ServiceError};
use crate::traces;

/// An object as it came, one as workers get it, and what is scanned of the first take this many times its length.
const COPIES: u64 = 3;

impl Coordinator {
    /// A lease as its worker gets it; none where the worker can be given none of the images that it should read, and the job
    /// is ended.
    pub(crate) async fn veiled_lease(&self, lease: Lease) -> Result<Option<Lease>, ServiceError> {
        let Some(veil) = &self.veil else { return Ok(Some(lease)) };
        match self.veiled_job(veil, &lease.job).await {
            Ok(job) if job.images.iter().any(|image| image.role == ImageRole::Read) => Ok(Some(Lease { job, ..lease })),
            Ok(_) => {
                let reason = self.reasons(veil, &lease.job);
                self.fail_job(&lease.job.id, lease.token, &reason, false).await?;
                Ok(None)
            }
            // What a worker would say of them, too.
            Err(ServiceError::Bytes(error @ (BytesError::Damaged(_) | BytesError::Missing(_)))) => {
                let again = matches!(error, BytesError::Missing(_));
                self.fail_job(&lease.job.id, lease.token, &error.to_string(), again).await?;
                Ok(None)
            }
            Err(error) => {
                self.take_back(&lease).await;
                Err(error)
            }
        }
    }

    /// A job as workers get it: without the images that they are not given.
    async fn veiled_job(&self, veil: &Veil, job: &JobSpec) -> Result<JobSpec, ServiceError> {
        // Named one by one: whatever is added to a job is thought of here.
        // Reports of earlier studies are free text, which is not de-identified: a worker is told nothing of them. What is
        // compared is the coordinator's own.
        let JobSpec { id, kind, images, body_part, priority, demand, told: _, compared: _ } = job;
        let study = id.study();
        veil.studies.put(veil.name(study), study.clone());
        let mut veiled = Vec::with_capacity(images.len());
        for image in images {
            let ImageRef { instance, series, frame, digest, size_bytes, role, plane, pixel_spacing_mm, label } = image;
            let Ok((digest, size_bytes)) = self.given_of(veil, study, digest, *size_bytes).await? else { continue };
            veiled.push(ImageRef {
                instance: veil.name(instance),
                series: veil.name(series),
                frame: *frame,
                digest,
                size_bytes,
                role: *role,
                plane: *plane,
                pixel_spacing_mm: *pixel_spacing_mm,
                // Words of ours: a view or a place among slices.
                label: label.clone(),
            });
        }
        Ok(JobSpec {
            id: JobId::new(veil.name(study), id.number()),
            kind: *kind,
            images: veiled,
            body_part: body_part.clone(),
            priority: *priority,
            // Words of the site's rules.
            demand: demand.clone(),
            told: None,
            compared: None,
        })
    }

    /// Why a worker is given none of the images, each reason once.
    fn reasons(&self, veil: &Veil, job: &JobSpec) -> String {
        let refused = job.images.iter().filter_map(|image| veil.given.get(&image.digest)?.err());
        let mut reasons: Vec<String> = refused.collect();
        reasons.sort();
        reasons.dedup();
        format!("no image of the job was de-identified: {}", reasons.join("; "))
    }

    /// What a worker gets of a stored object.
    pub(super) async fn given_of(
        &self,
        veil: &Veil,
        study: &Uid,
        stored: &Digest,
        size_bytes: u64,
    ) -> Result<Given, ServiceError> {
        if let Some(given) = veil.given.get(stored) {
            return Ok(given);
        }
        let given = match self.deidentified(veil, study, stored, size_bytes).await? {
            Ok(done) => {
                let digest = prelim_imaging::header::digest(&done.bytes);
                veil.stored.put(digest.clone(), stored.clone());
                if !done.shows.is_empty() {
                    let (hash, instance) = (traces::hash(study), veil.name(&done.original.instance));
                    let shows = burned_in::sentence(&done.shows);
                    tracing::warn!(study.hash = hash, %instance, shows, "given to a worker with pixels as they are");
                }
                Ok((digest, done.bytes.len() as u64))
            }
            Err(error) => {
                let hash = traces::hash(study);
                tracing::warn!(study.hash = hash, error = without_uids(&error), "not given to a worker");
                Err(error.to_string())
            }
        };
        veil.given.put(stored.clone(), given.clone());
        Ok(given)
    }

    async fn deidentified(
        &self,
        veil: &Veil,
        study: &Uid,
        stored: &Digest,
        size_bytes: u64,
    ) -> Result<Result<Deidentified, DeidentifyError>, ServiceError> {
        let mib = (size_bytes * COPIES).div_ceil(1 << 20).clamp(1, super::MEMORY_MIB as u64) as u32;
        // Never closed.
        let _room = veil.memory.acquire_many(mib).await.map_err(|_| ServiceError::Stopping)?;
        let began = Instant::now();
        let bytes = self.bytes.get(study, stored).await?;
        let (key, options) = (veil.key.clone(), veil.options);
        let work = move || deidentify(&bytes, &key, &options, &Limits::default());
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| ServiceError::Stopping)?;
        self.metrics.deidentified(done.is_ok(), began.elapsed());
        Ok(done)
    }

    /// What a worker asks for by the digest that it was given, for the holder of a lease on a job of its study.
    pub(crate) async fn veiled_object(
        &self,
        veil: &Veil,
        job: &JobId,
        token: FencingToken,
        digest: &Digest,
    ) -> Result<Pieces, ServiceError> {
        self.check_lease(job, token).await?;
        let study = job.study();
        let missing = || ServiceError::from(BytesError::Missing(digest.clone()));
        // Another coordinator may have given the lease.
        if veil.stored.get(digest).is_none() {
            let spec = self.spec(job).await?.ok_or_else(missing)?;
            self.veiled_job(veil, &spec).await?;
        }
        let stored = veil.stored.get(digest).ok_or_else(missing)?;
        let size_bytes = veil.given.get(&stored).and_then(Result::ok).map_or(0, |(_, size_bytes)| size_bytes);
        // A worker knows the digest that it was given, and no other.
        let done = self.deidentified(veil, study, &stored, size_bytes).await.map_err(|error| match error {
            ServiceError::Bytes(BytesError::Damaged(_)) => BytesError::Damaged(digest.clone()).into(),
            ServiceError::Bytes(BytesError::Missing(_)) => missing(),
            error => error,
        })?;
        let done = done.map_err(|_| missing())?;
        let bytes = Bytes::from(done.bytes);
        if prelim_imaging::header::digest(&bytes) != *digest {
            return Err(missing());
        }
        let starts = (0..bytes.len()).step_by(PIECE_BYTES);
        let pieces: Vec<_> = starts.map(|at| Ok(bytes.slice(at..bytes.len().min(at + PIECE_BYTES)))).collect();
        Ok(stream::iter(pieces).boxed())
    }

    /// A job's specification.
    pub(super) async fn spec(&self, job: &JobId) -> Result<Option<JobSpec>, ServiceError> {
        let jobs = self.store.jobs(job.study()).await?;
        Ok(jobs.into_iter().map(|(_, spec, _)| spec).find(|spec| spec.id == *job))
    }
}
