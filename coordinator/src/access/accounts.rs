//! The file of `--accounts`: people who sign in with a password.
//!
//! ```toml
//! [[account]]
//! name = "jane"                          # what she signs in with
//! id = "5f0c..."                         # as `prelim account add` makes it, anew for each account
//! family_name = "Doe"
//! given_name = "Jane"                    # who signs reports
//! roles = ["read", "review"]
//! tenants = ["default"]                  # "*" for all; `default` alone where none are named
//! password = "$argon2id$v=19$..."        # as `prelim account add` writes it
//! ```
//!
//! **Invariant**: an account that is made anew under an old name is another person, whose work, questions and sessions are
//! their own: the id tells them apart. Accounts without one, of before there were any, are told by their names.
//! **Invariant**: no password is in the file, in a log or in an error; what is checked takes as long for a name that there is
//! as for one that there is not.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params};
use prelim_proto::ids::IdError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::caller::{Caller, Role, Tenants};
use super::rules::person_name;

/// Longest name of an account, in characters.
const MAX_NAME: usize = 64;
/// Accounts of a file.
const MAX_ACCOUNTS: usize = 10_000;
/// Shortest password that is taken for a new account, in characters.
pub const MIN_PASSWORD: usize = 12;
/// Longest password that is looked at, in bytes.
pub const MAX_PASSWORD: usize = 1_024;
/// The most memory that checking a password may take, in KiB, and the most passes over it.
const MAX_COST: (u32, u32) = (1 << 18, 16);
/// Letters of passwords that are made: none that is taken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A file of accounts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The file cannot be read or written.
    #[error("--accounts {file}: {source}{}", if source.kind() == io::ErrorKind::NotFound { "; prelim account add makes it" } else { "" })]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may write it, and so give themselves an account.
    #[error(
        "--accounts {file}: others than its owner may write it (mode {mode:o}), and with it an account of theirs: chmod 600 {file}"
    )]
    Writable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no TOML of that shape.
    #[error("{0}")]
    Shape(Box<str>),
    /// A name is none.
    #[error(
        "account name {0:?} is not 1 to {MAX_NAME} of the characters a-z, 0-9, '.', '_', '-' and '@', or stands for everybody (anybody, nobody)"
    )]
    Name(String),
    /// Two accounts have one name.
    #[error("there are two accounts {0:?}")]
    Twice(String),
    /// The person's name is none.
    #[error(
        "account {0:?}: family_name and given_name are no name as DICOM writes them: at most 64 characters together, without ^, = and \\"
    )]
    Person(String),
    /// It gives nothing, or what people on a page do not have.
    #[error("account {0:?}: roles are read and review, one at least")]
    Roles(String),
    /// It is no id as they are made.
    #[error(
        "account {0:?}: id is not 1 to {MAX_NAME} of the characters a-z, 0-9 and '-'; `prelim account add` makes one"
    )]
    Id(String),
    /// A new account has no person's name.
    #[error("there is no account {0:?} yet, and a new one takes --family-name and --given-name")]
    Unnamed(String),
    /// A tenant's name is none.
    #[error("account {0:?}: {1}")]
    Tenant(String, IdError),
    /// The password is not as it is written here.
    #[error(
        "account {0:?}: password is no hash by argon2id of at most 256 MiB and 16 passes; `prelim account add` writes one"
    )]
    Password(String),
    /// A password that is easily guessed.
    #[error("a password has {MIN_PASSWORD} characters at least, and {MAX_PASSWORD} bytes at most")]
    Weak,
    /// Too many.
    #[error("more than {MAX_ACCOUNTS} accounts; take an OpenID Connect issuer for so many")]
    TooMany,
    /// There is no such account.
    #[error("there is no account {0:?}")]
    Unknown(String),
    /// The password could not be hashed.
    #[error("password not hashed: {0}")]
    Hash(String),
}

/// An account, as the file has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What its person signs in with.
    pub name: String,
    /// What tells it from another account that had the name before, or has it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Family name.
    pub family_name: String,
    /// Given name.
    pub given_name: String,
    /// What its person may do.
    pub roles: BTreeSet<Role>,
    /// Whose studies its person may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The password's hash, in the form of PHC.
    password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    account: Vec<Account>,
}

