//! A sink whose target holds no cursor goes by the log's own.

use std::sync::Mutex;

use connector_api::{
    BatchBuilder, BoxFuture, Column, Image, Incoming, LogId, Schema, SectionHandle, Value, ValueKind,
};

use super::super::*;
use crate::log::Memory;
use crate::pipeline::mapping::Rule;

/// Where records go, and whether they do.
#[derive(Clone, Default)]
struct Target {
    offsets: Arc<Mutex<Vec<u64>>>,
    hangs: bool,
}

struct Forgetful {
    target: Target,
    waiting: Vec<u64>,
}

impl Sink for Forgetful {
    fn start(&mut self, _: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async { Ok(None) })
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        self.waiting.push(incoming.change.record.offset);
        Ok(())
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Refused>>> {
        Box::pin(async move {
            if self.target.hangs {
                std::future::pending::<()>().await;
            }
            self.target.offsets.lock().expect("no panic before").append(&mut self.waiting);
            Ok(Vec::new())
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reset<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

async fn append(log: &dyn Log, ids: std::ops::Range<i64>) {
    let column = Column {
        name: "id".to_owned(),
        kind: ValueKind::Int,
        element: None,
        type_name: String::new(),
        nullable: false,
    };
    let (namespace, table) = ("public".to_owned(), "t".to_owned());
    let schema = Arc::new(Schema { namespace, table, columns: vec![column], key: vec![0] });
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    for id in ids {
        let section = builder.section(&mut SectionHandle::default(), &"shop.public.t".into(), &schema);
        let mut writer = builder.change(section, Op::Insert);
        writer.image(Image::NewRow, 1);
        writer.push(Value::Int(id));
        writer.finish().expect("a change");
    }
    builder.commit(b"");
    log.append(builder.take(None)).await.expect("accepted").await.expect("durable");
}

/// A loop, from its start to its stop.
struct Running {
    status: Arc<Shared<Applied>>,
    commands: mpsc::Sender<Command>,
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn run(log: &Arc<dyn Log>, target: &Target) -> Running {
    let rule = Rule { topic: "shop.*".to_owned(), ..Rule::default() };
    let mapping = Mapping { rules: vec![rule] };
    let (commands, ear) = mpsc::channel(1);
    let (stop, until) = Shutdown::new();
    let status: Arc<Shared<Applied>> = Arc::default();
    let target = target.clone();
    let deliver = Deliver {
        name: "hook".into(),
        make: Box::new(move || Ok(Box::new(Forgetful { target: target.clone(), waiting: Vec::new() }))),
        log: log.clone(),
        subscription: mapping.subscription(),
        mapping,
        batched: false,
        policy: ErrorPolicy { retries_max: None, dead_letter: true },
        eraser: None,
        dead_letters: DeadLetters::open(None).expect("a state database"),
        status: status.clone(),
        commands: ear,
    };
    let task = tokio::spawn(deliver.run(until));
    Running { status, commands, stop, task }
}

impl Running {
    async fn wait_for(&self, target: &Target, wanted: &[u64]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while *target.offsets.lock().expect("no panic before") != wanted {
            assert!(Instant::now() < deadline, "{:?}", target.offsets.lock());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) {
        self.stop.send(true).expect("it listens");
        self.task.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_restart_goes_on_and_a_reset_goes_back() {
    let log: Arc<dyn Log> = Arc::new(Memory::new());
    let target = Target::default();
    append(&*log, 0..3).await;
    let first = run(&log, &target);
    first.wait_for(&target, &[0, 1, 2]).await;
    first.stop().await;

    append(&*log, 3..5).await;
    let second = run(&log, &target);
    second.wait_for(&target, &[0, 1, 2, 3, 4]).await;
    assert_eq!(second.status.lock().records, 2);

    let mut cursor = Cursor::start(log.id());
    cursor.advance(&TopicPartition::first("shop.public.t"), 4);
    let (answer, moved) = tokio::sync::oneshot::channel();
    second.commands.send(Command::Reset(cursor, answer)).await.expect("it listens");
    moved.await.expect("an answer").expect("moved");
    second.wait_for(&target, &[0, 1, 2, 3, 4, 4]).await;
    second.stop().await;

    // What an operator chose is kept, too.
    let third = run(&log, &target);
    append(&*log, 5..6).await;
    third.wait_for(&target, &[0, 1, 2, 3, 4, 4, 5]).await;
    third.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_does_not_hold_a_stop_back() {
    let log: Arc<dyn Log> = Arc::new(Memory::new());
    let target = Target { hangs: true, ..Target::default() };
    append(&*log, 0..1).await;
    let hanging = run(&log, &target);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let status = hanging.status.clone();
    let started = Instant::now();
    hanging.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let status = status.lock();
    assert_eq!((status.state, status.records), (State::Stopped, 0));
    assert_eq!(log.groups()["hook"].get(&TopicPartition::first("shop.public.t")), 0);
}
