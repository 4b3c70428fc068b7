//! JSON objects, written member by member.

use std::fmt::Display;
use std::io::Write as _;

/// An object that is being written; [`Object::end`] closes it.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Begins a member; the caller appends its value, which must be JSON.
    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        put_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A member that is text.
    pub fn text(&mut self, name: &str, value: &str) {
        put_text(self.member(name), value);
    }

    /// A member that displays as JSON: a number, true or false.
    pub fn plain(&mut self, name: &str, value: impl Display) {
        // A vector takes everything.
        let _ = write!(self.member(name), "{value}");
    }

    /// A member that is null.
    pub fn null(&mut self, name: &str) {
        self.member(name).extend_from_slice(b"null");
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends text as a JSON string with its quotes.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    // Text always serializes, and a vector takes everything.
    let _ = serde_json::to_writer(out, text);
}
