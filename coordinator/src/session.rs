//! The gate in front of every call, and a call that was let in: who made it, and the record of what it saw.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prelim_proto::ids::{Tenant, Uid};
use tonic::Request;

use crate::accept::Peer;
use crate::access::table::Need;
use crate::access::{Access, Caller, Refusal, Tenants, now_s};
use crate::audit::{Act, Audit, Event};
use crate::intake::Outcome;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;

/// Studies that one record names, where one may name several.
const STUDIES_A_RECORD: usize = 100;

/// Lets calls in, and records those that it does not.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) access: Arc<Access>,
    pub(crate) audit: Audit,
}

impl Gate {
    /// Lets the call in that was found in a table, with what it takes; nothing stands for one that is in none.
    pub(crate) async fn admit(
        &self,
        found: Option<(&'static str, Need)>,
        authorization: Option<&str>,
        peer: &Peer,
    ) -> Result<Session, Refusal> {
        match self.access.admit(found, authorization, peer).await {
            Ok((call, caller)) => {
                let (caller, address, audit) = (Arc::new(caller), peer.address, self.audit.clone());
                Ok(Session { caller, address, call, audit })
            }
            Err(refusal) => Err(self.refused(found, refusal, peer).await),
        }
    }

    /// The same on the port that the page has: where people need accounts, whoever shows nothing at all is let in from this
    /// machine only. Or they would see less after signing in than before.
    pub(crate) async fn admit_beside_page(
        &self,
        found: (&'static str, Need),
        authorization: Option<&str>,
        peer: &Peer,
    ) -> Result<Session, Refusal> {
        if self.access.is_closed_to(peer) {
            let how = "people have accounts here: sign in on the page, or have callers told apart (--client-ca or --oidc-issuer)";
            return Err(self.refused(Some(found), Refusal::NoCredentials(how), peer).await);
        }
        self.admit(Some(found), authorization, peer).await
    }

    /// Has a refusal on record.
    async fn refused(&self, found: Option<(&'static str, Need)>, refusal: Refusal, peer: &Peer) -> Refusal {
        let (act, call) = match &refusal {
            Refusal::Role { call, .. } => (Act::RoleRefused, Some(*call)),
            Refusal::NoSuchCall => (Act::RoleRefused, None),
            _ => (Act::LoginRefused, found.map(|(call, _)| call)),
        };
        let caller = refusal.caller().map(str::to_owned);
        let reason = Some(refusal.to_string());
        self.audit.refused(Event { caller, call, reason, address: peer.address, ..Event::of(act) }).await;
        refusal
    }
}

impl Gate {
    /// Lets the call of somebody in who is known already, where the role is there.
    pub(crate) async fn admit_known(
        &self,
        (call, need): (&'static str, Need),
        caller: Arc<Caller>,
        peer: &Peer,
    ) -> Result<Session, Refusal> {
        if let Need::Role(needed) = need
            && !needed.iter().any(|role| caller.roles.contains(role))
        {
            let refusal = Refusal::role(&caller.name, call, needed);
            let (account, reason) = (caller.id.clone(), Some(refusal.to_string()));
            let (caller, address) = (Some(caller.name.clone()), peer.address);
            let event = Event { caller, account, call: Some(call), reason, address, ..Event::of(Act::RoleRefused) };
            self.audit.refused(event).await;
            return Err(refusal);
        }
        Ok(Session { caller, address: peer.address, call, audit: self.audit.clone() })
    }
}

/// A call that was let in. The gate puts it into the request.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) caller: Arc<Caller>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) call: &'static str,
    pub(crate) audit: Audit,
}

impl Session {
    /// The session of a request. One that came past the gate is nobody's.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self {
            caller: Arc::new(Caller::nobody()),
            address: None,
            call: "a call past the gate",
            audit: Audit::default(),
        })
    }

