//! The bytes that a certificate's signature is over: the document without its member `signature`, as JSON in UTF-8,
//! without white space, the members of each object in the order of their names' code points, strings with the shortest
//! escapes (`\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`, other control characters below U+0020 as `\u00xx`, nothing else), numbers
//! as integers. `jq -cSj 'del(.signature)'` writes the same.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use serde_json::Value;

/// The canonical bytes of a document, without its signature.
///
/// # Errors
/// What has no canonical form, in words.
pub fn signed_bytes(document: &Value) -> Result<Vec<u8>, String> {
    let Value::Object(members) = document else { return Err("it is not an object".to_owned()) };
    let mut out = Vec::new();
    let signed = members.iter().filter(|(name, _)| *name != "signature");
    put_object(&mut out, signed)?;
    Ok(out)
}

fn put_object<'v>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'v String, &'v Value)>,
) -> Result<(), String> {
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(|(name, _)| *name);
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_string(out, name)?;
        out.push(b':');
        put(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn put(out: &mut Vec<u8>, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Number(_) => return Err("it holds a number that is not whole".to_owned()),
        Value::String(text) => put_string(out, text)?,
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put(out, value)?;
            }
            out.push(b']');
        }
        Value::Object(members) => put_object(out, members.iter())?,
    }
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    serde_json::to_writer(out, text).map_err(|error| error.to_string())
}
