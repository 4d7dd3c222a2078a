//! What comes together: the objects of one association, or of one upload.

use std::collections::BTreeSet;

use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::job::JobState;

use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::Arriving;

/// Studies of one sending that are told when it ends. One of more is waited for by its quiet period.
const MAX_STUDIES: usize = 10_000;
/// Longest name of a sender that is kept, in characters.
const MAX_SENDER: usize = 64;

/// One association or upload. Those who end it say so by [`Coordinator::end`]; where nobody does, because the sender
/// vanished in the middle, its studies are waited for by their quiet period.
#[derive(Debug)]
pub struct Sending {
    /// Whom the studies belong to.
    pub tenant: Tenant,
    /// Application entity title, or name of the caller.
    sender: String,
    /// A name that no other sending has.
    association: String,
    /// Studies whose records know of it.
    studies: BTreeSet<Uid>,
    /// Studies of which it brought what the byte store had lost.
    restored: BTreeSet<Uid>,
    /// Something could not be stored, so that the sender will come again.
    is_broken: bool,
}

impl Sending {
    /// A sending that begins.
    pub fn new(tenant: Tenant, sender: &str) -> Self {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let sender = sender.chars().take(MAX_SENDER).map(plain).collect();
        let association = format!("{:032x}", rand::random::<u128>());
        Self { tenant, sender, association, studies: BTreeSet::new(), restored: BTreeSet::new(), is_broken: false }
    }

    /// Notes that bytes of a study are there again.
    pub(super) fn restored(&mut self, study: &Uid) {
        self.restored.insert(study.clone());
    }

    /// Notes that an object was not stored, though nothing is wrong with it.
    pub(crate) fn break_off(&mut self) {
        self.is_broken = true;
    }
}

impl Coordinator {
    /// Notes in a study's record that a sending brings instances of it.
    pub(super) async fn note_sending(&self, sending: &mut Sending, study: &Uid) -> Result<(), ServiceError> {
        if sending.studies.contains(study) || sending.studies.len() >= MAX_STUDIES {
            return Ok(());
        }
        let (association, sender) = (sending.association.clone(), sending.sender.clone());
        self.store.note_arriving(study, Arriving::Begun { association, sender }).await?;
        sending.studies.insert(study.clone());
        Ok(())
    }

    /// Notes that a sending ended: `released` where the sender said so itself, and did not break off.
    ///
    /// # Errors
    /// The store's. Studies that were not told are waited for by their quiet period.
    pub async fn end(&self, sending: Sending, released: bool) -> Result<(), ServiceError> {
        let whole = released && !sending.is_broken;
        for study in &sending.studies {
            let ended = Arriving::Ended { association: sending.association.clone(), whole };
            match self.store.note_arriving(study, ended).await {
                Ok(_) | Err(StoreError::NoStudy(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for study in &sending.restored {
            self.read_again(study).await?;
        }
        Ok(())
    }

    /// Tries jobs of a study again that were given up, since bytes of it were lost and are there again.
    async fn read_again(&self, study: &Uid) -> Result<(), ServiceError> {
        for (job, ..) in self.store.jobs(study).await? {
            if job.state != JobState::Dead {
                continue;
            }
            match self.requeue(&job.id).await {
                // Somebody signed it meanwhile, or it is cancelled, removed or read from the beginning.
                Ok(_) | Err(ServiceError::Store(StoreError::WrongState { .. } | StoreError::Cancelled(_))) => {}
                Err(ServiceError::Store(StoreError::NoStudy(_) | StoreError::NoJob(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes how many instances a study has in all, by whoever knows: the sender, or an archive that was asked. With the
    /// last of them it is complete.
    ///
    /// # Errors
    /// [`StoreError::NoStudy`], and the store's own.
    pub async fn expect(&self, study: &Uid, instances: u32) -> Result<(), ServiceError> {
        self.store.note_arriving(study, Arriving::Expected(instances)).await?;
        self.changed(study);
        Ok(())
    }
}
