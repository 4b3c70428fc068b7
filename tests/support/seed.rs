//! Random choices that can be made again.

use std::time::{SystemTime, UNIX_EPOCH};

/// A deterministic generator (splitmix64): the same seed gives the same choices on every machine and release.
/// Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator of a test: seeded by `MILLSTREAM_SEED`, else by the clock. Prints the line that repeats it.
    pub fn of_test(test: &str) -> Self {
        let seed = match std::env::var("MILLSTREAM_SEED") {
            Ok(text) => {
                text.parse().unwrap_or_else(|_| panic!("MILLSTREAM_SEED={text} is not a whole number"))
            }
            Err(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos()
                    as u64
            }
        };
        eprintln!("{test}: MILLSTREAM_SEED={seed}");
        Self::new(seed)
    }

    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for one part of a test, so that one part's number of choices does not shift another's.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; the bias of the multiplication is below 2^-32 for the bounds of a test.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `range`.
    pub fn in_range(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next_u64() as u8).collect()
    }

    /// Text of `length` characters with what breaks quoting and lengths in it: quotes, backslashes, blanks, control
    /// characters, two- to four-byte characters. Never the NUL character, which PostgreSQL refuses.
    pub fn text(&mut self, length: usize) -> String {
        const CHARACTERS: &[char] = &[
            'a', 'b', 'z', 'A', '0', '9', ' ', '\'', '"', '\\', '\n', '\t', '\u{1}', ',', '{', '}', '%', 'é',
            'ß', '中', '🦀',
        ];
        (0..length).map(|_| *self.pick(CHARACTERS)).collect()
    }
}
