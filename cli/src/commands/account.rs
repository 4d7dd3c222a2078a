//! `prelim account`: people who sign in to the page with a password.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use prelim_coordinator::access::Role;
use prelim_coordinator::access::accounts::{self, Accounts};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use crate::table;

/// Let people sign in to the page with a password.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim account add jane --family-name Doe --given-name Jane --role review --accounts accounts.toml"
)]
pub(crate) struct Account {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add an account, or change one that is there in what is given: all else of it stays as it was. The password is asked for, or is
    /// the first line of what comes in; where that is empty, an account that is there keeps its own.
    #[command(
        after_help = "Example:\n  prelim account add jane --family-name Doe --given-name Jane --role review --accounts accounts.toml\n  prelim account add jane --tenant st-mary --accounts accounts.toml < /dev/null    # that alone"
    )]
    Add(Add),
    /// List the accounts.
    #[command(after_help = "Example:\n  prelim account list --accounts accounts.toml")]
    List(List),
    /// Remove an account; its sessions end.
    #[command(after_help = "Example:\n  prelim account remove jane --accounts accounts.toml")]
    Remove(Remove),
}

/// The file of accounts.
#[derive(Debug, Args)]
struct File {
    /// The file that the coordinator is given as --accounts; made where it is missing.
    #[arg(long, value_name = "FILE", env = "PRELIM_ACCOUNTS")]
    accounts: PathBuf,
}

#[derive(Debug, Args)]
struct Add {
    /// What the person signs in with: a-z, 0-9, '.', '_', '-' and '@'.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: File,
    /// Family name, as reports name who signed. A new account takes one.
    #[arg(long, value_name = "NAME")]
    family_name: Option<String>,
    /// Given name. A new account takes one.
    #[arg(long, value_name = "NAME")]
    given_name: Option<String>,
    /// What the person may do: see drafts, or see and sign them. May be given several times; takes the place of what the account
    /// had. A new account may read where none is given.
    #[arg(long, value_name = "ROLE")]
    role: Vec<Given>,
    /// Whose studies the person may see; * for all. May be given several times; takes the place of what the account had. A new
    /// account sees those of `default` where none is given.
    #[arg(long, value_name = "NAME")]
    tenant: Vec<String>,
    /// Make a password and print it.
    #[arg(long)]
    generate: bool,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

/// A role of people on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Given {
    /// See studies and their reports.
    Read,
    /// Sign, amend and reject them, too.
    Review,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    file: File,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Remove {
    /// Which account.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: File,
}

impl Account {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Add(add) => add.run(),
            Command::List(list) => list.run(),
            Command::Remove(Remove { name, file }) => {
                accounts::remove(&file.accounts, &name)?;
                table::say(format!("account {name} is removed"))
            }
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<()> {
        let is_held = accounts::has(&self.file.accounts, &self.name)?;
        let password = if self.generate { accounts::generate() } else { ask_password(is_held)? };
        let made = self.generate.then(|| password.clone());
        // Who signs sees.
        let mut roles = BTreeSet::from([Role::Read]);
        roles.extend(self.role.contains(&Given::Review).then_some(Role::Review));
        let given = accounts::Given {
            name: self.name.clone(),
            family_name: self.family_name,
            given_name: self.given_name,
            roles: (!self.role.is_empty()).then_some(roles),
            tenants: match self.tenant.is_empty() {
                true => (!is_held).then(|| vec!["default".to_owned()]),
                false => Some(self.tenant),
            },
            password: (!is_held || !password.is_empty()).then_some(password),
        };
        let changed = accounts::put(&self.file.accounts, given)?;
        if self.json {
            return table::say(json!({"name": self.name, "password": made, "changed": changed}));
        }
        let file = self.file.accounts.display();
        table::say(match changed.as_deref() {
            None => format!("account {} is in {file}", self.name),
            Some([]) => format!("account {} was in {file}, and is as it was", self.name),
            Some(changed) => {
                format!("account {} was in {file}; changed: {}; all else is as it was", self.name, changed.join(", "))
            }
        })?;
        table::say_if(made.map(|password| format!("password: {password}")))
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let accounts = Accounts::read(&self.file.accounts)?;
        let roles = |account: &accounts::Account| account.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>();
        if self.json {
            let told = |account: &accounts::Account| {
                let (family_name, given_name) = (&account.family_name, &account.given_name);
                json!({"name": account.name, "family_name": family_name, "given_name": given_name,
                       "roles": roles(account), "tenants": account.tenants})
            };
            let all: Vec<_> = accounts.all().iter().map(told).collect();
            return table::say(json!(all));
        }
        for account in accounts.all() {
            let (roles, tenants) = (roles(account).join(", "), account.tenants.join(", "));
            table::say(format!(
                "{}: {}, {}; {roles}; {tenants}",
                account.name, account.family_name, account.given_name
            ))?;
        }
        Ok(())
    }
}

/// Asks for a password twice, without showing it; from what is no terminal, its first line is taken. None is an empty one: the account
/// that `is_held` keeps its own.
fn ask_password(is_held: bool) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let before = tcgetattr(&stdin).context("the terminal's settings cannot be read")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).context("the terminal shows what is typed")?;
    let ask = |what: &str| {
        let mut out = std::io::stderr();
        out.write_all(what.as_bytes()).and_then(|()| out.flush())?;
        let line = read_line();
        out.write_all(b"\n")?;
        line
    };
    let what = if is_held { "password (empty: it stays): " } else { "password: " };
    let asked = ask(what).and_then(|first| {
        let again = if is_held && first.is_empty() { String::new() } else { ask("again: ")? };
        Ok((first, again))
    });
    tcsetattr(&stdin, OptionalActions::Flush, &before).context("the terminal's settings cannot be set back")?;
    let (first, second) = asked?;
    anyhow::ensure!(first == second, "the two are not the same");
    Ok(first)
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("no password came in")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
