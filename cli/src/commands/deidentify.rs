//! `prelim deidentify`: files without what names the patient, for research sets.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use prelim_imaging::Limits;
use prelim_imaging::deidentify::{Key, Options, Original, burned_in, deidentify};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde_json::json;

use crate::files::{self, Found};
use crate::progress::note;
use crate::table;

/// Files that people are told of, one line each.
const SHOWN: usize = 20;

/// Write DICOM files without what names the patient.
///
/// After the Basic Application Level Confidentiality Profile of DICOM PS3.15: identifying attributes are removed, emptied or
/// replaced at any depth, private ones removed, and UIDs, Patient IDs and accession numbers replaced by ones that follow from
/// the key: the same key gives the same ones, so that references hold and sets can be added to; without the key nobody can go
/// back. Pixels stay as they are: files whose pixels may show a name or a face are told of. Files go to
/// DIR/STUDY/SERIES/INSTANCE.dcm under their new UIDs; none is ever overwritten. What cannot be de-identified is refused, and
/// then the exit code is not 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  openssl rand -hex 32 > key && chmod 600 key\n  prelim deidentify ~/studies -o set --key key --table table.csv --retain dates,characteristics"
)]
pub(crate) struct Deidentify {
    /// Folders, taken with everything in them, or files.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Folder to write to, outside of the others.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// File with the key: 32 bytes or more, which nobody else may read.
    #[arg(long, value_name = "FILE", env = "PRELIM_DEIDENTIFY")]
    key: PathBuf,
    /// Write what became what, as CSV, for who must find the patients again. Keep it as you keep patients' names, and not in
    /// DIR. A file that is there is left alone, which is an error.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// What to keep beside what the profile keeps.
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    retain: Vec<Retain>,
    /// Refuse files whose pixels may show a name or a face, by their header, instead of telling.
    #[arg(long)]
    refuse_burned_in: bool,
    /// For programs: one JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// Options of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Retain {
    /// Dates, all of one patient moved back by the same days; times of day stay.
    Dates,
    /// Age, sex, size, weight and their like.
    Characteristics,
}

/// What became of a file.
enum Outcome {
    Written,
    /// It is there already, byte for byte.
    Held,
    Refused,
}

/// A file, and what became of it.
struct Treated<'a> {
    path: &'a Path,
    outcome: Outcome,
    /// Why it was refused.
    reason: String,
    /// Its new SOP Instance UID.
    instance: String,
    /// What its pixels may show, in a sentence; empty where nothing.
    shows: String,
    original: Option<Original>,
}

impl Deidentify {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let key = Key::read(&self.key).with_context(|| self.key.display().to_string())?;
        let options = Options {
            keeps_characteristics: self.retain.contains(&Retain::Characteristics),
            keeps_dates: self.retain.contains(&Retain::Dates),
            refuses_burned_in: self.refuse_burned_in,
        };
        self.check_places()?;
        let Found { files, unreadable } = files::below(&self.paths)?;
        anyhow::ensure!(!files.is_empty() || !unreadable.is_empty(), "no files there");
        fs::create_dir_all(&self.out).with_context(|| format!("{} cannot be made", self.out.display()))?;
        let bar = if self.json { ProgressBar::hidden() } else { bar(files.len()) };
        let treat = |path| {
            let treated = self.treat(path, &key, &options);
            bar.inc(1);
            treated
        };
        let mut all: Vec<Treated<'_>> = files.par_iter().map(PathBuf::as_path).map(treat).collect();
        bar.finish_and_clear();
        all.extend(unreadable.iter().map(|(path, reason)| Treated::refused(path, reason.clone())));
        if let Some(table) = &self.table {
            let rows = rows(&all, &key, options.keeps_dates);
            write_new(table, rows.as_bytes(), 0o600).with_context(|| format!("{}: not written", table.display()))?;
        }
        if self.json {
            table::say(serde_json::to_string_pretty(
                &json!({"files": all.iter().map(Treated::json).collect::<Vec<_>>()}),
            )?)?;
        } else {
            self.tell(&all)?;
        }
        let refused = all.iter().filter(|treated| matches!(treated.outcome, Outcome::Refused)).count();
        let files = table::count(all.len(), "file");
        let where_told = if refused <= SHOWN || self.json { "each with its reason above" } else { "--json tells why" };
        anyhow::ensure!(refused == 0, "{refused} of {files} refused: {where_told}");
        Ok(())
    }

    /// Nothing that is written may be taken for an input, and no table be given away with the set.
    fn check_places(&self) -> anyhow::Result<()> {
        let real = |path: &Path| fs::canonicalize(path).with_context(|| format!("{} cannot be read", path.display()));
        let out = real_if_made(&self.out)?;
        for path in &self.paths {
            let path = real(path)?;
            anyhow::ensure!(!out.starts_with(&path), "{} lies in {}, which is read", out.display(), path.display());
            anyhow::ensure!(
                !path.starts_with(&out),
                "{}, which is read, lies in {}: name another folder to write to",
                path.display(),
                out.display()
            );
        }
        let Some(table) = &self.table else { return Ok(()) };
        anyhow::ensure!(
            fs::symlink_metadata(table).is_err(),
            "{} is there already; name another file",
            table.display()
        );
        let folder = table.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        anyhow::ensure!(
            !real_if_made(folder)?.starts_with(&out),
            "{} lies in {}: the table leads back to the patients, and must not go with the set",
            table.display(),
            out.display()
        );
        Ok(())
    }

    fn treat<'a>(&self, path: &'a Path, key: &Key, options: &Options) -> Treated<'a> {
        let limits = Limits::default();
        let read = || {
            let length = fs::metadata(path)?.len();
            if length > limits.max_object_bytes as u64 {
                return Err(std::io::Error::other(format!("larger than {} MiB", limits.max_object_bytes >> 20)));
            }
            fs::read(path)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) => return Treated::refused(path, format!("cannot be read: {error}")),
        };
        let done = match deidentify(&bytes, key, options, &limits) {
            Ok(done) => done,
            Err(error) => return Treated::refused(path, error.to_string()),
        };
        let of = &done.original;
        let instance = key.uid(of.instance.as_str());
        let folder = self.out.join(key.uid(of.study.as_str())).join(key.uid(of.series.as_str()));
        let to = folder.join(format!("{instance}.dcm"));
        let written = fs::create_dir_all(&folder).and_then(|()| write_new(&to, &done.bytes, 0o666));
        let outcome = match written {
            Ok(()) => Outcome::Written,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::read(&to) {
                Ok(held) if held == done.bytes => Outcome::Held,
                _ => {
                    let reason = "another file is there under its new UID, and is left as it is".to_owned();
                    return Treated::refused(path, reason);
                }
            },
            Err(error) => return Treated::refused(path, format!("{} cannot be written: {error}", to.display())),
        };
        let shows = burned_in::sentence(&done.shows);
        Treated { path, outcome, reason: String::new(), instance, shows, original: Some(done.original) }
    }

    /// What became of the files, for people.
    fn tell(&self, all: &[Treated<'_>]) -> anyhow::Result<()> {
        let count = |wanted: fn(&Outcome) -> bool| all.iter().filter(|treated| wanted(&treated.outcome)).count();
        let shown: Vec<_> = all.iter().filter(|treated| !treated.shows.is_empty()).collect();
        table::say(format!(
            "{}: {} written below {}, {} there already, {} refused; {} to be looked at",
            table::count(all.len(), "file"),
            count(|outcome| matches!(outcome, Outcome::Written)),
            self.out.display(),
            count(|outcome| matches!(outcome, Outcome::Held)),
            count(|outcome| matches!(outcome, Outcome::Refused)),
            shown.len(),
        ))?;
        for treated in shown.iter().take(SHOWN) {
            note(&format!("  look at {}: {}", treated.instance, treated.shows));
        }
        let refused: Vec<_> = all.iter().filter(|treated| matches!(treated.outcome, Outcome::Refused)).collect();
        for treated in refused.iter().take(SHOWN) {
            let path = table::cell(&treated.path.display().to_string(), 200);
            note(&format!("  refused {path}: {}", table::cell(&treated.reason, 300)));
        }
        let more = shown.len().saturating_sub(SHOWN) + refused.len().saturating_sub(SHOWN);
        if more > 0 {
            note(&format!("  and {more} more; --json lists all"));
        }
        Ok(())
    }
}

