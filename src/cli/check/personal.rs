//! Columns that look personal by their names, and of which no step speaks.
//!
//! A name alone proves nothing: `name` of a product is nobody's. Words that are used for things as well count only in tables
//! that hold data of a subject, or beside a word that is used for people alone.

use std::sync::Arc;

use connector_api::{Finding, Severity, Target};

use super::erasure::{Tables, place};
use crate::config::Config;
use crate::erasure::rules::{Action, Coverage, Field, Rule, Rules, Subject};

/// Words for people alone, by language: English, German, French, Spanish, Italian, Portuguese, Dutch.
const STRONG: &[&str] = &[
    // Reaching somebody.
    "email",
    "mail",
    "emails",
    "phone",
    "telephone",
    "mobile",
    "cellphone",
    "cell",
    "fax",
    "telefon",
    "handy",
    "telefax",
    "telefono",
    "telefone",
    "telefoon",
    "mobiltelefon",
    "movil",
    "celular",
    "cellulare",
    "portable",
    "courriel",
    "correo",
    "msisdn",
    "whatsapp",
    // Names that only people have.
    "surname",
    "lastname",
    "firstname",
    "forename",
    "givenname",
    "fullname",
    "middlename",
    "maidenname",
    "nickname",
    "vorname",
    "nachname",
    "familienname",
    "geburtsname",
    "prenom",
    "apellido",
    "apellidos",
    "cognome",
    "sobrenome",
    "achternaam",
    "voornaam",
    // Birth and sex.
    "birth",
    "birthday",
    "birthdate",
    "birthplace",
    "dob",
    "geburtstag",
    "geburtsdatum",
    "geburtsort",
    "naissance",
    "nacimiento",
    "nascita",
    "nascimento",
    "geboortedatum",
    "gender",
    "sex",
    "geschlecht",
    "anrede",
    // Numbers that name one person.
    "iban",
    "bic",
    "ssn",
    "passport",
    "reisepass",
    "ausweis",
    "passeport",
    "pasaporte",
    "passaporto",
    "dni",
    "nif",
    "nie",
    "cpf",
    "bsn",
    "nino",
    "ahv",
    "nir",
    "steuernummer",
    "steuerid",
    "taxid",
    "fiscale",
    "creditcard",
    "cvv",
    "licence",
    "fuehrerschein",
    // Traces.
    "ip",
    "useragent",
    "imei",
    "geolocation",
];

/// Words that things have, too.
const WEAK: &[&str] = &[
    "name",
    "names",
    "nom",
    "nombre",
    "nome",
    "naam",
    "address",
    "addresses",
    "adresse",
    "anschrift",
    "direccion",
    "indirizzo",
    "endereco",
    "adres",
    "street",
    "strasse",
    "straße",
    "rue",
    "calle",
    "via",
    "rua",
    "straat",
    "hausnummer",
    "zip",
    "zipcode",
    "postcode",
    "postal",
    "plz",
    "cap",
    "cep",
    "city",
    "town",
    "ort",
    "stadt",
    "ville",
    "ciudad",
    "citta",
    "cidade",
    "latitude",
    "longitude",
    "contact",
    "kontakt",
    "comment",
    "signature",
    "photo",
    "avatar",
    "portrait",
];

/// Words that turn a weak one beside them into a strong one: `first_name`, `home_address`.
const OF_PEOPLE: &[&str] = &[
    "first", "last", "given", "family", "full", "middle", "maiden", "user", "customer", "person", "patient",
    "guest", "employee", "contact", "home", "billing", "shipping", "delivery", "kunden", "kunde", "client",
    "cliente",
];

/// How much a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Weak,
    Strong,
}

/// Warns of columns that look personal, for every sink that nobody exempted.
pub(super) fn check(config: &Config, rules: &Rules, tables: &Tables<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if rules.subjects.is_empty() {
        return findings;
    }
    for (sink, targets) in tables {
        let coverages = || rules.subjects.iter().filter_map(|subject| subject.sinks.get(*sink));
        // Somebody has thought about the sink as a whole.
        if coverages().any(|coverage| matches!(coverage, Coverage::Exempt(_) | Coverage::Told)) {
            continue;
        }
        for target in targets {
            for column in unmentioned(rules, sink, target) {
                findings.push(finding(config, rules, sink, target, column));
            }
        }
    }
    findings
}

