//! What must not be shown: passwords in URLs, and the values of keys that name a secret. Masks keep the length
//! in bytes, so that a caret under a shown line still points at the right column.

use super::problem::nearest;
use std::ops::Range;

/// Keys whose value is a secret, wherever they stand.
pub(super) const SECRET_KEYS: &[&str] = &["token", "password", "secret"];

/// Masks a message: what looks like a password in it.
pub(super) fn message(text: &str) -> String {
    masked(text, |line| user_parts(line).chain(parameters(line)).collect())
}

/// Masks the text of a file: `known` ranges, and what looks like a secret. The file may be malformed anywhere,
/// in the middle of a URL too, so that rather too much is masked than too little.
pub(super) fn text(text: &str, known: impl Iterator<Item = Range<usize>>) -> String {
    let mut bytes =
        masked(text, |line| user_parts(line).chain(parameters(line)).chain(secret_keys(line)).collect())
            .into_bytes();
    known.for_each(|range| mask(&mut bytes, range));
    // Whole characters are replaced by ASCII, so this is UTF-8 still; if it were not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

fn masked(text: &str, secrets: impl Fn(&str) -> Vec<Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for range in secrets(line) {
            mask(&mut bytes, start + range.start..start + range.end);
        }
        start += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// `user:PASSWORD@`, up to the last `@` of the word; after `//` up to the last one of the line, if the word has none.
fn user_parts(line: &str) -> impl Iterator<Item = Range<usize>> {
    let between = |from: usize, part: &str| {
        let end = part.rfind('@')?;
        let colon = part.get(..end)?.find(':')?;
        Some(from + colon + 1..from + end)
    };
    let words = line.split(ends_word).filter_map(move |word| {
        let from = word.as_ptr() as usize - line.as_ptr() as usize;
        let user = word.find("//").map_or(0, |at| at + 2);
        between(from + user, word.get(user..)?)
    });
    let cut = line.match_indices("//").filter_map(move |(at, _)| {
        let rest = line.get(at + 2..)?;
        let word = rest.split(ends_word).next()?;
        if word.contains('@') { None } else { between(at + 2, rest) }
    });
    words.chain(cut)
}

/// `password=SECRET` in a URL's query or a connection string, and misspelt.
fn parameters(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices('=').filter_map(|(at, _)| {
        let name = line.get(..at)?.rsplit(|char: char| !char.is_alphanumeric()).next()?;
        nearest(name, ["password", "sslpassword"])?;
        let value = line.get(at + 1..)?.split(|char| ends_word(char) || char == '&').next()?;
        Some(at + 1..at + 1 + value.len())
    })
}

/// Everything on the line after the name of a secret.
fn secret_keys(line: &str) -> impl Iterator<Item = Range<usize>> {
    let part_of_name = |char: char| char.is_alphanumeric() || char == '_';
    SECRET_KEYS.iter().flat_map(move |key| {
        line.match_indices(key).filter_map(move |(at, _)| {
            let after = at + key.len();
            let longer = line.get(after..)?.starts_with(part_of_name);
            // `sslpassword` is a secret, `topic_token` is a topic.
            let other = *key != "password" && line.get(..at)?.ends_with(part_of_name);
            let value = line.get(after..)?.trim_start_matches(['"', '\'', ' ', ':', '=']);
            (!longer && !other).then_some(line.len() - value.len()..line.len())
        })
    })
}

fn ends_word(char: char) -> bool {
    char.is_whitespace() || matches!(char, '"' | '\'' | '`')
}

/// Puts `*` over a range, except blanks, quotes and the names of variables: `${PASSWORD:-*****}`.
fn mask(bytes: &mut [u8], range: Range<usize>) {
    let Some(bytes) = bytes.get_mut(range) else { return };
    let closed = bytes.iter().rposition(|byte| *byte == b'}').unwrap_or_default();
    let (mut name, mut previous) = (false, b' ');
    for (at, byte) in bytes.iter_mut().enumerate() {
        let here = *byte;
        let named = name;
        name &= here.is_ascii_alphanumeric() || here == b'_';
        match here {
            b' ' | b'\r' | b'\n' | b'\t' | b'"' | b'\'' | b'$' | b'}' => {}
            b'{' if previous == b'$' => name = at < closed,
            b':' if named => {}
            _ if name => {}
            _ => *byte = b'*',
        }
        previous = here;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_place() {
        for (given, shown) in [
            ("url: postgres://me:hunter2@h/db", "url: postgres://me:*******@h/db"),
            ("url: postgres://me:p/a@ss@h/db", "url: postgres://me:******@h/db"),
            ("url: \"postgres://me:${PW}@h\" # x@y", "url: \"postgres://me:${PW}@h\" # x@y"),
            ("url: postgres://me:${PW:-hunter2}@h", "url: postgres://me:${PW:********}@h"),
            ("url: postgres://me:hun ter2@h", "url: postgres://me:*** ****@h"),
            ("url: postgres:/x/me:hunter2@h", "url: postgres:*************@h"),
            ("url: postgres://h/db?password=hunter2&x=1", "url: postgres://h/db?password=***********"),
            ("url: postgres://h/db?pasword=hunter2&x=1", "url: postgres://h/db?pasword=*******&x=1"),
            ("admin: {listen: 0.0.0.0:1, token: hunter2}", "admin: {listen: 0.0.0.0:1, token: *******}"),
            ("  token: ${TOKEN}", "  token: ${TOKEN}"),
            ("  token: ${file:/run/token}", "  token: ${file:**********}"),
            ("  token: pässword", "  token: *********"),
            ("url: postgres://h:5432/db", "url: postgres://h:5432/db"),
            ("tokens: visible, password_hash", "tokens: visible, password_hash"),
        ] {
            assert_eq!(text(given, std::iter::empty()), shown);
        }
        assert_eq!(text("a\nbc\nd", std::iter::once(2..4)), "a\n**\nd");
    }

    #[test]
    fn messages_keep_the_names_of_keys() {
        assert_eq!(message("`token` is empty"), "`token` is empty");
        assert_eq!(
            message("no postgres://me:hunter2@h?password=hunter2"),
            "no postgres://me:*******@h?password=*******"
        );
    }
}
