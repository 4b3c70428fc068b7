//! The order of the house: who may know whom, how long things may get, and what must not be in a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files that were longer than the limit when it was set. They may only shrink; a shorter one leaves the list.
const LONG_FILES: &[(&str, usize)] = &[("connectors/api/tests/batch.rs", 573)];
const FILE_LINES_MAX: usize = 500;

/// The same for functions.
const LONG_FUNCTIONS: &[(&str, usize)] =
    &[("connectors/postgres/tests/live/login.rs: passwords_certificates_and_modes", 86)];
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    /// From the root of the repository.
    name: String,
    text: String,
}

/// Every text file of the repository that people wrote.
fn files() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder") {
            let path = entry.expect("read a folder").path();
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && name != ".ci" && name != ".gitignore";
            // Whatever cargo built, under whichever name, says so.
            if hidden
                || name.starts_with("target")
                || path.join("CACHEDIR.TAG").exists()
                || name == "Cargo.lock"
            {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source { name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.iter().any(|file| file.name == "tests/tidy.rs"), "it finds itself");
    found
}

fn rust() -> Vec<Source> {
    files().into_iter().filter(|file| file.name.ends_with(".rs")).collect()
}

/// A line without its comment. A `//` in a string takes the rest of the line away, too: nothing is found there, which
/// these rules can live with.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn a_connector_depends_on_the_api_and_on_what_sql_sinks_share() {
    let manifests = files()
        .into_iter()
        .filter(|file| file.name.starts_with("connectors/") && file.name.ends_with("Cargo.toml"));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for manifest in manifests {
        seen += 1;
        let mut section = "";
        for line in manifest.text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            let ours = ["connector-", "millstream", "throwaway-", "bench"]
                .iter()
                .any(|start| name.starts_with(start));
            let may = match section {
                "[dependencies]" => match &*manifest.name {
                    "connectors/api/Cargo.toml" => false,
                    "connectors/sql/Cargo.toml" => name == "connector-api",
                    _ => matches!(name, "connector-api" | "connector-sql"),
                },
                "[dev-dependencies]" => matches!(name, "throwaway-servers" | "connector-api"),
                _ => true,
            };
            if ours && !may {
                wrong.push(format!("{} {section} {line}", manifest.name));
            }
            if line.contains("path = \"..") {
                wrong.push(format!("{}: name it in the workspace: {line}", manifest.name));
            }
        }
    }
    assert!(seen >= 3, "{seen} connectors");
    none("dependencies that a connector must not have", &wrong);
}

#[test]
fn the_log_knows_the_log_and_the_api() {
    let mut wrong = Vec::new();
    for file in rust().iter().filter(|file| file.name == "src/log.rs" || file.name.starts_with("src/log/")) {
        for (at, line) in file.text.lines().enumerate() {
            let line = code(line);
            let own = line.match_indices("crate::").all(|(at, _)| {
                // `$crate` and the crates of others end in `crate`, too.
                line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                    || line[at..].starts_with("crate::log")
            });
            let others =
                ["connector_postgres", "connector_sqlite", "rusqlite", "tokio_postgres", "millstream::"];
            if !own || others.iter().any(|other| line.contains(other)) {
                wrong.push(format!("{}:{}: {line}", file.name, at + 1));
            }
        }
    }
    none("imports that the log must not have", &wrong);
}

#[test]
fn the_api_names_no_vendor() {
    let mut wrong = Vec::new();
    for file in rust().iter().filter(|file| file.name.starts_with("connectors/api/")) {
        // There the word is the name of a format, which many write and read.
        let renders = file.name.starts_with("connectors/api/src/render");
        for (at, line) in file.text.lines().enumerate() {
            let small = code(line).to_lowercase();
            let named = |vendor: &&str| small.contains(*vendor) && !(renders && *vendor == "debezium");
            if ["postgres", "mysql", "sqlite", "kafka", "debezium"].iter().any(named) {
                wrong.push(format!("{}:{}: {line}", file.name, at + 1));
            }
        }
    }
    none("vendors in the code of connectors/api", &wrong);
}

