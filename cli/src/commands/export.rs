//! `prelim export`: what was sent where, and once more.

use clap::Args;
use prelim_proto::v1::{DeliverStudyRequest, Delivery, ListDeliveriesRequest};
use serde_json::json;

use crate::client::{Connection, plain};
use crate::table;

/// Studies a page.
const PAGE: u32 = 500;

/// List which drafts were sent where, and what became of them; or send one again.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim export                        what was sent where\n  prelim export 1.2.840.1 --to pacs    send its newest draft there, again or for the first time\n  prelim export --json | jq '.[] | select(.state == \"refused\")'"
)]
pub(crate) struct Export {
    /// Study Instance UID; all studies where not given.
    #[arg(value_name = "STUDY")]
    study: Option<String>,
    /// Send the study's newest draft to this destination, by its name in the coordinator's --destinations.
    #[arg(long, value_name = "NAME", requires = "study")]
    to: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let deliveries = match (self.study.clone(), self.to.clone()) {
            (Some(study_uid), Some(destination)) => {
                let mut client = self.connection.exchange().await?;
                let request = DeliverStudyRequest { study_uid, destination };
                client.deliver_study(request).await.map_err(plain)?.into_inner().deliveries
            }
            (study, _) => self.listed(study.unwrap_or_default()).await?,
        };
        if self.json {
            let rows: Vec<_> = deliveries.iter().map(delivery_json).collect();
            return table::say(serde_json::to_string_pretty(&rows)?);
        }
        if deliveries.is_empty() {
            return table::say("nothing was to be sent; a coordinator sends drafts where its --destinations say");
        }
        let mut rows = table::new(&["Study", "Draft", "Destination", "Object", "State", "Attempts", "Last answer"]);
        for each in &deliveries {
            rows.add_row([
                each.study_uid.clone(),
                each.version.to_string(),
                table::cell(&each.destination, 32),
                each.object.clone(),
                each.state.replace('_', " "),
                each.attempts.to_string(),
                table::cell(&each.answer, 100),
            ]);
        }
        table::one_line_a_row(&mut rows);
        table::align_right(&mut rows, &[1, 5]);
        table::say(rows)
    }

    /// The deliveries of one study, or of all.
    async fn listed(&self, study_uid: String) -> anyhow::Result<Vec<Delivery>> {
        let mut client = self.connection.exchange().await?;
        let (mut deliveries, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListDeliveriesRequest { study_uid: study_uid.clone(), page_size: PAGE, page_token };
            let page = client.list_deliveries(request).await.map_err(plain)?.into_inner();
            deliveries.extend(page.deliveries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(deliveries);
            }
        }
    }
}

fn delivery_json(each: &Delivery) -> serde_json::Value {
    json!({
        "study_uid": each.study_uid,
        "version": each.version,
        "destination": each.destination,
        "object": each.object,
        "state": each.state,
        "attempts": each.attempts,
        "answer": each.answer,
        "instance_uid": each.instance_uid,
        "created_at_ms": each.created_at_ms,
        "updated_at_ms": each.updated_at_ms,
    })
}
