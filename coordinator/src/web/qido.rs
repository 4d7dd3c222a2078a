//! QIDO-RS: searches (PS3.18 section 10.6).
//!
//! Studies are looked at newest first, by the store's listing that has the fewest of them: those of an accession number, a
//! Patient ID or a study date that is asked for exactly, else all. Whatever else is asked of them is compared record by
//! record, so that such a search costs a look at each study; it ends after [`MAX_LOOKED_AT`] of them, and says so. Series
//! and instances are looked for in each study that fits.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use dicom_dictionary_std::tags;
use hyper::header::{HeaderValue, WARNING};
use hyper::{Response, StatusCode};
use prelim_proto::ids::Uid;

use super::listed::Row;
use super::negotiate::{Accepted, JSON};
use super::problem::Problem;
use super::query::{self, Query};
use super::request::Call;
use super::route::{Level, Scope};
use super::{draft, wado};
use crate::report::sop_class_and_modality;
use crate::store::record::{InstanceRecord, StudyCursor, StudyQuery, StudyRecord};

/// Studies that one search looks at, at most.
const MAX_LOOKED_AT: usize = 100_000;
/// Studies that are read together.
const PAGE: usize = 200;

/// Results that one answer has, at most.
fn most(level: Level) -> usize {
    match level {
        Level::Study | Level::Series => 1_000,
        Level::Instance => 10_000,
    }
}

/// Lists what fits.
pub(super) async fn search(call: &Call<'_>, level: Level, scope: Scope) -> Result<Response<Body>, Problem> {
    let asked = call.head.uri.query();
    Accepted::read(&call.head.headers, query::accept(asked).as_deref())?.json()?;
    let query = Query::read(asked, level)?;
    let mut results = Results::new(&query, level);
    let mut studies = Studies::of(call, &query, &scope).await?;
    let search = Search { call, level, scope: &scope, query: &query };
    while let Some(study) = studies.next().await? {
        if !search.add(study, &mut results).await? {
            break;
        }
    }
    call.session.note_query(told(asked, level, &scope), scope.study.as_slice()).await?;
    let warnings = results.warnings(&query, studies.is_cut_short);
    let mut response = if results.found.is_empty() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let body = format!("[{}]", results.found.join(",\n"));
        wado::answer(JSON, Some(body.len() as u64), Body::from(body))
    };
    for warning in warnings {
        // Our own words.
        response.headers_mut().append(WARNING, HeaderValue::from_static(warning));
    }
    Ok(response)
}

/// What is searched for, as the audit has it: what the path names, and then the parameters.
fn told(asked: Option<&str>, level: Level, scope: &Scope) -> Vec<String> {
    let level = match level {
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Instance => "IMAGE",
    };
    let level = format!("QueryRetrieveLevel={level}");
    let study = scope.study.iter().map(|study| format!("StudyInstanceUID={study}"));
    let series = scope.series.iter().map(|series| format!("SeriesInstanceUID={series}"));
    std::iter::once(level).chain(study).chain(series).chain(query::told(asked)).collect()
}

struct Search<'a> {
    call: &'a Call<'a>,
    level: Level,
    scope: &'a Scope,
    query: &'a Query,
}