/// What is longer than allowed and may not be; what is on the list and no longer needs to be.
fn ratchet(found: &BTreeMap<String, usize>, list: &[(&str, usize)], most: usize) {
    let mut wrong = Vec::new();
    for (name, lines) in found.iter().filter(|(_, lines)| **lines > most) {
        match list.iter().find(|(listed, _)| listed == name) {
            None => wrong.push(format!("{name} has {lines} lines; the limit is {most}")),
            Some((_, allowed)) if lines > allowed => {
                wrong.push(format!("{name} grew from {allowed} to {lines} lines; it may only shrink"))
            }
            Some(_) => {}
        }
    }
    for (name, _) in list.iter().filter(|(name, _)| found.get(*name).is_none_or(|lines| *lines <= most)) {
        wrong.push(format!("{name} is short enough now: take it off the list"));
    }
    none("too long", &wrong);
}

#[test]
fn files_stay_short() {
    let lengths = rust().into_iter().map(|file| (file.name, file.text.lines().count())).collect();
    ratchet(&lengths, LONG_FILES, FILE_LINES_MAX);
}

#[test]
fn functions_fit_a_screen() {
    let mut lengths = BTreeMap::new();
    for file in rust() {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((before, rest)) = code(line).split_once("fn ") else { continue };
            let indent = line.len() - line.trim_start().len();
            let begins = before.trim().split(' ').all(|word| {
                matches!(word, "" | "pub" | "async" | "const" | "unsafe" | "extern")
                    || word.starts_with("pub(")
            });
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !begins || name.is_empty() {
                continue;
            }
            // As rustfmt writes it: a body ends at the first brace that stands as far left as the function.
            let close = format!("{}}}", " ".repeat(indent));
            let ends = |line: &&str| line.starts_with(&close);
            let declared = lines[at..].iter().position(|line| line.trim_end().ends_with([';', '{', '}']));
            let open = declared.is_some_and(|offset| lines[at + offset].trim_end().ends_with('{'));
            if let Some(length) = lines[at..].iter().position(ends).filter(|_| open) {
                let length = length + 1;
                lengths
                    .entry(format!("{}: {name}", file.name))
                    .and_modify(|most: &mut usize| *most = length.max(*most))
                    .or_insert(length);
            }
        }
    }
    assert!(lengths.len() > 500, "{} functions found", lengths.len());
    ratchet(&lengths, LONG_FUNCTIONS, FUNCTION_LINES_MAX);
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, so that this file does not find itself.
    let words = [["to", "do!"], ["unimple", "mented!"], ["db", "g!"], ["FIX", "ME"], ["XX", "X:"]]
        .map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for file in files() {
        for (at, line) in file.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: {line}", file.name, at + 1));
            }
        }
    }
    none("left for later", &wrong);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let places = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for file in files() {
        for (at, line) in file.text.lines().enumerate() {
            // A path begins where no other path goes on: `tests/work/` is none.
            let begins = |place: &String| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| {
                        c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | ')' | '$')
                    })
                })
            };
            if places.iter().any(begins) {
                wrong.push(format!("{}:{}: {line}", file.name, at + 1));
            }
        }
    }
    none("paths of one machine", &wrong);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for file in files().iter().filter(|file| file.name.ends_with(".md")) {
        let folder = root.join(&file.name).parent().map(PathBuf::from).unwrap_or_default();
        for (at, _) in file.text.match_indices("](") {
            let target = file.text[at + 2..].split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            seen += 1;
            if !target.contains("://") && !path.is_empty() && !folder.join(path).exists() {
                wrong.push(format!("{}: {target}", file.name));
            }
        }
        // Files named in code style are links for people.
        for word in file.text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "docs/", "tests/", "connectors/", "examples/", "scripts/", "migrations/"]
                .iter()
                .any(|folder| word.starts_with(folder));
            let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            if is_path && plain && !root.join(word).exists() {
                wrong.push(format!("{}: `{word}`", file.name));
            }
        }
    }
    assert!(seen > 0, "the documents have links");
    none("links that lead nowhere", &wrong);
}
