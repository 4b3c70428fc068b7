//! Text to a tree, by the crate `cel`, with the place of every part in bytes.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::{ParseErrors, Parser};

use super::BYTES_MAX;
use super::fault::Fault;

/// The parser recurses, and its visitor recurses over chains that the grammar does not call nested; it gets a stack that
/// no expression of [`BYTES_MAX`] bytes can fill.
const STACK_BYTES: usize = 64 << 20;
/// Brackets may be nested this deep.
const DEPTH_MAX: u16 = 32;

/// A parsed expression.
pub(super) struct Parsed {
    pub(super) tree: IdedExpr,
    text: String,
    places: SourceInfo,
}

impl Parsed {
    /// Where a part stands. The parser counts bytes, and says where the last character begins.
    pub(super) fn place(&self, id: u64) -> Range<usize> {
        let (from, last) = self.places.offset_for(id).unwrap_or((0, u32::MAX));
        let boundary = |from: u32| {
            let from = (from as usize).min(self.text.len());
            (from..self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(self.text.len())
        };
        let start = boundary(from);
        start..boundary(last.saturating_add(1)).max(start)
    }

    /// Where the name of a call stands: the parser's place is its bracket.
    pub(super) fn name_before(&self, id: u64, name: &str) -> Range<usize> {
        let bracket = self.place(id);
        let before = self.text.get(..bracket.start).unwrap_or_default().trim_end();
        match before.strip_suffix(name) {
            Some(rest) => rest.len()..before.len(),
            None => bracket,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Parses.
pub(super) fn parse(text: &str) -> Result<Parsed, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::whole(text, "the expression is empty"));
    }
    if text.len() > BYTES_MAX {
        return Err(Fault::whole(
            text,
            format!("an expression has at most {BYTES_MAX} bytes, and this has {}", text.len()),
        ));
    }
    let run = || {
        let parser = Parser::new().max_recursion_depth(DEPTH_MAX).enable_ident_escape_syntax(true);
        parser.parse_with_source_info(text)
    };
    // A thread also bounds what a panic of the parser can do (I12).
    let parsed = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("parse".to_owned()).stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, run).ok().and_then(|running| running.join().ok())
    });
    match parsed {
        Some(Ok((tree, places))) => Ok(Parsed { tree, text: text.to_owned(), places }),
        Some(Err(errors)) => Err(refused(text, &errors)),
        None => Err(Fault::whole(text, "the expression cannot be parsed")),
    }
}

/// The first of the parser's errors, in fewer words.
fn refused(text: &str, errors: &ParseErrors) -> Fault {
    let Some(first) = errors.errors.first() else { return Fault::whole(text, "this is no expression") };
    let (line, column) = first.pos;
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(line_start..).unwrap_or_default();
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let start = line_start + rest.char_indices().nth(column).map_or(rest.trim_end().len(), |(at, _)| at);
    let length = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let message = first.msg.lines().next().unwrap_or_default();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if message == "UNKNOWN" {
        return Fault::whole(
            text,
            format!("brackets are nested more than {DEPTH_MAX} deep, or this is no expression"),
        );
    }
    // The parser lists every token that it would have taken.
    let message = message.split(" expecting {").next().unwrap_or(message);
    let message = message
        .replace("<EOF>", "the end")
        .replace("extraneous input", "unexpected")
        .replace("mismatched input", "unexpected");
    Fault::new(start..start + length, format!("not an expression: {message}"))
}