/// The accounts of a file.
#[derive(Debug, Default)]
pub struct Accounts {
    accounts: Vec<Account>,
    /// A hash that costs as much as the dearest of the file, of a password that nobody knows.
    nobody: String,
}

impl Account {
    /// An account with this password.
    pub fn new(
        name: &str,
        (family_name, given_name): (&str, &str),
        roles: BTreeSet<Role>,
        tenants: Vec<String>,
        password: &str,
    ) -> Result<Self, AccountsError> {
        let account = Self {
            name: name.to_owned(),
            id: Some(format!("{:016x}", rand::random::<u64>())),
            family_name: family_name.trim().to_owned(),
            given_name: given_name.trim().to_owned(),
            roles,
            tenants,
            password: of_password(password)?,
        };
        account.check()?;
        Ok(account)
    }

    /// The account with what is given in the place of what it had, and what of it became another.
    fn changed(mut self, given: Given) -> Result<(Self, Vec<&'static str>), AccountsError> {
        let before = self.clone();
        let Given { family_name, given_name, roles, tenants, password, .. } = given;
        let name = |given: Option<String>, held: String| given.map_or(held, |name| name.trim().to_owned());
        self.family_name = name(family_name, self.family_name);
        self.given_name = name(given_name, self.given_name);
        self.roles = roles.unwrap_or(self.roles);
        self.tenants = tenants.unwrap_or(self.tenants);
        if let Some(password) = password {
            self.password = of_password(&password)?;
        }
        self.check()?;
        let changes = [
            ("family name", self.family_name != before.family_name),
            ("given name", self.given_name != before.given_name),
            ("roles", self.roles != before.roles),
            ("tenants", self.tenants != before.tenants),
            ("password", self.password != before.password),
        ];
        Ok((self, changes.into_iter().filter(|(_, is_other)| *is_other).map(|(what, _)| what).collect()))
    }

    /// Who it is, as a caller.
    pub fn caller(&self) -> Caller {
        // It was checked when the file was read.
        let tenants = Tenants::named(self.tenants.iter().map(String::as_str)).unwrap_or(Tenants::Only(BTreeSet::new()));
        let (name, id, person) = (self.name.clone(), self.id.clone(), Some(self.person()));
        Caller { name, id, person, roles: self.roles.clone(), tenants, expires_at_s: None }
    }

    /// What tells this account and its password from the one that it had before, and from another account of the name.
    pub fn mark(&self) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        let digest = Sha256::digest([self.password.as_bytes(), id.as_bytes()].concat());
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn person(&self) -> String {
        format!("{}^{}", self.family_name, self.given_name)
    }

    fn check(&self) -> Result<(), AccountsError> {
        let name = || self.name.clone();
        if !is_name(&self.name) {
            return Err(AccountsError::Name(name().chars().take(80).collect()));
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.id.as_ref().is_some_and(|id| !(1..=MAX_NAME).contains(&id.len()) || !id.bytes().all(is_plain)) {
            return Err(AccountsError::Id(name()));
        }
        let parts = [&self.family_name, &self.given_name];
        let holds = parts.iter().all(|part| !part.trim().is_empty() && !part.contains('^'));
        if !holds || person_name(&self.person()).is_err() {
            return Err(AccountsError::Person(name()));
        }
        if self.roles.is_empty() || self.roles.iter().any(|role| !matches!(role, Role::Read | Role::Review)) {
            return Err(AccountsError::Roles(name()));
        }
        Tenants::named(self.tenants.iter().map(String::as_str))
            .map_err(|error| AccountsError::Tenant(name(), error))?;
        cost(&self.password).map(|_| ()).ok_or_else(|| AccountsError::Password(name()))
    }
}

impl Accounts {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Self, AccountsError> {
        Self::of(written(file)?.account)
    }

