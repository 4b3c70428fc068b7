//! Whole configurations, good and bad.

mod erasure;
mod round_trip;

use super::*;
use std::fs;

fn variable(name: &str) -> Option<String> {
    match name {
        "URL" => Some("postgres://me:hunter2@db/shop".to_owned()),
        "TOKEN" => Some("hunter2".to_owned()),
        "PORT" => Some("7071".to_owned()),
        "NO" => Some("false".to_owned()),
        _ => None,
    }
}

fn parse_files(texts: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut files = Files::default();
    for (name, text) in texts {
        files.add(*name, *text);
    }
    let variables = Variables { get: &variable, folder: Path::new("") };
    Config::read(files, texts.len() as u32, variables, &Settings::default())
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_files(&[("shop.yaml", text)])
}

const SOURCES: &str = "sources: {shop: {type: postgres, url: '${URL}', tables: [users]}}\n";

/// Compares with a file that `MILLSTREAM_BLESS=1` writes.
fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MILLSTREAM_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{} is stale: run MILLSTREAM_BLESS=1 cargo test --lib config", path.display());
}

#[test]
fn every_problem_is_shown_with_its_line() {
    const CASES: &str = "src/config/tests/problems.txt";
    let cases = include_str!("tests/problems.txt");
    let mut out = String::new();
    for case in cases.split_terminator("=====\n") {
        let (yaml, _) = case.split_once("-----\n").unwrap_or((case, ""));
        let error = parse(yaml).expect_err(yaml);
        assert!(!error.to_string().contains("hunter2"), "{error}");
        out += &format!("{yaml}-----\n{error}\n=====\n");
    }
    compare(CASES, &out);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(SOURCES).unwrap();
    assert_eq!(config.log, Log::default());
    assert_eq!(config.admin, Admin::default());
    assert!(config.sinks.is_empty());
    let config =
        parse(&format!("{SOURCES}log:\nadmin:\nsinks:\n  b: {{type: sqlite, path: b.db}}\n")).unwrap();
    assert_eq!(config.log, Log::default());
    let sink = &config.sinks["b"];
    assert_eq!(sink.rules, SinkRules::default());
    let rules = sink.rules.mapping(config.sources.keys()).rules;
    assert_eq!(rules.iter().map(|rule| rule.topic.as_str()).collect::<Vec<_>>(), ["shop.*"]);
}

#[test]
fn a_variable_is_read_as_the_type_that_is_asked_for() {
    let text =
        "sinks: {b: {type: sqlite, path: '${PORT}', create_tables: '${NO}', on_error: {retry: '${PORT}'}}}";
    let config = parse(&format!("{SOURCES}{text}")).unwrap();
    let SinkConnector::Sqlite(options) = &config.sinks["b"].connector else { panic!("a SQLite sink") };
    assert_eq!(options.path, Path::new("7071"));
    assert!(!config.sinks["b"].rules.create_tables);
    assert_eq!(config.sinks["b"].rules.on_error.retry, Retry::Times(7071));
}

#[test]
fn places_name_lines_also_of_what_was_left_out() {
    let config =
        parse("sources:\n  shop:\n    type: postgres\n    url: ${URL}\n    tables: [users]\n").unwrap();
    let at = |path: &[&str]| config.places.locate(path).map(|location| location.to_string());
    assert_eq!(at(&["sources", "shop", "url"]), Some("shop.yaml:4:10".into()));
    assert_eq!(at(&["sources", "shop", "tables", "0"]), Some("shop.yaml:5:14".into()));
    assert_eq!(at(&["sources", "shop", "slot"]), Some("shop.yaml:2:3".into()));
    assert_eq!(at(&["log", "path"]), None);
    assert!(config.places.has(&["sources", "shop", "url"]) && !config.places.has(&["log"]));
}

