//! Types for the options of connectors: sizes and time spans with their unit, and text that is never shown.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written with its unit: `512B`, `64KiB`, `128MiB`, `10GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A time span in milliseconds, written with its unit: `100ms`, `10s`, `5m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

/// The units of [`Size`] in bytes, the largest first.
const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// The units of [`Span`] in milliseconds, the largest first.
const SPANS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_FORM: &str = "a size with its unit (B, KiB, MiB or GiB), such as 128MiB";
const SPAN_FORM: &str = "a time span with its unit (ms, s, m, h or d), such as 10s";

impl Size {
    /// `count` KiB.
    pub const fn kib(count: u64) -> Size {
        Size(count << 10)
    }

    /// `count` MiB.
    pub const fn mib(count: u64) -> Size {
        Size(count << 20)
    }

    /// `count` GiB.
    pub const fn gib(count: u64) -> Size {
        Size(count << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Span {
    /// `count` milliseconds.
    pub const fn millis(count: u64) -> Span {
        Span(count)
    }

    /// `count` seconds.
    pub const fn secs(count: u64) -> Span {
        Span(count * 1_000)
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// Reads digits and a unit; `None` when there is no such unit, no number, or it does not fit 64 bits.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// Writes the largest unit that leaves no remainder.
fn unscaled(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = units.iter().find(|(_, scale)| value.is_multiple_of(*scale) && value >= *scale);
    match fits.or(units.last()) {
        Some((name, scale)) => write!(f, "{}{name}", value / scale),
        None => write!(f, "{value}"),
    }
}

/// What the two types with a unit have in common: text in, text out.
macro_rules! unit {
    ($type:ident, $units:ident, $form:ident, $pattern:literal) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                scaled(text, $units).map($type).ok_or_else(|| format!("expected {}", $form))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                unscaled(self.0, $units, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($form)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Text)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "title": stringify!($type) })
            }
        }
    };
}

unit!(Size, SIZES, SIZE_FORM, r"^[0-9]+(B|KiB|MiB|GiB)$");
unit!(Span, SPANS, SPAN_FORM, r"^[0-9]+(ms|s|m|h|d)$");

/// Text that is never shown: `Debug`, `Display` and serialization give `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the peer that asks for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Secret)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "Secret", "writeOnly": true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read_and_required() {
        assert_eq!("128MiB".parse(), Ok(Size::mib(128)));
        assert_eq!("0B".parse(), Ok(Size(0)));
        assert_eq!("7d".parse(), Ok(Span::secs(7 * 86_400)));
        assert_eq!("250ms".parse(), Ok(Span::millis(250)));
        for wrong in ["", "10", "GiB", "1GB", "1 GiB", "-1s", "1.5GiB", "99999999999999GiB", "1€"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        for wrong in ["10", "10sec", "1y", "18446744073709551615d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        assert_eq!(
            "10".parse::<Span>(),
            Err("expected a time span with its unit (ms, s, m, h or d), such as 10s".to_owned())
        );
    }

    #[test]
    fn the_largest_exact_unit_is_written() {
        assert_eq!(Size::mib(1024).to_string(), "1GiB");
        assert_eq!(Size(1500).to_string(), "1500B");
        assert_eq!(Span::millis(90_000).to_string(), "90s");
        assert_eq!(Span(0).to_string(), "0ms");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, "*** *** \"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }

    proptest! {
        #[test]
        fn units_come_back(value: u64) {
            prop_assert_eq!(Size(value).to_string().parse(), Ok(Size(value)));
            prop_assert_eq!(Span(value).to_string().parse(), Ok(Span(value)));
        }
    }
}
