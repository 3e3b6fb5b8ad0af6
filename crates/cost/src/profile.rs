//! Cost profiles: what each event costs, in a file with units.
//!
//! Modelled: `model = "flat"`, one fixed price per event. Not modelled: caches
//! and instruction classes.

use crate::Ticks;
use serde::Deserialize;

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML, a key missing, unknown, or of the wrong type; the message has line and column.
    #[error("not a cost profile: {0}")]
    Syntax(String),
    /// A value that makes no sense.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// Key in the file.
        key: &'static str,
        /// Value found.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile: Head,
    flat: Flat,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    model: String,
    core_mhz: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    instruction: u32,
    walk_step: u32,
    ad_update: u32,
    copy_page: u32,
    zero_page: u32,
    exception: u32,
    iretq: u32,
    syscall: u32,
    sysret: u32,
    invlpg: u32,
    mov_cr3: u32,
    ipi: u32,
    irq: u32,
    mmio: u32,
}

/// Prices of events, in ticks; see `profiles/flat.toml` for what each one means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each price is explained where it stands, in the profile file"
)]
pub struct Profile {
    pub name: String,
    pub core_mhz: u32,
    pub instruction: Ticks,
    pub walk_step: Ticks,
    pub ad_update: Ticks,
    pub copy_page: Ticks,
    pub zero_page: Ticks,
    pub exception: Ticks,
    pub iretq: Ticks,
    pub syscall: Ticks,
    pub sysret: Ticks,
    pub invlpg: Ticks,
    pub mov_cr3: Ticks,
    pub ipi: Ticks,
    pub irq: Ticks,
    pub mmio: Ticks,
}

impl Profile {
    /// The teaching profile: one cycle per instruction, one fixed price per event.
    #[must_use]
    pub fn flat() -> Self {
        Self::parse(include_str!("../profiles/flat.toml"))
            .expect("the built-in profile parses; a test holds this")
    }

    /// Reads a profile from TOML text.
    ///
    /// # Errors
    ///
    /// [`ProfileError`], naming the line or the key.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let file: File = toml::from_str(text).map_err(|e| ProfileError::Syntax(e.to_string()))?;
        if file.profile.model != "flat" {
            return Err(value("profile.model", &file.profile.model, "\"flat\""));
        }
        if file.profile.core_mhz == 0 {
            return Err(value("profile.core_mhz", "0", "a positive clock in MHz"));
        }
        if file.flat.instruction == 0 {
            return Err(value("flat.instruction", "0", "at least 1: time must pass"));
        }
        let cycles = |c: u32| Ticks::from_cycles(u64::from(c));
        let f = file.flat;
        Ok(Self {
            name: file.profile.name,
            core_mhz: file.profile.core_mhz,
            instruction: cycles(f.instruction),
            walk_step: cycles(f.walk_step),
            ad_update: cycles(f.ad_update),
            copy_page: cycles(f.copy_page),
            zero_page: cycles(f.zero_page),
            exception: cycles(f.exception),
            iretq: cycles(f.iretq),
            syscall: cycles(f.syscall),
            sysret: cycles(f.sysret),
            invlpg: cycles(f.invlpg),
            mov_cr3: cycles(f.mov_cr3),
            ipi: cycles(f.ipi),
            irq: cycles(f.irq),
            mmio: cycles(f.mmio),
        })
    }

    /// The time `ns` nanoseconds take on this clock.
    #[must_use]
    pub fn ns(&self, ns: u64) -> Ticks {
        let ticks =
            u128::from(ns) * u128::from(self.core_mhz) * u128::from(Ticks::PER_CYCLE) / 1000;
        Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
    }
}

fn value(key: &'static str, value: &str, expected: &'static str) -> ProfileError {
    ProfileError::Value {
        key,
        value: value.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAT: &str = include_str!("../profiles/flat.toml");

    #[test]
    fn the_flat_profile_has_the_prices_its_file_states() {
        let flat = Profile::flat();
        assert_eq!(flat.instruction, Ticks::from_cycles(1));
        assert_eq!(flat.walk_step, Ticks::from_cycles(10));
        assert_eq!(flat.ns(5), Ticks::from_cycles(5));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = format!("{FLAT}\nwarp = 9\n");
        let message = Profile::parse(&text).unwrap_err().to_string();
        assert!(
            message.contains("line") && message.contains("warp"),
            "{message}"
        );
    }

    #[test]
    fn a_missing_or_negative_price_is_refused_by_name() {
        let missing = FLAT.replace("iretq = 100", "");
        assert!(
            Profile::parse(&missing)
                .unwrap_err()
                .to_string()
                .contains("iretq")
        );
        let negative = FLAT.replace("iretq = 100", "iretq = -1");
        assert!(
            Profile::parse(&negative)
                .unwrap_err()
                .to_string()
                .contains("-1")
        );
    }
}
