//! People with distinctive data, and the search for what is left of one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::postgres::Session;

/// Everything that names one person in the source.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    pub name: String,
    pub phone: String,
}

impl Person {
    pub fn new(id: i64) -> Person {
        Person {
            email: format!("mail{id:06}x@post.example"),
            name: format!("Gertrude{id:06} Müller"),
            phone: format!("+49-171-{id:07}-55"),
        }
    }

    /// What must be found nowhere any more, as bytes.
    fn traces(&self) -> [&[u8]; 3] {
        [self.email.as_bytes(), self.name.as_bytes(), self.phone.as_bytes()]
    }
}

/// The tables of the shop, with these many people and two orders each.
pub fn settle(sql: &Session, people: i64) {
    sql.execute(&format!(
        "CREATE TABLE users(id bigint PRIMARY KEY, email text NOT NULL, name text NOT NULL, phone text);
         CREATE TABLE orders(id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
             item text NOT NULL, ship_to text NOT NULL);
         CREATE INDEX ON orders(user_id);
         CREATE TABLE invoices(id bigint PRIMARY KEY, user_id bigint NOT NULL, name text, email text, total numeric NOT NULL);
         INSERT INTO users SELECT {ROW} FROM generate_series(1, {people}) i;
         INSERT INTO orders SELECT i * 10 + j, i, 'item ' || j, {NAME} || ', Street 1' FROM generate_series(1, {people}) i,
             generate_series(1, 2) j;
         INSERT INTO invoices SELECT i, i, {NAME}, {EMAIL}, i * 1.5 FROM generate_series(1, {people}) i"
    ));
}

const EMAIL: &str = "'mail' || lpad(i::text, 6, '0') || 'x@post.example'";
const NAME: &str = "'Gertrude' || lpad(i::text, 6, '0') || ' Müller'";
const ROW: &str = "i, 'mail' || lpad(i::text, 6, '0') || 'x@post.example', 'Gertrude' || lpad(i::text, 6, '0') || ' Müller', \
     '+49-171-' || lpad(i::text, 7, '0') || '-55'";

/// Inserts a person's row.
pub fn insert(sql: &Session, id: i64) {
    sql.execute(&format!("INSERT INTO users SELECT {ROW} FROM (VALUES ({id}::bigint)) v(i)"));
}

/// The files under these places that hold a trace of a person: plainly, or in a compressed section of the log.
pub fn found(places: &[PathBuf], person: &Person) -> Vec<String> {
    let mut found = Vec::new();
    for place in places {
        for file in files(place) {
            let bytes = fs::read(&file).unwrap_or_default();
            for trace in person.traces() {
                if contains(&bytes, trace) {
                    found.push(format!("{}: {}", file.display(), String::from_utf8_lossy(trace)));
                }
            }
        }
    }
    found
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
    entries.flatten().flat_map(|entry| files(&entry.path())).collect()
}
