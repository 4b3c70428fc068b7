//! Names that look personal, and names that do not.

use super::*;

#[test]
fn names_are_taken_apart_into_words() {
    let cases = [
        ("first_name", "first name"),
        ("homeAddress", "home address"),
        ("IPAddress", "ip address"),
        ("E-Mail", "e mail"),
        ("address2", "address"),
        ("user.IP", "user ip"),
        ("Straße", "straße"),
        ("__", ""),
    ];
    for (name, expected) in cases {
        assert_eq!(words(name).join(" "), expected, "{name}");
    }
}

#[test]
fn whole_words_decide_and_parts_of_words_do_not() {
    for name in [
        "email",
        "EMail",
        "contact_mail",
        "mobile_phone",
        "dateOfBirth",
        "last_name",
        "lastName",
        "Nachname",
        "iban",
        "client_ip",
    ] {
        assert_eq!(look(name), Look::Strong, "{name}");
    }
    for name in ["name", "street", "Adresse", "zip_code", "city"] {
        assert_eq!(look(name), Look::Weak, "{name}");
    }
    for name in [
        "id",
        "blackmailer",
        "ship_date",
        "username_id",
        "email_id",
        "address_count",
        "filename",
        "zipped",
        "recipe",
        "total",
    ] {
        assert_eq!(look(name), Look::Plain, "{name}");
    }
}
