//! Jobs, leases and outcomes, between coordinator and worker.

use super::study::priority;
use super::{ConvertError, all, bad, each, enums, finding, known, required};
use crate::demand::{Demand, MAX_ADAPTERS, MAX_PROMPTS, ModelName, Offer, PromptName};
use crate::ids::{Digest, FencingToken, JobId, Uid};
use crate::image::{ImageKind, Plane};
use crate::job::{ImageRef, ImageRole, JobKind, JobOutcome, JobSpec, Lease};
use crate::priors::ToldBlob;
use crate::v1;

enums!("role", ImageRole, v1::ImageRole, { Read, Context });

impl From<JobKind> for v1::JobKind {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Read(ImageKind::Xray) => Self::ReadXray,
            JobKind::Read(ImageKind::Ct) => Self::ReadCt,
            JobKind::Merge => Self::Merge,
            JobKind::Answer => Self::Answer,
        }
    }
}

impl TryFrom<v1::JobKind> for JobKind {
    type Error = ConvertError;
    fn try_from(kind: v1::JobKind) -> Result<Self, ConvertError> {
        match kind {
            v1::JobKind::ReadXray => Ok(Self::Read(ImageKind::Xray)),
            v1::JobKind::ReadCt => Ok(Self::Read(ImageKind::Ct)),
            v1::JobKind::Merge => Ok(Self::Merge),
            v1::JobKind::Answer => Ok(Self::Answer),
            v1::JobKind::Unspecified => Err(ConvertError::Enum { field: "kind", value: 0 }),
        }
    }
}

impl From<Plane> for v1::Plane {
    fn from(p: Plane) -> Self {
        Self { position_mm: p.position_mm.into(), row: p.row.into(), column: p.column.into() }
    }
}

impl TryFrom<v1::Plane> for Plane {
    type Error = ConvertError;
    fn try_from(p: v1::Plane) -> Result<Self, ConvertError> {
        let three = |field, v: Vec<f64>| match <[f64; 3]>::try_from(v) {
            Ok(v) if v.iter().all(|x| x.is_finite()) => Ok(v),
            Ok(v) => Err(bad(field, v)),
            Err(v) => Err(bad(field, v)),
        };
        Ok(Self {
            position_mm: three("position_mm", p.position_mm)?,
            row: three("row", p.row)?,
            column: three("column", p.column)?,
        })
    }
}

impl From<ImageRef> for v1::ImageRef {
    fn from(i: ImageRef) -> Self {
        Self {
            instance_uid: i.instance.into(),
            series_uid: i.series.into(),
            frame: i.frame,
            digest: i.digest.into(),
            size_bytes: i.size_bytes,
            role: v1::ImageRole::from(i.role) as i32,
            plane: i.plane.map(Into::into),
            pixel_spacing: i.pixel_spacing_mm.map(|(row_mm, column_mm)| v1::PixelSpacing { row_mm, column_mm }),
            label: i.label,
        }
    }
}