/// The columns of a table that look personal and that no step mentions.
fn unmentioned<'t>(rules: &Rules, sink: &str, target: &'t Target) -> Vec<&'t str> {
    let steps: Vec<&Rule> = rules
        .subjects
        .iter()
        .flat_map(|subject| subject.steps(sink))
        .filter(|rule| rule.table.eq_ignore_ascii_case(&target.table))
        .collect();
    if steps.iter().any(|rule| !matches!(rule.action, Action::Set(_))) {
        return Vec::new();
    }
    let columns: Vec<&str> = (0..target.columns.len()).map(|at| target.name(at)).collect();
    let concerned = |subject: &Subject| subject.topics.iter().any(|rule| rule.topic == target.topic);
    let of_people = !steps.is_empty()
        || rules.subjects.iter().any(concerned)
        || columns.iter().any(|column| look(column) == Look::Strong);
    let least = |look| look == Look::Strong || (of_people && look == Look::Weak);
    let set = |column: &str| {
        steps.iter().any(|rule| match &rule.action {
            Action::Set(marks) => marks.iter().any(|(name, _)| name == column),
            _ => false,
        })
    };
    columns.into_iter().filter(|column| least(look(column)) && !set(column)).collect()
}

fn finding(config: &Config, rules: &Rules, sink: &str, target: &Arc<Target>, column: &str) -> Finding {
    let table = &target.table;
    // The subject that already has to do with the topic, else the first one.
    let about = |subject: &&Subject| subject.topics.iter().any(|rule| rule.topic == target.topic);
    let subject = rules.subjects.iter().find(about).or_else(|| rules.subjects.first());
    let name = subject.map_or("", |subject| subject.name.as_str());
    let steps = subject.map_or(&[][..], |subject| subject.steps(sink));
    let known = steps.iter().position(|rule| rule.table.eq_ignore_ascii_case(table));
    let at = known.unwrap_or_default().to_string();
    let path = ["erasure", name, "sinks", sink, &at];
    let path = if known.is_some() { &path[..] } else { &path[..4] };
    let what = format!(
        "column {column:?} of table {table:?} (topic {}) looks personal, and no step speaks of it",
        target.topic
    );
    let remedy = match known {
        Some(at) => format!("add {column}: null to the `set` of step {} of {sink}", at + 1),
        None => {
            let found = subject.and_then(|subject| matching(subject, target)).unwrap_or("COLUMN");
            let marks = serde_json::json!({ column: null });
            format!(
                "- {{table: {table}, match: {found}, action: {{set: {marks}}}}}  # in erasure.{name}.sinks.{sink}"
            )
        }
    };
    Finding::new(
        Severity::Warning,
        "erasure-personal-column",
        place(config, path, &format!("table {table}")),
        what,
    )
    .with_remedy(remedy)
}

/// The column of a table that most likely holds a subject's key.
fn matching<'t>(subject: &Subject, target: &'t Target) -> Option<&'t str> {
    let source = subject.topics.iter().find_map(|rule| match &rule.field {
        Field::Column(column) if rule.topic == target.topic => Some(column.as_str()),
        _ => None,
    });
    let singular = subject.name.trim_end_matches('s');
    let named = [
        source.unwrap_or_default().to_owned(),
        format!("{singular}_id"),
        "user_id".into(),
        "customer_id".into(),
    ];
    let column = |wanted: &String| {
        (0..target.columns.len()).find(|at| target.column(*at).is_some_and(|column| column.name == *wanted))
    };
    named.iter().find_map(column).map(|at| target.name(at))
}

/// How much a name looks like personal data.
fn look(name: &str) -> Look {
    let words = words(name);
    let is = |list: &[&str], word: &str| list.contains(&word);
    // `eMail`, `first_name` and `userAgent` are words in two parts.
    let pairs: Vec<String> = words.windows(2).map(|pair| pair.concat()).collect();
    let all = || words.iter().chain(&pairs).map(String::as_str);
    // What only points somewhere is no data of its own: `email_id`, `address_id`, and `is_phone_verified`.
    let points = words
        .last()
        .is_some_and(|last| matches!(last.as_str(), "id" | "ids" | "uuid" | "count" | "type" | "verified"));
    if points && !all().any(|word| matches!(word, "taxid" | "steuerid")) {
        return Look::Plain;
    }
    let weak = words.iter().any(|word| is(WEAK, word));
    if all().any(|word| is(STRONG, word)) || (weak && words.iter().any(|word| is(OF_PEOPLE, word))) {
        return Look::Strong;
    }
    if weak { Look::Weak } else { Look::Plain }
}

/// The words of a name in snake_case, kebab-case or camelCase, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        let next_small = chars.peek().is_some_and(|next| next.is_lowercase());
        // `homeAddress`, `IPAddress`.
        let starts = char.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_small));
        if !char.is_alphabetic() || starts {
            words.push(String::new());
        }
        if char.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(char.to_lowercase());
        }
        before = char;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests;
