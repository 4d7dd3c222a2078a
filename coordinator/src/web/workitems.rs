//! UPS-RS: the worklist over HTTP (PS3.18 chapter 11). What is done is done in [`crate::worklist`].

use axum::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_LOCATION, CONTENT_TYPE, HeaderValue, LOCATION, WARNING};
use hyper::{Response, StatusCode};
use prelim_proto::ids::{Tenant, Uid};
use serde_json::Value;

use super::body::Received;
use super::negotiate::{Accepted, JSON, MediaType};
use super::problem::Problem;
use super::request::Call;
use super::worklist_route::{Ask, Target};
use super::{channel, query, wado};
use crate::audit::Act;
use crate::store::worklist::{WorkitemQuery, WorkitemRecord, WorkitemState};
use crate::worklist::dataset::{self, Dataset, tag};
use crate::worklist::matching::{Filter, way};
use crate::worklist::{Cancellation, Scope, Subscribe, ours};

/// Results that one answer has, at most.
const MOST: usize = 1_000;
/// Workitems that one search looks at, at most.
const MAX_LOOKED_AT: usize = 100_000;
/// Workitems that are read together.
const PAGE: usize = 200;
/// Parameters of a search.
const MAX_PARAMETERS: usize = 200;

/// Attributes of a result that nobody has to ask for: those whose Return Key Type is 1 or 2 (PS3.4 table CC.2.5-3).
const USUAL: [&str; 31] = [
    "00080005", "00080016", "00080018", "00081080", "00081084", "00081195", "00100010", "00100020", "00100030",
    "00100040", "00101002", "0020000D", "00380010", "00380014", "00404005", "00404010", "00404011", "00404018",
    "00404021", "00404025", "00404026", "00404027", "00404034", "00404041", "0040A370", "00741000", "00741002",
    "00741200", "00741202", "00741204", "00741224",
];

/// Serves what is asked of the worklist.
pub(super) async fn serve(call: &Call<'_>, ask: Ask, body: &mut Received) -> Result<Response<Body>, Problem> {
    let coordinator = &call.web.coordinator;
    match ask {
        Ask::Create => create(call, body).await,
        Ask::Search => search(call).await,
        Ask::Retrieve(uid) => {
            json_is_taken(call)?;
            let record = visible(call, &uid).await?;
            note(call, Act::WorkitemRead, &record.workitem.dataset).await?;
            Ok(json(&Value::Array(vec![Value::Object(shown(&record))])))
        }
        Ask::Update(uid) => {
            let record = visible(call, &uid).await?;
            let changes = received(call, body).await?;
            let transaction = transaction(call, &changes);
            note(call, Act::WorkitemChanged, &record.workitem.dataset).await?;
            coordinator.update_workitem(&uid, transaction.as_deref(), &changes).await?;
            Ok(empty(StatusCode::OK))
        }
        Ask::ChangeState(uid) => {
            let record = visible(call, &uid).await?;
            let asked = received(call, body).await?;
            let word = dataset::text(&asked, tag::STATE).unwrap_or_default();
            // Editions of the standard have spelt it so.
            let word = if word == "CANCELLED" { "CANCELED" } else { word };
            let state = WorkitemState::ALL.into_iter().find(|state| state.as_str() == word);
            let state = state.ok_or_else(|| Problem::bad(format!("Procedure Step State (0074,1000) is {word:?}")))?;
            let transaction = transaction(call, &asked);
            if let Some(transaction) = &transaction {
                Uid::parse(transaction).map_err(|error| Problem::bad(format!("Transaction UID: {error}")))?;
            }
            note(call, Act::WorkitemChanged, &record.workitem.dataset).await?;
            let mut response = empty(StatusCode::OK);
            if !coordinator.change_workitem_state(&uid, transaction.as_deref(), state).await? {
                warn(&mut response, &format!("The UPS is already in the requested state of {}.", state.as_str()));
            }
            Ok(response)
        }
        Ask::RequestCancellation(uid, by) => {
            let record = visible(call, &uid).await?;
            let asked = if body.is_empty() { Dataset::new() } else { received(call, body).await? };
            note(call, Act::WorkitemChanged, &record.workitem.dataset).await?;
            let by = by.unwrap_or_else(|| call.session.caller().name.chars().take(16).collect());
            let done = coordinator.request_cancellation(&uid, &by, &asked).await?;
            let mut response = empty(StatusCode::ACCEPTED);
            if done == Cancellation::Before {
                warn(&mut response, "The UPS is already in the requested state of CANCELED.");
            }
            Ok(response)
        }
        Ask::Subscribe(target, title) => subscribe(call, target, title).await,
        Ask::Unsubscribe(target, title) => {
            let (tenant, scope) = scope(call, target, None).await?;
            coordinator.unsubscribe_from(&tenant, &title, scope).await?;
            Ok(empty(StatusCode::OK))
        }
        Ask::Suspend(title) => {
            coordinator.suspend(&tenant(call).await?, &title).await?;
            Ok(empty(StatusCode::OK))
        }
        // The connection is the request's, which is not here any more.
        Ask::OpenChannel(_) => Err(channel::wanted()),
    }
}

