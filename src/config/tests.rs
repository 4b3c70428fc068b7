//! Whole configurations, good and bad.

use super::*;

fn parse(files: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut loaded = Files::default();
    for (name, text) in files {
        loaded.add(*name, *text);
    }
    let get = |name: &str| match name {
        "URL" => Some("postgres://me:hunter2@db/shop".to_owned()),
        "PORT" => Some("7071".to_owned()),
        "YES" => Some("true".to_owned()),
        _ => None,
    };
    let variables = Variables { get: &get, folder: Path::new("/etc/millstream") };
    Config::read(loaded, files.len() as u32, variables, &Settings::default())
}

#[test]
fn explore() {
    for text in std::fs::read_to_string("/tmp/cfgtry/bad.yaml").unwrap().split("=====\n") {
        match parse(&[("a.yaml", text)]) {
            Ok(config) => println!("{config:?}"),
            Err(error) => println!("{error}\n-----"),
        }
    }
}
