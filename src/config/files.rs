//! The texts of a configuration and places in them.

use super::redact;
use std::fmt;

/// A run of bytes in one of the files of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) file: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A place as a person looks for it; lines and columns (in characters) count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One file. Its text is what was written: variables are not substituted in it.
#[derive(Clone)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// The files of a configuration, and which parts of them are secret.
#[derive(Clone, Default)]
pub(super) struct Files {
    files: Vec<File>,
    secrets: Vec<Place>,
}

impl Files {
    /// Adds a file; the number is what [`Place::file`] says.
    pub(super) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u32 {
        self.files.push(File { name: name.into(), text: text.into() });
        self.files.len() as u32 - 1
    }

    pub(super) fn get(&self, file: u32) -> Option<&File> {
        self.files.get(file as usize)
    }

    /// Marks a value that must not be shown.
    pub(super) fn hide(&mut self, place: Place) {
        self.secrets.push(place);
    }

    /// The text of a file with every secret masked, byte for byte, so that places stay true.
    pub(super) fn shown(&self, file: u32) -> String {
        let Some(found) = self.get(file) else { return String::new() };
        let ranges = self.secrets.iter().filter(|place| place.file == file);
        redact::text(&found.text, ranges.map(|place| place.start as usize..place.end as usize))
    }

    pub(super) fn locate(&self, place: Place) -> Option<Location> {
        let file = self.get(place.file)?;
        let before = file.text.get(..place.start as usize)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(Location {
            file: file.name.clone(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts may hold secrets.
        f.debug_list().entries(self.files.iter().map(|file| &file.name)).finish()
    }
}