async fn create(call: &Call<'_>, body: &mut Received) -> Result<Response<Body>, Problem> {
    let tenant = tenant(call).await?;
    let dataset = received(call, body).await?;
    let named = query::pairs(call.head.uri.query()).into_iter().find_map(|(name, value)| {
        match name.to_ascii_lowercase().as_str() {
            "workitem" | "affectedsopinstanceuid" => Some(value),
            // `?{workitem}`.
            _ if value.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => Some(name),
            _ => None,
        }
    });
    let within = [tag::AFFECTED_SOP_INSTANCE_UID, tag::SOP_INSTANCE_UID];
    let within = within.iter().find_map(|tag| dataset::text(&dataset, tag)).map(str::to_owned);
    let uid = match named.or(within) {
        Some(uid) => Uid::parse(&uid).map_err(|error| Problem::bad(format!("Workitem UID: {error}")))?,
        // Clients are met that leave it to the server.
        None => Uid::parse(&format!("2.25.{}", rand::random::<u128>())).map_err(|_| Problem::bad("no Workitem UID"))?,
    };
    note(call, Act::WorkitemCreated, &dataset).await?;
    let is_changed = call.web.coordinator.create_workitem(&tenant, &uid, dataset, &call.base).await?;
    let mut response = empty(StatusCode::CREATED);
    place(&mut response, LOCATION, &format!("{}/workitems/{uid}", call.base));
    place(&mut response, CONTENT_LOCATION, &format!("{}/workitems/{uid}", call.base));
    if is_changed {
        warn(&mut response, "The Workitem was created with modifications.");
    }
    Ok(response)
}

async fn subscribe(call: &Call<'_>, target: Target, title: String) -> Result<Response<Body>, Problem> {
    let pairs = query::pairs(call.head.uri.query());
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let is_locked = match value("deletionlock") {
        None | Some("false" | "") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::bad("deletionlock is neither true nor false")),
    };
    let filter = match target {
        Target::Filtered => {
            let within = value("filter").map(str::to_owned);
            // Attributes are also met as parameters of their own.
            let own = pairs.iter().filter(|(name, _)| !["deletionlock", "filter", "accept"].contains(&name.as_str()));
            let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
            let filter = within.into_iter().chain(own).collect::<Vec<_>>().join(",");
            if filter.is_empty() {
                return Err(Problem::bad("the filtered worklist is subscribed to with filter=ATTRIBUTE=VALUE,…"));
            }
            Some(filter)
        }
        _ => None,
    };
    let (tenant, scope) = scope(call, target, filter).await?;
    let asked = Subscribe { tenant, title: title.clone(), scope, is_locked };
    call.web.coordinator.subscribe_to(asked).await?;
    let mut response = empty(StatusCode::CREATED);
    // Where the reports are to be had (PS3.18 section 8.10.4).
    let channel = match call.base.split_once("://") {
        Some(("https", rest)) => format!("wss://{rest}/subscribers/{title}"),
        Some((_, rest)) => format!("ws://{rest}/subscribers/{title}"),
        None => String::new(),
    };
    place(&mut response, CONTENT_LOCATION, &channel.replace(' ', "%20"));
    Ok(response)
}

/// Whose worklist is meant, and what of it.
async fn scope(call: &Call<'_>, target: Target, filter: Option<String>) -> Result<(Tenant, Scope), Problem> {
    match target {
        Target::Workitem(uid) => Ok((visible(call, &uid).await?.tenant, Scope::Workitem(uid))),
        Target::Worklist | Target::Filtered => Ok((tenant(call).await?, Scope::Worklist(filter))),
    }
}

async fn search(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    json_is_taken(call)?;
    let asked = Asked::read(call.head.uri.query())?;
    let (mut found, mut skip, mut has_more) = (Vec::new(), asked.offset, false);
    let mut page = WorkitemQuery { tenants: call.session.tenants(), limit: PAGE, ..WorkitemQuery::default() };
    let mut looked_at = 0;
    'pages: while looked_at < MAX_LOOKED_AT {
        let records = call.web.coordinator.store.workitems(page.clone()).await?;
        looked_at += records.len();
        for record in &records {
            if !asked.filter.fits(&record.workitem.dataset) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if found.len() >= asked.limit.min(MOST) {
                has_more = true;
                break 'pages;
            }
            let mut result = shown(record);
            result.retain(|tag, _| asked.all_fields || USUAL.contains(&tag.as_str()) || asked.fields.contains(tag));
            found.push(Value::Object(result));
        }
        match records.last() {
            Some(last) if records.len() == PAGE => page.after = Some((last.created_at_ms, last.uid.clone())),
            _ => break,
        }
    }
    call.session.note_query(query::told(call.head.uri.query()), &[]).await?;
    if found.is_empty() {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let mut response = json(&Value::Array(found));
    if asked.is_fuzzy {
        warn(&mut response, "The fuzzymatching parameter is not supported. Only literal matching has been performed.");
    }
    if has_more && asked.limit > MOST || looked_at >= MAX_LOOKED_AT {
        warn(
            &mut response,
            "The number of results exceeded the maximum supported by the server. Additional results can be requested.",
        );
    }
    Ok(response)
}

