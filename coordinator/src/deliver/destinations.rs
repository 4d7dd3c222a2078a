//! The file that says where drafts go, and where studies may be fetched.
//!
//! ```toml
//! [[destination]]
//! name = "pacs"                                # for people and programs
//! address = "dicom://PACS@pacs.example:104"    # dicoms:// for TLS; https://…/dicom-web for STOW-RS;
//!                                              # mllp://HOST:PORT or mllps:// for HL7; fhir+https://…/fhir
//! objects = ["sr"]                             # what goes there; [] for a PACS that studies are only fetched from;
//!                                              # MLLP takes hl7, a FHIR server fhir
//! when = ["drafted", "signed"]                 # the moments; "drafted" alone where not given
//! tenants = ["st-mary"]                        # whose studies; all where not given
//! calling = "PRELIM"                           # our title there; --aet where not given
//! commit = true                                # ask for storage commitment
//! attempts = 100                               # before a delivery is given up; about a day
//! longest_pause_s = 1800                       # between two of them
//! connect_s = 10                               # how long we wait: for a connection,
//! answer_s = 30                                # for the answer to an association request,
//! idle_s = 60                                  # and for the answer to an object
//! token_file = "archive.token"                 # a bearer token for STOW-RS and FHIR, read each time
//! receiver = "RIS|ST-MARY"                     # receiving application and facility of HL7 messages
//! [destination.tls]
//! ca = "hospital.pem"                          # the system's authorities where not given
//! cert = "prelim.pem"                          # where the other side wants a certificate
//! key = "prelim.key"
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prelim_proto::ids::Tenant;
use prelim_proto::review::Standing;
use serde::Deserialize;

use super::fhir::{self, Fhir};
use super::mllp::Mllp;
use super::stow::Stow;
use crate::dimse::scu::node::{Node, Times, TlsFiles};
use crate::dimse::title::{AE_TITLE, is_ae_title};
use crate::queue::RetryPolicy;
use crate::report::Format;
use crate::store::delivery::Wish;
use crate::watched::Watched;

/// Longest name of a destination, in characters.
const MAX_NAME: usize = 32;
/// Upper end of the first pause between two attempts, in ms.
const FIRST_PAUSE_MS: u64 = 2_000;

/// The destinations, as the file has them now.
pub(crate) type Destinations = Watched<Vec<Arc<Destination>>, String>;

/// Where drafts go.
#[derive(Debug)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub route: Route,
    /// In which objects reports go there.
    pub objects: Vec<Format>,
    /// When: [`Moment::Drafted`], [`Moment::Signed`] or both.
    pub moments: Vec<Moment>,
    /// Whose; none is everybody's.
    pub tenants: Option<Vec<Tenant>>,
    /// Whether it is asked to commit itself to keeping what it took.
    pub commit: bool,
    /// When a failed attempt is made again.
    pub retries: RetryPolicy,
}

/// When a report goes somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Software has drafted it.
    Drafted,
    /// A radiologist has signed or amended it.
    Signed,
    /// A radiologist has rejected the draft: told to those who take drafts.
    Rejected,
}

impl From<Standing> for Moment {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Draft => Self::Drafted,
            Standing::Signed | Standing::Amended => Self::Signed,
            Standing::Rejected => Self::Rejected,
        }
    }
}

