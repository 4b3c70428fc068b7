//! What must not be shown: passwords in URLs, and the values of keys that name a secret. Masks keep the length
//! in bytes, so that a caret under a shown line still points at the right column.

use std::ops::Range;

/// Keys whose value is a secret, wherever they stand.
pub(super) const SECRET_KEYS: &[&str] = &["token", "password", "secret"];

/// Masks a message.
pub(super) fn message(text: &str) -> String {
    self::text(text, std::iter::empty())
}

/// Masks the text of a file: `known` ranges, and what looks like a secret.
pub(super) fn text(text: &str, known: impl Iterator<Item = Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for range in url_passwords(line).chain(parameters(line)).chain(secret_keys(line)) {
            mask(&mut bytes, start + range.start..start + range.end);
        }
        start += line.len();
    }
    known.for_each(|range| mask(&mut bytes, range));
    // Only whole characters are replaced by ASCII, so this is UTF-8 still; if it were not, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

/// `://user:PASSWORD@`. The last `@` of the word ends it: too much is masked rather than too little.
fn url_passwords(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices("://").filter_map(|(at, mark)| {
        let from = at + mark.len();
        let word = word(line.get(from..)?, &[]);
        let end = word.rfind('@')?;
        let colon = word.get(..end)?.find(':')?;
        Some(from + colon + 1..from + end)
    })
}

/// `password=SECRET` in a URL's query or a connection string.
fn parameters(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices("password=").filter_map(|(at, mark)| {
        let from = at + mark.len();
        Some(from..from + word(line.get(from..)?, &['&']).len())
    })
}

/// `token: SECRET` up to the end of the line.
fn secret_keys(line: &str) -> impl Iterator<Item = Range<usize>> {
    SECRET_KEYS.iter().flat_map(move |key| {
        line.match_indices(key).filter_map(move |(at, _)| {
            let whole = !line.get(..at)?.ends_with(|before: char| before.is_alphanumeric());
            let rest = line.get(at + key.len()..)?.trim_start_matches(['"', '\'']).trim_start();
            let value = rest.strip_prefix(':').filter(|_| whole)?;
            Some(line.len() - value.len()..line.len())
        })
    })
}

fn word<'a>(text: &'a str, also: &[char]) -> &'a str {
    let ends = |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '`') || also.contains(&char);
    text.find(ends).and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Puts `*` over a range, except blanks, quotes, brackets and the names of variables: `${PASSWORD:-*****}`.
fn mask(bytes: &mut [u8], range: Range<usize>) {
    let Some(bytes) = bytes.get_mut(range) else { return };
    let (mut name, mut previous) = (false, b' ');
    for byte in bytes {
        let here = *byte;
        match here {
            b'{' if previous == b'$' => name = true,
            b'}' => name = false,
            b':' if name => name = false,
            b' ' | b'\r' | b'\n' | b'\t' | b'$' | b'{' | b'"' | b'\'' => {}
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
            ("url: postgres://h/db?password=hunter2&x=1", "url: postgres://h/db?password=*******&x=1"),
            ("admin: {listen: 0.0.0.0:1, token: hunter2}", "admin: {listen: 0.0.0.0:1, token: *******}"),
            ("  token: ${TOKEN}", "  token: ${TOKEN}"),
            ("  token: ${file:/run/token}", "  token: ${file:**********}"),
            ("  token: pässword", "  token: *********"),
            ("url: postgres://h:5432/db", "url: postgres://h:5432/db"),
            ("tokens: visible", "tokens: visible"),
        ] {
            assert_eq!(message(given), shown);
        }
        assert_eq!(text("a\nbc\nd", std::iter::once(2..4)), "a\n**\nd");
    }
}
