//! Models and prompts that jobs demand of workers.

use std::sync::Arc;

use prelim_proto::demand::{Demand, Offer};
use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, Lease};
use prelim_proto::study::Priority;

use super::super::Harness;
use super::super::fixture::{CT, XRAY, add, complete, demanding, instance, offer, outcome, plan, study, wanted};
use super::named;
use crate::queue::{LOCALITY_MS, Share, Shares, Verdict};
use crate::store::StoreError;
use crate::store::record::{AddInstances, Added, ByKind, Demanded, Done, LeaseRequest, QueueDepth, Reconciled};

fn demand(key: &str) -> Demand {
    Demand::from_key(key).unwrap()
}

/// A planned study of `tenant` whose jobs demand something.
async fn planned(h: &impl Harness, n: u8, tenant: &str, kinds: &[JobKind], priority: Priority, key: &str) -> Uid {
    let (store, uid) = (h.store(), study(n));
    let whole = AddInstances { tenant: named(tenant), ..add(&uid, vec![instance(&uid, 1, 1)]) };
    assert_eq!(store.add_instances(whole).await.unwrap(), [Added::Accepted]);
    assert_eq!(store.complete_studies(complete(&uid, None)).await, Ok(Done::Now));
    let plan = demanding(plan(&uid, 1, 0, kinds, priority), &demand(key));
    assert_eq!(store.plan_study(&uid, plan).await, Ok(Done::Now));
    uid
}

fn asks(offer: &Offer) -> LeaseRequest {
    LeaseRequest { offer: offer.clone(), ..wanted("w", &[XRAY, CT], 1_000) }
}

async fn take(h: &impl Harness, offer: &Offer) -> Option<Lease> {
    h.store().lease(asks(offer)).await.unwrap()
}

pub(super) async fn a_job_goes_to_a_worker_that_offers_what_it_demands(h: &mut impl Harness) {
    for (n, key) in (1..).zip(["a", "a\tp", "\tp", ""]) {
        planned(h, n, "default", &[XRAY], Priority::Routine, key).await;
    }
    h.reopen().await;
    let studies = async |offer: &Offer| {
        let mut got = Vec::new();
        while let Some(lease) = take(h, offer).await {
            let demand = h.store().job(&lease.job.id).await.unwrap().unwrap().demand;
            assert_eq!((lease.job.demand.clone(), offer.meets(&lease.job.demand)), (demand, true));
            got.push(lease.job.id.study().as_str().trim_start_matches("1.2.").to_owned());
            h.store().release(&lease.job.id, lease.token).await.unwrap();
            h.store().cancel_study(lease.job.id.study(), "seen").await.unwrap();
        }
        got.join(" ")
    };
    // A worker of a version that names no model.
    assert_eq!(studies(&offer("", &[])).await, "4");
    assert_eq!(studies(&offer("b", &["q"])).await, "");
    assert_eq!(studies(&offer("a", &[])).await, "1");
    assert_eq!(studies(&offer("b", &["p", "q"])).await, "3");
    assert_eq!(studies(&offer("a", &["p"])).await, "2");

    // The jobs of a study demand the same, so that its rank says where they are.
    let uid = study(9);
    assert_eq!(h.store().add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap(), [Added::Accepted]);
    h.store().complete_studies(complete(&uid, None)).await.unwrap();
    let mut mixed = plan(&uid, 1, 0, &[XRAY, XRAY], Priority::Routine);
    mixed.jobs[1].demand = demand("a");
    let misfit = Err(StoreError::Misfit(JobId::new(uid.clone(), 1).to_string()));
    assert_eq!(h.store().plan_study(&uid, mixed).await, misfit);
}