impl Moment {
    fn named(word: &str) -> Result<Self, String> {
        match word {
            "drafted" => Ok(Self::Drafted),
            "signed" => Ok(Self::Signed),
            other => Err(format!("when = {other:?} is no moment: \"drafted\" or \"signed\"")),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum When {
    One(String),
    Several(Vec<String>),
}

/// How a destination is reached.
#[derive(Debug)]
pub enum Route {
    /// By associations.
    Dicom(Node),
    /// By STOW-RS.
    Stow(Stow),
    /// By HL7 v2 messages over MLLP.
    Mllp(Mllp),
    /// By transactions with a FHIR server.
    Fhir(Fhir),
}

impl Route {
    /// The protocol, for the audit.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::Dicom(_) => "C-STORE",
            Self::Stow(_) => "STOW-RS",
            Self::Mllp(_) => "MLLP",
            Self::Fhir(_) => "FHIR",
        }
    }

    /// The objects that can go there, the usual one first.
    fn objects(&self) -> &'static [Format] {
        match self {
            Self::Dicom(_) | Self::Stow(_) => &[
                Format::Sr,
                Format::DicomPdf,
                Format::Capture,
                Format::KeyObjects,
                Format::Presentation,
                Format::Assessment,
            ],
            Self::Mllp(_) => &[Format::Hl7],
            Self::Fhir(_) => &[Format::Fhir],
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dicom(node) => node.fmt(f),
            Self::Stow(Stow(http)) | Self::Fhir(Fhir(http)) => http.fmt(f),
            Self::Mllp(mllp) => mllp.fmt(f),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    destination: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    address: String,
    objects: Option<Vec<String>>,
    when: Option<When>,
    tenants: Option<Vec<String>>,
    calling: Option<String>,
    #[serde(default)]
    commit: bool,
    attempts: Option<u32>,
    longest_pause_s: Option<u64>,
    connect_s: Option<u64>,
    answer_s: Option<u64>,
    idle_s: Option<u64>,
    token_file: Option<PathBuf>,
    receiver: Option<String>,
    #[serde(default)]
    tls: TlsFiles,
}

/// Opens the file of `--destinations`, which is read again when it, or a file that it names, changes. `aet` is our title
/// where a destination names no other.
///
/// # Errors
/// A sentence with the file's name and what is wrong in it.
pub(crate) fn open(file: Option<&Path>, aet: &str) -> Result<Option<Destinations>, String> {
    let Some(file) = file else { return Ok(None) };
    let (file, aet) = (file.to_owned(), aet.to_owned());
    let mut files = vec![file.clone()];
    if let Ok(text) = std::fs::read_to_string(&file) {
        files.extend(named_in(&text));
    }
    let read = move || {
        let wrong = |problem: String| format!("--destinations {}: {problem}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
        parse(&text, &aet).map_err(wrong)
    };
    Watched::open("destinations", files, read).map(Some)
}

/// Files of TLS that the text names.
fn named_in(text: &str) -> Vec<PathBuf> {
    let Ok(file) = toml::from_str::<File>(text) else { return Vec::new() };
    file.destination.into_iter().flat_map(|each| [each.tls.ca, each.tls.cert, each.tls.key]).flatten().collect()
}

fn parse(text: &str, aet: &str) -> Result<Vec<Arc<Destination>>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    if file.destination.is_empty() {
        return Err("no [[destination]] in it: drafts would go nowhere".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut destinations = Vec::with_capacity(file.destination.len());
    for written in file.destination {
        let name = written.name.clone();
        if !names.insert(name.clone()) {
            return Err(format!("two destinations are named {name:?}"));
        }
        let destination =
            Destination::read(written, aet).map_err(|problem| format!("destination {name:?}: {problem}"))?;
        destinations.push(Arc::new(destination));
    }
    Ok(destinations)
}

impl Destination {
    fn read(written: Written, aet: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let name = written.name;
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err(format!("a name is 1 to {MAX_NAME} of a-z, 0-9, '-', '_' and '.'"));
        }
        let moments = match written.when {
            None => vec![Moment::Drafted],
            Some(When::One(word)) => vec![Moment::named(&word)?],
            Some(When::Several(words)) if words.is_empty() => return Err("when = [] is no moment".to_owned()),
            Some(When::Several(words)) => words.iter().map(|word| Moment::named(word)).collect::<Result<_, _>>()?,
        };
        let calling = written.calling.unwrap_or_else(|| aet.to_owned());
        if !is_ae_title(&calling) {
            return Err(format!("calling = {calling:?} is no application entity title: {AE_TITLE}"));
        }
        let tenants = written.tenants.filter(|names| !names.iter().any(|name| name == "*"));
        let tenant = |name: String| Tenant::parse(&name).map_err(|error| format!("tenant {name:?}: {error}"));
        let tenants = tenants.map(|names| names.into_iter().map(tenant).collect::<Result<Vec<_>, _>>()).transpose()?;
        let usual = Times::default();
        let times = Times {
            connect: seconds("connect_s", written.connect_s, usual.connect)?,
            answer: seconds("answer_s", written.answer_s, usual.answer)?,
            idle: seconds("idle_s", written.idle_s, usual.idle)?,
        };
        let longest = seconds("longest_pause_s", written.longest_pause_s, Duration::from_secs(1_800))?;
        let max_attempts = written.attempts.unwrap_or(100);
        if !(1..=100_000).contains(&max_attempts) {
            return Err("attempts is not between 1 and 100,000".to_owned());
        }
        let max_delay_ms = longest.as_millis() as u64;
        let retries = RetryPolicy { max_attempts, base_delay_ms: FIRST_PAUSE_MS.min(max_delay_ms), max_delay_ms };
        let address = written.address.as_str();
        let is_web = address.starts_with("http://") || address.starts_with("https://");
        let is_hl7 = address.starts_with("mllp://") || address.starts_with("mllps://");
        let is_dicom = address.starts_with("dicom://") || address.starts_with("dicoms://");
        if !(is_web || is_hl7 || is_dicom || fhir::is_address(address)) {
            return Err(format!(
                "{address:?} is no address: give dicom://TITLE@HOST:PORT, dicoms:// for TLS, https://HOST/dicom-web, \
                 mllp://HOST:PORT, mllps:// or fhir+https://HOST/fhir"
            ));
        }
        if written.commit && !is_dicom {
            return Err("commit is of DICOM associations: nothing else has one".to_owned());
        }
        if written.token_file.is_some() && (is_hl7 || is_dicom) {
            return Err("token_file is of STOW-RS and FHIR: others show a certificate".to_owned());
        }
        if written.receiver.is_some() && !is_hl7 {
            return Err("receiver is of HL7 messages: give an address of mllp://".to_owned());
        }
        let route = if is_web {
            Route::Stow(Stow::new(address, &written.tls, written.token_file, times)?)
        } else if is_hl7 {
            Route::Mllp(Mllp::new(address, &written.tls, written.receiver.as_deref().unwrap_or_default(), times)?)
        } else if is_dicom {
            Route::Dicom(Node { times, ..Node::parse(address, &calling, &written.tls)? })
        } else {
            Route::Fhir(Fhir::new(address, &written.tls, written.token_file, times)?)
        };
        let can = route.objects();
        let of = |word: String| {
            let known: Vec<&str> = can.iter().map(|format| format.as_str()).collect();
            can.iter()
                .find(|format| format.as_str() == word)
                .copied()
                .ok_or_else(|| format!("{word:?} is no object that is sent there: {}", known.join(", ")))
        };
        let objects = match written.objects {
            Some(words) => words.into_iter().map(of).collect::<Result<Vec<_>, _>>()?,
            None => can[..1].to_vec(),
        };
        Ok(Self { name, route, objects, moments, tenants, commit: written.commit, retries })
    }

    /// Whether drafts of this tenant's studies go there.
    pub fn takes(&self, tenant: &Tenant) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant))
    }

