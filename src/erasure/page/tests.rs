#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn example() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/erasure/certificate.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Puts hostile text into every string.
fn poison(value: &mut Value, with: &str) {
    match value {
        Value::String(text) => text.push_str(with),
        Value::Array(elements) => elements.iter_mut().for_each(|element| poison(element, with)),
        Value::Object(members) => members.values_mut().for_each(|member| poison(member, with)),
        _ => {}
    }
}

#[test]
fn names_and_reasons_cannot_become_html() {
    let mut document = example();
    let proof = document["proof"].clone();
    let trigger = document["case"]["trigger"].clone();
    poison(&mut document, "<img src=x onerror=alert(1)>\"'&");
    document["proof"] = proof;
    document["case"]["trigger"] = trigger;
    let hostile = page(&serde_json::from_value(document).unwrap());
    let calm = page(&serde_json::from_value(example()).unwrap());
    assert!(hostile.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"));
    assert!(!hostile.contains("<img"));
    // Whatever the words are, there is no tag that would not be there with others.
    let tags = |page: &str| -> BTreeSet<String> {
        page.split('<').skip(1).filter_map(|tag| Some(tag.split_once('>')?.0.to_owned())).collect()
    };
    assert!(tags(&hostile).len() > 20 && tags(&hostile).is_subset(&tags(&calm)), "{:?}", tags(&hostile));
}

#[test]
fn it_loads_and_runs_nothing() {
    let page = page(&serde_json::from_value(example()).unwrap()).to_lowercase();
    for word in [
        "<script",
        "src=",
        "href=",
        "url(",
        "@import",
        "http://",
        "https://",
        "<iframe",
        "<form",
        "javascript:",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn it_says_what_a_reader_must_know() {
    let page = page(&serde_json::from_value(example()).unwrap());
    for sentence in [
        "The data of one person, of the kind <b>users</b>, was erased from billing, recommendations and the change log.",
        "It was also passed on to mailer, where this service cannot look, and was confirmed from there.",
        "It was told of the erasure, and carried it out itself.",
        "3 rows kept, with name and email overwritten.",
        "tax law: invoices are kept for 10 years",
        "214 rows deleted.",
        "5 records deleted.",
        "Confirmed by mailer&#39;s callback.",
        "it is known by that system’s own word",
        "statistics: nothing was asked of it. Reason: it holds monthly sums only, which are of nobody",
        "What remains there:",
        "proves nothing by itself",
        "<tr><th>In time</th><td>Yes</td></tr>",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
}