    fn of(accounts: Vec<Account>) -> Result<Self, AccountsError> {
        if accounts.len() > MAX_ACCOUNTS {
            return Err(AccountsError::TooMany);
        }
        let mut names = BTreeSet::new();
        for account in &accounts {
            account.check()?;
            if !names.insert(&account.name) {
                return Err(AccountsError::Twice(account.name.clone()));
            }
        }
        let dearest = accounts.iter().filter_map(|account| cost(&account.password));
        let dearest = dearest.max_by_key(|params| u64::from(params.m_cost()) * u64::from(params.t_cost()));
        let unknown = format!("{:032x}", rand::random::<u128>());
        Ok(Self { nobody: hash(&unknown, dearest.unwrap_or_default())?, accounts })
    }

    /// The account of that name.
    pub fn find(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// Every account, in the order of the file.
    pub fn all(&self) -> &[Account] {
        &self.accounts
    }

    /// The account of that name, where this is its password. It takes its time, also where there is no such account.
    pub fn check(&self, name: &str, password: &str) -> Option<&Account> {
        let found = self.find(name);
        let known = found.map_or(self.nobody.as_str(), |account| &account.password);
        let hash = PasswordHash::new(known).ok()?;
        let is_right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        found.filter(|_| is_right)
    }
}

/// What somebody says of an account; what is none stays as it was.
#[derive(Default)]
pub struct Given {
    /// Which account.
    pub name: String,
    /// Family name.
    pub family_name: Option<String>,
    /// Given name.
    pub given_name: Option<String>,
    /// What its person may do; of a new account, see studies.
    pub roles: Option<BTreeSet<Role>>,
    /// Whose studies its person may see.
    pub tenants: Option<Vec<String>>,
    /// The password.
    pub password: Option<String>,
}

/// Whether the file has an account of that name.
pub fn has(file: &Path, name: &str) -> Result<bool, AccountsError> {
    Ok(file.exists() && written(file)?.account.iter().any(|account| account.name == name))
}

/// Changes an account of a file in what is given, and says in what; nothing where it was not there, and was made. The file is made
/// where it is missing.
pub fn put(file: &Path, given: Given) -> Result<Option<Vec<&'static str>>, AccountsError> {
    let accounts = if file.exists() { written(file)?.account } else { Vec::new() };
    if let Some(held) = accounts.into_iter().find(|account| account.name == given.name) {
        let (account, changes) = held.changed(given)?;
        add(file, account)?;
        return Ok(Some(changes));
    }
    let Given { name, family_name: Some(family_name), given_name: Some(given_name), roles, tenants, password } = given
    else {
        return Err(AccountsError::Unnamed(given.name));
    };
    let (roles, tenants) = (roles.unwrap_or([Role::Read].into()), tenants.unwrap_or_default());
    let password = password.unwrap_or_default();
    add(file, Account::new(&name, (&family_name, &given_name), roles, tenants, &password)?)?;
    Ok(None)
}

/// Adds an account to a file, which is made where it is missing, in the place of another of its name.
pub fn add(file: &Path, account: Account) -> Result<(), AccountsError> {
    let mut accounts = if file.exists() { written(file)?.account } else { Vec::new() };
    accounts.retain(|known| known.name != account.name);
    accounts.push(account);
    write(file, accounts)
}

/// Takes an account out of a file.
pub fn remove(file: &Path, name: &str) -> Result<(), AccountsError> {
    let mut accounts = written(file)?.account;
    let before = accounts.len();
    accounts.retain(|known| known.name != name);
    if accounts.len() == before {
        return Err(AccountsError::Unknown(name.to_owned()));
    }
    write(file, accounts)
}

/// A password of a hundred bits in letters that are not mistaken for each other: `abcde-fghij-kmnpq-rstuv`.
pub fn generate() -> String {
    let letters: String = (0..20).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>() % 32)])).collect();
    let groups: Vec<&str> = (0..4).map(|group| &letters[group * 5..group * 5 + 5]).collect();
    groups.join("-")
}

