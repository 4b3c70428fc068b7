//! Values as the text that the server reads: `{1,NULL,"a b"}` for arrays, with the bounds in front where they are not
//! the usual ones.

use std::io::Write;

use connector_api::array::{Array, Dimension, Elements};
use connector_api::json::put_text;
use connector_api::{Result, Value};

/// Appends a value's text. An array's elements stand between `delimiter`s.
pub(super) fn put(out: &mut Vec<u8>, value: Value<'_>, delimiter: char) -> Result<()> {
    match value {
        Value::Text(text) | Value::Decimal(text) | Value::Json(text) => {
            out.extend_from_slice(text.as_bytes())
        }
        Value::Array(array) => put_array(out, array, delimiter)?,
        other => {
            let mut text = String::new();
            put_text(&mut text, other)?;
            out.extend_from_slice(text.as_bytes());
        }
    }
    Ok(())
}

fn put_array(out: &mut Vec<u8>, array: Array<'_>, delimiter: char) -> Result<()> {
    let (dimensions, mut elements) = array.open()?;
    if dimensions.iter().any(|dimension| dimension.lower != 1) {
        for Dimension { len, lower } in &dimensions {
            let upper = i64::from(*lower) + i64::from(*len) - 1;
            write!(out, "[{lower}:{upper}]").ok();
        }
        out.push(b'=');
    }
    match dimensions.is_empty() {
        true => out.extend_from_slice(b"{}"),
        false => put_dimension(out, &dimensions, &mut elements, delimiter)?,
    }
    Ok(())
}

/// Recursion ends at the most dimensions that an array may have.
fn put_dimension(
    out: &mut Vec<u8>,
    dimensions: &[Dimension],
    elements: &mut Elements<'_>,
    delimiter: char,
) -> Result<()> {
    let Some((first, inner)) = dimensions.split_first() else { return Ok(()) };
    out.push(b'{');
    for at in 0..first.len {
        if at > 0 {
            write!(out, "{delimiter}").ok();
        }
        match inner.is_empty() {
            true => put_element(out, elements.next().transpose()?.unwrap_or(Value::Null))?,
            false => put_dimension(out, inner, elements, delimiter)?,
        }
    }
    out.push(b'}');
    Ok(())
}

/// Every element that is not NULL in quotes: then no other rule of the form matters.
fn put_element(out: &mut Vec<u8>, value: Value<'_>) -> Result<()> {
    if matches!(value, Value::Null) {
        out.extend_from_slice(b"NULL");
        return Ok(());
    }
    let mut text = Vec::new();
    put(&mut text, value, ',')?;
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use connector_api::array::put_array_head;

    fn shown(dimensions: &[(u32, i32)], elements: &[Value<'_>], delimiter: char) -> String {
        let mut bytes = Vec::new();
        let dimensions: Vec<_> =
            dimensions.iter().map(|(len, lower)| Dimension { len: *len, lower: *lower }).collect();
        put_array_head(&mut bytes, &dimensions);
        elements.iter().for_each(|element| element.encode(&mut bytes));
        let mut out = Vec::new();
        put(&mut out, Value::Array(Array::from_bytes(&bytes)), delimiter).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arrays_in_the_servers_own_form() {
        assert_eq!(shown(&[], &[], ','), "{}");
        assert_eq!(shown(&[(2, 1)], &[Value::Int(1), Value::Null], ','), r#"{"1",NULL}"#);
        assert_eq!(
            shown(&[(1, 0), (2, 2)], &[Value::Text("a\"b"), Value::Text("\\")], ','),
            r#"[0:0][2:3]={{"a\"b","\\"}}"#
        );
        assert_eq!(
            shown(&[(2, 1)], &[Value::Text("(1,1),(0,0)"), Value::Text("NULL")], ';'),
            r#"{"(1,1),(0,0)";"NULL"}"#
        );
        assert_eq!(shown(&[(1, 1)], &[Value::Bytes(&[0, 92])], ','), r#"{"\\x005c"}"#);
    }
}
