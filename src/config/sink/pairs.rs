//! Mappings in the order of the file, and what is one of several words or sets columns.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// The key of the columns that are set.
pub(in crate::config) const SET: &str = "set";

/// A mapping in the order of the file.
pub(in crate::config) struct Pairs<V> {
    expected: &'static str,
    value: PhantomData<V>,
}

pub(in crate::config) fn pairs<V>(expected: &'static str) -> Pairs<V> {
    Pairs { expected, value: PhantomData }
}

impl<'de, V: DeserializeOwned> Visitor<'de> for Pairs<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

pub(in crate::config) fn serialize_pairs<S: Serializer, V: Serialize>(
    pairs: &[(String, V)],
    to: S,
) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    pairs.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
    map.end()
}

/// Reads what is one of several words, or `{set: …}`. `words` names them all, `set` at the end.
pub(in crate::config) struct WordOrSet<V> {
    expected: &'static str,
    words: &'static [&'static str],
    value: PhantomData<V>,
}

/// What [`WordOrSet`] read.
pub(in crate::config) enum Read<V> {
    /// One of the words.
    Word(&'static str),
    /// The columns that are set, in the order of the file.
    Set(Vec<(String, V)>),
}

impl<'de, V: DeserializeOwned> WordOrSet<V> {
    pub(in crate::config) fn read<D: Deserializer<'de>>(
        from: D,
        expected: &'static str,
        words: &'static [&'static str],
    ) -> Result<Read<V>, D::Error> {
        from.deserialize_any(WordOrSet { expected, words, value: PhantomData })
    }
}

impl<'de, V: DeserializeOwned> Visitor<'de> for WordOrSet<V> {
    type Value = Read<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Read<V>, E> {
        let known = self.words.iter().find(|word| **word == text && **word != SET);
        known.map(|word| Read::Word(word)).ok_or_else(|| E::unknown_variant(text, self.words))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read<V>, A::Error> {
        let Object { set: Marks(marks) } = Object::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Read::Set(marks))
    }
}

/// The columns that are set, and to what.
struct Marks<V>(Vec<(String, V)>);

impl<'de, V: DeserializeOwned> Deserialize<'de> for Marks<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(pairs("a mapping of target columns to values")).map(Marks)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "V: DeserializeOwned")]
struct Object<V> {
    set: Marks<V>,
}

/// Writes `{set: …}`.
pub(in crate::config) fn serialize_set<S: Serializer, V: Serialize>(
    marks: &[(String, V)],
    to: S,
) -> Result<S::Ok, S::Error> {
    struct Pairs<'a, V>(&'a [(String, V)]);
    impl<V: Serialize> Serialize for Pairs<'_, V> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            serialize_pairs(self.0, to)
        }
    }
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(SET, &Pairs(marks))?;
    map.end()
}