impl Search<'_> {
    /// Adds what fits in a study; whether there is room for more.
    async fn add(&self, record: StudyRecord, results: &mut Results) -> Result<bool, Problem> {
        let (uid, base) = (record.uid.clone(), self.call.base.as_str());
        let row = Row::study(&record, base);
        if !row.fits(self.query, Level::Study) {
            return Ok(true);
        }
        // Attributes of what the path names are known to the caller.
        let from = match (&self.scope.series, &self.scope.study) {
            (Some(_), _) => Level::Instance,
            (_, Some(_)) => Level::Series,
            _ => Level::Study,
        };
        if self.level == Level::Study {
            return results
                .add_with(async || {
                    let stored = self.call.web.instances_of(&record).await?;
                    let series: BTreeSet<&Uid> = stored.iter().map(|instance| &instance.series).collect();
                    // Each object of the draft is in a series of its own.
                    let series = series.len() + draft::shown(&record).len();
                    Ok(row.with_series_count(series).json(self.query, from))
                })
                .await;
        }
        // Writing a draft's objects takes a while: only those that may be listed.
        let objects = draft::shown(&record).len();
        let wanted = |format| {
            sop_class_and_modality(format).is_some_and(|(class, modality)| self.query.may_take(class, modality))
        };
        let study = self.call.web.whole(record, wanted).await?;
        let series_in_all =
            study.stored.iter().map(|instance| &instance.series).collect::<BTreeSet<_>>().len() + objects;
        let mut series: BTreeMap<&Uid, Vec<&InstanceRecord>> = BTreeMap::new();
        for instance in study.stored.iter().chain(study.drafts.iter().map(|draft| &draft.record)) {
            series.entry(&instance.series).or_default().push(instance);
        }
        let row = row.with_series_count(series_in_all);
        for (series, instances) in series {
            if self.scope.series.as_ref().is_some_and(|wanted| wanted != series) {
                continue;
            }
            let row = row.series(&uid, &instances, base);
            if !row.fits(self.query, Level::Series) {
                continue;
            }
            if self.level == Level::Series {
                if !results.add(|| row.json(self.query, from)) {
                    return Ok(false);
                }
                continue;
            }
            for instance in instances {
                let row = row.instance(&uid, instance, base);
                if row.fits(self.query, Level::Instance) && !results.add(|| row.json(self.query, from)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Results, as many as are wanted.
struct Results {
    found: Vec<String>,
    skip: usize,
    limit: usize,
    /// The limit is ours, and not the caller's.
    is_ours: bool,
    /// There are more.
    has_more: bool,
}

impl Results {
    fn new(query: &Query, level: Level) -> Self {
        let most = most(level);
        let limit = query.limit.unwrap_or(most);
        Self { found: Vec::new(), skip: query.offset, limit: limit.min(most), is_ours: limit >= most, has_more: false }
    }

    /// Adds a result; whether there is room for more.
    fn add(&mut self, json: impl FnOnce() -> String) -> bool {
        match self.place() {
            Place::Taken => self.found.push(json()),
            Place::Skipped => {}
            Place::None => return false,
        }
        true
    }

    /// The same for a result that takes looking up.
    async fn add_with(&mut self, json: impl AsyncFnOnce() -> Result<String, Problem>) -> Result<bool, Problem> {
        match self.place() {
            Place::Taken => self.found.push(json().await?),
            Place::Skipped => {}
            Place::None => return Ok(false),
        }
        Ok(true)
    }

    fn place(&mut self) -> Place {
        if self.skip > 0 {
            self.skip -= 1;
            return Place::Skipped;
        }
        if self.found.len() >= self.limit {
            self.has_more = true;
            return Place::None;
        }
        Place::Taken
    }

    /// What the caller should know (PS3.18 sections 8.3.4.2 and 8.3.4.4).
    fn warnings(&self, query: &Query, is_cut_short: bool) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if query.fuzzy {
            warnings.push(
                "299 prelim \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"",
            );
        }
        if self.has_more && self.is_ours {
            warnings.push(
                "299 prelim \"The number of results exceeded the maximum supported by the server. Additional results can be \
                 requested.\"",
            );
        }
        if is_cut_short {
            warnings.push(
                "299 prelim \"The search ended after the newest 100000 studies. Name a Patient ID, an accession number or a \
                 study date.\"",
            );
        }
        warnings
    }
}

enum Place {
    Taken,
    Skipped,
    None,
}

/// Studies that may fit, one after the other.
struct Studies<'a> {
    call: &'a Call<'a>,
    /// Those at hand, the next one last.
    page: Vec<StudyRecord>,
    /// How to find more; nothing where there are no more.
    more: Option<StudyQuery>,
    looked_at: usize,
    is_cut_short: bool,
}

impl<'a> Studies<'a> {
    async fn of(call: &'a Call<'a>, query: &Query, scope: &Scope) -> Result<Self, Problem> {
        let mut studies = Self { call, page: Vec::new(), more: None, looked_at: 0, is_cut_short: false };
        if let Some(study) = &scope.study {
            studies.page.push(call.web.visible(&call.session, study).await?);
        } else if let Some(uids) = query.uids(tags::STUDY_INSTANCE_UID) {
            for uid in uids.iter().collect::<BTreeSet<_>>() {
                let record = call.web.coordinator.store.study(uid).await?;
                studies.page.extend(record.filter(|record| call.session.caller().may_see(&record.tenant)));
            }
        } else {
            let exact = |tag| query.exact(tag).map(str::to_owned);
            studies.more = Some(StudyQuery {
                tenants: call.session.tenants(),
                patient_id: exact(tags::PATIENT_ID),
                accession_number: exact(tags::ACCESSION_NUMBER),
                study_date: exact(tags::STUDY_DATE),
                limit: PAGE,
                ..StudyQuery::default()
            });
        }
        Ok(studies)
    }

    async fn next(&mut self) -> Result<Option<StudyRecord>, Problem> {
        if self.page.is_empty() {
            let Some(query) = self.more.take() else { return Ok(None) };
            if self.looked_at >= MAX_LOOKED_AT {
                self.is_cut_short = true;
                return Ok(None);
            }
            self.page = self.call.web.coordinator.store.studies(query.clone()).await?;
            self.looked_at += self.page.len();
            if let Some(last) = self.page.last().filter(|_| self.page.len() >= query.limit) {
                let after = Some(StudyCursor::from(last));
                self.more = Some(StudyQuery { after, ..query });
            }
            self.page.reverse();
        }
        Ok(self.page.pop())
    }
}
