//! `prelim studies`: what a coordinator holds.

use clap::Args;
use prelim_proto::study::Priority;
use prelim_proto::v1::{ListStudiesRequest, Study};
use serde_json::json;

use crate::client::{Connection, plain};
use crate::table::{self, intake};

/// Studies asked for at once.
const PAGE: u32 = 200;

/// List the studies that a coordinator holds, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim studies --limit 20\n  prelim studies --json | jq '.[].study_uid'")]
pub(crate) struct Studies {
    #[command(flatten)]
    connection: Connection,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

impl Studies {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        let mut studies: Vec<Study> = Vec::new();
        let mut page_token = String::new();
        let limit = self.limit as usize;
        while studies.len() < limit {
            let request = ListStudiesRequest { page_size: PAGE, page_token, states: Vec::new() };
            let page = client.list_studies(request).await.map_err(plain)?.into_inner();
            studies.extend(page.studies);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        studies.truncate(limit);
        if self.json {
            let rows: Vec<_> = studies.iter().map(study_json).collect();
            return table::say(serde_json::to_string_pretty(&rows)?);
        }
        if studies.is_empty() {
            return table::say("no studies yet; send some with `prelim submit DIR`");
        }
        // Columns that would say the same in every row are left out.
        let has_tenants = studies.iter().any(|study| study.tenant != studies[0].tenant);
        let is_urgent = studies.iter().any(|study| priority(study) != Priority::Routine);
        let columns = [
            "Study",
            "Modality",
            "Files",
            "Jobs",
            "State",
            "Complete by",
            "Rule",
            "Priority",
            "Tenant",
            "Patient",
            "Description",
        ];
        let is_shown = |column: &str| match column {
            "Priority" => is_urgent,
            "Tenant" => has_tenants,
            _ => true,
        };
        let mut rows = table::new(&columns.into_iter().filter(|column| is_shown(column)).collect::<Vec<_>>());
        for study in &studies {
            let attributes = study.attributes.clone().unwrap_or_default();
            let cells = [
                study.uid.clone(),
                study.modalities.join(" "),
                study.instance_count.to_string(),
                table::jobs(study),
                table::cell(&table::state(study), 60),
                intake::completion(study).to_owned(),
                table::cell(&intake::rule(study), 24),
                in_words(priority(study)).to_owned(),
                table::cell(&study.tenant, 24),
                table::cell(&attributes.patient_id, 24),
                table::cell(&attributes.description, 32),
            ];
            let shown = columns.into_iter().zip(cells).filter(|(column, _)| is_shown(column));
            rows.add_row(shown.map(|(_, cell)| cell));
        }
        table::one_line_a_row(&mut rows);
        table::align_right(&mut rows, &[2, 3]);
        table::say(rows)
    }
}

/// How soon it is wanted.
fn priority(study: &Study) -> Priority {
    Priority::from_wire(study.priority).unwrap_or_default()
}

fn in_words(priority: Priority) -> &'static str {
    match priority {
        Priority::Routine => "routine",
        Priority::Urgent => "urgent",
        Priority::Stat => "stat",
    }
}

/// A study for programs.
pub(crate) fn study_json(study: &Study) -> serde_json::Value {
    let attributes = study.attributes.clone().unwrap_or_default();
    let state = prelim_proto::study::StudyState::try_from(study.state()).map_or("unknown", |state| state.as_str());
    json!({
        "study_uid": study.uid,
        "tenant": study.tenant,
        "priority": in_words(priority(study)),
        "state": state,
        "state_reason": study.state_reason,
        "modalities": study.modalities,
        "description": attributes.description,
        "patient_id": attributes.patient_id,
        "accession_number": attributes.accession_number,
        "study_date": attributes.study_date,
        "instances": study.instance_count,
        "jobs_total": study.jobs_total,
        "jobs_finished": study.jobs_finished,
        "intake": intake::json(study),
        "partition_notes": study.partition_notes,
        "unread": study.unread.iter().map(unread_json).collect::<Vec<_>>(),
    })
}

/// Something that was not read, for programs.
fn unread_json(unread: &prelim_proto::v1::Unread) -> serde_json::Value {
    json!({
        "instance_uid": unread.instance_uid,
        "frame": unread.frame,
        "reason": unread.reason().as_str_name().trim_start_matches("UNREAD_REASON_").to_lowercase(),
        "detail": unread.detail,
    })
}