impl<'a> Treated<'a> {
    fn refused(path: &'a Path, reason: String) -> Self {
        let (instance, shows) = (String::new(), String::new());
        Self { path, outcome: Outcome::Refused, reason, instance, shows, original: None }
    }

    fn json(&self) -> serde_json::Value {
        let outcome = match self.outcome {
            Outcome::Written => "written",
            Outcome::Held => "held",
            Outcome::Refused => "refused",
        };
        json!({
            "path": self.path.to_string_lossy(),
            "outcome": outcome,
            "reason": self.reason,
            "instance_uid": self.instance,
            "shows": self.shows,
        })
    }
}

/// Where a folder is that may not be there yet.
fn real_if_made(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let known = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let rest = folder.strip_prefix(known)?;
    Ok(fs::canonicalize(known).with_context(|| format!("{} cannot be read", known.display()))?.join(rest))
}

/// The table of what became what, each pair once.
fn rows(all: &[Treated<'_>], key: &Key, with_days: bool) -> String {
    let mut rows = BTreeSet::new();
    for of in all.iter().filter_map(|treated| treated.original.as_ref()) {
        let mut row = |kind, original: &str, now: String| rows.insert((kind, original.to_owned(), now));
        row("study_uid", of.study.as_str(), key.uid(of.study.as_str()));
        row("series_uid", of.series.as_str(), key.uid(of.series.as_str()));
        row("instance_uid", of.instance.as_str(), key.uid(of.instance.as_str()));
        if !of.accession_number.is_empty() {
            row("accession_number", &of.accession_number, key.accession(&of.accession_number));
        }
        if !of.patient_id.is_empty() {
            row("patient_id", &of.patient_id, key.patient(&of.patient_id));
            if with_days {
                row("days_moved_back", &of.patient_id, key.shift_days(&of.patient_id).to_string());
            }
        }
    }
    let line = |(kind, original, now): (&str, String, String)| format!("{kind},{},{now}\r\n", quoted(&original));
    std::iter::once("kind,original,pseudonym\r\n".to_owned()).chain(rows.into_iter().map(line)).collect()
}

/// A field of CSV (RFC 4180).
fn quoted(field: &str) -> String {
    let is_plain = !field.contains([',', '"', '\r', '\n']);
    if is_plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

/// Writes a file that is not there yet: whole, or not at all. `mode` are its permissions, less those that the umask takes.
fn write_new(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = fs::Permissions::from_mode(mode);
    let mut file = tempfile::Builder::new().prefix(".prelim-").permissions(permissions).tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

fn bar(files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>8} {bar:32.cyan/dim} {pos}/{len}  {per_sec}  left {eta}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─");
    ProgressBar::new(files as u64).with_style(style).with_prefix("files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(quoted("4711"), "4711");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_new(&path, b"one", 0o600).unwrap();
        assert_eq!(write_new(&path, b"two", 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (b"one".to_vec(), 1));
    }
}
