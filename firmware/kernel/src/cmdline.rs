//! The kernel command line.
//!
//! `init=PATH` · `initargs=A,B,C` · `policy=NAME` · `cpus=N`; other words are
//! ignored, as loaders add their own.

use alloc::string::String;
use alloc::vec::Vec;
use vm::Policy;

/// What the command line asks for.
pub(crate) struct Options {
    /// First program.
    pub(crate) init: String,
    /// Its arguments, its own name first.
    pub(crate) args: Vec<String>,
    /// The rules of memory.
    pub(crate) policy: &'static Policy,
    /// CPUs to wait for, if said.
    pub(crate) cpus: Option<usize>,
}

/// Reads the command line.
///
/// # Panics
///
/// If a value means nothing: a run under other rules than asked for is worse than none.
pub(crate) fn parse(line: &str) -> Options {
    let value = |key: &str| {
        line.split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter(|(k, _)| *k == key)
            .map(|(_, v)| v)
            .next_back()
    };
    let init = String::from(value("init").unwrap_or("/bin/sh"));
    let mut args = Vec::from([init.clone()]);
    let given = value("initargs")
        .into_iter()
        .flat_map(|list| list.split(','));
    args.extend(given.filter(|arg| !arg.is_empty()).map(String::from));
    Options {
        init,
        args,
        policy: value("policy").map_or(Policy::BASELINE, policy),
        cpus: value("cpus").map(|n| {
            n.parse()
                .unwrap_or_else(|_| panic!("cpus={n}: not a number"))
        }),
    }
}

fn policy(name: &str) -> &'static Policy {
    Policy::by_name(name).unwrap_or_else(|| {
        let names: Vec<_> = Policy::names().collect();
        panic!("policy={name}: there are {}", names.join(", "))
    })
}
