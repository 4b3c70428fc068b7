//! Gathering, rule by rule; `model` compares it with applying one by one.

mod feed;
mod model;
mod speed;

use connector_api::{Kind, Value};

use super::*;
use feed::{Feed, Shape, keyless, users};

fn exact(a: &str, b: &str) -> bool {
    a == b
}

/// Steps as text: kind, columns, rows by key.
fn shown(gather: &mut Gather) -> Vec<String> {
    let steps = gather.steps(&|target| u32::from(target.table == "orders")).unwrap();
    steps.iter().map(|step| format!("{} {}", step.target.table, feed::show(step))).collect()
}

fn gathered(feed: &Feed) -> Gather {
    let mut gather = Gather::new(exact);
    feed.each(|incoming| gather.push(incoming).unwrap());
    gather
}

fn user<'a>(id: i64, name: &'a str, note: Value<'a>) -> [Value<'a>; 3] {
    [Value::Int(id), Value::Text(name), note]
}

#[test]
fn the_newest_whole_row_of_a_key_wins() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).insert(&users, &user(2, "b", Value::Null));
    feed.update(&users, &user(1, "c", Value::Null)).update(&users, &user(3, "d", Value::Null));
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["users upsert fresh 1,c,null 2,b,null", "users upsert 3,d,null"]
    );
}

#[test]
fn values_that_are_left_out_come_from_what_is_gathered() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Text("long"))).update(&users, &user(1, "b", Value::Unchanged));
    feed.update(&users, &user(2, "x", Value::Unchanged));
    feed.update(&users, &[Value::Int(3), Value::Unchanged, Value::Text("n")]);
    feed.update(&users, &user(3, "both", Value::Unchanged)).update(&users, &user(4, "y", Value::Unchanged));
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["users upsert fresh 1,b,long", "users update [1] 2,x,- 4,y,-", "users upsert 3,both,n",]
    );
}

#[test]
fn a_delete_ends_a_key_and_a_row_that_comes_back_is_new() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).delete(&users, 1);
    feed.delete(&users, 2).insert(&users, &user(2, "b", Value::Null));
    feed.delete(&users, 3).update(&users, &user(3, "c", Value::Unchanged));
    feed.delete(&users, 4).mark(&users, 4, "gone");
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["users delete 1 2 3 4", "users upsert fresh 2,b,null", "users update [1] 3,c,-"]
    );
}

#[test]
fn a_soft_delete_marks_what_is_there() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).mark(&users, 1, "gone");
    feed.mark(&users, 2, "gone").mark(&users, 3, "gone");
    feed.update(&users, &user(3, "back", Value::Unchanged));
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["users upsert fresh 1,a,gone", "users mark [2] 2,-,gone 3,-,gone", "users update [1] 3,back,-",]
    );
}

#[test]
fn a_row_that_moves_is_a_step_of_its_own_between_what_came_before_and_after() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).insert(&users, &user(9, "z", Value::Null));
    feed.relocate(&users, 1, &user(2, "b", Value::Unchanged)).update(&users, &user(2, "c", Value::Unchanged));
    feed.insert(&users, &user(1, "new", Value::Null)).update(&users, &user(9, "y", Value::Null));
    assert_eq!(
        shown(&mut gathered(&feed)),
        [
            "users upsert fresh 1,a,null 9,y,null",
            "users move 1 [1] 2,b,-",
            "users update [1] 2,c,-",
            "users upsert fresh 1,new,null",
        ]
    );
}

#[test]
fn the_tombstone_of_a_move_is_left_out_even_in_the_next_flush() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.relocate(&users, 1, &user(2, "b", Value::Null));
    let mut gather = Gather::new(exact);
    let mut first = true;
    feed.each(|incoming| {
        gather.push(incoming).unwrap();
        assert_eq!(gather.is_empty(), !first);
        gather.clear();
        first = false;
    });
    assert!(!first);
}

#[test]
fn a_truncate_voids_what_came_before_it_in_its_table() {
    let (users, orders) = (users("users"), users("orders"));
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).insert(&orders, &user(1, "o", Value::Null));
    feed.truncate(&users).insert(&users, &user(2, "b", Value::Null));
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["users truncate", "orders upsert fresh 1,o,null", "users upsert fresh 2,b,null"]
    );
}

#[test]
fn deletes_go_down_and_upserts_go_up() {
    let (users, orders) = (users("users"), users("orders"));
    let mut feed = Feed::new();
    feed.insert(&orders, &user(1, "o", Value::Null)).insert(&users, &user(1, "a", Value::Null));
    feed.delete(&users, 2).delete(&orders, 2);
    assert_eq!(
        shown(&mut gathered(&feed)),
        ["orders delete 2", "users delete 2", "users upsert fresh 1,a,null", "orders upsert fresh 1,o,null",]
    );
}

#[test]
fn topics_that_share_a_table_share_its_keys() {
    let (here, mut there) = (users("users"), users("users"));
    there.rename("other.public.users", &["id", "note", "extra"]);
    let mut feed = Feed::new();
    for id in 1..3 {
        feed.insert(&here, &user(id, "a", Value::Null)).insert(&there, &user(id, "n", Value::Null));
    }
    feed.delete(&there, 1);
    assert_eq!(
        shown(&mut gathered(&feed)),
        // The first layer wrote key 1 before it is deleted.
        ["users upsert fresh 1,a,null 2,a,null", "users delete 1", "users upsert fresh 2,n,null"]
    );
}

