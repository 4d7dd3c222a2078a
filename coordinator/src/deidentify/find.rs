//! From pseudonyms back to studies: the key is tried on what is held, newest first.

use prelim_proto::ids::{Tenant, Uid};

use super::Veil;
use crate::service::{Coordinator, ServiceError};
use crate::store::record::{StudyCursor, StudyQuery, StudyRecord};

/// Studies that are asked for at once.
const PAGE: usize = 500;
/// Studies that are looked at.
const MAX_STUDIES: usize = 100_000;
/// Studies whose series and instances are looked at.
const MAX_DEEP: usize = 10_000;
/// Studies of one patient that are told.
const MAX_FOUND: usize = 100;

/// What a pseudonym stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Reidentified {
    /// What it is: `study_uid`, `series_uid`, `instance_uid`, `patient_id` or `accession_number`.
    pub kind: &'static str,
    /// What it was.
    pub original: String,
    /// The study in which that is.
    pub study: StudyRecord,
}

impl Coordinator {
    /// The study that workers call by this name.
    pub(super) async fn study_behind(&self, veil: &Veil, named: &Uid) -> Result<Option<Uid>, ServiceError> {
        if let Some(study) = veil.studies.get(named) {
            return Ok(Some(study));
        }
        let _one = veil.looking.lock().await;
        if let Some(study) = veil.studies.get(named) {
            return Ok(Some(study));
        }
        let mut found = None;
        let note = |study: &StudyRecord| {
            let name = veil.name(&study.uid);
            veil.studies.put(name.clone(), study.uid.clone());
            if name == *named {
                found = Some(study.uid.clone());
            }
            found.is_none()
        };
        self.each_study(None, MAX_STUDIES, note).await?;
        Ok(found)
    }

    /// What a pseudonym stands for, among the studies of the tenants given; all where none are.
    pub(crate) async fn reidentify(
        &self,
        pseudonym: &str,
        tenants: Option<Vec<Tenant>>,
    ) -> Result<Vec<Reidentified>, ServiceError> {
        let veil = self.veil.as_ref().ok_or(ServiceError::NoKey)?;
        let mut found = Vec::new();
        let look = |study: &StudyRecord| {
            let attributes = &study.attributes;
            let is = |pseudonyms: String| !pseudonyms.is_empty() && pseudonyms == pseudonym;
            let (kind, original) = if veil.name(&study.uid).as_str() == pseudonym {
                ("study_uid", study.uid.to_string())
            } else if is(veil.key.patient(&attributes.patient_id)) {
                ("patient_id", attributes.patient_id.clone())
            } else if is(veil.key.accession(&attributes.accession_number)) {
                ("accession_number", attributes.accession_number.clone())
            } else {
                return true;
            };
            found.push(Reidentified { kind, original, study: study.clone() });
            kind != "study_uid" && found.len() < MAX_FOUND
        };
        self.each_study(tenants.clone(), MAX_STUDIES, look).await?;
        if !found.is_empty() || Uid::parse(pseudonym).is_err() {
            return Ok(found);
        }
        let mut studies = Vec::new();
        let gather = |study: &StudyRecord| {
            studies.push(study.uid.clone());
            true
        };
        self.each_study(tenants, MAX_DEEP, gather).await?;
        for uid in studies {
            for record in self.store.instances(&uid).await? {
                let (series, instance) = (&record.series, &record.instance.uid);
                let part = [("series_uid", series), ("instance_uid", instance)];
                let part = part.into_iter().find(|(_, uid)| veil.name(uid).as_str() == pseudonym);
                if let Some((kind, original)) = part {
                    let (original, study) = (original.to_string(), self.record(&uid).await?);
                    return Ok(vec![Reidentified { kind, original, study }]);
                }
            }
        }
        Ok(Vec::new())
    }

    /// Shows studies, newest first and at most so many, while `look` wants more.
    async fn each_study(
        &self,
        tenants: Option<Vec<Tenant>>,
        most: usize,
        mut look: impl FnMut(&StudyRecord) -> bool,
    ) -> Result<(), ServiceError> {
        let (mut after, mut seen) = (None, 0);
        while seen < most {
            let query = StudyQuery { tenants: tenants.clone(), after, limit: PAGE, ..StudyQuery::default() };
            let page = self.studies(query).await?;
            if !page.iter().all(&mut look) || page.len() < PAGE {
                return Ok(());
            }
            seen += page.len();
            after = page.last().map(StudyCursor::from);
        }
        Ok(())
    }
}