#[test]
fn secrets_are_in_no_text_that_is_made_of_a_configuration() {
    let text = "admin: {listen: '0.0.0.0:1', token: hunter2}\nsources:\n  a: {type: postgres, url: '${URL}', tables: [t]}\n  \
        b: {type: postgres, url: 'postgres://me:hunter2@db/x?password=hunter2', tables: [t]}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.admin.token.as_ref().map(|token| token.expose()), Some("hunter2"));
    let shown = format!(
        "{config:?} {config:#?} {} {:?}",
        serde_json::to_string(&config.admin).unwrap(),
        config.places
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    // Each word of the file made wrong in turn: whatever is complained about, the secret is not shown.
    for (at, _) in text.match_indices(|char: char| !char.is_alphanumeric()) {
        for wrong in ["\u{1}", ": ", "[", "'", " ", "\t", "${", "ä"] {
            let broken = format!("{}{wrong}{}", &text[..at], &text[at..]);
            if let Err(error) = parse(&broken) {
                let shown = format!(
                    "{error} {error:?} {} {:?}",
                    error.render(true),
                    error.problems().collect::<Vec<_>>()
                );
                assert!(!shown.contains("hunter2"), "{broken}\n{shown}");
            }
        }
    }
}

#[test]
fn the_files_of_a_folder_are_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let load = || Config::load(folder.path(), &Settings::default());
    assert!(load().unwrap_err().to_string().contains("no *.yaml or *.yml file"));
    write(
        "a.yaml",
        "sources:\n  shop: {type: postgres, url: 'postgres://me@db/x', tables: [t]}\nlog: {path: /data}\n",
    );
    write("b.yml", "sources:\n  other: {type: postgres, url: 'postgres://me@db/y', tables: [t]}\n");
    write("c.yaml", "sinks:\n  b: {type: sqlite, path: b.db, tables: [{topic: other.public.t}]}\n");
    write(".hidden.yaml", "nonsense");
    write("notes.txt", "nonsense");
    let config = load().unwrap();
    assert_eq!(config.sources.keys().collect::<Vec<_>>(), ["other", "shop"]);
    let topic = config.places.locate(&["sinks", "b", "tables", "0", "topic"]).unwrap();
    assert!(topic.file.ends_with("c.yaml") && topic.line == 2, "{topic}");
    let missing = Config::load(&folder.path().join("none.yaml"), &Settings::default()).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
}

#[test]
fn a_name_in_two_files_is_shown_in_both() {
    let sink = "sinks:\n  b: {type: sqlite, path: b.db}\n";
    let error = parse_files(&[
        ("a.yaml", SOURCES),
        ("b.yaml", sink),
        ("c.yaml", "log: {}\nsinks:\n  b: {}\n"),
        ("d.yaml", "log: {}"),
    ]);
    let expected = "\
error: `b` is named twice in `sinks`
 --> c.yaml:3:3
  |
3 |   b: {}
  |   ^
  |
 ::: b.yaml:2:3
  |
2 |   b: {type: sqlite, path: b.db}
  |   - first here

error: `log` stands in two files
 --> d.yaml:1:1
  |
1 | log: {}
  | ^^^
  |
 ::: c.yaml:1:1
  |
1 | log: {}
  | --- first here";
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[test]
fn the_environment_overrides_the_file() {
    let mut files = Files::default();
    files.add("a.yaml", SOURCES);
    let settings = Settings {
        log_path: Some("/elsewhere".into()),
        admin_listen: Some(([127, 0, 0, 1], 1).into()),
        ..Settings::default()
    };
    let variables = || Variables { get: &variable, folder: Path::new("") };
    let config = Config::read(files.clone(), 1, variables(), &settings).unwrap();
    assert_eq!((config.log.path.to_str(), config.admin.listen.port()), (Some("/elsewhere"), 1));
    let settings = Settings { admin_listen: Some(([0, 0, 0, 0], 1).into()), ..Settings::default() };
    let error = Config::read(files, 1, variables(), &settings).unwrap_err().to_string();
    assert!(error.starts_with("error: the admin API on 0.0.0.0:1 needs a `token`"), "{error}");
}

#[test]
fn every_example_is_good() {
    let mut count = 0;
    for path in yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let mut files = Files::default();
        let text = text_of(&path).unwrap();
        files.add(path.display().to_string(), text.as_str());
        // What has a default is taken by it: only that says of which system it is the address.
        let given = |name: &str| !text.contains(&format!("${{{name}:-"));
        let any = |name: &str| given(name).then(|| "postgres://millstream@localhost/any".to_owned());
        let variables = Variables { get: &any, folder: Path::new("") };
        if let Err(error) = Config::read(files, 1, variables, &Settings::default()) {
            panic!("{error}");
        }
        count += 1;
    }
    assert!(count >= 3, "{count} examples");
}

#[test]
fn the_manual_is_fresh() {
    compare("docs/CONFIGURATION.md", &manual());
}

#[test]
fn the_schema_has_the_sections_and_every_key() {
    let schema = schema();
    let keys = |at: &str| -> Vec<String> {
        let part = schema.pointer(at).and_then(|part| part.as_object());
        part.unwrap_or_else(|| panic!("nothing at {at}")).keys().cloned().collect()
    };
    assert_eq!(keys("/properties"), SECTIONS);
    for at in 0..SinkConnector::TYPES.len() {
        let sink = keys(&format!("/properties/sinks/additionalProperties/oneOf/{at}/properties"));
        assert_eq!(sink[0], "type");
        assert_eq!(&sink[sink.len() - 4..], ["tables", "create_tables", "apply", "on_error"]);
    }
    let source = keys("/properties/sources/additionalProperties/properties");
    assert_eq!(&source[..3], ["type", "url", "tables"]);
    assert!(!schema.to_string().contains("$ref"), "editors and the manual read it without definitions");
}
