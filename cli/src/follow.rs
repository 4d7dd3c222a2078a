//! Following studies until each is settled.

use std::collections::BTreeMap;
use std::time::Duration;

use prelim_proto::study::StudyState;
use prelim_proto::v1::{Study, WatchStudiesRequest};

use crate::client::{Connection, NoCoordinator, is_away, plain_of_submitting};
use crate::progress::{Bars, note};
use crate::table;

/// The first pause before the coordinator is asked again, and the longest; each is twice the one before.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// Follows the studies until each is settled, and returns them in the order given.
pub(crate) async fn wait(connection: &Connection, study_uids: &[String], show: bool) -> anyhow::Result<Vec<Study>> {
    let mut following = Following::new(study_uids, show);
    match following.follow(connection).await {
        Ok(()) => Ok(following.finish()),
        Err(Interrupted::ForNow(why) | Interrupted::ForGood(why)) => Err(why),
    }
}

/// The same, also while the coordinator is away: it is asked again until it is back, and people are told so.
pub(crate) async fn wait_patiently(
    connection: &Connection,
    study_uids: &[String],
    show: bool,
) -> anyhow::Result<Vec<Study>> {
    let mut following = Following::new(study_uids, show);
    loop {
        match following.follow(connection).await {
            Ok(()) => return Ok(following.finish()),
            Err(Interrupted::ForGood(why)) => return Err(why),
            Err(Interrupted::ForNow(why)) => {
                let pause = following.pause;
                following
                    .tell(&format!("still waiting; trying again in {}: {why:#}", table::spell(pause.as_secs_f64())));
                tokio::time::sleep(pause).await;
                following.pause = (2 * pause).min(PAUSE.1);
            }
        }
    }
}

/// Why studies are not followed any more.
enum Interrupted {
    /// The coordinator is away.
    ForNow(anyhow::Error),
    /// It does not let us follow them.
    ForGood(anyhow::Error),
}

/// Studies that are followed, and what is known of them.
struct Following<'a> {
    study_uids: &'a [String],
    newest: BTreeMap<String, Study>,
    bars: Option<Bars>,
    /// Before the coordinator is asked again.
    pause: Duration,
}

impl<'a> Following<'a> {
    fn new(study_uids: &'a [String], show: bool) -> Self {
        Self { study_uids, newest: BTreeMap::new(), bars: show.then(Bars::new), pause: PAUSE.0 }
    }

    /// Follows them until all are settled, or the coordinator goes away.
    async fn follow(&mut self, connection: &Connection) -> Result<(), Interrupted> {
        if self.study_uids.is_empty() {
            return Ok(());
        }
        let mut client = connection.studies().await.map_err(|error| match error.is::<NoCoordinator>() {
            true => Interrupted::ForNow(error),
            false => Interrupted::ForGood(error),
        })?;
        let broken = |status: tonic::Status| match is_away(&status) {
            true => Interrupted::ForNow(plain_of_submitting(status)),
            false => Interrupted::ForGood(plain_of_submitting(status)),
        };
        let request = WatchStudiesRequest { study_uids: self.study_uids.to_vec() };
        let mut changes = client.watch_studies(request).await.map_err(broken)?.into_inner();
        while let Some(change) = changes.message().await.map_err(broken)? {
            self.pause = PAUSE.0;
            if let (Some(bars), Some(progress)) = (&mut self.bars, &change.progress) {
                bars.update(progress);
            }
            if let Some(study) = change.study {
                self.newest.insert(study.uid.clone(), study);
            }
        }
        if self.study_uids.iter().all(|uid| self.newest.get(uid).is_some_and(is_settled)) {
            return Ok(());
        }
        // A coordinator that stops ends its watches in good order.
        Err(Interrupted::ForNow(anyhow::anyhow!("the coordinator stopped telling before every study was settled")))
    }

    fn tell(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.line(text),
            None => note(text),
        }
    }

    fn finish(mut self) -> Vec<Study> {
        if let Some(bars) = self.bars {
            bars.finish();
        }
        self.study_uids.iter().filter_map(|uid| self.newest.remove(uid)).collect()
    }
}

fn is_settled(study: &Study) -> bool {
    StudyState::try_from(study.state()).is_ok_and(StudyState::is_settled)
}