/// Whether a name can be that of an account.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-@".contains(&byte);
    // Those who show nothing are called so.
    let is_nobodys = matches!(name, "anybody" | "nobody");
    !is_nobodys && (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

fn written(file: &Path) -> Result<Written, AccountsError> {
    let unusable = |source| AccountsError::File { file: file.to_owned(), source };
    let mut opened = File::open(file).map_err(unusable)?;
    let mode = opened.metadata().map_err(unusable)?.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(AccountsError::Writable { file: file.to_owned(), mode });
    }
    let mut text = String::new();
    opened.read_to_string(&mut text).map_err(unusable)?;
    // What is wrong is told without the line that it is in: it may hold a hash.
    toml::from_str(&text)
        .map_err(|error| AccountsError::Shape(format!("--accounts {}: {}", file.display(), error.message()).into()))
}

/// Writes a file anew: a reader sees it as it was or as it is, and others than its owner do not read it.
fn write(file: &Path, accounts: Vec<Account>) -> Result<(), AccountsError> {
    Accounts::of(accounts.clone())?;
    let text = toml::to_string(&Written { account: accounts })
        .map_err(|error| AccountsError::Shape(error.to_string().into()))?;
    let beside = file.with_extension(format!("{:08x}.new", rand::random::<u32>()));
    let put = || -> io::Result<()> {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(b"# People who sign in to prelim. Written by `prelim account`.\n\n")?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    put().map_err(|source| {
        // It may not be there.
        let _ = fs::remove_file(&beside);
        AccountsError::File { file: file.to_owned(), source }
    })
}

/// The hash of a password that somebody chose.
fn of_password(password: &str) -> Result<String, AccountsError> {
    if password.chars().count() < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        return Err(AccountsError::Weak);
    }
    hash(password, Params::default())
}

fn hash(password: &str, params: Params) -> Result<String, AccountsError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::default(), params);
    let hashed = argon2.hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| AccountsError::Hash(error.to_string()))
}