    /// Who calls.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Records that the caller got what it asked for, before it gets it: one record a study, as PS3.15 has it for all but
    /// queries.
    ///
    /// # Errors
    /// [`Refusal::NoAudit`]: then it must not get it.
    pub(crate) async fn note(&self, act: Act, studies: &[Uid]) -> Result<(), ServiceError> {
        let mut events: Vec<Event> = studies.iter().map(|study| self.event(act, vec![study.clone()])).collect();
        if events.is_empty() && act.may_be_of_no_study() {
            events.push(self.event(act, Vec::new()));
        }
        if events.is_empty() {
            return Ok(());
        }
        Ok(self.audit.record(events).await.map_err(|_| Refusal::NoAudit)?)
    }

    /// Records what the caller looked for, each as `NAME=VALUE`, before it gets what was found. `studies` are those that it
    /// named, or that it learns of.
    ///
    /// # Errors
    /// [`Refusal::NoAudit`]: then it must not get it.
    pub(crate) async fn note_query(&self, query: Vec<String>, studies: &[Uid]) -> Result<(), ServiceError> {
        let mut named = studies.chunks(STUDIES_A_RECORD);
        let first = named.next().unwrap_or_default();
        let events = std::iter::once(first).chain(named).map(|studies| {
            let query = query.clone();
            Event { query, ..self.event(Act::Queried, studies.to_vec()) }
        });
        Ok(self.audit.record(events.collect()).await.map_err(|_| Refusal::NoAudit)?)
    }

    /// Records what came of a review, before it is done where it will be.
    ///
    /// # Errors
    /// [`Refusal::NoAudit`]: then it must not be done.
    pub(crate) async fn note_review(&self, study: &Uid, came: Result<&str, &str>) -> Result<(), ServiceError> {
        let act = if came.is_ok() { Act::Reviewed } else { Act::NotReviewed };
        let (result, reason) = (came.ok().map(str::to_owned), came.err().map(str::to_owned));
        let event = Event { result, reason, ..self.event(act, vec![study.clone()]) };
        Ok(self.audit.record(vec![event]).await.map_err(|_| Refusal::NoAudit)?)
    }

    /// Records that a question about a study was asked or answered, of which kind, and no word of it.
    ///
    /// # Errors
    /// [`Refusal::NoAudit`]: then it must not be.
    pub(crate) async fn note_question(&self, act: Act, study: &Uid, kind: &str) -> Result<(), ServiceError> {
        let event = Event { result: Some(kind.to_owned()), ..self.event(act, vec![study.clone()]) };
        Ok(self.audit.record(vec![event]).await.map_err(|_| Refusal::NoAudit)?)
    }

    /// Records the studies of objects that were taken in, each once a call: those in `noted` were.
    pub(crate) async fn note_submitted(
        &self,
        noted: &mut BTreeSet<Uid>,
        taken: &[Outcome],
    ) -> Result<(), ServiceError> {
        let taken = taken.iter().filter(|outcome| !outcome.is_refused());
        let studies = taken.filter_map(|outcome| outcome.ids.as_ref().map(|ids| &ids.0));
        let new: Vec<Uid> = studies.filter(|study| noted.insert((*study).clone())).cloned().collect();
        self.note(Act::Submitted, &new).await
    }

    /// Waits until the caller's certificate or token has run out.
    pub(crate) async fn expired(&self) {
        let Some(expires_at_s) = self.caller.expires_at_s else { return std::future::pending().await };
        let left_s = expires_at_s.saturating_sub(now_s());
        tokio::time::sleep(Duration::from_secs(u64::try_from(left_s).unwrap_or(0))).await;
    }

    /// The tenants whose studies and jobs the caller may have; none is all.
    pub(crate) fn tenants(&self) -> Option<Vec<Tenant>> {
        match &self.caller.tenants {
            Tenants::All => None,
            Tenants::Only(tenants) => Some(tenants.iter().cloned().collect()),
        }
    }

    /// Lets the caller go on with a study, if it may see it. Otherwise there is no such study, as far as it learns.
    pub(crate) async fn allow(&self, coordinator: &Coordinator, study: &Uid) -> Result<(), ServiceError> {
        if self.caller.tenants == Tenants::All {
            return Ok(());
        }
        let record = coordinator.record(study).await?;
        self.may_see(study, &record.tenant).await
    }

