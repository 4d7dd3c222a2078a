//! Arguments, and what is taken from the environment in their place.
//!
//! A variable that is set and empty counts as not set: files of settings and charts leave them so. One of a flag is taken in any
//! of the words that say yes or no (`1`, `true`, `on`, …).

use std::ffi::OsString;

use clap::builder::{FalseyValueParser, Resettable};
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _};

use crate::commands::Arguments;

/// What the command line and the environment say.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let mut command = heeding(Arguments::command(), &|name| std::env::var_os(name));
    let mut matches = command.try_get_matches_from_mut(line)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The command, its arguments taken from the environment as `variable` has it.
fn heeding(command: Command, variable: &dyn Fn(&str) -> Option<OsString>) -> Command {
    let is_empty = |arg: &Arg| {
        let name = arg.get_env().and_then(|name| name.to_str());
        name.and_then(variable).is_some_and(|value| value.is_empty())
    };
    let heed = |arg: Arg| {
        let arg = if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg };
        match arg.get_action() {
            ArgAction::SetTrue if arg.get_env().is_some() => arg.value_parser(FalseyValueParser::new()),
            _ => arg,
        }
    };
    command.mut_args(heed).mut_subcommands(|command| heeding(command, variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_not_set_in_every_command() {
        let empty = |_: &str| Some(OsString::new());
        let all = heeding(Arguments::command(), &empty);
        let of = |command: &Command| command.get_arguments().filter(|arg| arg.get_env().is_some()).count();
        let heeded: usize = all.get_subcommands().map(&of).sum::<usize>() + of(&all);
        assert_eq!(heeded, 0);
        let none = |_: &str| None;
        let all = heeding(Arguments::command(), &none);
        let worker = all.get_subcommands().find(|command| command.get_name() == "worker").unwrap();
        assert!(of(worker) > 10, "{}", of(worker));
    }

    #[test]
    fn a_flag_of_the_environment_is_taken_in_words_and_numbers() {
        let flag = || Command::new("x").arg(Arg::new("f").long("f").action(ArgAction::SetTrue).env("PATH"));
        let matches = heeding(flag(), &|_| None).try_get_matches_from(["x"]);
        assert!(matches.expect("any word but a no is a yes").get_flag("f"));
    }
}
