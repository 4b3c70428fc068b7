//! `${VAR}`, `${VAR:-default}` and `${file:path}` in values. What a variable gives is never substituted again,
//! and never shown.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use super::node::{Node, Value};
use super::problem::Problem;
use super::read::Report;
use std::io::Read;
use std::path::Path;

/// A file named by `${file:path}` may have this many bytes.
const FILE_LIMIT: u64 = 64 << 10;

/// Where values come from.
pub(super) struct Variables<'a> {
    /// The environment.
    pub(super) get: &'a dyn Fn(&str) -> Option<String>,
    /// Where a relative `${file:path}` starts; empty is the current directory.
    pub(super) folder: &'a Path,
}

impl Variables<'_> {
    /// Substitutes in every value below `node`; keys are left as they are.
    pub(super) fn substitute(&self, node: &mut Node, report: &Report) {
        let place = node.place;
        match &mut node.value {
            Value::Text { text, written } if text.contains("${") => match self.expand(text) {
                Ok(expanded) => *written = Some(std::mem::replace(text, expanded)),
                Err(problem) => report.add(problem.at(place)),
            },
            Value::List(items) => items.iter_mut().for_each(|item| self.substitute(item, report)),
            Value::Map(entries) => {
                entries.iter_mut().for_each(|entry| self.substitute(&mut entry.value, report))
            }
            _ => {}
        }
    }

    fn expand(&self, text: &str) -> Result<String, Problem> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            // `$${` is how a file says `${` and means it.
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            let (inside, after) = after
                .split_once('}')
                .ok_or_else(|| Problem::new("`${` without `}`").help("write `$${` for a plain `${`"))?;
            out.push_str(before);
            out.push_str(&self.value(inside)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, inside: &str) -> Result<String, Problem> {
        if let Some(path) = inside.strip_prefix("file:") {
            return self.read(path);
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !first || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let forms =
                "a variable is `${NAME}`, `${NAME:-default}` or `${file:path}`; `$${` is a plain `${`";
            return Err(Problem::new("not a variable's name between `${` and `}`").help(forms));
        }
        // As in a shell, `:-` also stands in for a variable that is set to nothing.
        match ((self.get)(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(Problem::new(format!("the variable `{name}` is not set"))
                .help(format!("set {name} in the environment, or give a default: ${{{name}:-default}}"))),
        }
    }

    fn read(&self, path: &str) -> Result<String, Problem> {
        let failed =
            |error: &dyn std::fmt::Display| Problem::new(format!("cannot read the file `{path}`: {error}"));
        let file = std::fs::File::open(self.folder.join(path)).map_err(|error| failed(&error))?;
        let mut text = String::new();
        file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
        if text.len() as u64 > FILE_LIMIT {
            return Err(failed(&format_args!("more than {FILE_LIMIT} bytes")));
        }
        let trimmed =
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(trimmed.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_substituted_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "hunter2\n").unwrap();
        let get = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "TWICE" => Some("${A}".to_owned()),
            _ => None,
        };
        let variables = Variables { get: &get, folder: folder.path() };
        for (text, expanded) in [
            ("${A}", "a"),
            ("x${A}y${A}z", "xayaz"),
            ("${B:-b}${EMPTY:-e}${EMPTY}${A:-x}", "bea"),
            ("${TWICE}", "${A}"),
            ("${file:pw}", "hunter2"),
            ("$${A} $A $", "${A} $A $"),
            ("${B:-}", ""),
        ] {
            assert_eq!(
                variables.expand(text).map_err(|problem| problem.message),
                Ok(expanded.to_owned()),
                "{text}"
            );
        }
        for (text, message) in [
            ("${B}", "the variable `B` is not set"),
            ("${A", "`${` without `}`"),
            ("${}", "not a variable's name between `${` and `}`"),
            ("${1A}", "not a variable's name between `${` and `}`"),
            ("${A B}", "not a variable's name between `${` and `}`"),
            ("${file:none}", "cannot read the file `none`: No such file or directory (os error 2)"),
        ] {
            assert_eq!(
                variables.expand(text).map_err(|problem| problem.message),
                Err(message.to_owned()),
                "{text}"
            );
        }
        std::fs::write(folder.path().join("big"), vec![b'x'; FILE_LIMIT as usize + 1]).unwrap();
        assert!(variables.expand("${file:big}").is_err());
    }
}