    /// What is to be noted for a report that goes there at that moment, and whether an earlier version of it is signed: a FHIR
    /// server and a RIS have one report of a study, and no draft takes the place of what was signed.
    pub fn wishes(destination: &Arc<Self>, moment: Moment, has_signed: bool) -> Vec<Wish> {
        let stays = |object: &Format| has_signed && matches!(object, Format::Fhir | Format::Hl7);
        let is_wanted = |object: &&Format| match moment {
            Moment::Drafted | Moment::Rejected if stays(object) => false,
            // That a draft is rejected is said, and nothing of it shown again.
            Moment::Rejected => {
                destination.moments.contains(&Moment::Drafted)
                    && matches!(object, Format::Sr | Format::Fhir | Format::Hl7 | Format::Assessment)
            }
            moment => destination.moments.contains(&moment),
        };
        let wish = |object: &Format| Wish { destination: destination.name.clone(), object: object.as_str().to_owned() };
        destination.objects.iter().filter(is_wanted).map(wish).collect()
    }
}

fn seconds(name: &str, written: Option<u64>, usual: Duration) -> Result<Duration, String> {
    match written {
        None => Ok(usual),
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("{name} is not between 1 and 86,400")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        let text = r#"
            [[destination]]
            name = "pacs"
            address = "dicom://PACS@10.0.0.5:11112"
            tenants = ["west"]
            commit = true
            idle_s = 5
            [[destination]]
            name = "archive"
            address = "http://127.0.0.1:8042/dicom-web"
            objects = []
            tenants = ["*"]
        "#;
        let read = parse(text, "PRELIM").unwrap();
        let west = Tenant::parse("west").unwrap();
        assert!(read[0].takes(&west) && !read[0].takes(&Tenant::default()) && read[1].takes(&west));
        let Route::Dicom(node) = &read[0].route else { panic!("{:?}", read[0].route) };
        assert_eq!((node.calling.as_str(), node.times.idle), ("PRELIM", Duration::from_secs(5)));
        let wish = Wish { destination: "pacs".into(), object: "sr".into() };
        assert_eq!(Destination::wishes(&read[0], Moment::Drafted, false), [wish]);
        assert_eq!(Destination::wishes(&read[1], Moment::Drafted, false), []);
    }

    #[test]
    fn reports_go_out_at_the_moments_that_are_named() {
        let told = |when: &str, moment| -> Vec<String> {
            let text = format!(
                "[[destination]]\nname = \"a\"\naddress = \"dicom://PACS@host\"\nobjects = [\"sr\", \"sc\", \"assessment\"]\n{when}"
            );
            let read = parse(&text, "PRELIM").unwrap();
            Destination::wishes(&read[0], moment, false).into_iter().map(|wish| wish.object).collect()
        };
        let (all, none): (&[&str], &[&str]) = (&["sr", "sc", "assessment"], &[]);
        for (when, drafted, signed, rejected) in [
            ("", all, none, &["sr", "assessment"][..]),
            ("when = \"drafted\"", all, none, &["sr", "assessment"]),
            // Who never saw the draft is not told that it was rejected.
            ("when = \"signed\"", none, all, none),
            ("when = [\"drafted\", \"signed\"]", all, all, &["sr", "assessment"]),
        ] {
            assert_eq!(told(when, Moment::Drafted), drafted, "{when}");
            assert_eq!(told(when, Moment::Signed), signed, "{when}");
            assert_eq!(told(when, Moment::Rejected), rejected, "{when}");
        }
    }

    #[test]
    fn no_draft_takes_the_place_of_what_was_signed() {
        let told = |address: &str, moment| {
            let text =
                format!("[[destination]]\nname = \"a\"\naddress = \"{address}\"\nwhen = [\"drafted\", \"signed\"]");
            Destination::wishes(&parse(&text, "PRELIM").unwrap()[0], moment, true).len()
        };
        for (address, expected) in
            [("mllp://ris", [0, 1, 0]), ("fhir+https://ehr.example/fhir", [0, 1, 0]), ("dicom://PACS@host", [1, 1, 1])]
        {
            let moments = [Moment::Drafted, Moment::Signed, Moment::Rejected];
            assert_eq!(moments.map(|moment| told(address, moment)), expected, "{address}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_is_named() {
        let with = |more: &str| format!("[[destination]]\nname = \"a\"\naddress = \"dicom://PACS@host\"\n{more}");
        for (text, named) in [
            (String::new(), "[[destination]]"),
            (with("objets = []"), "objets"),
            (with("objects = [\"html\"]"), "html"),
            (with("when = \"later\""), "later"),
            (with("when = []"), "no moment"),
            (with("calling = \"A TITLE THAT IS TOO LONG\""), "16"),
            (with("tenants = [\"St Mary\"]"), "St Mary"),
            (with("idle_s = 0"), "idle_s"),
            (with("attempts = 0"), "attempts"),
            (with("token_file = \"t\""), "STOW-RS"),
            (with("receiver = \"RIS\""), "mllp://"),
            (
                "[[destination]]\nname = \"a\"\naddress = \"https://pacs.example/rs\"\ntoken_file = \"/nowhere/token\""
                    .to_owned(),
                "token_file /nowhere/token",
            ),
            ("[[destination]]\nname = \"a\"\naddress = \"mllp://ris\"\nobjects = [\"sr\"]".to_owned(), "hl7"),
            ("[[destination]]\nname = \"a\"\naddress = \"fhir+http://ehr.example/fhir\"".to_owned(), "not encrypted"),
            (with("") + &with(""), "two destinations"),
            ("[[destination]]\nname = \"A B\"\naddress = \"dicom://PACS@host\"".to_owned(), "a-z"),
            ("[[destination]]\nname = \"a\"\naddress = \"ftp://host\"".to_owned(), "give dicom://TITLE@HOST:PORT"),
            ("[[destination]]\nname = \"a\"\naddress = \"http://pacs.example/rs\"".to_owned(), "not encrypted"),
            (
                "[[destination]]\nname = \"a\"\naddress = \"https://pacs.example/rs\"\ncommit = true".to_owned(),
                "commit",
            ),
        ] {
            let problem = parse(&text, "PRELIM").unwrap_err();
            assert!(problem.contains(named), "{text}: {problem}");
        }
    }
}