/// The parameters of a search.
struct Asked {
    filter: Filter,
    fields: Vec<String>,
    all_fields: bool,
    limit: usize,
    offset: usize,
    is_fuzzy: bool,
}

impl Asked {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        let (filter, fields) = (Filter::default(), Vec::new());
        let mut asked = Self { filter, fields, all_fields: false, limit: usize::MAX, offset: 0, is_fuzzy: false };
        let pairs = query::pairs(text);
        if pairs.len() > MAX_PARAMETERS {
            return Err(Problem::bad(format!("more than {MAX_PARAMETERS} parameters")));
        }
        for (name, value) in pairs {
            let number = || value.parse().map_err(|_| Problem::bad(format!("{name} is no number")));
            match name.as_str() {
                "accept" => {}
                "limit" => asked.limit = number()?,
                "offset" => asked.offset = number()?,
                "fuzzymatching" => asked.is_fuzzy = value == "true",
                "includefield" => {
                    for field in value.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                        match field {
                            "all" => asked.all_fields = true,
                            field => asked.fields.extend(way(field).map_err(Problem::bad)?.0.into_iter().next()),
                        }
                    }
                }
                _ => {
                    asked.filter.add(&name, &value).map_err(Problem::bad)?;
                    asked.fields.extend(way(&name).map_err(Problem::bad)?.0.into_iter().next());
                }
            }
        }
        Ok(asked)
    }
}

/// The workitem, if the caller may see it. Otherwise there is none, as far as it learns.
async fn visible(call: &Call<'_>, uid: &Uid) -> Result<WorkitemRecord, Problem> {
    let record = call.web.coordinator.store.workitem(uid).await?;
    let nothing = || Problem::nothing_here("there is no such workitem");
    let record = record.ok_or_else(nothing)?;
    if !call.session.caller().may_see(&record.tenant) {
        call.session.refuse_tenant(&record.tenant, ours::studies(&record.workitem.dataset)).await;
        return Err(nothing());
    }
    Ok(record)
}

/// Whose worklist a request means that names no workitem.
async fn tenant(call: &Call<'_>) -> Result<Tenant, Problem> {
    Ok(call.session.tenant_for_submission(call.tenant()).await?)
}

/// Records who saw or changed a workitem, by the studies that it names.
async fn note(call: &Call<'_>, act: Act, dataset: &Dataset) -> Result<(), Problem> {
    Ok(call.session.note(act, &ours::studies(dataset)).await?)
}

/// What clients are shown of a workitem: all but who is told of it, and the transaction.
fn shown(record: &WorkitemRecord) -> Dataset {
    record.workitem.dataset.clone()
}

/// The transaction that a request names: as a parameter, or among its attributes.
fn transaction(call: &Call<'_>, dataset: &Dataset) -> Option<String> {
    let pairs = query::pairs(call.head.uri.query());
    let named = pairs.into_iter().find_map(|(name, value)| match name.to_ascii_lowercase().as_str() {
        "transaction-uid" | "transactionuid" | "transaction" => Some(value),
        // `?{transaction-uid}`.
        _ if value.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => Some(name),
        _ => None,
    });
    named.or_else(|| dataset::text(dataset, tag::TRANSACTION_UID).map(str::to_owned)).filter(|uid| !uid.is_empty())
}

/// The data set in the body.
async fn received(call: &Call<'_>, body: &mut Received) -> Result<Dataset, Problem> {
    let headers = &call.head.headers;
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(encoding) = text(CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::media_type(format!("Content-Encoding {encoding:?} is not taken")));
    }
    // A page of another origin can post what has no type, without asking first.
    let said = text(CONTENT_TYPE).unwrap_or_default();
    let essence = MediaType::parse(said).map(|media_type| media_type.essence).unwrap_or_default();
    if ![JSON, "application/json"].contains(&essence.as_str()) {
        return Err(Problem::media_type(format!("{said:?} is not taken; send {JSON}")));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        if bytes.len() + piece.len() > dataset::MAX_BYTES {
            return Err(Problem::too_large(format!("a workitem of more than {} KiB", dataset::MAX_BYTES >> 10)));
        }
        bytes.extend_from_slice(&piece);
    }
    dataset::parse(&bytes).map_err(Problem::bad)
}

fn json_is_taken(call: &Call<'_>) -> Result<(), Problem> {
    Accepted::read(&call.head.headers, query::accept(call.head.uri.query()).as_deref())?.json()
}

fn json(value: &Value) -> Response<Body> {
    let body = value.to_string();
    wado::answer(JSON, Some(body.len() as u64), Body::from(body))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn warn(response: &mut Response<Body>, words: &str) {
    // Our own words.
    if let Ok(value) = HeaderValue::from_str(&format!("299 prelim \"{words}\"")) {
        response.headers_mut().append(WARNING, value);
    }
}

fn place(response: &mut Response<Body>, name: hyper::header::HeaderName, address: &str) {
    if let Ok(value) = HeaderValue::from_str(address) {
        response.headers_mut().insert(name, value);
    }
}
