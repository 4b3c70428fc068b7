//! Every configuration that we show is one that the program takes: examples/, and the YAML of README and docs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::command::Said;
use crate::support::process::Millstream;
use crate::support::workdir::Workdir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command that reads the configuration and then finds no log: whatever it says, it is not about the configuration.
fn parse(config: &Path) -> Said {
    let dir = Workdir::new("example");
    let mut command = Millstream::command(dir.path());
    for name in ["SHOP", "SUPPORT", "WAREHOUSE"] {
        command.env(format!("{name}_DATABASE_URL"), "postgres://millstream@localhost/shop");
    }
    command.env("SEARCH_HOOK_SECRET", "whsec_Y29uZmlndXJhdGlvbnMgYXJlIHJlYWQ=");
    command.env("MILLSTREAM_ADMIN_LISTEN", format!("127.0.0.1:{}", crate::support::postgres::free_port()));
    command.args(["topics".as_ref(), config.as_os_str()]);
    Said::of(dir.path(), command)
}

fn takes(what: &str, config: &Path) {
    let said = parse(config);
    assert!(!said.stderr.contains("in the configuration"), "{what}:\n{}", said.stderr);
    // It came as far as the log that is not there.
    said.expect(2).complains(&["millstream run"]);
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("read {folder}: {error}"));
    let paths = entries.map(|entry| entry.expect("read a folder").path());
    let mut found: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    found.sort();
    found
}

#[test]
fn every_example_is_taken() {
    let mut examples = files("examples", "yaml");
    examples.extend(files("examples/gdpr", "yaml"));
    assert!(examples.len() >= 6, "{examples:?}");
    examples.iter().for_each(|example| takes(&example.display().to_string(), example));
}

#[test]
fn the_yaml_of_the_documents_is_taken() {
    let mut documents = files("docs", "md");
    documents.push(root().join("README.md"));
    let mut whole = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("read a document");
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        // A block without sources or sinks shows a part of a configuration.
        for block in blocks.filter(|block| block.contains("sources:") && block.contains("sinks:")) {
            let dir = Workdir::new("document");
            takes(&format!("{}:\n{block}", document.display()), &dir.write("document.yaml", block));
            whole += 1;
        }
    }
    assert!(whole > 0, "the README shows a configuration");
}

#[test]
fn a_broken_example_would_be_noticed() {
    let text = fs::read_to_string(root().join("examples/minimal.yaml")).expect("read an example");
    let dir = Workdir::new("broken");
    let broken = dir.write("broken.yaml", text.replace("tables:", "tabels:"));
    parse(&broken).expect(2).complains(&[
        "1 error in the configuration",
        "broken.yaml:8:",
        "tabels",
        "tables",
    ]);
}