impl TryFrom<v1::ImageRef> for ImageRef {
    type Error = ConvertError;
    fn try_from(i: v1::ImageRef) -> Result<Self, ConvertError> {
        if i.frame == 0 {
            return Err(bad("image.frame", i.frame));
        }
        let spacing = i.pixel_spacing.map(|s| (s.row_mm, s.column_mm));
        if spacing.is_some_and(|(row, column)| !(row > 0.0 && column > 0.0)) {
            return Err(bad("pixel_spacing", spacing));
        }
        Ok(Self {
            instance: Uid::parse(&i.instance_uid)?,
            series: Uid::parse(&i.series_uid)?,
            frame: i.frame,
            digest: Digest::parse(&i.digest)?,
            size_bytes: i.size_bytes,
            role: known::<v1::ImageRole>("role", i.role)?.try_into()?,
            plane: i.plane.map(TryInto::try_into).transpose()?,
            pixel_spacing_mm: spacing,
            label: i.label,
        })
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(j: JobSpec) -> Self {
        Self {
            id: j.id.into(),
            kind: v1::JobKind::from(j.kind) as i32,
            images: all(j.images),
            body_part: j.body_part,
            priority: v1::Priority::from(j.priority) as i32,
            told: j.told.map(|told| v1::ToldPriors { digest: told.digest.into(), size_bytes: told.size_bytes }),
            model: name(j.demand.model),
            prompt: name(j.demand.prompt),
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = ConvertError;
    fn try_from(j: v1::JobSpec) -> Result<Self, ConvertError> {
        Ok(Self {
            id: JobId::parse(&j.id)?,
            kind: known::<v1::JobKind>("kind", j.kind)?.try_into()?,
            images: each(j.images)?,
            body_part: j.body_part,
            priority: priority(j.priority)?,
            demand: demand(&j.model, &j.prompt)?,
            told: j.told.map(told).transpose()?,
            compared: None,
        })
    }
}

/// A name in a message field; empty where there is none.
pub(super) fn name<T: Into<String>>(name: Option<T>) -> String {
    name.map(Into::into).unwrap_or_default()
}

/// A demand from two message fields, each empty where nothing is demanded.
fn demand(model: &str, prompt: &str) -> Result<Demand, ConvertError> {
    let model = if model.is_empty() { None } else { Some(ModelName::parse(model)?) };
    let prompt = if prompt.is_empty() { None } else { Some(PromptName::parse(prompt)?) };
    Ok(Demand { model, prompt })
}

impl Offer {
    /// What a worker offers, from the fields of a message.
    pub fn from_wire(model: &str, adapters: &[String], prompts: &[String]) -> Result<Self, ConvertError> {
        if adapters.len() > MAX_ADAPTERS {
            return Err(bad("adapters", format!("{} of them, more than {MAX_ADAPTERS}", adapters.len())));
        }
        if prompts.len() > MAX_PROMPTS {
            return Err(bad("prompts", format!("{} of them, more than {MAX_PROMPTS}", prompts.len())));
        }
        let model = if model.is_empty() { None } else { Some(ModelName::parse(model)?) };
        let adapters = adapters.iter().map(|name| ModelName::parse(name)).collect::<Result<_, _>>()?;
        let prompts = prompts.iter().map(|name| PromptName::parse(name)).collect::<Result<_, _>>()?;
        Ok(Self { model, adapters, prompts })
    }
}

fn told(told: v1::ToldPriors) -> Result<ToldBlob, ConvertError> {
    Ok(ToldBlob { digest: Digest::parse(&told.digest)?, size_bytes: told.size_bytes })
}

impl From<Lease> for v1::Lease {
    fn from(l: Lease) -> Self {
        Self {
            job: Some(l.job.into()),
            token: l.token.0,
            attempt: l.attempt,
            ttl_ms: l.ttl_ms,
            waited_ms: l.waited_ms,
            attempt_waited_ms: l.attempt_waited_ms,
            asked: l.asked.map(Into::into),
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = ConvertError;
    fn try_from(l: v1::Lease) -> Result<Self, ConvertError> {
        Ok(Self {
            job: required("job", l.job)?.try_into()?,
            token: FencingToken(l.token),
            attempt: l.attempt,
            ttl_ms: l.ttl_ms,
            waited_ms: l.waited_ms,
            attempt_waited_ms: l.attempt_waited_ms,
            asked: l.asked.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<JobOutcome> for v1::JobOutcome {
    fn from(o: JobOutcome) -> Self {
        Self {
            findings: all(o.findings),
            frames_read: o.frames_read,
            unread: all(o.unread),
            truncated: o.truncated,
            limitations: o.limitations,
            model: Some(o.model.into()),
            cost: Some(o.cost.into()),
            answer: o.answer.map(Into::into),
        }
    }
}

impl TryFrom<v1::JobOutcome> for JobOutcome {
    type Error = ConvertError;
    fn try_from(o: v1::JobOutcome) -> Result<Self, ConvertError> {
        Ok(Self {
            findings: each(o.findings)?,
            frames_read: o.frames_read,
            unread: each(o.unread)?,
            truncated: o.truncated,
            limitations: o.limitations,
            model: finding::provenance(o.model)?,
            cost: o.cost.unwrap_or_default().into(),
            answer: o.answer.map(TryInto::try_into).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::ImageBox;
    use crate::question::{Asked, QuestionKind};
    use crate::study::Priority;

    #[test]
    fn a_lease_survives_the_wire() {
        let lease = Lease {
            job: JobSpec {
                id: JobId::new(Uid::parse("1.2.3").unwrap(), 4),
                kind: JobKind::Read(ImageKind::Ct),
                images: vec![ImageRef {
                    instance: Uid::parse("1.2.3.4").unwrap(),
                    series: Uid::parse("1.2.3.5").unwrap(),
                    frame: 2,
                    digest: Digest::from_bytes(&[7; 32]),
                    size_bytes: 10,
                    role: ImageRole::Context,
                    plane: Some(Plane { position_mm: [1.0, 2.0, 3.0], row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] }),
                    pixel_spacing_mm: Some((0.7, 0.7)),
                    label: "slice 1 of 2".into(),
                }],
                body_part: Some("CHEST".into()),
                priority: Priority::Stat,
                demand: Demand::from_key("a model\ta-prompt").unwrap(),
                told: Some(ToldBlob { digest: Digest::from_bytes(&[8; 32]), size_bytes: 99 }),
                compared: None,
            },
            token: FencingToken(9),
            attempt: 1,
            ttl_ms: 30_000,
            waited_ms: 12,
            attempt_waited_ms: 5,
            asked: Some(Asked {
                kind: QuestionKind::Describe,
                text: String::new(),
                report: "Impression: none.".into(),
                is_ct: true,
                bounds: ImageBox::new(0.1, 0.2, 0.3, 0.4),
            }),
        };
        assert_eq!(Lease::try_from(v1::Lease::from(lease.clone())), Ok(lease.clone()));

        let mut flat = v1::Lease::from(lease);
        flat.job.as_mut().unwrap().images[0].plane.as_mut().unwrap().row.pop();
        assert!(Lease::try_from(flat).is_err());
    }
}
