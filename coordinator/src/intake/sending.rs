//! What comes together: the objects of one association, or of one upload.

use std::collections::BTreeSet;

use prelim_proto::ids::{Tenant, Uid};

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
    /// Something could not be stored, so that the sender will come again.
    is_broken: bool,
}

impl Sending {
    /// A sending that begins.
    pub fn new(tenant: Tenant, sender: &str) -> Self {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let sender = sender.chars().take(MAX_SENDER).map(plain).collect();
        let association = format!("{:032x}", rand::random::<u128>());
        Self { tenant, sender, association, studies: BTreeSet::new(), is_broken: false }
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