pub(super) async fn queues_of_demands_are_one_line(h: &mut impl Harness) {
    let both = offer("a", &["p"]);
    let any = planned(h, 1, "default", &[XRAY; 2], Priority::Routine, "").await;
    h.advance(10);
    let model = planned(h, 2, "default", &[XRAY; 2], Priority::Routine, "a").await;
    h.advance(10);
    let prompt = planned(h, 3, "default", &[XRAY; 3], Priority::Urgent, "\tp").await;
    let foreign = planned(h, 4, "default", &[XRAY], Priority::Stat, "b").await;
    let next = async |offer: &Offer| take(h, offer).await.map(|lease| lease.job.id.study().clone());
    // By urgency, then by waiting, over all that the worker can take; what it cannot take holds nothing up.
    for want in [&prompt, &prompt, &prompt, &any, &any, &model] {
        assert_eq!(next(&both).await.as_ref(), Some(want));
    }
    assert_eq!(next(&offer("b", &[])).await, Some(foreign));
    assert_eq!(next(&offer("", &[])).await, None);
    // A failed job waits, and comes back to its own queue; one that is given back, too.
    let last = take(h, &both).await.unwrap();
    h.store().fail_job(&last.job.id, last.token, "went wrong", Verdict::RetryIn(50)).await.unwrap();
    assert_eq!(next(&both).await, None);
    h.advance(50);
    assert_eq!(next(&offer("", &[])).await, None);
    let again = take(h, &both).await.unwrap();
    assert_eq!((again.job.id.clone(), again.attempt), (last.job.id, 2));
    h.store().release(&again.job.id, again.token).await.unwrap();
    assert_eq!(next(&offer("b", &["p"])).await, None);
    let again = take(h, &both).await.unwrap();
    h.store().complete_job(&again.job.id, again.token, outcome(1)).await.unwrap();

    // Caps hold over all of a tenant's jobs, whatever they demand; images at hand count within a demand, too.
    for (n, key) in [(11, ""), (12, "a")] {
        planned(h, n, "east", &[CT; 2], Priority::Routine, key).await;
    }
    let cap = Share { max_running: Some(2), ..Share::default() };
    let shares = Arc::new(Shares { tenants: [(named("east"), cap)].into(), ..Shares::default() });
    let request = LeaseRequest { shares, held: vec![study(12)], ttl_ms: 600_000, ..asks(&both) };
    let mut got = Vec::new();
    while let Some(lease) = h.store().lease(request.clone()).await.unwrap() {
        got.push((lease.job.id.study().clone(), lease.job.id.number()));
    }
    assert_eq!(got, [(study(12), 0), (study(12), 1)]);
    let unlimited = LeaseRequest { shares: Arc::default(), offer: offer("b", &[]), ..request };
    h.advance(LOCALITY_MS as u32);
    let third = h.store().lease(unlimited).await.unwrap().unwrap();
    assert_eq!(third.job.id.study(), &study(11));
}

pub(super) async fn what_waits_for_a_model_is_told_apart(h: &mut impl Harness) {
    planned(h, 1, "default", &[XRAY, CT], Priority::Routine, "a").await;
    h.advance(10);
    planned(h, 2, "east", &[XRAY; 2], Priority::Routine, "a").await;
    planned(h, 3, "east", &[CT], Priority::Routine, "\tp").await;
    planned(h, 4, "east", &[CT], Priority::Routine, "").await;
    h.advance(5);
    let demanded = |key: &str, xray, ct, longest_wait_ms| {
        let ready = ByKind { xray, ct, merge: 0, ..ByKind::default() };
        Demanded { demand: demand(key), ready, longest_wait_ms }
    };
    let depth = h.store().depth().await.unwrap();
    assert_eq!(depth.demanded, [demanded("\tp", 0, 1, 5), demanded("a", 3, 1, 15)]);
    assert_eq!((depth.ready, depth.longest_wait_ms), (ByKind { xray: 3, ct: 3, merge: 0, ..ByKind::default() }, 15));
    // A study that is wanted sooner goes ahead in its own queue.
    let sooner = AddInstances { tenant: named("east"), priority: Priority::Stat, ..add(&study(2), Vec::new()) };
    h.store().add_instances(sooner).await.unwrap();
    let a = offer("a", &[]);
    assert_eq!(take(h, &a).await.unwrap().job.id.study(), &study(2));
    assert_eq!(h.store().reconcile().await, Ok(Reconciled::default()));
    h.store().cancel_study(&study(2), "not wanted").await.unwrap();
    while take(h, &a).await.is_some() {}
    h.store().cancel_study(&study(3), "not wanted").await.unwrap();
    let QueueDepth { demanded, ready, .. } = h.store().depth().await.unwrap();
    assert_eq!((demanded, ready), (Vec::new(), ByKind::default()));
}