#[test]
fn keys_that_are_encoded_differently_are_never_taken_for_one() {
    let (here, mut there) = (users("users"), users("users"));
    there.rename("other.public.users", &["number", "name", "note"]);
    let mut feed = Feed::new();
    feed.insert(&here, &user(1, "a", Value::Null)).delete(&there, 1);
    assert_eq!(shown(&mut gathered(&feed)), ["users upsert fresh 1,a,null", "users delete 1"]);
}

#[test]
fn rows_without_a_key_keep_their_order_and_only_inserts_run_together() {
    let lines = keyless("lines");
    let row = |n| [Value::Int(n), Value::Null];
    let mut feed = Feed::new();
    feed.insert(&lines, &row(1)).insert(&lines, &row(1));
    feed.change_full(&lines, &row(1), Some(&row(2))).insert(&lines, &row(3));
    feed.change_full(&lines, &row(3), Some(&[Value::Int(4), Value::Unchanged]));
    feed.change_full(&lines, &row(1), None);
    assert_eq!(
        shown(&mut gathered(&feed)),
        [
            "lines insert 1,null 1,null",
            "lines replace 1,null [0, 1] 2,null Insert",
            "lines insert 3,null",
            "lines replace 3,null [0] 4,- Refuse",
            "lines delete row 1,null",
        ]
    );
}

#[test]
fn a_key_of_large_values_is_completed() {
    let tags = Shape::new("tags", &["tag", "n"], &[0]);
    let mut feed = Feed::new();
    feed.change(
        &tags,
        Op::Update,
        Some((connector_api::Image::OldKey, &[Value::Text("huge")])),
        Some(&[Value::Unchanged, Value::Int(2)]),
    );
    let mut gather = gathered(&feed);
    assert_eq!(
        gather.singles().map(|single| feed::show(&single.step)).collect::<Vec<_>>(),
        ["upsert huge,2"]
    );
    assert_eq!(shown(&mut gather), ["tags upsert huge,2"]);
}

#[test]
fn what_cannot_be_gathered_is_refused_and_leaves_nothing() {
    let (users, lines) = (users("users"), keyless("lines"));
    let mut feed = Feed::new();
    feed.insert(&users, &[Value::Null, Value::Null, Value::Null]);
    feed.update(&lines, &[Value::Int(1), Value::Null]);
    let mut gather = Gather::new(exact);
    let mut kinds = Vec::new();
    feed.each(|incoming| kinds.push(gather.push(incoming).unwrap_err().kind()));
    assert_eq!(kinds, [Kind::Data, Kind::Data]);
    assert!(gather.is_empty() && gather.bytes() == 0);
}

#[test]
fn bytes_are_held_once_and_many_updates_of_a_large_row_copy_it_once() {
    let users = users("users");
    let large = "x".repeat(1 << 20);
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Text(&large)));
    for _ in 0..2_000 {
        feed.update(&users, &user(1, "b", Value::Unchanged));
    }
    let mut gather = gathered(&feed);
    assert!(gather.bytes() < (1 << 20) + 2_000 * 20, "{}", gather.bytes());
    let steps = gather.steps(&|_| 0).unwrap();
    let [Step { work: Work::Upsert { rows, fresh: true }, .. }] = &steps[..] else { panic!("{steps:?}") };
    let mut values = Vec::new();
    cells(rows[0], steps[0].target, &mut values).unwrap();
    assert_eq!(values, user(1, "b", Value::Text(&large)));
    gather.clear();
    assert!(gather.is_empty() && gather.arena.capacity() <= ARENA_USUAL);
}

#[test]
fn what_follows_a_refused_change_of_its_key_waits() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).relocate(&users, 1, &user(2, "b", Value::Null));
    feed.update(&users, &user(2, "c", Value::Null)).insert(&users, &user(3, "d", Value::Null));
    let gather = gathered(&feed);
    let mut refusals = Refusals::default();
    let mut applied = Vec::new();
    for single in gather.singles() {
        if single.offset == 0 {
            refusals.refuse(&single, connector_api::Error::data("no"));
        } else if !refusals.holds(&single) {
            refusals.applied(&single);
            applied.push(single.offset);
        }
    }
    // Offset 2 is the tombstone of the move.
    assert_eq!(applied, [4]);
    let refused: Vec<_> = refusals.into_vec().into_iter().map(|refused| refused.offset).collect();
    assert_eq!(refused, [0, 1, 3]);
}

#[test]
fn damaged_rows_are_errors_and_never_panic() {
    let users = users("users");
    let mut feed = Feed::new();
    feed.insert(&users, &user(1, "a", Value::Null)).update(&users, &user(1, "b", Value::Unchanged));
    let mut gather = Gather::new(exact);
    feed.each(|incoming| {
        for cut in 0..incoming.change.after.unwrap().as_bytes().len() {
            let mut damaged = *incoming;
            damaged.change.after = Some(Row::from_bytes(&incoming.change.after.unwrap().as_bytes()[..cut]));
            let _ = gather.push(&damaged);
        }
        let mut keyless = *incoming;
        keyless.change.record.key = None;
        assert_eq!(gather.push(&keyless).unwrap_err().kind(), Kind::Corrupt);
        gather.push(incoming).unwrap();
    });
    for single in gather.singles() {
        drop(single);
    }
    let _ = gather.steps(&|_| 0);
}
