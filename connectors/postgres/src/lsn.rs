//! Places in the write-ahead log, and the position that a source keeps in the unified log.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::malformed;
use connector_api::{Error, Position, Result};
use std::fmt;

/// A log sequence number; shown as `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    pub(crate) fn parse(text: &str) -> Result<Lsn> {
        let wrong = || malformed("LSN");
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        let part = |text: &str| u32::from_str_radix(text, 16).map_err(|_| wrong());
        Ok(Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

/// How far the source has come, as the unified log stores it (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The slot is about to be made: a slot of that name which exists later is ours.
    Intent,
    /// The initial copy, consistent with this place, is under way.
    Snapshot(Lsn),
    /// Everything before this place is in the log.
    Streaming(Lsn),
}

/// A stage, and the cluster that it means something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) system: u64,
    pub(crate) stage: Stage,
}

const VERSION: u8 = 1;
pub(crate) const MARK_BYTES: usize = 18;

impl Mark {
    /// Version, stage, system identifier and LSN, numbers big-endian.
    pub(crate) fn encode(&self) -> [u8; MARK_BYTES] {
        let (stage, lsn) = match self.stage {
            Stage::Intent => (0u8, Lsn(0)),
            Stage::Snapshot(lsn) => (1, lsn),
            Stage::Streaming(lsn) => (2, lsn),
        };
        let mut out = [0; MARK_BYTES];
        let fields = [VERSION, stage].into_iter().chain(self.system.to_be_bytes()).chain(lsn.0.to_be_bytes());
        out.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        out
    }

    pub(crate) fn decode(position: &Position) -> Result<Mark> {
        let wrong = || Error::corrupt("decode position of a postgres source: unknown version or malformed");
        let [VERSION, stage, rest @ ..] = position.as_bytes() else { return Err(wrong()) };
        let (system, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let lsn = Lsn(u64::from_be_bytes(rest.try_into().map_err(|_| wrong())?));
        let stage = match stage {
            0 => Stage::Intent,
            1 => Stage::Snapshot(lsn),
            2 => Stage::Streaming(lsn),
            _ => return Err(wrong()),
        };
        Ok(Mark { system: u64::from_be_bytes(*system), stage })
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.encode())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_come_back(system: u64, lsn: u64, stage in 0..3u8) {
            let stage = match stage {
                0 => Stage::Intent,
                1 => Stage::Snapshot(Lsn(lsn)),
                _ => Stage::Streaming(Lsn(lsn)),
            };
            let mark = Mark { system, stage };
            prop_assert_eq!(Mark::decode(&mark.position()).unwrap(), mark);
            prop_assert_eq!(Lsn::parse(&Lsn(lsn).to_string()).unwrap(), Lsn(lsn));
        }

        #[test]
        fn arbitrary_positions_never_panic(bytes: Vec<u8>) {
            if let Ok(mark) = Mark::decode(&Position::new(bytes.clone())) {
                prop_assert!(bytes.len() == MARK_BYTES && matches!(bytes.first(), Some(1)) && mark.encode().len() == 18);
            }
        }
    }
}