    /// Lets the caller go on with a study of `tenant`, if it may see it. Otherwise there is no such study, as far as the
    /// caller learns; the audit knows better.
    async fn may_see(&self, study: &Uid, tenant: &Tenant) -> Result<(), ServiceError> {
        if self.caller.may_see(tenant) {
            return Ok(());
        }
        let reason = Some(format!("the study is of tenant {tenant}"));
        self.audit.refused(Event { reason, ..self.event(Act::TenantRefused, vec![study.clone()]) }).await;
        Err(StoreError::NoStudy(study.clone()).into())
    }

    /// Records that the caller asked for something of another tenant's, of these studies.
    pub(crate) async fn refuse_tenant(&self, tenant: &Tenant, studies: Vec<Uid>) {
        let reason = Some(format!("the workitem is of tenant {tenant}"));
        self.audit.refused(Event { reason, ..self.event(Act::TenantRefused, studies) }).await;
    }

    /// Whose the caller's submission is: of the tenant named, or of its own where none is.
    pub(crate) async fn tenant_for_submission(&self, asked: &str) -> Result<Tenant, ServiceError> {
        let asked = if asked.is_empty() { None } else { Some(Tenant::parse(asked)?) };
        let found = self.caller.tenant_for_submission(asked);
        if let Err(refusal @ Refusal::Tenant { .. }) = &found {
            let reason = Some(refusal.to_string());
            self.audit.refused(Event { reason, ..self.event(Act::TenantRefused, Vec::new()) }).await;
        }
        Ok(found?)
    }

    fn event(&self, act: Act, studies: Vec<Uid>) -> Event {
        let (caller, account, call) = (Some(self.caller.name.clone()), self.caller.id.clone(), Some(self.call));
        Event { caller, account, address: self.address, call, studies, ..Event::of(act) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(tenant: &str, file: &std::path::Path) -> Session {
        let tenants = Tenants::named([tenant]).unwrap();
        let caller = Arc::new(Caller { name: "worker-1".into(), tenants, ..Caller::anybody() });
        Session { caller, address: None, call: "GetReport", audit: Audit::open(file, false).unwrap() }
    }

    #[tokio::test]
    async fn studies_of_other_tenants_do_not_exist_and_the_audit_knows_who_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let session = session("st-mary", &file);
        let study = Uid::parse("1.2.3").unwrap();
        assert!(session.may_see(&study, &Tenant::parse("st-mary").unwrap()).await.is_ok());
        let other = session.may_see(&study, &Tenant::parse("er").unwrap()).await.unwrap_err();
        assert!(matches!(other, ServiceError::Store(StoreError::NoStudy(_))), "{other}");
        assert!(session.tenant_for_submission("er").await.is_err());
        assert_eq!(session.tenant_for_submission("").await.unwrap().as_str(), "st-mary");
        let text = std::fs::read_to_string(&file).unwrap();
        let alerts =
            text.lines().filter(|line| line.contains("Use of Restricted Function") && line.contains("worker-1"));
        assert_eq!(alerts.count(), 2, "{text}");
        assert!(text.contains("1.2.3") && text.contains("\"outcome\":8"), "{text}");
    }

    #[tokio::test]
    async fn a_study_is_recorded_once_a_call_and_a_query_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let session = session("*", &file);
        let taken = |study: &str| Outcome {
            name: "file".into(),
            verdict: crate::intake::Verdict::Accepted,
            ids: Some((Uid::parse(study).unwrap(), Uid::parse("9.9").unwrap())),
            sop: None,
        };
        let mut noted = BTreeSet::new();
        session.note_submitted(&mut noted, &[taken("1.1"), taken("1.1"), taken("1.2")]).await.unwrap();
        session.note_submitted(&mut noted, &[taken("1.2"), taken("1.3")]).await.unwrap();
        session.note_query(vec!["PatientName=Doe*".into()], &[]).await.unwrap();
        let many: Vec<Uid> = (1..=250).map(|n| Uid::parse(&format!("1.{n}")).unwrap()).collect();
        session.note_query(Vec::new(), &many).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let count = |code: &str| text.lines().filter(|line| line.contains(code)).count();
        assert_eq!((count("110104"), count("110112")), (3, 4), "{text}");
        assert_eq!(count(r#""query":["PatientName=Doe*"]"#), 1, "{text}");
    }
}