/// What checking against a hash costs; nothing where it is no hash by argon2id, or one that costs too much.
fn cost(password: &str) -> Option<Params> {
    let hash = PasswordHash::new(password).ok()?;
    let is_ours = hash.algorithm.as_str() == Algorithm::Argon2id.as_str() && hash.hash.is_some() && hash.salt.is_some();
    let params = Params::try_from(&hash).ok().filter(|_| is_ours)?;
    (params.m_cost() <= MAX_COST.0 && params.t_cost() <= MAX_COST.1 && params.p_cost() <= 16).then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery";

    fn account(name: &str) -> Account {
        Account::new(name, ("Doe", "Jane"), [Role::Read].into(), vec!["st-mary".to_owned()], PASSWORD).unwrap()
    }

    #[test]
    fn an_account_is_added_checked_changed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.toml");
        add(&file, account("jane")).unwrap();
        add(&file, account("john@st-mary.example")).unwrap();
        let accounts = Accounts::read(&file).unwrap();
        let jane = accounts.check("jane", PASSWORD).unwrap();
        let caller = jane.caller();
        assert_eq!((caller.name.as_str(), caller.person.as_deref()), ("jane", Some("Doe^Jane")));
        assert_eq!(caller.tenants, Tenants::named(["st-mary"]).unwrap());
        for (name, password) in [("jane", "correct horse batterx"), ("jane", ""), ("nobody", PASSWORD), ("", PASSWORD)]
        {
            assert!(accounts.check(name, password).is_none(), "{name}");
        }
        let mark = jane.mark();
        let again = Account::new("jane", ("Doe", "Jane"), [Role::Review].into(), Vec::new(), PASSWORD).unwrap();
        add(&file, again).unwrap();
        let accounts = Accounts::read(&file).unwrap();
        assert_eq!(accounts.all().len(), 2);
        assert_ne!(accounts.find("jane").unwrap().mark(), mark, "another salt");
        let first = accounts.find("jane").unwrap().caller();
        remove(&file, "jane").unwrap();
        assert!(matches!(remove(&file, "jane"), Err(AccountsError::Unknown(_))));
        assert!(Accounts::read(&file).unwrap().find("jane").is_none());
        add(&file, account("jane")).unwrap();
        let another = Accounts::read(&file).unwrap().find("jane").unwrap().caller();
        assert_ne!(another.key(), first.key(), "another person, though with that name");
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(PASSWORD) && text.contains("$argon2id$"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_account_that_is_there_changes_only_in_what_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.toml");
        let jane = || Given { name: "jane".to_owned(), ..Given::default() };
        let some = |text: &str| Some(text.to_owned());
        let unnamed = put(&file, Given { password: some(PASSWORD), ..jane() });
        assert!(matches!(unnamed, Err(AccountsError::Unnamed(_))));
        let new = Given { family_name: some("Doe"), given_name: some("Jane"), password: some(PASSWORD), ..jane() };
        let new = Given { roles: Some([Role::Read, Role::Review].into()), tenants: Some(vec!["er".to_owned()]), ..new };
        assert_eq!(put(&file, new).unwrap(), None);
        let held = || Accounts::read(&file).unwrap().find("jane").unwrap().clone();
        let before = held();
        assert_eq!(put(&file, Given { family_name: some("Roe"), ..jane() }).unwrap(), Some(vec!["family name"]));
        let after = held();
        assert_eq!(after.caller().person.as_deref(), Some("Roe^Jane"));
        assert_eq!(Account { family_name: before.family_name.clone(), ..after.clone() }, before, "all else stays");
        assert_eq!(put(&file, Given { password: some("another password"), ..jane() }).unwrap(), Some(vec!["password"]));
        assert_eq!(held().caller(), after.caller(), "the same person, who may do the same");
        assert_ne!(held().mark(), after.mark(), "and signs in anew");
        assert_eq!(put(&file, jane()).unwrap(), Some(Vec::new()));
        assert!(matches!(put(&file, Given { password: some("short"), ..jane() }), Err(AccountsError::Weak)));
        // Of before there were ids.
        let text = fs::read_to_string(&file).unwrap();
        let id = text.lines().find(|line| line.starts_with("id = ")).unwrap().to_owned();
        fs::write(&file, text.replace(&id, "")).unwrap();
        put(&file, Given { given_name: some("Janet"), ..jane() }).unwrap();
        assert_eq!(held().caller().key(), "jane", "her work is kept under her name, as it was");
        fs::write(&file, text.replace(&id, "id = \"A b\"")).unwrap();
        assert!(matches!(Accounts::read(&file), Err(AccountsError::Id(_))));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_without_a_hash() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts.toml");
        add(&file, account("jane")).unwrap();
        let good = fs::read_to_string(&file).unwrap();
        let hash = good.split("$m=").nth(1).unwrap().split('"').next().unwrap().to_owned();
        for (wrong, by, says) in [
            ("name = \"jane\"", "name = \"Jane Doe\"", "account name"),
            ("family_name = \"Doe\"", "family_name = \"D^oe\"", "family_name"),
            ("\"read\"", "\"admin\"", "roles"),
            ("[\"read\"]", "[]", "roles"),
            ("st-mary", "St Mary", "tenant"),
            ("$argon2id$", "$argon2i$", "password"),
            ("m=", "m=9", "password"),
            ("password = \"", "password = ", "--accounts"),
            ("given_name", "givenname", "givenname"),
        ] {
            let text = good.replacen(wrong, by, 1);
            assert_ne!(text, good, "{wrong}");
            fs::write(&file, text).unwrap();
            let error = Accounts::read(&file).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains(&hash), "{by}: {error}");
        }
        // Whoever may write it may let themselves in.
        for mode in [0o620, 0o606] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Accounts::read(&file).unwrap_err();
            assert!(matches!(refused, AccountsError::Writable { .. }), "{refused}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, [good.as_str(), &good].concat()).unwrap();
        assert!(matches!(Accounts::read(&file), Err(AccountsError::Twice(_))));
        assert!(matches!(
            Account::new("a", ("B", "C"), [Role::Read].into(), Vec::new(), "short"),
            Err(AccountsError::Weak)
        ));
    }

    #[test]
    fn made_passwords_are_long_and_each_another() {
        let (one, other) = (generate(), generate());
        assert!(one.len() == 23 && one != other && one.split('-').all(|group| group.len() == 5), "{one}");
    }
}
